//! Decide: the record is complete; which campaigns does it trigger?

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    agent::Decoded,
    clock,
    event::{Outcome, Part, Place, Reason, Record, Trigger},
    expr::Truth,
    topology::{Topology, TriggerSpec},
    worker::Stats,
};

/// The topology's rules.
pub struct Decide {
    triggers: Vec<TriggerSpec>,
    destinations: Vec<Arc<str>>,
    agent_names: Vec<Arc<str>>,
}

/// What is remembered of a person: up to where events were decided, and when which campaign fired.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Decided {
    /// Events at or below it are repeats, which fire nothing.
    #[serde(default)]
    at: Option<Place>,
    /// Of campaigns with a cooldown: the event time at which each fired last. Milliseconds since 1970 UTC.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    fired: BTreeMap<String, i64>,
}

impl Decided {
    /// What is stored of a person. What cannot be read begins anew, and is said.
    pub fn decode(bytes: Option<&[u8]>) -> Decoded {
        Decoded::read::<Decided>(bytes)
    }

    /// As it is to be stored.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl Decide {
    /// The rules of that topology.
    pub fn new(topology: &Topology) -> Self {
        Decide {
            triggers: topology.triggers.clone(),
            destinations: topology.destinations.iter().map(|destination| destination.name.clone()).collect(),
            agent_names: topology.agent_names(),
        }
    }

    /// Finishes the record: what is still pending was not deployed when the event came by; then the status.
    pub fn settle(&self, record: &mut Record) {
        for part in &mut record.parts {
            if part.is_pending() {
                *part = Part::without(Outcome::Skipped, Reason::NotDeployed);
            }
        }
        record.settle(&self.agent_names);
        record.enriched_at_ms = clock::unix_ms();
    }

    /// Whether there is anything to decide, hence to remember.
    pub fn is_needed(&self) -> bool {
        !self.triggers.is_empty()
    }

    /// Calls `fire` for each trigger of this settled record, one per destination. A condition that meets a missing
    /// value does not hold. Says whether what is remembered has changed; where firing fails, it has not.
    pub fn decide<E>(
        &self,
        record: &Record,
        person: &mut Decided,
        stats: &Stats,
        mut fire: impl FnMut(Trigger) -> Result<(), E>,
    ) -> Result<bool, E> {
        let place = record.origin.place();
        let repeat = record.repeat || person.at.is_some_and(|at| place.is_within(at));
        let now_ms = record.event_time_ms();
        let mut fired = Vec::new();
        for rule in &self.triggers {
            if rule.when.eval(record) != Truth::True {
                continue;
            }
            if rule.consent.as_ref().is_some_and(|purpose| !record.event.consents_to(purpose)) {
                Stats::count(&stats.withheld_consent);
                continue;
            }
            if repeat && !record.refire {
                Stats::count(&stats.withheld_repeat);
                continue;
            }
            if let Some(cooldown_ms) =
                rule.cooldown.map(|cooldown| i64::try_from(cooldown.as_millis()).unwrap_or(i64::MAX))
                && !repeat
            {
                // However late an event comes, it is not before the cooldown's end: of a pile of old ones none fires.
                if person.fired.get(&*rule.campaign).is_some_and(|last| now_ms.saturating_sub(*last) < cooldown_ms) {
                    Stats::count(&stats.withheld_cooldown);
                    continue;
                }
                fired.push(&rule.campaign);
            }
            for destination in &rule.destinations {
                fire(self.trigger(rule, &self.destinations[*destination], record))?;
            }
        }
        if repeat {
            return Ok(false);
        }
        for campaign in fired {
            let last = person.fired.entry(campaign.to_string()).or_insert(now_ms);
            *last = now_ms.max(*last);
        }
        if !person.fired.is_empty() {
            person.fired.retain(|campaign, _| {
                self.triggers.iter().any(|rule| *rule.campaign == **campaign && rule.cooldown.is_some())
            });
        }
        person.at = Some(place);
        Ok(true)
    }

    fn trigger(&self, rule: &TriggerSpec, destination: &Arc<str>, record: &Record) -> Trigger {
        let event = &record.event;
        let payload: BTreeMap<_, _> = rule
            .payload
            .iter()
            .map(|(name, path)| (name.clone(), path.get(record)))
            .filter(|(_, value)| !value.is_null())
            .collect();
        Trigger {
            id: trigger_id(&rule.campaign, destination, &event.id),
            campaign: rule.campaign.clone(),
            destination: destination.clone(),
            user_id: event.user_id.clone(),
            anonymous_id: event.anonymous_id.clone(),
            event_id: event.id.clone(),
            occurred_at_ms: event.occurred_at_ms,
            fired_at_ms: record.enriched_at_ms,
            // By the record's own time, so that a replay decides as the first run did.
            expires_at_ms: rule.expires.map(|expires| event.occurred_at_ms + expires.as_millis() as i64),
            because: rule.when.explain(record),
            incomplete: record.incomplete.clone(),
            payload,
        }
    }
}

