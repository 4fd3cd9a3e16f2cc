//! Plans for made-up clusters.

use std::{collections::BTreeMap, time::Duration};

use super::*;
use crate::{
    codec::Registered,
    event::Type,
    kafka::{
        admin::TopicState,
        control::{Chain, Control},
    },
    secret::Secret,
    topology::{
        AgentKind, AgentSpec, DestinationKind, DestinationSpec, OutputField, SourceSpec, StageSpec, Start, Topology,
    },
};

/// A topology with one agent a stage, or as `stages` says: names of agents, comma between.
fn topology(stages: &[&str]) -> Topology {
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
    let mut input = "campaign.events".to_owned();
    let mut specs = vec![];
    for (index, stage) in stages.iter().enumerate() {
        let name = stage.split(',').next().unwrap_or_default();
        let output = if index + 1 == stages.len() { "campaign.enriched".into() } else { format!("campaign.{name}") };
        specs.push(StageSpec {
            name: name.into(),
            agents: stage.split(',').filter_map(|agent| names.iter().position(|name| *name == agent)).collect(),
            input: input.as_str().into(),
            output: output.as_str().into(),
        });
        input = output;
    }
    Topology {
        name: "campaign".into(),
        version: "v1".into(),
        source: SourceSpec {
            topic: "events.raw".into(),
            key: vec![],
            dedup: None,
            keyed: false,
            start: Start::Beginning,
        },
        services: vec![],
        agents: names.iter().map(agent).collect(),
        stages: specs,
        triggers: vec![],
        destinations: vec![DestinationSpec {
            name: "hook".into(),
            kind: DestinationKind::Webhook { url: Secret::new("http://x"), secret: None, headers: vec![] },
            rate_limit: None,
            timeout: Duration::from_secs(5),
            concurrency: 1,
            retry_for: Duration::from_secs(5),
            give_up: Duration::from_secs(5),
            allow_private: true,
        }],
        sinks: vec![],
        feeds: Vec::new(),
    }
}

/// What there is once that topology has been applied with 12 partitions.
fn applied(topology: &Topology) -> Observed {
    let deployment = Deployment::of(topology);
    let state = |topic: &Topic| TopicState {
        partitions: if topic.role == Role::Control { 1 } else { 12 },
        config: BTreeMap::from([(
            "cleanup.policy".into(),
            if matches!(topic.role, Role::Control | Role::State { .. }) { "compact" } else { "delete" }.into(),
        )]),
    };
    let subject = |subject: &Subject| ObservedSubject {
        latest: Some(Registered { id: 1, version: 7, schema: subject.schema.clone() }),
        holds_it: true,
        level: Some("FULL_TRANSITIVE".into()),
        incompatibilities: vec![],
    };
    Observed {
        brokers: 3,
        topics: deployment.topics.iter().map(|topic| (topic.name.clone(), state(topic))).collect(),
        subjects: deployment.subjects.iter().map(|s| (s.name.clone(), subject(s))).collect(),
        committed: deployment.groups.iter().map(|group| (group.name.clone(), vec![Some(5); 12])).collect(),
        sampled: Sampled::default(),
        control: Some(Control { chain: deployment.chain, epoch: 4 }),
    }
}

fn planned(topology: &Topology, observed: &Observed) -> Plan {
    plan(&Deployment::of(topology), observed, &Options::default())
}

fn codes(plan: &Plan) -> Vec<&str> {
    plan.refusals.iter().map(|refusal| refusal.code).collect()
}

#[test]
fn a_new_deployment_creates_everything_and_the_chain_last() {
    let plan = planned(&topology(&["geo", "score"]), &Observed { brokers: 1, ..Observed::default() });
    assert_eq!(
        plan.text("topologies/campaign.yaml"),
        r"  + topic    events.raw                     12 partitions, rf 1, delete 7d
  + topic    campaign.events                12 partitions, rf 1, delete 24h
  + topic    campaign.geo                   12 partitions, rf 1, delete 24h
  + topic    campaign.enriched              12 partitions, rf 1, delete 7d
  + topic    campaign.triggers              12 partitions, rf 1, delete 7d
  + topic    campaign.dead-letters          12 partitions, rf 1, delete 7d
  + topic    campaign.control               1 partition, rf 1, compacted
  + schema   events.raw-value               headwater.Event   FULL_TRANSITIVE
  + schema   campaign.events-value          headwater.campaign.Enriched   FULL_TRANSITIVE
  + schema   campaign.geo-value             headwater.campaign.Enriched   FULL_TRANSITIVE
  + schema   campaign.enriched-value        headwater.campaign.Enriched   FULL_TRANSITIVE
  + schema   campaign.triggers-value        headwater.Trigger   FULL_TRANSITIVE
  + schema   campaign.dead-letters-value    headwater.DeadLetter   FULL_TRANSITIVE
  + group    campaign.intake                begins at the beginning of events.raw
  + group    campaign.events                begins at the end of campaign.events
  + group    campaign.geo                   begins at the end of campaign.geo
  + group    campaign.deliver.hook          begins at the end of campaign.triggers
  + chain    1                              stages geo → score
  ! events.raw did not exist: it is created with 12 partitions. Producers write events there
  ! replication factor 1 instead of 3: there is 1 broker. A lost disk loses data
    nothing is deleted.  Apply with: headwater apply topologies/campaign.yaml
"
    );
    assert!(matches!(plan.changes.last(), Some(Change::Chain { from: None, .. })));
    assert_eq!(plan.json()["changes"][0]["name"], "events.raw");
}

