//! A broker and a registry, whichever they are: an end-to-end suite is written once against [`Cluster`].
//!
//! # The two clusters
//!
//! - Apache Kafka: [`OnApacheKafka`]. Its registry is any that speaks Confluent's API: the in-process one of
//!   `headwater::dev::registry`, or, as an outside judge, one that `HEADWATER_TEST_REGISTRY_URL` names.
//! - The development broker of `headwater::dev::broker` with `headwater::dev::registry`. It is one more
//!   implementation of [`Cluster`]: hold `Broker` and `Registry` (and the runtime they live on), give their addresses.
//!
//! A case is a function of the cluster; [`cases`] makes one `#[test]` per case and cluster, so that a failure names both.
//! Topics bear [`unique`] names, since the tests of one process share their broker.

use std::sync::atomic::{AtomicU32, Ordering};

use super::kafka::ApacheKafka;

/// Where a pipeline finds its broker and its schema registry.
pub trait Cluster {
    /// `127.0.0.1:port`.
    fn bootstrap(&self) -> &str;
    /// `http://127.0.0.1:port`, with a path where the API has one.
    fn registry_url(&self) -> &str;

    /// The variables by which the binary finds them.
    fn env(&self) -> Vec<(&str, &str)> {
        vec![("HEADWATER_BOOTSTRAP_SERVERS", self.bootstrap()), ("HEADWATER_SCHEMA_REGISTRY_URL", self.registry_url())]
    }
}

/// The shared Apache Kafka with a registry that the caller started.
pub struct OnApacheKafka {
    kafka: &'static ApacheKafka,
    registry_url: String,
}

impl OnApacheKafka {
    /// `registry` is asked for its address only where Apache Kafka is to be had and no outside registry is named.
    pub fn start(registry: impl FnOnce() -> String) -> Option<OnApacheKafka> {
        let kafka = ApacheKafka::shared()?;
        let registry_url = std::env::var("HEADWATER_TEST_REGISTRY_URL").unwrap_or_else(|_| registry());
        Some(OnApacheKafka { kafka, registry_url })
    }

    /// The broker itself, for its tools.
    pub fn kafka(&self) -> &ApacheKafka {
        self.kafka
    }
}

impl Cluster for OnApacheKafka {
    fn bootstrap(&self) -> &str {
        self.kafka.bootstrap()
    }

    fn registry_url(&self) -> &str {
        &self.registry_url
    }
}

/// A module of tests, one per case: `cases! { on_apache_kafka, <Option of a cluster> => a_case another_case }`.
/// Cases are functions of the surrounding module; where the cluster is `None` (it has said why) they do not run.
macro_rules! cases {
    ($cluster:ident, $start:expr => $($case:ident)+) => {
        mod $cluster {
            #[allow(unused_imports)]
            use super::*;

            $(#[test]
            fn $case() {
                if let Some(cluster) = $start {
                    super::$case(cluster);
                }
            })+
        }
    };
}
pub(crate) use cases;

/// A topology or topic name that no other test of this process uses.
pub fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{name}{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
