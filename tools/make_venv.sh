#!/bin/sh
# Make .venv from a hash-locked requirements file, or add to it: tools/make_venv.sh requirements.txt
# A .venv that holds everything already is left alone; one that an interruption left half made is made again.
set -eu
cd "$(dirname "$0")/.."
lock=$1
done_file=.venv/.complete # one line per requirements file that was installed to the end
wanted="$(sha256sum "$lock" | cut -d' ' -f1) $lock"

fail() {
    echo "$*" >&2
    exit 1
}

# One at a time: another one would take .venv for left half made, and remove it.
if command -v flock >/dev/null; then
    exec 9<tools/make_venv.sh
    flock 9
fi

works() { # a system upgrade may have taken the Python away that .venv was made from
    [ -f "$done_file" ] && .venv/bin/python -c '' 2>/dev/null
}

if works && grep -qxF "$wanted" "$done_file"; then
    exit 0
fi

find_python() { # on these the lock has an ansible-core that runs
    for name in python3 python3.13 python3.12 python3.11; do
        if "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
            "$name" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    fail "No Python 3.11, 3.12 or 3.13 was found: install one (on Debian and Ubuntu: apt install python3)."
}

have_uv() {
    uv --version >/dev/null 2>&1
}

make_venv() {
    python=$(find_python)
    if have_uv; then
        uv venv --quiet --no-python-downloads --python "$python" .venv
        return
    fi
    if ! "$python" -c 'import ensurepip' 2>/dev/null; then
        package="python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
        if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
            fail "$python has no venv module: install the package $package (sudo apt install $package), or uv, and run this again."
        fi
        echo "$python has no venv module: installing the package $package"
        apt-get update -q
        DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$package"
    fi
    "$python" -m venv .venv
}

install() { # both check the hash of every file
    # A lock that has uv brings it first, since pip takes three times as long for the rest.
    if ! have_uv && grep -q '^uv==' "$lock"; then
        sed -n '/^uv==/,/[^\\]$/p' "$lock" >.venv/uv.txt
        .venv/bin/python -m pip install --disable-pip-version-check --no-compile --require-hashes -r .venv/uv.txt
        PATH="$PWD/.venv/bin:$PATH"
    fi
    if have_uv; then
        # the machine's own certificates, unless the user chose others
        if [ -f /etc/ssl/certs/ca-certificates.crt ]; then
            export SSL_CERT_FILE="${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}"
        fi
        uv pip install --python .venv/bin/python --require-hashes -r "$lock"
    else
        .venv/bin/python -m pip install --disable-pip-version-check --no-compile --require-hashes -r "$lock"
    fi
}

echo "Installing $lock into .venv"
if works; then
    complete=$(cat "$done_file")
else
    complete=
    rm -rf .venv
    make_venv
fi
rm -f "$done_file"
install
printf '%s\n%s\n' "$complete" "$wanted" >"$done_file"
