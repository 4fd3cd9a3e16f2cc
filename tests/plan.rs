//! `plan` and `apply` against a real broker and the in-process registry. Each case is a function of the broker's
//! address; topologies have names of their own, so that cases share a broker.

use std::time::Duration;

use headwater::{
    codec::{RegistryClient, murmur2},
    config::Settings,
    dev::registry::Registry,
    event::Type,
    kafka::{
        admin::{Admin, AdminError, Bounds, TopicSpec},
        control::{self, Chain, ControlError},
    },
    ops::{Deployment, Options, Plan, apply, observe, plan},
    topology::{AgentKind, AgentSpec, OutputField, SourceSpec, StageSpec, Start, Topology},
};
use rdkafka::{
    consumer::{BaseConsumer, Consumer},
    producer::{FutureProducer, FutureRecord},
};

fn settings(bootstrap: &str, registry_url: &str) -> Settings {
    Settings {
        bootstrap_servers: bootstrap.to_owned(),
        registry_url: registry_url.to_owned(),
        registry_auth: None,
        kafka: Default::default(),
        state_dir: Default::default(),
        pod: "test-0".into(),
    }
}

/// A name that no other run uses, also on a broker that outlives us.
fn unique(name: &str) -> String {
    format!("{name}{}", headwater::clock::unix_ms() % 1_000_000_000)
}

/// `stages`: names of agents, comma between.
fn topology(name: &str, stages: &[&str]) -> Topology {
    let names: Vec<&str> = stages.iter().flat_map(|stage| stage.split(',')).collect();
    let agent = |name: &&str| AgentSpec {
        name: (*name).into(),
        kind: AgentKind::UserAgent { bots: None },
        deps: vec![],
        input: vec![],
        output: vec![OutputField { name: "value".into(), ty: Type::Text, from: "value".into() }],
        when: None,
        consent: None,
        deadline: Duration::from_secs(5),
        timeout: Duration::from_secs(1),
        retry: 0,
        fallback: vec![],
        skip_older_than: None,
    };
    let mut input = format!("{name}.events");
    let mut specs = vec![];
    for (index, stage) in stages.iter().enumerate() {
        let first = stage.split(',').next().unwrap();
        let output = format!("{name}.{}", if index + 1 == stages.len() { "enriched" } else { first });
        specs.push(StageSpec {
            name: first.into(),
            agents: stage.split(',').map(|agent| names.iter().position(|name| *name == agent).unwrap()).collect(),
            input: input.as_str().into(),
            output: output.as_str().into(),
        });
        input = output;
    }
    Topology {
        name: name.into(),
        version: stages.join("|").as_str().into(),
        source: SourceSpec {
            topic: format!("{name}.raw").as_str().into(),
            key: vec![],
            dedup: None,
            keyed: false,
            start: Start::Beginning,
        },
        services: vec![],
        agents: names.iter().map(agent).collect(),
        stages: specs,
        triggers: vec![],
        destinations: vec![],
        sinks: vec![],
        feeds: Vec::new(),
    }
}

/// A broker, a registry and clients for both.
struct World {
    admin: Admin,
    client: RegistryClient,
    _registry: Option<Registry>,
}

impl World {
    async fn new(bootstrap: &str) -> World {
        // An outside judge may stand in for the registry of ours.
        let (registry, url) = match std::env::var("HEADWATER_TEST_REGISTRY_URL") {
            Ok(url) => (None, url),
            Err(_) => {
                let registry = Registry::start(None).await.unwrap();
                let url = registry.url();
                (Some(registry), url)
            }
        };
        let settings = settings(bootstrap, &url);
        World {
            admin: Admin::new(&settings).unwrap(),
            client: RegistryClient::new(&settings).unwrap(),
            _registry: registry,
        }
    }

    async fn plan(&self, topology: &Topology) -> Plan {
        let deployment = Deployment::of(topology);
        let observed = observe(&deployment, &self.admin, &self.client).await.unwrap();
        plan(&deployment, &observed, &Options { partitions: Some(3), replication: 3 })
    }

    async fn apply(&self, topology: &Topology) -> usize {
        let plan = self.plan(topology).await;
        assert!(plan.refusals.is_empty(), "{plan:?}");
        let made = apply(&plan, &self.admin, &self.client, |_| {}).await.unwrap();
        assert_eq!(made, plan.changes.len());
        made
    }

    async fn control(&self, topology: &Topology) -> Option<control::Control> {
        let (config, topic) = (self.admin.config().clone(), topology.topic("control"));
        tokio::task::spawn_blocking(move || control::read(&config, &topic, Duration::from_secs(20)).unwrap())
            .await
            .unwrap()
    }

    async fn produce(&self, topic: &str, partition: i32, key: &str, count: usize) {
        let producer: FutureProducer = self.admin.config().create().unwrap();
        for _ in 0..count {
            let record = FutureRecord::to(topic).partition(partition).key(key).payload("x");
            producer.send(record, Duration::from_secs(10)).await.unwrap();
        }
    }

