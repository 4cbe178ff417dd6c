# Stands in for postgres:15 where that cannot be pulled: Debian's PostgreSQL, told the same by the environment.
FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends postgresql-15 \
    && rm -rf /var/lib/apt/lists/* /var/lib/postgresql/15 \
    && install --directory --owner postgres --mode 0700 /var/lib/postgresql/data \
    && install --directory --owner postgres /var/run/postgresql
COPY postgres.sh /entry.sh
ENV PATH=/usr/lib/postgresql/15/bin:${PATH}
USER postgres
VOLUME /var/lib/postgresql/data
STOPSIGNAL SIGINT
ENTRYPOINT ["bash", "/entry.sh"]
