# Stands in for apache/kafka:4.1.1 where that cannot be pulled: the jars that the tests have, told the same by the
# environment.
FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends openjdk-17-jre-headless \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 appuser \
    && install --directory --owner appuser /var/lib/kafka/data
COPY libs /opt/kafka/libs
COPY kafka.sh /entry.sh
USER appuser
VOLUME /var/lib/kafka/data
ENTRYPOINT ["bash", "/entry.sh"]