    async fn create(&self, name: &str, partitions: i32) {
        let spec = TopicSpec { name: name.to_owned(), partitions, replication: 1, config: vec![] };
        self.admin.create_topics(&[spec]).await.unwrap();
    }
}

async fn applying_twice_changes_nothing_the_second_time(bootstrap: &str) {
    let world = World::new(bootstrap).await;
    let topology = topology(&unique("twice"), &["geo", "score"]);
    let name = &*topology.name;
    assert_eq!(world.apply(&topology).await, 6 + 1 + 6 + 3 + 1);

    let first = world.control(&topology).await.unwrap();
    assert_eq!((first.epoch, first.chain.number, first.chain.open), (0, 1, true));
    assert_eq!(first.chain.agents, ["geo", "score"]);

    let topics = world.admin.topics(&[format!("{name}.geo"), format!("{name}.control")]).await.unwrap();
    let (geo, control) = (&topics[&format!("{name}.geo")], &topics[&format!("{name}.control")]);
    assert_eq!(
        (geo.partitions, &*geo.config["retention.ms"], &*geo.config["cleanup.policy"]),
        (3, "86400000", "delete")
    );
    assert_eq!((control.partitions, &*control.config["cleanup.policy"]), (1, "compact"));
    for group in ["intake", "events", "geo"] {
        let topic = if group == "intake" { "raw" } else { group };
        let committed = world.admin.committed(&format!("{name}.{group}"), &format!("{name}.{topic}"), 3).await.unwrap();
        assert_eq!(committed, [Some(0); 3], "{group}");
    }

    let plan = world.plan(&topology).await;
    assert!(plan.is_empty(), "{plan:?}");
    assert_eq!(world.apply(&topology).await, 0);
    assert_eq!(world.control(&topology).await.unwrap(), first);
}

async fn a_keyed_source_is_looked_at(bootstrap: &str) {
    let world = World::new(bootstrap).await;
    let mut topology = topology(&unique("keyed"), &["geo"]);
    topology.source.keyed = true;
    topology.stages[0].input = topology.source.topic.clone();
    let raw = topology.source.topic.clone();
    world.create(&raw, 3).await;
    for key in ["u_1", "u_2", "u_3"] {
        world.produce(&raw, murmur2::partition(key.as_bytes(), 3), key, 2).await;
    }
    assert!(world.plan(&topology).await.refusals.is_empty());
    world.produce(&raw, (murmur2::partition(b"u_1", 3) + 1) % 3, "u_1", 1).await;
    let refusals = world.plan(&topology).await.refusals;
    assert_eq!(refusals.iter().map(|refusal| refusal.code).collect::<Vec<_>>(), ["HW605"]);
    assert!(refusals[0].message.contains("1 of its 7 newest records"), "{refusals:?}");
}

async fn the_cluster_has_an_id(bootstrap: &str) {
    let world = World::new(bootstrap).await;
    assert!(!world.admin.cluster_id().await.unwrap().is_empty());
}

async fn a_raw_topic_that_exists_is_read_from_where_the_source_says(bootstrap: &str) {
    for (start, expected) in [(Start::Beginning, [Some(0), Some(0)]), (Start::End, [Some(4), Some(0)])] {
        let world = World::new(bootstrap).await;
        let mut topology = topology(&unique("start"), &["geo"]);
        topology.source.start = start;
        world.create(&topology.source.topic, 2).await;
        world.produce(&topology.source.topic, 0, "u", 4).await;
        assert_eq!(world.admin.bounds(&topology.source.topic, 2).await.unwrap()[0], Bounds { begin: 0, end: 4 });
        world.apply(&topology).await;
        let committed = world.admin.committed(&topology.topic("intake"), &topology.source.topic, 2).await.unwrap();
        assert_eq!(committed, expected);
    }
}

async fn a_changed_chain_is_refused_and_an_agent_that_joins_is_not(bootstrap: &str) {
    let world = World::new(bootstrap).await;
    let name = unique("chain");
    world.apply(&topology(&name, &["geo", "score"])).await;
    let refused = world.plan(&topology(&name, &["geo", "device", "score"])).await;
    assert_eq!(refused.refusals.iter().map(|refusal| refusal.code).collect::<Vec<_>>(), ["HW503"]);

    let wider = topology(&name, &["geo,device", "score"]);
    assert_eq!(world.apply(&wider).await, 3 + 1, "three subjects and the control record");
    let control = world.control(&wider).await.unwrap();
    assert_eq!(
        (control.epoch, control.chain.number, &control.chain.agents),
        (1, 1, &vec!["geo".into(), "device".into(), "score".into()])
    );
    assert_eq!(world.client.latest(&format!("{name}.enriched-value")).await.unwrap().unwrap().version, 2);
    // Back again: both versions are there, so only the control record is written.
    assert_eq!(world.apply(&topology(&name, &["geo", "score"])).await, 1);
}

