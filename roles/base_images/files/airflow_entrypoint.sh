#!/usr/bin/env bash
# The part of apache/airflow's entrypoint that the lab relies on: the umask, the user in /etc/passwd, and what the first word means.
set -euo pipefail
umask 0002
if ! whoami >/dev/null 2>&1 && [[ -w /etc/passwd ]]; then
  echo "default:x:$(id -u):0:default user:/home/airflow:/sbin/nologin" >>/etc/passwd
fi
case "${1:-}" in
  bash | python) exec "$@" ;;
  airflow) shift ;;
esac
exec airflow "$@"
