# Stands in for quay.io/keycloak/keycloak:26.5.6 where that cannot be pulled: the same distribution, from Maven Central.
FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends openjdk-17-jre-headless \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --gid 0 --no-create-home keycloak
COPY --chown=1000:0 keycloak /opt/keycloak
ENV LANG=C.UTF-8
USER 1000
ENTRYPOINT ["/opt/keycloak/bin/kc.sh"]
