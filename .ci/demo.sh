#!/bin/sh
# Builds headwater, showing how long it takes, then runs the demo. Exit code: the demo's.
set -eu
cd "$(dirname "$0")/.."

sh .ci/packages.sh

if [ -x "${CARGO_TARGET_DIR:-target}/debug/headwater" ]; then
    what="[1/3] building headwater (only what has changed)"
else
    what="[1/3] building headwater (first time about 6 min on 2 cores, mostly librdkafka)"
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
start=$(date +%s)
elapsed() {
    seconds=$(($(date +%s) - start))
    printf '%dm%02ds' $((seconds / 60)) $((seconds % 60))
}

cargo build --locked >"$log" 2>&1 &
build=$!
trap 'kill "$build" 2>/dev/null || true; rm -f "$log"; exit 130' INT TERM
if [ -t 1 ]; then
    while kill -0 "$build" 2>/dev/null; do
        printf '\r%s … %s ' "$what" "$(elapsed)"
        sleep 1
    done
else
    echo "$what …"
fi
if wait "$build"; then
    if [ -t 1 ]; then printf '\r'; fi
    echo "$what … $(elapsed)"
else
    echo
    cat "$log" >&2
    exit 1
fi
rm -f "$log"
trap - EXIT INT TERM

exec cargo run --quiet --locked -- dev
