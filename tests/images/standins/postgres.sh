# Makes the cluster at the first start, then runs the server.
set -e
data=/var/lib/postgresql/data
if [[ ! -s $data/PG_VERSION ]]; then
    initdb --pgdata=$data --username="$POSTGRES_USER" --pwfile=<(echo "$POSTGRES_PASSWORD") --auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 >&2
    echo "host all all all scram-sha-256" >>$data/pg_hba.conf
    pg_ctl --pgdata=$data --wait --options="-c listen_addresses=" start >&2
    PGPASSWORD=$POSTGRES_PASSWORD createdb --username="$POSTGRES_USER" "$POSTGRES_DB"
    pg_ctl --pgdata=$data --wait --mode=fast stop >&2
fi
exec postgres -D $data -c listen_addresses='*'
