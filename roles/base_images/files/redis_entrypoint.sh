#!/usr/bin/env bash
# The part of the redis image's entrypoint that the lab relies on: options go to redis-server, which runs as user redis.
set -euo pipefail
[[ "${1:-}" == -* || "${1:-}" == *.conf ]] && set -- redis-server "$@"
if [[ "$1" == redis-server && "$(id -u)" == 0 ]]; then
  chown redis:redis /data
  exec setpriv --reuid=redis --regid=redis --init-groups "$@"
fi
exec "$@"
