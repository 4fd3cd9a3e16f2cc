//! A score that is kept per person and fades by half-life, in event time.
//!
//! ```text
//! value(t) = Σ  add · n · 2^(−(t − at) / half_life)      at: when the rule was last true      n: how often it counts
//!           rules
//! ```
//!
//! A rule counts once (n = 1), in full when its condition was last true, and fades from then. So a condition on a state
//! such as `session.page_views >= 5`, true for every event of a visit, is worth its number and not a hundred times it;
//! and any order of the same events ends in the same score. With `each: true` every event for which it is true adds,
//! and n is the sum of what is left of them; `at_most` bounds it. A late event adds what is left of it by the time of
//! the latest. Terms are rounded before they are added, so the reasons add up to the value: to hundredths, or finer where
//! rules add less than one (to two digits more than the least of them has before its first). Floor and cap bound what
//! is shown, never what is kept.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Reasons, Shown};
use crate::{
    agent::{Keyed, Ran, Vitals},
    event::{Part, Record, Source, Value},
    expr::{Condition, Truth},
    topology::{AgentSpec, LeadScoreSpec},
};

/// One time in the unit of [`Kept::millionths`].
const ONE: i64 = 1_000_000;

/// The most times that a rule counts; keeps the arithmetic far from overflow.
const MOST_TIMES: f64 = 1e9;

/// What is left of a rule below this many millionths of a time is forgotten: thirteen half-lives of a rule once true.
const FORGOTTEN: i64 = 100;

/// Entries of one person, at most: every rule of a topology, and some that older topologies left.
const MAX_KEPT: usize = 512;

struct Rule {
    /// Names it in the state: changes with its condition, not with its number or its place in the list.
    id: String,
    add: f64,
    when: Condition,
    each: bool,
    /// Most times that it counts.
    most: f64,
    /// `+40 crm_lookup.crm_segment == "enterprise"`, for when it is true now and counts once.
    reason: Value,
}

/// What is left of one rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    /// When it was last true, milliseconds since 1970 UTC.
    at: i64,
    /// How often it counted by then, in millionths. Whole numbers, so that reading what was written gives the same.
    #[serde(rename = "n", default = "one", skip_serializing_if = "is_one")]
    millionths: i64,
}

