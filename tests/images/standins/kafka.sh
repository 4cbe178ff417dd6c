# Makes settings of the variables KAFKA_*, a place for the data at the first start, and runs the broker.
set -e
settings=/tmp/server.properties
for name in $(compgen -e | grep ^KAFKA_ | grep -v ^KAFKA_HEAP_OPTS); do
    key=${name#KAFKA_} key=${key,,}
    echo "${key//_/.}=${!name}"
done >$settings
echo "log.dirs=/var/lib/kafka/data" >>$settings
if [[ ! -e /var/lib/kafka/data/meta.properties ]]; then
    java -cp '/opt/kafka/libs/*' kafka.tools.StorageTool format --config $settings --cluster-id 4L6g3nShT-eMCtK--X86sw
fi
# shellcheck disable=SC2086 # these are several words
exec java $KAFKA_HEAP_OPTS -cp '/opt/kafka/libs/*' kafka.Kafka $settings
