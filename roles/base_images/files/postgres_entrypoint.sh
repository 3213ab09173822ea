#!/usr/bin/env bash
# The part of the postgres image's entrypoint that the lab relies on: a cluster made on the first start from POSTGRES_USER,
# POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE and POSTGRES_DB, then the scripts in /docker-entrypoint-initdb.d.
set -euo pipefail

if [[ "${1:-}" != postgres && "${1:-}" != -* ]]; then
  exec "$@"
fi
[[ "${1:-}" == -* ]] && set -- postgres "$@"

if [[ "$(id -u)" == 0 ]]; then
  install -d -o postgres -g postgres -m 0700 "$PGDATA"
  install -d -o postgres -g postgres -m 2775 /var/run/postgresql
  exec setpriv --reuid=postgres --regid=postgres --init-groups "${BASH_SOURCE[0]}" "$@"
fi

if [[ ! -s "$PGDATA/PG_VERSION" ]]; then
  user="${POSTGRES_USER:-postgres}"
  if [[ -n "${POSTGRES_PASSWORD_FILE:-}" ]]; then
    POSTGRES_PASSWORD="$(<"$POSTGRES_PASSWORD_FILE")"
  fi
  : "${POSTGRES_PASSWORD:?set POSTGRES_PASSWORD_FILE}"
  # A cluster that was made half is removed, so that the next start begins again.
  trap 'rm -rf "${PGDATA:?}"/* ' ERR
  initdb --username="$user" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") --auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8
  printf 'host all all all scram-sha-256\n' >>"$PGDATA/pg_hba.conf"
  pg_ctl start --wait --options="-c listen_addresses=''"
  if [[ "${POSTGRES_DB:-$user}" != postgres ]]; then
    psql --username="$user" --dbname=postgres --set=db="${POSTGRES_DB:-$user}" <<<'CREATE DATABASE :"db"'
  fi
  for script in /docker-entrypoint-initdb.d/*; do
    case "$script" in
      *.sh)
        # shellcheck source=/dev/null
        . "$script"
        ;;
      *.sql) psql --set=ON_ERROR_STOP=1 --username="$user" --dbname="${POSTGRES_DB:-$user}" --file="$script" ;;
    esac
  done
  pg_ctl stop --wait --mode=fast
  trap - ERR
fi
unset POSTGRES_PASSWORD
exec "$@" -c listen_addresses='*'