fn one() -> i64 {
    ONE
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the form that serde asks for
fn is_one(millionths: &i64) -> bool {
    *millionths == ONE
}

/// One person's score: what is left of each rule that was ever true.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(in crate::agent) struct Score(BTreeMap<String, Kept>);

impl Score {
    /// The time of the latest event that counted.
    fn latest(&self) -> Option<i64> {
        self.0.values().map(|kept| kept.at).max()
    }
}

/// An agent of type `lead_score` with `decay`.
pub(in crate::agent) struct Decaying {
    rules: Vec<Rule>,
    half_life_ms: f64,
    /// Terms are rounded to one part of so many.
    parts: f64,
    shown: Shown,
    unknown: AtomicU64,
}

impl Decaying {
    /// Prepares rules and their reasons.
    pub fn new(spec: &AgentSpec, score: &LeadScoreSpec, half_life: std::time::Duration) -> Self {
        let mut rules: Vec<Rule> = Vec::with_capacity(score.rules.len());
        for rule in &score.rules {
            let source = rule.when.source();
            let before = rules.iter().filter(|other| other.when.source() == source).count();
            rules.push(Rule {
                id: rule_id(source, before),
                add: rule.add,
                when: rule.when.clone(),
                each: rule.each,
                most: rule.at_most.map_or(MOST_TIMES, |most| (most / rule.add).abs().min(MOST_TIMES)),
                reason: super::reason(rule),
            });
        }
        let parts = parts(rules.iter().map(|rule| rule.add));
        Decaying {
            rules,
            parts,
            half_life_ms: (half_life.as_secs_f64() * 1000.0).max(1.0),
            shown: Shown::new(spec, score),
            unknown: AtomicU64::new(0),
        }
    }

    /// What is left of `millionths` after so long.
    fn left(&self, millionths: i64, age_ms: i64) -> i64 {
        (millionths as f64 * (-(age_ms as f64) / self.half_life_ms).exp2()).round() as i64
    }

    /// Counts a rule that is true at `at`. Says whether that changed what is kept of it.
    fn keep(&self, rule: &Rule, kept: &mut Kept, at: i64) -> bool {
        let before = *kept;
        if rule.each {
            let latest = kept.at.max(at);
            let times = self
                .left(kept.millionths, latest.saturating_sub(kept.at))
                .saturating_add(self.left(ONE, latest.saturating_sub(at)));
            *kept = Kept { at: latest, millionths: times.min((rule.most * ONE as f64) as i64) };
        } else {
            *kept = Kept { at: kept.at.max(at), millionths: ONE };
        }
        *kept != before
    }

    /// Forgets what is hardly left, and bounds what rules that are no more have left.
    fn forget(&self, score: &mut Score) {
        let Some(latest) = score.latest() else { return };
        score.0.retain(|_, kept| self.left(kept.millionths, latest.saturating_sub(kept.at)) >= FORGOTTEN);
        while score.0.len() > MAX_KEPT {
            let foreign = score.0.iter().filter(|(id, _)| !self.rules.iter().any(|rule| rule.id == **id));
            let Some(oldest) = foreign.min_by_key(|(_, kept)| kept.at).map(|(id, _)| id.clone()) else { return };
            score.0.remove(&oldest);
        }
    }

    /// The part by the time of this event or the latest that counted, whichever is later.
    fn part(&self, record: &Record, score: &Score) -> Part {
        let now = record.event_time_ms().max(score.latest().unwrap_or(i64::MIN));
        let mut value = 0.0;
        let mut reasons = Reasons::new(&self.shown);
        for rule in &self.rules {
            let Some(kept) = score.0.get(&rule.id) else { continue };
            let age_ms = now.saturating_sub(kept.at);
            let times = self.left(kept.millionths, age_ms);
            let term = if times == ONE { rule.add } else { rounded(rule.add * times as f64 / ONE as f64, self.parts) };
            if term == 0.0 {
                continue;
            }
            value += term;
            reasons.push(|| match (rule.each, age_ms) {
                _ if times == ONE => rule.reason.clone(),
                (true, _) => {
                    let times = rounded(times as f64 / ONE as f64, 100.0);
                    Value::text(format!("{term:+} {} ({times} × {:+})", rule.when.source(), rule.add))
                }
                (false, _) => {
                    Value::text(format!("{term:+} {} (of {:+}, {} ago)", rule.when.source(), rule.add, Age(age_ms)))
                }
            });
        }
        self.shown.part(Source::State, value, reasons)
    }
}

fn rounded(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}

/// How fine terms of rules that add so much are: hundredths, and two digits more than the least of them needs, up to
/// what a value has ([`Shown::part`]). A score from 0 to 1 fades as smoothly as one from 0 to 100.
fn parts(adds: impl Iterator<Item = f64>) -> f64 {
    let least = adds.map(f64::abs).filter(|add| *add > 0.0).fold(1.0, f64::min);
    10f64.powi((2 + (-least.log10()).ceil() as i32).clamp(2, 6))
}

/// Of the condition, and how many rules before it have the same.
fn rule_id(source: &str, before: usize) -> String {
    let hash = Sha256::new().chain_update(source).chain_update([0xff]).chain_update(before.to_string()).finalize();
    hash[..6].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How long ago, in the largest unit.
struct Age(i64);

impl std::fmt::Display for Age {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            ms if ms >= 86_400_000 => write!(f, "{}d", ms / 86_400_000),
            ms if ms >= 3_600_000 => write!(f, "{}h", ms / 3_600_000),
            ms if ms >= 60_000 => write!(f, "{}m", ms / 60_000),
            ms => write!(f, "{}s", ms / 1_000),
        }
    }
}

impl Keyed for Decaying {
    type State = Score;

    fn count(&self, record: &Record, _: Part, state: &mut Score) -> Ran {
        let at = record.event_time_ms();
        let mut changed = false;
        for rule in &self.rules {
            match rule.when.eval(record) {
                Truth::True => match state.0.get_mut(&rule.id) {
                    Some(kept) => changed |= self.keep(rule, kept, at),
                    None => {
                        let millionths = ((rule.most * ONE as f64) as i64).min(ONE);
                        state.0.insert(rule.id.clone(), Kept { at, millionths });
                        changed = true;
                    }
                },
                Truth::False => {}
                Truth::Unknown(_) => {
                    self.unknown.fetch_add(1, Relaxed);
                }
            }
        }
        if changed {
            self.forget(state);
        }
        Ran { part: self.part(record, state), changed }
    }

    fn recall(&self, record: &Record, _: Part, state: &Score) -> Part {
        self.part(record, state)
    }

    fn vitals(&self) -> Vitals {
        Vitals { unknown_conditions: self.unknown.load(Relaxed), ..Vitals::default() }
    }
}
