#!/bin/sh
# Install the Debian or Ubuntu packages of programs that are not there: tools/install_packages.sh mvn=maven
set -eu
PATH=$PATH:/usr/sbin # which a user may not have
missing=
for pair in "$@"; do
    command -v "${pair%%=*}" >/dev/null || missing="$missing ${pair#*=}"
done
[ -n "$missing" ] || exit 0
[ "$(id -u)" = 0 ] || { echo "Not installed:$missing. Type: sudo apt install$missing" >&2; exit 1; }
apt-get update -q
# shellcheck disable=SC2086  # several names
DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
