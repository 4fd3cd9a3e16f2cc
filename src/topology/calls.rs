//! The policy of an agent that calls something: attempts that fit into the deadline, fallbacks that can work.

use std::{sync::Arc, time::Duration};

use super::{
    codes,
    decode::Text,
    diagnostic::Findings,
    fields,
    model::{Fallback, OutputField},
    raw_agent::{CallKeys, RawFallback},
    scope::join,
    suggest::did_you_mean,
    units,
    yaml::Span,
};
use crate::event::{Type, Value};

/// Deadline of a remote agent that writes none, if its attempts fit.
const DEADLINE: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(2);
const RETRY: u32 = 2;
/// Most attempts after the first.
const MAX_RETRY: u64 = 20;
/// Room for back-off per retry when a deadline is judged or made: mean of full jitter, rounded up.
const BACKOFF: Duration = Duration::from_millis(500);

/// Deadline, timeout, retries.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempts {
    pub deadline: Duration,
    pub timeout: Duration,
    pub retry: u32,
}

/// Attempts of an agent that computes in this process.
pub(super) const LOCAL: Attempts = Attempts { deadline: DEADLINE, timeout: DEADLINE, retry: 0 };

/// Fills in the attempts; `retries` says whether a repeat could help at all.
pub(super) fn attempts(keys: &CallKeys, retries: bool, findings: &mut Findings) -> Attempts {
    let timeout = keys.timeout.map_or(TIMEOUT, |timeout| timeout.value);
    if let Some(written) = keys.timeout.filter(|written| written.value.is_zero()) {
        findings.error(codes::HW104, written.span, "a timeout of zero lets no call through", "Write 2s, 500ms or 5m");
    }
    let default = if retries { RETRY } else { 0 };
    let retry = keys.retry.map_or(default, |retry| u32::try_from(retry.value.min(MAX_RETRY)).unwrap_or(default));
    if let Some(written) = keys.retry.filter(|retry| retry.value > MAX_RETRY) {
        let message = format!("retry: {} is more than {MAX_RETRY}", written.value);
        findings.error(
            codes::HW107,
            written.span,
            message,
            "A few retries help against a short fault; the cache against a long one",
        );
    }
    let needed = needed(timeout, retry);
    let deadline = keys.deadline.map_or(DEADLINE.max(needed), |deadline| deadline.value);
    if let Some(written) = keys.deadline.filter(|written| written.value < needed) {
        let count = retry + 1;
        let attempts = if count == 1 { "1 attempt".to_owned() } else { format!("{count} attempts") };
        let timeout_text = units::show(timeout);
        let message = format!("{attempts} × {timeout_text} cannot fit into deadline: {}", units::show(written.value));
        let with = if retry > 0 { " + back-off" } else { "" };
        let fewer = (0..retry).rev().find(|retry| self::needed(timeout, *retry) <= written.value);
        let other = match fewer {
            Some(retry) => format!("retry: {retry}"),
            None => format!("timeout: {}", units::show(written.value)),
        };
        let fix = format!("Set deadline: {} ({timeout_text} × {count}{with}) or {other}", units::show(needed));
        findings.error(codes::HW207, written.span, message, fix);
    }
    Attempts { deadline, timeout, retry }
}

fn needed(timeout: Duration, retry: u32) -> Duration {
    timeout.saturating_mul(retry + 1).saturating_add(BACKOFF.saturating_mul(retry))
}

/// What a type of agent may fall back to.
pub(super) struct Allowed<'a> {
    pub agent: &'a str,
    /// `Ok`: there is a cache; otherwise why not.
    pub cache: Result<(), NoCache<'a>>,
    pub lexicon: bool,
}

/// Why there is no cache to fall back to.
pub(super) enum NoCache<'a> {
    /// `services.<name>.cache` is off.
    Off(&'a str),
    /// The type never has one.
    Never(&'a str),
}

/// Reads the fallbacks against the agent's output.
pub(super) fn fallbacks(
    written: &[RawFallback],
    allowed: &Allowed,
    output: &[OutputField],
    findings: &mut Findings,
) -> Vec<Fallback> {
    let mut list = Vec::new();
    for fallback in written {
        match fallback {
            RawFallback::Word(word) => {
                match word.value.as_str() {
                    "cache" => {
                        match &allowed.cache {
                        Ok(()) => {}
                        Err(NoCache::Off(service)) => findings.error(
                            codes::HW209,
                            word.span,
                            format!("fallback: cache needs a cache, and services.{service} has cache: off"),
                            format!("Give services.{service} a cache: {{ ttl: 5m, stale: 1h }}, or take the fallback away"),
                        ),
                        Err(NoCache::Never(kind)) => findings.error(
                            codes::HW209,
                            word.span,
                            format!("fallback: cache needs a cache, and agents of type {kind} have none"),
                            "Fall back to values: { field: value }",
                        ),
                    }
                        list.push(Fallback::Cache);
                    }
                    "lexicon" if allowed.lexicon => list.push(Fallback::Lexicon),
                    "dead_letter" => list.push(Fallback::DeadLetter),
                    word_text => {
                        let message = if word_text == "lexicon" {
                            format!("{} yields no sentiment, so there is no lexicon to fall back to", allowed.agent)
                        } else {
                            format!("there is no fallback \"{word_text}\"")
                        };
                        let mut fix = match word_text {
                            "lexicon" => "It is for agents of type local_llm".to_owned(),
                            _ => did_you_mean(word_text, ["cache", "lexicon", "dead_letter"]),
                        };
                        if fix.is_empty() {
                            "There are cache, lexicon, dead_letter and { field: value }".clone_into(&mut fix);
                        }
                        findings.error(codes::HW214, word.span, message, fix);
                    }
                }
            }
            RawFallback::Values(at, values) => {
                let values = values
                    .iter()
                    .filter_map(|(field, text)| value(allowed.agent, &field.value, field.span, text, output, findings))
                    .collect::<Vec<_>>();
                if values.is_empty() && !findings.has_errors() {
                    findings.error(codes::HW214, at.span, "a fallback without values", "Write { field: value }");
                }
                list.push(Fallback::Values(values));
            }
        }
    }
    list
}

fn value(
    agent: &str,
    field: &str,
    span: Span,
    text: &Text,
    output: &[OutputField],
    findings: &mut Findings,
) -> Option<(usize, Value)> {
    let Some(index) = output.iter().position(|output| *output.name == *field) else {
        let names = || output.iter().map(|field| &*field.name);
        let message = format!("{agent} has no field \"{field}\"; its output is {}", join(names()));
        findings.error(codes::HW203, span, message, did_you_mean(field, names()));
        return None;
    };
    let ty = output[index].ty;
    let parsed = match ty {
        Type::Text => Some(Value::Text(Arc::from(text.value.as_str()))),
        Type::Bool => text.value.parse().ok().map(Value::Bool),
        Type::Int | Type::Timestamp => text.value.parse().ok().map(Value::Int),
        Type::Float => text.value.parse::<f64>().ok().filter(|number| number.is_finite()).map(Value::Float),
        Type::TextList => {
            let items = text.value.split(',').map(str::trim).filter(|item| !item.is_empty());
            Some(Value::List(items.map(Value::text).collect()))
        }
    };
    if parsed.is_none() && !text.placeholder {
        let message = format!("{agent}.{field} is {}, and \"{}\" is not", fields::noun(ty), text.raw);
        findings.error(codes::HW214, text.span, message, "");
    }
    // Unknown or wrong, it still fills the field: no further finding is to follow from it.
    Some((index, parsed.unwrap_or_default()))
}
