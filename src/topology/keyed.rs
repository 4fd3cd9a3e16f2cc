//! Agents that keep state per person, checked: sessions, funnels, scores.

use std::{sync::Arc, time::Duration};

use super::{
    codes,
    decode::{For, Name, Number},
    diagnostic::Findings,
    fields,
    model::{FunnelSpec, FunnelStep, LeadScoreSpec, ScoreRule, SessionSpec},
    names,
    raw_agent::RawAgent,
    raw_keyed::{FunnelKeys, LeadScoreKeys, RawRule, RawStep, SessionKeys},
    scope::Names,
    site::Sites,
};
use crate::event::Type;

/// Steps of a funnel, at most; bounds its state.
const MAX_STEPS: usize = 32;

/// Rules of a score that is kept, at most; bounds its state.
const MAX_KEPT_RULES: usize = 256;

/// The most that one rule adds or takes away; keeps sums exact.
const MAX_ADD: f64 = 1e6;

/// A time that must not be zero.
fn positive(time: For, what: &str, write: &str, findings: &mut Findings) -> Duration {
    if time.value.is_zero() {
        findings.error(codes::HW104, time.span, what, format!("Write {write}"));
    }
    time.value
}

pub(super) fn session(keys: &SessionKeys, findings: &mut Findings) -> SessionSpec {
    let splits = |word: &str| keys.split.iter().flat_map(|words| &words.0).any(|split| split.value == word);
    let gap = keys.gap.map_or(Duration::from_secs(30 * 60), |gap| {
        positive(gap, "a gap of zero makes every event a session of its own", "gap: 30m", findings)
    });
    SessionSpec {
        gap,
        lateness: keys.lateness.map_or(gap, |lateness| lateness.value),
        split_midnight: splits("midnight"),
        split_campaign: splits("campaign"),
    }
}

/// The fields that a funnel has for its steps: `<step>_at`.
pub(super) fn step_fields(keys: &FunnelKeys) -> Vec<(Arc<str>, Type)> {
    keys.steps.iter().map(|step| (step_field(&step.name).into(), Type::Timestamp)).collect()
}

fn step_field(step: &Name) -> String {
    format!("{}_at", step.value)
}

pub(super) fn funnel(
    raw: &RawAgent,
    keys: &FunnelKeys,
    names: &Names,
    sites: &mut Sites,
    findings: &mut Findings,
) -> Option<FunnelSpec> {
    let Name { value: name, span } = &raw.common.name;
    if keys.steps.is_empty() && !findings.has_errors_within(raw.span) {
        let message = format!("{name} has no steps, so nobody can reach one");
        findings.error(codes::HW107, *span, message, "Write steps: [{ visit: 'event.type == \"page\"' }]");
    }
    if let Some(step) = keys.steps.get(MAX_STEPS) {
        let message = format!("{name} has {} steps, and a funnel has at most {MAX_STEPS}", keys.steps.len());
        findings.error(codes::HW107, step.name.span, message, "Make it two agents");
    }
    let mut steps = Vec::new();
    for (index, step) in keys.steps.iter().enumerate() {
        step_name(name, &step.name, &keys.steps[..index], findings);
        let when = sites.compile(&step.when, names, name, "the step is then not reached", findings);
        steps.push(when.map(|when| FunnelStep { name: step.name.value.as_str().into(), when }));
    }
    let within = keys
        .within
        .map(|within| positive(within, "a funnel that is over at once has no second step", "within: 30d", findings));
    let restart = keys.restart.is_some_and(|restart| restart.value);
    Some(FunnelSpec { steps: steps.into_iter().collect::<Option<_>>()?, within, restart })
}

/// A step's name is part of a field's.
fn step_name(funnel: &str, name: &Name, before: &[RawStep], findings: &mut Findings) {
    names::check_step(name, findings);
    if before.iter().any(|other| other.name.value == name.value) {
        let message = format!("{funnel} has two steps \"{}\"", name.value);
        findings.error(codes::HW215, name.span, message, "Rename one; for either of two conditions write a || b");
    }
    if fields::FUNNEL.fields.iter().any(|(field, _)| *field == step_field(name)) {
        let message =
            format!("a step \"{}\" and {funnel} itself would both have a field {}", name.value, step_field(name));
        findings.error(codes::HW215, name.span, message, "Rename the step");
    }
}

pub(super) fn lead_score(
    name: &str,
    keys: &LeadScoreKeys,
    names: &Names,
    sites: &mut Sites,
    findings: &mut Findings,
) -> Option<LeadScoreSpec> {
    let mut rules = Vec::new();
    for rule in &keys.rules {
        let at_most = check_rule(name, rule, keys.decay.is_some(), findings);
        let when = sites.compile(&rule.when, names, name, "the rule is then unknown and does not count", findings);
        let each = rule.each.is_some_and(|each| each.value);
        rules.push(when.map(|when| ScoreRule { add: rule.add.value, when, each, at_most }));
    }
    if let (Some(floor), Some(cap)) = (keys.floor, keys.cap)
        && floor.value > cap.value
    {
        let message = format!("floor: {} is above cap: {}", floor.value, cap.value);
        findings.error(codes::HW107, floor.span, message, "");
    }
    if let Some(rule) = keys.rules.get(MAX_KEPT_RULES).filter(|_| keys.decay.is_some()) {
        let message = format!("{name} has {} rules, and a score with decay has at most {MAX_KEPT_RULES}", rules.len());
        findings.error(codes::HW107, rule.add.span, message, "Make it two agents");
    }
    let half_life = keys.decay.as_ref().map(|decay| {
        positive(decay.half_life, "a half-life of zero leaves nothing", "half_life: 14d, or take decay away", findings)
    });
    Some(LeadScoreSpec {
        rules: rules.into_iter().collect::<Option<_>>()?,
        floor: keys.floor.map(|floor| floor.value),
        cap: keys.cap.map(|cap| cap.value),
        half_life,
    })
}

/// Whether a rule's keys fit each other; gives its `at_most`.
fn check_rule(name: &str, rule: &RawRule, is_kept: bool, findings: &mut Findings) -> Option<f64> {
    let add = rule.add.value;
    if add.abs() > MAX_ADD {
        findings.error(codes::HW107, rule.add.span, format!("a rule adds at most {MAX_ADD}"), "");
    }
    let each = rule.each.filter(|each| each.value);
    if let Some(each) = each
        && !is_kept
    {
        let message = format!("each adds to what is kept, and without decay {name} keeps nothing");
        findings.error(codes::HW107, each.span, message, "Add decay: { half_life: 14d }, or take each away");
    }
    let Number { value: most, span } = rule.at_most?;
    if each.is_none() {
        let message = "at_most bounds a rule that adds each time, and this one counts once";
        findings.error(codes::HW107, span, message, "Add each: true, or take at_most away");
    } else if most < add.abs() {
        let message = format!("at_most: {most} is less than the rule adds once, {}", add.abs());
        findings.error(codes::HW107, span, message, "");
    }
    Some(most)
}