#[test]
fn what_is_applied_stays_as_it_is() {
    let topology = topology(&["geo", "score"]);
    let plan = planned(&topology, &applied(&topology));
    assert!(plan.is_empty(), "{plan:?}");
    assert_eq!(plan.text("x"), "    nothing to change: 7 topics, 6 subjects and 4 groups are as campaign needs them\n");
}

#[test]
fn an_agent_that_joins_a_stage_needs_no_drain() {
    let mut observed = applied(&topology(&["geo", "score"]));
    for record in ["campaign.events-value", "campaign.geo-value", "campaign.enriched-value"] {
        observed.subjects.get_mut(record).unwrap().holds_it = false;
    }
    let plan = planned(&Topology { version: "v2".into(), ..topology(&["geo,device", "score"]) }, &observed);
    assert_eq!(codes(&plan), [""; 0]);
    let text = plan.text("x");
    assert!(
        text.contains(
            "~ schema   campaign.geo-value             v7→v8 adds device {value, provenance}   FULL_TRANSITIVE ✓"
        ),
        "{text}"
    );
    assert!(text.contains("~ chain    1 kept"), "{text}");
    assert_eq!(plan.changes.len(), 4);
}

#[test]
fn a_changed_chain_is_refused_with_both_chains() {
    let plan = planned(&topology(&["geo", "device", "score"]), &applied(&topology(&["geo", "score"])));
    assert_eq!(codes(&plan), ["HW503"]);
    let message = &plan.refusals[0].message;
    assert!(message.contains("campaign.events → campaign.geo → campaign.enriched, wanted is campaign.events → campaign.geo → campaign.device → campaign.enriched"), "{message}");
    assert!(plan.text("x").ends_with("    this cannot be applied; nothing is changed.\n"));
}

#[test]
fn an_agent_that_moves_between_stages_changes_the_chain() {
    let plan = planned(&topology(&["geo", "score,device"]), &applied(&topology(&["geo,device", "score"])));
    assert_eq!(codes(&plan), ["HW503"]);
    assert!(plan.refusals[0].message.contains("agent device moves from stage geo to stage score"));
}

#[test]
fn only_the_version_changes_the_record_but_not_the_chain() {
    let old = topology(&["geo"]);
    let new = Topology { version: "v2".into(), ..old.clone() };
    let plan = planned(&new, &applied(&old));
    assert!(matches!(&plan.changes[..], [Change::Chain { chain: Chain { number: 1, .. }, from: Some(_) }]));
    assert!(plan.text("x").contains("topology v1→v2"));
}

#[test]
fn a_stopped_intake_stays_stopped() {
    let topology = topology(&["geo"]);
    let mut observed = applied(&topology);
    observed.control.as_mut().unwrap().chain.open = false;
    let plan = planned(&topology, &observed);
    assert!(plan.changes.is_empty() && plan.notes[0].contains("stopped"), "{plan:?}");
}

#[test]
fn partition_counts_that_differ_are_refused_with_a_recipe() {
    let topology = topology(&["geo", "score"]);
    let mut observed = applied(&topology);
    observed.topics.get_mut("campaign.geo").unwrap().partitions = 6;
    let plan = planned(&topology, &observed);
    assert_eq!(codes(&plan), ["HW504"]);
    assert!(plan.refusals[0].message.contains("Recipe"), "{plan:?}");
    let asked = Options { partitions: Some(24), ..Options::default() };
    let plan = super::plan(&Deployment::of(&topology), &applied(&topology), &asked);
    assert_eq!(codes(&plan), ["HW504"]);
}

#[test]
fn new_topics_take_the_partition_count_of_the_old_ones() {
    let topology = topology(&["geo", "score"]);
    let mut observed = applied(&topology);
    observed.topics.remove("campaign.triggers");
    observed.topics.values_mut().for_each(|state| state.partitions = 5);
    let plan = planned(&topology, &observed);
    assert!(matches!(&plan.changes[0], Change::CreateTopic { spec, .. } if spec.partitions == 5), "{plan:?}");
}

#[test]
fn a_keyed_source_has_as_many_partitions_as_the_rest() {
    let mut topology = topology(&["geo"]);
    topology.source.keyed = true;
    topology.stages[0].input = "events.raw".into();
    let mut observed = applied(&topology);
    assert!(!observed.topics.contains_key("campaign.events"));
    assert_eq!(observed.committed.keys().collect::<Vec<_>>(), ["campaign.deliver.hook", "campaign.intake"]);
    assert!(planned(&topology, &observed).is_empty());
    observed.topics.get_mut("events.raw").unwrap().partitions = 3;
    assert_eq!(codes(&planned(&topology, &observed)), ["HW504"]);
}

