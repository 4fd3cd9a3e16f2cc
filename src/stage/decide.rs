//! Decide: the record is complete; which campaigns does it trigger?

use std::{collections::BTreeMap, sync::Arc};

use sha2::{Digest, Sha256};

use crate::{
    clock,
    event::{Outcome, Part, Reason, Record, Trigger},
    expr::Truth,
    topology::{Topology, TriggerSpec},
};

/// The topology's rules.
pub struct Decide {
    triggers: Vec<TriggerSpec>,
    destinations: Vec<Arc<str>>,
    agent_names: Vec<Arc<str>>,
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

    /// Calls `fire` for each trigger of this settled record, one per destination. A condition that meets a missing
    /// value does not hold.
    pub fn decide<E>(&self, record: &Record, mut fire: impl FnMut(Trigger) -> Result<(), E>) -> Result<(), E> {
        for rule in &self.triggers {
            if rule.when.eval(record) != Truth::True {
                continue;
            }
            if rule.consent.as_ref().is_some_and(|purpose| !record.event.consents_to(purpose)) {
                continue;
            }
            for destination in &rule.destinations {
                fire(self.trigger(rule, &self.destinations[*destination], record))?;
            }
        }
        Ok(())
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
    use super::*;

    #[test]
    fn a_triggers_id_is_the_same_for_the_same_and_differs_for_every_other() {
        let id = trigger_id("win-back", "hook", "e1");
        assert_eq!(id, trigger_id("win-back", "hook", "e1"));
        assert_eq!(id.len(), 36);
        assert_ne!(id, trigger_id("win-back", "hook", "e2"));
        assert_ne!(trigger_id("ab", "c", "e"), trigger_id("a", "bc", "e"));
    }
}
