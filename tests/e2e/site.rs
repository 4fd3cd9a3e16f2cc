//! A place to run a topology: a cluster, a registry, a stub CRM, a webhook receiver, and the topology applied.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use headwater::{
    codec::{EventEncoder, RegistryClient, murmur2},
    dev::{
        broker::{Broker, BrokerConfig},
        crm::{Crm, CrmOptions},
        intent::Intent,
        receiver::Receiver,
        registry::Registry,
        salesforce::{Salesforce, SalesforceOptions},
        traffic::Traffic,
    },
    event::Event,
    secret::Secret,
    topology::{LoadOptions, Rate, Variables, load},
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::support::{
    headwater::{self as process, Headwater},
    topics::{self, Isolation},
    verifier::{Verdict, Verifier},
    wait::wait_until,
    world::{Cluster, OnApacheKafka, unique},
};

const HOOK_SECRET: &str = "whsec_ZTJlLXNlY3JldC1vZi1oZWFkd2F0ZXItdGVzdHM=";
pub const PARTITIONS: i32 = 4;
/// What anything may take at most on a busy machine. Tests wait for conditions, this only ends those that never come.
pub const LIMIT: Duration = Duration::from_secs(120);

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Runtime::new().expect("a runtime")
    })
}

fn registry() -> String {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    REGISTRY.get_or_init(|| runtime().block_on(Registry::start(None)).expect("a registry")).url()
}

/// The development broker, one for all tests of the process.
pub struct OnDevelopmentBroker {
    bootstrap: String,
    registry_url: String,
}

impl OnDevelopmentBroker {
    pub fn start() -> Option<Self> {
        static BROKER: OnceLock<Broker> = OnceLock::new();
        let broker =
            BROKER.get_or_init(|| runtime().block_on(Broker::start(BrokerConfig::default())).expect("a broker"));
        Some(OnDevelopmentBroker { bootstrap: broker.address().to_string(), registry_url: registry() })
    }
}

impl Cluster for OnDevelopmentBroker {
    fn bootstrap(&self) -> &str {
        &self.bootstrap
    }
    fn registry_url(&self) -> &str {
        &self.registry_url
    }
}

/// Apache Kafka, where Java and Maven are present.
pub fn apache_kafka() -> Option<OnApacheKafka> {
    OnApacheKafka::start(registry)
}

/// A topology applied to a cluster, with what it talks to.
pub struct Site {
    bootstrap: String,
    registry_url: String,
    pub name: String,
    pub raw: String,
    file: PathBuf,
    folder: TempDir,
    pub crm: Crm,
    intent: Intent,
    salesforce: Salesforce,
    pub receiver: Receiver,
}

impl Site {
    /// Applies the campaign topology under a name of its own. `placement` is what follows `placement:`, or a list of
    /// `stages:`.
    pub fn new(cluster: &impl Cluster, placement: &str, crm_latency: Duration) -> Site {
        Site::with(cluster, placement, crm_latency, &[])
    }

    /// The same, with these texts of the topology replaced.
    pub fn with(cluster: &impl Cluster, placement: &str, crm_latency: Duration, edits: &[(&str, &str)]) -> Site {
        let (name, raw) = (unique("e2e"), unique("raw."));
        let text = include_str!("../../topologies/campaign.yaml")
            .replace("name: campaign ", &format!("{placement}\nname: {name} "))
            .replace("topic: events.raw ", &format!("topic: {raw} "))
            .replace("    rate_limit: 100/10s ", "    rate_limit: 100000/10s ");
        let text = edits.iter().fold(text, |text, (from, to)| {
            assert!(text.contains(from), "{from:?} is in the topology");
            text.replace(from, to)
        });
        let folder = TempDir::with_prefix("headwater-e2e-").expect("a folder");
        let file = folder.path().join("topology.yaml");
        std::fs::write(&file, text).expect("the topology is written");
        let options = CrmOptions {
            latency: crm_latency,
            quota: Rate { count: 1_000_000, per: Duration::from_secs(10) },
            ..CrmOptions::default()
        };
        let site = runtime().block_on(async {
            Site {
                bootstrap: cluster.bootstrap().to_owned(),
                registry_url: cluster.registry_url().to_owned(),
                name,
                raw,
                file,
                folder,
                crm: Crm::start(None, options).await.expect("a CRM"),
                intent: Intent::start(None).await.expect("an intent provider"),
                salesforce: Salesforce::start(
                    None,
                    SalesforceOptions {
                        latency: crm_latency,
                        daily_calls: 100_000_000,
                        ..SalesforceOptions::default()
                    },
                )
                .await
                .expect("a Salesforce"),
                receiver: Receiver::start(None, &Secret::new(HOOK_SECRET)).await.expect("a receiver"),
            }
        });
        let applied = site.command(&["apply"], &["--partitions", "4", "--replication-factor", "1"]);
        assert!(applied.status.success(), "apply: {}", String::from_utf8_lossy(&applied.stderr));
        site
    }

