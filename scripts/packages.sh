#!/bin/sh
# Installs the system packages that a build needs, and those named as arguments, where they are missing.
# Through apt-get only; says what it installs. Elsewhere it checks for the tools and names what is missing.
set -eu

packages="gcc g++ make perl libc6-dev ca-certificates pkg-config libssl-dev $*"

if ! command -v cargo >/dev/null 2>&1; then
    echo "cargo not found: install Rust 1.95 or later (https://rustup.rs), then run this again" >&2
    exit 1
fi

if command -v apt-get >/dev/null 2>&1 && command -v dpkg-query >/dev/null 2>&1; then
    missing=""
    for package in $packages; do
        state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
        [ "$state" = installed ] || missing="$missing $package"
    done
    [ -z "$missing" ] && exit 0
    as_root=""
    if [ "$(id -u)" != 0 ]; then
        if ! command -v sudo >/dev/null 2>&1; then
            echo "these system packages are missing; install them as root: apt-get install$missing" >&2
            exit 1
        fi
        as_root="sudo"
    fi
    echo "installing system packages:$missing" >&2
    $as_root apt-get update -qq </dev/null
    # shellcheck disable=SC2086  # a list of words
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing </dev/null >&2
    exit 0
fi

missing=""
for tool in cc c++ make perl pkg-config; do
    command -v "$tool" >/dev/null 2>&1 || missing="$missing $tool"
done
if command -v pkg-config >/dev/null 2>&1 && ! pkg-config --exists openssl; then
    missing="$missing OpenSSL-headers"
fi
if [ -n "$missing" ]; then
    echo "missing, and there is no apt-get to install it:$missing" >&2
    exit 1
fi