/// The same for the same campaign, destination and event, over retries, replays and placements.
fn trigger_id(campaign: &str, destination: &str, event_id: &str) -> Arc<str> {
    let mut hash = Sha256::new();
    for part in [campaign, destination, event_id] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    let mut text = String::with_capacity(36);
    text.push_str("trg_");
    for byte in &digest[..16] {
        text.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
        text.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        event::{Event, Origin},
        expr::Condition,
    };

    fn decide(cooldown: Option<u64>) -> Decide {
        let campaign = |campaign: &str, cooldown| TriggerSpec {
            campaign: campaign.into(),
            when: Condition::compile("1 == 1", &Nothing).unwrap(),
            consent: None,
            cooldown,
            expires: None,
            destinations: vec![0],
            payload: Vec::new(),
        };
        Decide {
            triggers: vec![campaign("win-back", cooldown.map(Duration::from_millis))],
            destinations: vec!["hook".into()],
            agent_names: Vec::new(),
        }
    }

    struct Nothing;

    impl crate::expr::Scope for Nothing {
        fn resolve(&self, _: &str) -> Option<(crate::event::Path, crate::event::Type)> {
            None
        }
    }

    fn at(offset: i64, time_ms: i64) -> Record {
        let event = Event { occurred_at_ms: time_ms, ..Event::default() };
        let origin = Origin { events_tag: 7, events_offset: offset, ..Origin::default() };
        Record { event, origin, received_at_ms: i64::MAX, ..Record::default() }
    }

    /// How many triggers fire, and whether there is something to write.
    fn run(decide: &Decide, person: &mut Decided, record: &Record) -> (usize, bool) {
        let mut fired = 0;
        let count = |_| {
            fired += 1;
            Ok::<_, std::convert::Infallible>(())
        };
        let changed = decide.decide(record, person, &Stats::default(), count).unwrap();
        (fired, changed)
    }

    #[test]
    fn a_campaign_rests_for_its_cooldown_in_event_time() {
        let (decide, mut person) = (decide(Some(1_000)), Decided::default());
        assert_eq!(run(&decide, &mut person, &at(1, 5_000)), (1, true));
        assert_eq!(run(&decide, &mut person, &at(2, 5_999)), (0, true));
        assert_eq!(run(&decide, &mut person, &at(3, 4_100)), (0, true), "late, and as near");
        assert_eq!(run(&decide, &mut person, &at(4, 6_000)), (1, true));
        assert_eq!(run(&decide, &mut person, &at(5, 6_500)), (0, true));
        for (offset, time_ms) in [(6, 1_000), (7, 1_001), (8, 2_500)] {
            assert_eq!(run(&decide, &mut person, &at(offset, time_ms)), (0, true), "late, and fired since");
        }
        assert_eq!(run(&decide, &mut person, &at(9, 7_000)), (1, true));
    }

    #[test]
    fn a_repeat_fires_nothing_unless_it_is_asked_to() {
        let (decide, mut person) = (decide(Some(1_000)), Decided::default());
        assert_eq!(run(&decide, &mut person, &at(5, 5_000)), (1, true));
        assert_eq!(run(&decide, &mut person, &at(5, 5_000)), (0, false), "the group was reset");
        assert_eq!(run(&decide, &mut person, &at(4, 99_000)), (0, false));
        assert_eq!(
            run(&decide, &mut person, &Record { repeat: true, ..at(9, 99_000) }),
            (0, false),
            "marked by intake"
        );
        let refire = Record { repeat: true, refire: true, ..at(9, 5_000) };
        assert_eq!(run(&decide, &mut person, &refire), (1, false), "whatever the cooldown says");
        assert_eq!(run(&decide, &mut person, &at(6, 99_000)), (1, true));
    }

    #[test]
    fn what_is_remembered_is_read_again_and_holds_no_campaign_that_has_gone() {
        let (with, mut person) = (decide(Some(1_000)), Decided::default());
        run(&with, &mut person, &at(1, 5_000));
        let written = person.encode();
        assert_eq!(written, br#"{"at":{"tag":7,"offset":1},"fired":{"win-back":5000}}"#);
        let mut stored = Decided::decode(Some(&written));
        let read: &mut Decided = stored.get_mut().unwrap();
        assert_eq!(*read, person);
        assert_eq!(run(&with, read, &at(2, 5_500)), (0, true));
        run(&decide(None), read, &at(3, 5_600));
        assert_eq!(read.encode(), br#"{"at":{"tag":7,"offset":3}}"#);
        let mut foreign = Decided::decode(Some(b"not JSON"));
        assert!(foreign.is_unreadable && !Decided::decode(None).is_unreadable);
        assert_eq!(foreign.get_mut(), Some(&mut Decided::default()));
    }

    #[test]
    fn a_trigger_that_could_not_be_written_leaves_no_trace() {
        let (decide, mut person) = (decide(Some(1_000)), Decided::default());
        assert_eq!(
            decide.decide(&at(1, 5_000), &mut person, &Stats::default(), |_| Err("too large")),
            Err("too large")
        );
        assert_eq!(person, Decided::default());
    }

    #[test]
    fn a_triggers_id_is_the_same_for_the_same_and_differs_for_every_other() {
        let id = trigger_id("win-back", "hook", "e1");
        assert_eq!(id, trigger_id("win-back", "hook", "e1"));
        assert_eq!(id.len(), 36);
        assert_ne!(id, trigger_id("win-back", "hook", "e2"));
        assert_ne!(trigger_id("ab", "c", "e"), trigger_id("a", "bc", "e"));
    }
}