    fn env(&self) -> Vec<(String, String)> {
        let places = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/geoip/GeoIP2-City-Test.mmdb");
        [
            ("HEADWATER_BOOTSTRAP_SERVERS", self.bootstrap.clone()),
            ("HEADWATER_SCHEMA_REGISTRY_URL", self.registry_url.clone()),
            ("HEADWATER_POD", "pod-0".to_owned()),
            ("HEADWATER_STATE_DIR", self.state_dir().display().to_string()),
            ("HUBSPOT_URL", self.crm.url()),
            ("HUBSPOT_TOKEN", "demo".to_owned()),
            ("SALESFORCE_URL", self.salesforce.url()),
            ("INTENT_URL", self.intent.url()),
            ("HOOK_URL", self.receiver.url()),
            ("HOOK_SECRET", HOOK_SECRET.to_owned()),
            ("ALLOW_PRIVATE", "true".to_owned()),
            ("GEOIP_DB", places.to_owned()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
    }

    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// The topics whose names begin so.
    pub fn topics_with_prefix(&self, prefix: &str) -> Vec<String> {
        topics::names(&self.bootstrap).into_iter().filter(|topic| topic.starts_with(prefix)).collect()
    }

    /// The stages without deliveries, as `--stages` wants them.
    pub fn enriching_stages(&self) -> String {
        let text = std::fs::read_to_string(&self.file).expect("the topology");
        let options = LoadOptions { variables: Variables::placeholders(), ..LoadOptions::default() };
        let loaded = load("topology.yaml", &text, &options).unwrap_or_else(|findings| panic!("{findings:?}"));
        let intake = (!loaded.topology.source.keyed).then(|| "intake".to_owned());
        let stages = loaded.topology.stages.iter().map(|stage| stage.name.to_string());
        intake.into_iter().chain(stages).collect::<Vec<_>>().join(",")
    }

    /// Where the pods' local stores lie.
    pub fn state_dir(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Runs a command on the topology to its end.
    pub fn command(&self, before: &[&str], after: &[&str]) -> std::process::Output {
        self.command_on(&self.file, before, after)
    }

    /// The same on another file.
    pub fn command_on(&self, file: &Path, before: &[&str], after: &[&str]) -> std::process::Output {
        let file = file.display().to_string();
        let args: Vec<&str> = before.iter().copied().chain([file.as_str()]).chain(after.iter().copied()).collect();
        let env = self.env();
        process::run(&args, &borrowed(&env), LIMIT)
    }

    /// A copy of the topology with a text replaced.
    pub fn edited(&self, from: &str, to: &str) -> PathBuf {
        let text = std::fs::read_to_string(&self.file).expect("the topology");
        assert!(text.contains(from), "{from:?} is in the topology");
        let file = self.file.with_file_name(format!("{}.yaml", unique("edited")));
        std::fs::write(&file, text.replacen(from, to, 1)).expect("the copy is written");
        file
    }

    /// Starts `headwater run`, as one pod or another.
    pub fn run(&self, pod: &str, more: &[&str]) -> Headwater {
        self.run_with(&[], pod, more)
    }

    /// The same, by way of a proxy before the broker.
    pub fn run_through(&self, bootstrap: &str, pod: &str, more: &[&str]) -> Headwater {
        self.run_with(&[("HEADWATER_BOOTSTRAP_SERVERS", bootstrap)], pod, more)
    }

    /// The same with these variables.
    pub fn run_with(&self, variables: &[(&str, &str)], pod: &str, more: &[&str]) -> Headwater {
        self.start(variables, pod, more, |args, env| Headwater::spawn(args, env))
    }

    /// The same, where no file may grow beyond so many bytes.
    pub fn run_cramped(&self, pod: &str, most_bytes: u64) -> Headwater {
        self.start(&[], pod, &[], |args, env| Headwater::spawn_cramped(args, env, most_bytes))
    }

    fn start(
        &self,
        variables: &[(&str, &str)],
        pod: &str,
        more: &[&str],
        spawn: impl FnOnce(&[&str], &[(&str, &str)]) -> Headwater,
    ) -> Headwater {
        let file = self.file.display().to_string();
        let args: Vec<&str> = ["run", &file].into_iter().chain(more.iter().copied()).collect();
        let env = self.env();
        let mut env = borrowed(&env);
        env.push(("HEADWATER_POD", pod));
        env.extend(variables);
        spawn(&args, &env)
    }

    /// So many events of sample traffic, as a producer would send them: keyed by person, hence in order per person.
    pub fn send(&self, seed: u64, events: usize) {
        let start_ms = headwater::clock::unix_ms();
        let mut traffic = Traffic::new(seed, 500);
        self.send_events((0..events as i64).map(|index| traffic.next_event(start_ms + index)));
    }

    /// Sends these events.
    pub fn send_events(&self, events: impl IntoIterator<Item = Event>) {
        let mut encoder = self.encoder();
        let records: Vec<(i32, Arc<str>, Vec<u8>)> = events
            .into_iter()
            .map(|event| {
                let key = event.user_id.clone().or(event.anonymous_id.clone()).unwrap_or_default();
                let mut value = Vec::new();
                encoder.encode(&event, &mut value).expect("the event is encoded");
                (murmur2::partition(key.as_bytes(), PARTITIONS), key, value)
            })
            .collect();
        topics::fill(
            &self.bootstrap,
            &self.raw,
            records.iter().map(|(partition, key, value)| (*partition, &**key, value.clone())),
        );
    }

    /// One event with its own key, in a partition where the key does not belong.
    pub fn send_misplaced(&self, seed: u64) {
        let event = Traffic::new(seed, 500).next_event(headwater::clock::unix_ms());
        let key = event.user_id.clone().or(event.anonymous_id.clone()).unwrap_or_default();
        let mut value = Vec::new();
        self.encoder().encode(&event, &mut value).expect("the event is encoded");
        let elsewhere = (murmur2::partition(key.as_bytes(), PARTITIONS) + 1) % PARTITIONS;
        topics::fill(&self.bootstrap, &self.raw, [(elsewhere, &*key, value)]);
    }

    fn encoder(&self) -> EventEncoder {
        let client = RegistryClient::at(&self.registry_url).expect("a client");
        let id = runtime()
            .block_on(client.register(&format!("{}-value", self.raw), headwater::codec::EVENT_SCHEMA))
            .expect("the schema is registered");
        EventEncoder::new(id).expect("an encoder")
    }

    /// Sends bytes as they are.
    pub fn send_raw(&self, records: &[(i32, &str, &[u8])]) {
        topics::fill(
            &self.bootstrap,
            &self.raw,
            records.iter().map(|(partition, key, value)| (*partition, *key, value.to_vec())),
        );
    }

    /// Records in `<topology>.<suffix>` by now, markers included: for progress, not for counting.
    pub fn reached(&self, suffix: &str) -> i64 {
        let topic = format!("{}.{suffix}", self.name);
        topics::ends(&self.bootstrap, &topic, Isolation::Committed).iter().map(|(_, end)| end).sum()
    }

    pub fn verifier(&self) -> Verifier<'_> {
        Verifier {
            bootstrap: &self.bootstrap,
            registry: &self.registry_url,
            raw: &self.raw,
            topology: &self.name,
            limit: LIMIT,
        }
    }

    /// Waits until every raw record has come out, one way or the other, and gives the count.
    pub fn settled(&self, events: usize, run: &Headwater) -> Verdict {
        wait_until(
            LIMIT,
            || self.reached("enriched") + self.reached("dead-letters") >= events as i64 || !run.is_running(),
            || format!("{} of {events} so far\n{}", self.reached("enriched"), run.stderr()),
        );
        let verdict = || self.verifier().verdict();
        let mut last = verdict();
        wait_until(
            LIMIT,
            || {
                last = verdict();
                last.enriched + last.dead_lettered >= events || !run.is_running()
            },
            || format!("not all came out\n{}", run.stderr()),
        );
        last
    }

    /// Committed offsets of every group of ours equal the ends of what they read: nothing is left, markers included.
    pub fn has_no_lag(&self, stages: &[&str]) -> bool {
        let group = |group: &str, topic: &str| {
            topics::committed(&self.bootstrap, group, topic)
                == topics::ends(&self.bootstrap, topic, Isolation::Committed)
        };
        let name = &self.name;
        group(&format!("{name}.intake"), &self.raw)
            && group(&format!("{name}.deliver.ops-hook"), &format!("{name}.triggers"))
            && stages.iter().all(|topic| {
                let topic = format!("{name}.{topic}");
                group(&topic, &topic)
            })
    }
}

/// SIGTERM ends a run within seconds, with 0.
pub fn stop(run: Headwater) {
    run.sigterm();
    let status = run.wait(Duration::from_secs(30));
    assert!(status.success(), "{status}\n{}", run.stderr());
}

fn borrowed(env: &[(String, String)]) -> Vec<(&str, &str)> {
    env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}
