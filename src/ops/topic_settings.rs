//! Settings of topics by what they are for: those that are made, and those found that would lose data.

use std::collections::BTreeMap;

use super::deployment::{Role, Topic};

/// An event at its limit with all its parts, in bytes. Brokers' own default is 1 MiB.
const MAX_MESSAGE_BYTES: u64 = 2 * 1024 * 1024;
const LEAST_MESSAGE_BYTES: u64 = 1_000_000;
const HOUR_MS: u64 = 60 * 60 * 1_000;

/// What is to be said of a topic that is there.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Judged {
    /// It would lose data: what is wrong and how to mend it.
    pub refusal: Option<String>,
    pub note: Option<String>,
}

/// The settings of a topic that is to be created.
pub(super) fn of(role: Role, replication: i32) -> Vec<(&'static str, String)> {
    let mut config = match role {
        Role::Control | Role::State { window_ms: None, .. } => vec![("cleanup.policy", "compact".to_owned())],
        Role::State { window_ms: Some(window_ms), .. } => {
            vec![("cleanup.policy", "compact,delete".to_owned()), ("retention.ms", window_ms.to_string())]
        }
        Role::Internal => keep(24 * HOUR_MS),
        Role::Raw | Role::Enriched | Role::Triggers | Role::DeadLetters => keep(7 * 24 * HOUR_MS),
    };
    if !matches!(role, Role::Control | Role::State { .. }) {
        config.push(("max.message.bytes", MAX_MESSAGE_BYTES.to_string()));
    }
    if replication >= 3 {
        config.push(("min.insync.replicas", "2".to_owned()));
    }
    config
}

fn keep(retention_ms: u64) -> Vec<(&'static str, String)> {
    vec![("cleanup.policy", "delete".to_owned()), ("retention.ms", retention_ms.to_string())]
}

/// Settings that operators may tune are left alone; those that lose data are refused.
pub(super) fn judge(topic: &Topic, config: &BTreeMap<String, String>) -> Judged {
    let name = &topic.name;
    let policy = config.get("cleanup.policy");
    let compacts = policy.is_some_and(|policy| policy.contains("compact"));
    let deletes = policy.is_some_and(|policy| policy.contains("delete"));
    let mend = |key: &str, value: &str| format!("kafka-configs --alter --topic {name} --add-config {key}={value}");
    let refusal = match topic.role {
        Role::Raw => None,
        Role::Control if policy.is_some() && !compacts => Some(format!(
            "{name} is not compacted and would forget which chain is deployed. Set it: {}",
            mend("cleanup.policy", "compact")
        )),
        Role::Control => None,
        Role::State { window_ms: None, .. } if policy.is_some() && (!compacts || deletes) => Some(format!(
            "{name} holds state and would forget people who have not come for a while. Set it: {}",
            mend("cleanup.policy", "compact")
        )),
        Role::State { window_ms: Some(window_ms), .. } => {
            let kept = config.get("retention.ms").and_then(|kept| kept.parse::<i64>().ok());
            let short = deletes && kept.is_some_and(|kept| kept >= 0 && kept.unsigned_abs() < window_ms);
            short.then(|| {
                format!(
                    "{name} keeps entries for {} h and they count for {} h. Set it: {}",
                    kept.unwrap_or_default().unsigned_abs() / HOUR_MS,
                    window_ms / HOUR_MS,
                    mend("retention.ms", &window_ms.to_string())
                )
            })
        }
        Role::State { .. } => None,
        _ if compacts => Some(format!(
            "{name} is compacted and would keep only each person's last event. Set it: {}",
            mend("cleanup.policy", "delete")
        )),
        _ => None,
    };
    let max = config.get("max.message.bytes").and_then(|bytes| bytes.parse::<u64>().ok());
    let note = max
        .filter(|bytes| topic.role != Role::Control && *bytes < LEAST_MESSAGE_BYTES)
        .map(|bytes| format!("{name} takes messages up to {bytes} bytes only; larger records become dead letters"));
    Judged { refusal, note }
}
