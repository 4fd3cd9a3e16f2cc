//! From our settings to librdkafka's.

use rdkafka::ClientConfig;

use crate::config::Settings;

/// What every client of ours starts from: the servers, who we are, and what the operator set by `HEADWATER_KAFKA_…`.
/// What a client needs for its own sake (isolation, commits, transactions) it sets on top.
pub fn client_config(settings: &Settings) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &settings.bootstrap_servers);
    config.set("client.id", format!("headwater-{}", settings.pod));
    for (key, value) in &settings.kafka {
        config.set(key, value.expose());
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    #[test]
    fn what_the_operator_sets_reaches_librdkafka() {
        let settings = Settings {
            bootstrap_servers: "127.0.0.1:9092".into(),
            registry_url: String::new(),
            registry_auth: None,
            kafka: [("security.protocol".to_owned(), Secret::new("SSL"))].into(),
            pod: "pod-0".into(),
        };
        let config = client_config(&settings);
        assert_eq!(config.get("security.protocol"), Some("SSL"));
        assert_eq!(config.get("client.id"), Some("headwater-pod-0"));
    }
}
