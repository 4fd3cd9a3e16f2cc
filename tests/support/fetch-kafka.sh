#!/bin/sh
# Fetches Apache Kafka (broker, formatter, console tools) from Maven Central into <repository>/.kafka/libs.
# Does nothing when it is there. Takes a lock, so that tests that start together fetch once.
# Exit codes: 0 there, 3 Java or Maven is missing, 1 Maven failed (its output says why).
set -eu

KAFKA=4.3.1
SCALA=2.13
LOG4J=2.25.4

root=$(cd "$(dirname "$0")/../.." && pwd)
home="$root/.kafka"
mark="$home/libs/.complete-$KAFKA-$LOG4J"

[ -f "$mark" ] && exit 0
for tool in java mvn; do
    if ! command -v "$tool" >/dev/null 2>&1; then
        echo "$tool not found: install a Java 17 runtime and Maven (Debian: openjdk-17-jre-headless maven)" >&2
        exit 3
    fi
done

mkdir -p "$home"
exec 9>"$home/lock"
flock 9
[ -f "$mark" ] && exit 0

echo "fetching Apache Kafka $KAFKA from Maven Central into .kafka/libs (about 55 MB, once)" >&2
rm -rf "$home/libs" "$home/incoming"
cat >"$home/pom.xml" <<POM
<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>headwater.tests</groupId>
  <artifactId>apache-kafka</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_$SCALA</artifactId><version>$KAFKA</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>$KAFKA</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>$LOG4J</version></dependency>
  </dependencies>
</project>
POM
mvn -q -B -f "$home/pom.xml" dependency:copy-dependencies -DoutputDirectory="$home/incoming" </dev/null >&2
# Complete or absent: a fetch that was cut leaves no libs folder behind.
touch "$home/incoming/.complete-$KAFKA-$LOG4J"
mv "$home/incoming" "$home/libs"
