//! librdkafka's settings: what every client of ours shares, then what the operator overrides.

use rdkafka::ClientConfig;

use crate::config::Settings;

/// The settings of any client of this process. What `HEADWATER_KAFKA_…` sets overrides these; what exactly-once rests on
/// (isolation, transactions, offsets) is set by each client after them and stands.
pub fn client_config(settings: &Settings) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &settings.bootstrap_servers)
        .set("client.id", format!("headwater-{}", settings.pod))
        .set("socket.nagle.disable", "true")
        .set("socket.keepalive.enable", "true")
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "2000")
        .set("allow.auto.create.topics", "false");
    for (key, value) in &settings.kafka {
        config.set(key, value.expose());
    }
    config
}
