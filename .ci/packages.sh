#!/bin/sh
# Installs the system packages that a build needs where what they bring is missing, and those named as arguments
# (kcat, redis-server, default-jre-headless, maven), which are wished for and not needed: without them some tests say that they did
# not run. Through apt-get only, saying what; elsewhere it names what is missing.
set -eu

# Whether what this package brings is there, whoever brought it.
there() {
    case $1 in
        gcc | g++ | make | perl | pkg-config | kcat | redis-server) command -v "$1" ;;
        default-jre-headless) command -v java ;;
        maven) command -v mvn ;;
        libc6-dev) echo '#include <stdio.h>' | gcc -E - ;;
        libssl-dev) pkg-config --exists openssl ;;
        ca-certificates) [ -e /etc/ssl/certs/ca-certificates.crt ] || [ -e /etc/pki/tls/certs/ca-bundle.crt ] ;;
        *) false ;;
    esac >/dev/null 2>&1
}

missing_of() {
    for package in "$@"; do
        there "$package" || printf ' %s' "$package"
    done
}

if ! command -v cargo >/dev/null 2>&1; then
    echo "cargo not found: install Rust 1.95 or later (https://rustup.rs), then run this again" >&2
    exit 1
fi

needed=$(missing_of gcc g++ make perl pkg-config libc6-dev libssl-dev ca-certificates)
wished=$(missing_of "$@")
[ -z "$needed$wished" ] && exit 0

as_root=""
[ "$(id -u)" = 0 ] || as_root=$(command -v sudo || echo none)
if command -v apt-get >/dev/null 2>&1 && [ "$as_root" != none ]; then
    echo "installing system packages:$needed$wished" >&2
    $as_root apt-get update -qq </dev/null
    # shellcheck disable=SC2086  # a list of words
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $needed $wished \
        </dev/null >&2
    exit 0
fi

[ -z "$wished" ] || echo "missing, some tests will not run:$wished" >&2
if [ -n "$needed" ]; then
    echo "missing, and this script cannot install it (no apt-get, or neither root nor sudo):$needed" >&2
    exit 1
fi