#[test]
fn a_keyed_source_whose_records_lie_elsewhere_is_refused() {
    let mut topology = topology(&["geo"]);
    topology.source.keyed = true;
    topology.stages[0].input = "events.raw".into();
    let observed = Observed { sampled: Sampled { records: 1_200, misplaced: 7 }, ..applied(&topology) };
    let plan = planned(&topology, &observed);
    assert_eq!(codes(&plan), ["HW605"]);
    assert!(plan.refusals[0].message.contains("7 of its 1200 newest records"), "{plan:?}");
}

#[test]
fn a_compacted_event_topic_and_a_control_topic_that_is_not_are_refused() {
    let topology = topology(&["geo"]);
    let mut observed = applied(&topology);
    let mut set = |topic: &str, policy: &str| {
        observed.topics.get_mut(topic).unwrap().config.insert("cleanup.policy".into(), policy.into());
    };
    set("campaign.events", "compact");
    set("campaign.control", "delete");
    assert_eq!(codes(&planned(&topology, &observed)), ["HW504", "HW504"]);
}

#[test]
fn an_incompatible_schema_is_refused() {
    let topology = topology(&["geo"]);
    let mut observed = applied(&topology);
    let subject = observed.subjects.get_mut("campaign.events-value").unwrap();
    (subject.holds_it, subject.incompatibilities) = (false, vec!["geo.value is no string".into()]);
    let plan = planned(&topology, &observed);
    assert_eq!(codes(&plan), ["HW507"]);
    assert!(plan.refusals[0].message.contains("geo.value is no string"));
}

#[test]
fn producers_own_schemas_are_left_alone() {
    let topology = topology(&["geo"]);
    let mut observed = applied(&topology);
    let subject = observed.subjects.get_mut("events.raw-value").unwrap();
    (subject.holds_it, subject.level) = (false, None);
    let plan = planned(&topology, &observed);
    assert!(plan.changes.is_empty() && plan.notes[0].contains("producers' own"), "{plan:?}");
}

#[test]
fn a_subject_without_its_level_gets_it() {
    let topology = topology(&["geo"]);
    let mut observed = applied(&topology);
    observed.subjects.get_mut("campaign.triggers-value").unwrap().level = Some("NONE".into());
    let plan = planned(&topology, &observed);
    assert!(matches!(&plan.changes[..], [Change::Schema { level: true, register: false, .. }]));
    assert!(plan.text("x").contains("~ schema   campaign.triggers-value        level NONE→FULL_TRANSITIVE"));
}

#[test]
fn lost_offsets_of_a_deployed_group_are_never_guessed() {
    let topology = topology(&["geo"]);
    let mut observed = applied(&topology);
    observed.committed.insert("campaign.events".into(), vec![None; 12]);
    observed.committed.insert("campaign.deliver.hook".into(), vec![None; 12]);
    let plan = planned(&topology, &observed);
    assert_eq!(codes(&plan), ["HW502", "HW502"]);
    assert!(plan.refusals[0].message.contains("--reset-offsets"), "{plan:?}");
}

#[test]
fn partitions_added_to_the_raw_topic_are_read_from_their_beginning() {
    let mut topology = topology(&["geo"]);
    topology.source.start = Start::End;
    let mut observed = applied(&topology);
    observed.topics.get_mut("events.raw").unwrap().partitions = 14;
    observed.committed.get_mut("campaign.intake").unwrap().extend([None, None]);
    let plan = planned(&topology, &observed);
    let expected = Change::FirstOffsets {
        group: "campaign.intake".into(),
        topic: "events.raw".into(),
        partitions: vec![12, 13],
        start: Start::Beginning,
    };
    assert_eq!(plan.changes, [expected]);
}

#[test]
fn an_interrupted_apply_goes_on_where_it_stopped() {
    let topology = topology(&["geo", "score"]);
    let mut observed = applied(&topology);
    observed.control = None;
    observed.committed.insert("campaign.geo".into(), vec![None; 12]);
    let plan = planned(&topology, &observed);
    assert!(
        matches!(
            &plan.changes[..],
            [Change::FirstOffsets { group, .. }, Change::Chain { from: None, .. }] if group == "campaign.geo"
        ),
        "{plan:?}"
    );
}

#[test]
fn a_new_destination_begins_at_the_end_of_the_triggers() {
    let mut topology = topology(&["geo"]);
    let observed = applied(&topology);
    let second = DestinationSpec { name: "second".into(), ..topology.destinations[0].clone() };
    topology.destinations.push(second);
    let mut with_group = observed.clone();
    with_group.committed.insert("campaign.deliver.second".into(), vec![None; 12]);
    let plan = planned(&topology, &with_group);
    assert_eq!(plan.changes.len(), 2, "{plan:?}");
    assert!(
        plan.text("x").contains(
            "+ group    campaign.deliver.second        begins at the end of campaign.triggers (12 partitions)"
        )
    );
}