async fn first_offsets_never_move_what_a_group_has_committed(bootstrap: &str) {
    let world = World::new(bootstrap).await;
    let topic = unique("first");
    world.create(&topic, 2).await;
    world.produce(&topic, 0, "u", 3).await;
    world.admin.commit_first("first-group", &topic, &[(0, 2)]).await.unwrap();
    world.admin.commit_first("first-group", &topic, &[(0, 0), (1, 0)]).await.unwrap();
    assert_eq!(world.admin.committed("first-group", &topic, 2).await.unwrap(), [Some(2), Some(0)]);
}

async fn first_offsets_of_a_group_at_work_are_refused(bootstrap: &str) {
    let world = World::new(bootstrap).await;
    let topic = unique("busy");
    world.create(&topic, 1).await;
    let mut config = world.admin.config().clone();
    config.set("group.id", &topic).set("enable.auto.commit", "false");
    let name = topic.clone();
    let member = tokio::task::spawn_blocking(move || {
        let member: BaseConsumer = config.create().unwrap();
        member.subscribe(&[&name]).unwrap();
        while member.assignment().unwrap().count() == 0 {
            let _ = member.poll(Duration::from_millis(20));
        }
        member
    });
    let member = member.await.unwrap();
    let error = world.admin.commit_first(&topic, &topic, &[(0, 0)]).await.unwrap_err();
    assert!(error.to_string().contains("the group is at work"), "{error}");
    tokio::task::spawn_blocking(move || drop(member)).await.unwrap();
}

async fn the_control_topic_is_read_to_its_end(bootstrap: &str) {
    let world = World::new(bootstrap).await;
    let topology = topology(&unique("control"), &["geo"]);
    let topic = topology.topic("control");
    world.create(&topic, 1).await;
    assert_eq!(world.control(&topology).await, None);
    world.produce(&topic, 0, "something-else", 1).await;
    assert_eq!(world.control(&topology).await, None);

    let chain = |number| Chain { number, ..Deployment::of(&topology).chain };
    for number in 1..=5 {
        assert_eq!(control::write(world.admin.config(), &topic, &chain(number)).await.unwrap(), i64::from(number));
    }
    world.produce(&topic, 0, "something-else", 1).await;
    assert_eq!(world.control(&topology).await, Some(control::Control { chain: chain(5), epoch: 5 }));

    world.produce(&topic, 0, "chain", 1).await;
    let config = world.admin.config().clone();
    let read = tokio::task::spawn_blocking(move || control::read(&config, &topic, Duration::from_secs(20)));
    assert!(matches!(read.await.unwrap(), Err(ControlError::Malformed { offset: 7, .. })));
}

async fn topics_with_other_partition_counts_are_refused(bootstrap: &str) {
    let world = World::new(bootstrap).await;
    let topology = topology(&unique("counts"), &["geo"]);
    world.create(&topology.topic("events"), 3).await;
    world.create(&topology.topic("enriched"), 5).await;
    let plan = world.plan(&topology).await;
    assert_eq!(plan.refusals.iter().map(|refusal| refusal.code).collect::<Vec<_>>(), ["HW504"]);
}

/// Each case on both brokers.
macro_rules! on_both_brokers {
    ($($case:ident)*) => {
        mod on_the_development_broker {
            use crate::{e2e::OnDevelopmentBroker, support::world::Cluster};

            $(
                #[test]
                fn $case() {
                    if let Some(cluster) = OnDevelopmentBroker::start() {
                        super::run(super::$case(cluster.bootstrap()));
                    }
                }
            )*
        }
        mod on_apache_kafka {
            $(
                #[test]
                fn $case() {
                    if let Some(kafka) = crate::support::kafka::ApacheKafka::shared() {
                        super::run(super::$case(kafka.bootstrap()));
                    }
                }
            )*
        }
    };
}

fn run(case: impl Future<Output = ()>) {
    tokio::runtime::Runtime::new().expect("a runtime").block_on(case);
}

on_both_brokers! {
    applying_twice_changes_nothing_the_second_time
    a_raw_topic_that_exists_is_read_from_where_the_source_says
    a_changed_chain_is_refused_and_an_agent_that_joins_is_not
    first_offsets_never_move_what_a_group_has_committed
    first_offsets_of_a_group_at_work_are_refused
    the_control_topic_is_read_to_its_end
    topics_with_other_partition_counts_are_refused
    the_cluster_has_an_id
    a_keyed_source_is_looked_at
}

#[tokio::test]
async fn a_cluster_that_is_away_is_said_to_be_away() {
    let admin = Admin::new(&settings("127.0.0.1:1", "http://127.0.0.1:1")).unwrap();
    let error = admin.with_timeout(Duration::from_secs(1)).brokers().await.unwrap_err();
    assert!(matches!(&error, AdminError::Unreachable { .. }), "{error}");
    assert!(error.to_string().starts_with("HW501 Kafka at 127.0.0.1:1 cannot be reached"), "{error}");
}
