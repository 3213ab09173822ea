#!/bin/sh
# Tries a change in one role on the test host that `molecule converge` makes and that stays: runs the role's part of site.yml, then its tests.
# The first time makes the host, and a lab on it. `molecule destroy` removes it.
set -eu
role=${1:-}
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"
tests=tests/testinfra/test_$role.py
if ! test -e "$tests"; then
  known=
  for file in tests/testinfra/test_*.py; do
    name=${file#tests/testinfra/test_}
    test ! -d "roles/${name%.py}" || known="$known ${name%.py}"
  done
  echo "ROLE is '$role': write one of$known. The other roles have unit tests alone." >&2
  exit 2
fi
docker container inspect labhost >/dev/null 2>&1 || molecule converge
# Backups are no part of site.yml: their tests make one.
! grep -qE "^ *tags: .*\b$role\b" playbooks/backup.yml || exec env LAB_TESTS="$tests" molecule verify
molecule converge -- --tags "$role"
exec env LAB_TESTS="$tests" molecule verify
