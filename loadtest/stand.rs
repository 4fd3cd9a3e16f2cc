//! What stands around the engine: Apache Kafka, a registry, a stub CRM that answers soon, a webhook receiver.

use std::time::Duration;

use headwater::{
    dev::{
        crm::{Crm, CrmOptions},
        receiver::Receiver,
        registry::Registry,
    },
    secret::Secret,
    topology::Rate,
};
use tokio::runtime::Runtime;

use crate::{Outcome, support::kafka::ApacheKafka};

/// Signs the webhooks.
pub const HOOK_SECRET: &str = "whsec_bG9hZC10ZXN0LXNlY3JldC1vZi1oZWFkd2F0ZXI=";
/// Of every topic.
pub const PARTITIONS: i32 = 8;
/// Whom the traffic is made by and the CRM knows.
pub const PEOPLE: u32 = 2_000;
/// What a lookup costs that the cache does not spare.
const CRM_LATENCY: Duration = Duration::from_millis(20);

/// All of it, until dropped.
pub struct Stand {
    pub kafka: ApacheKafka,
    pub registry: Registry,
    pub crm: Crm,
    pub receiver: Receiver,
    /// Last, so that the servers above end before what they run on.
    pub runtime: Runtime,
}

impl Stand {
    /// Starts everything. `None`, after saying so, where Java or Maven is missing.
    pub fn start() -> Outcome<Option<Stand>> {
        // An error would say that another one is installed already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let Some(kafka) = ApacheKafka::start() else { return Ok(None) };
        let runtime = Runtime::new()?;
        let options = CrmOptions {
            latency: CRM_LATENCY,
            population: u64::from(PEOPLE),
            quota: Rate { count: 1_000_000, per: Duration::from_secs(10) },
            ..CrmOptions::default()
        };
        let (registry, crm, receiver) = runtime.block_on(async {
            let registry = Registry::start(None).await?;
            let crm = Crm::start(None, options).await?;
            let receiver = Receiver::start(None, &Secret::new(HOOK_SECRET)).await?;
            Ok::<_, std::io::Error>((registry, crm, receiver))
        })?;
        Ok(Some(Stand { kafka, registry, crm, receiver, runtime }))
    }

    /// What the broker has complained about, by how often, and the stubs' counts.
    pub fn complaints(&self) -> String {
        let log = self.kafka.log();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(" WARN ") || line.contains(" ERROR ")).collect();
        let mut text = format!(
            "broker log: {} warnings or errors\nCRM: {:?}\nwebhooks: {:?}",
            lines.len(),
            self.crm.counts(),
            self.receiver.counts()
        );
        for line in lines.iter().rev().take(5) {
            text += &format!("\n  {line}");
        }
        text
    }
}
