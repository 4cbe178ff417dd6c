# Stands in for redis:7 where that cannot be pulled: Debian's Redis.
FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends redis-server \
    && rm -rf /var/lib/apt/lists/*
USER redis
WORKDIR /tmp
ENTRYPOINT ["sh", "-c", "exec \"$0\" \"$@\" --bind '*' --protected-mode no"]
