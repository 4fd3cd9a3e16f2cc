//! Kafka's own console tools, fetched once from Maven Central.
