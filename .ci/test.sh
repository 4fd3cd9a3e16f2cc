#!/bin/sh
# Every test: unit tests, the integration tests (tests/all.rs), the examples in the docs.
# One process for all integration tests, not one per test, so that they share one Apache Kafka.
set -eu
cd "$(dirname "$0")/.."

sh .ci/packages.sh kcat redis-server

HEADWATER_TEST_KAFKA_REPORT=$(mktemp)
export HEADWATER_TEST_KAFKA_REPORT

tell() {
    code=$?
    echo
    if grep -q '^SKIPPED' "$HEADWATER_TEST_KAFKA_REPORT"; then
        sort -u "$HEADWATER_TEST_KAFKA_REPORT"
        echo "!! Apache Kafka: the tests above did NOT run (Debian: apt-get install default-jre-headless maven)."
    elif grep -q '^RAN' "$HEADWATER_TEST_KAFKA_REPORT"; then
        echo "Apache Kafka: every suite ran on a real broker."
    else
        echo "!! Apache Kafka: no suite was reached."
    fi
    command -v redis-server >/dev/null 2>&1 ||
        echo "!! Redis: its tests did NOT run (Debian: apt-get install redis-server)."
    rm -f "$HEADWATER_TEST_KAFKA_REPORT"
    exit "$code"
}
trap tell EXIT

cargo test --locked --no-fail-fast
