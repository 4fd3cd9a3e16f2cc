//! A failing test as a screen: the event's way from agent to agent, the first difference marked where it arose.

use std::{borrow::Cow, fmt::Write as _};

use chrono::{DateTime, SecondsFormat};

use super::{Difference, Fault, StepVerdict, Verdict};
use crate::{
    event::{Event, EventField, Outcome, Part, Path, Reason, Record, RecordField, Type, Value},
    expr::{Condition, Truth},
    topology::{AgentKind, AgentSpec, Topology, TriggerSpec},
};

/// Most characters of one value.
const SHOWN: usize = 72;

/// The screen of a test that failed. `file` is where it stands.
pub fn screen(topology: &Topology, file: &str, verdict: &Verdict) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "✗ {}   {file}:{}", verdict.name, verdict.line);
    for (index, step) in verdict.steps.iter().enumerate().filter(|(_, step)| !step.passed()) {
        let which = match verdict.events {
            1 => "event".to_owned(),
            all => format!("event {} of {all}", index + 1),
        };
        let _ = writeln!(out, "  {which}: {}", event_line(&step.record.event));
        match step.faults.first() {
            Some(Fault::Refused(why)) => {
                let _ = writeln!(out, "  ✗ intake refuses the event: {why}");
            }
            _ => Screen { topology, step, width: width(topology) }.way(&mut out),
        }
    }
    let not_run = verdict.events - verdict.steps.len();
    if not_run > 0 {
        let _ = writeln!(out, "  {not_run} more event{} not run", if not_run == 1 { " was" } else { "s were" });
    }
    out
}

/// Columns of the longest name at the left.
fn width(topology: &Topology) -> usize {
    topology.agents.iter().map(|agent| agent.name.len()).chain([8]).max().unwrap_or(8)
}

/// `e1 page "Pricing" https://… of u1`.
fn event_line(event: &Event) -> String {
    let mut line = format!("{} {}", event.id, event.kind);
    if !event.name.is_empty() {
        let _ = write!(line, " {:?}", event.name);
    }
    if let Some(url) = &event.url {
        let _ = write!(line, " {}", short(url));
    }
    let who = event.user_id.as_deref().or(event.anonymous_id.as_deref()).filter(|who| !who.is_empty());
    let _ = write!(line, " of {}", who.unwrap_or("nobody"));
    line
}

struct Screen<'s> {
    topology: &'s Topology,
    step: &'s StepVerdict,
    width: usize,
}

impl Screen<'_> {
    /// What to write where a test says nothing of somebody who would leave the process.
    fn unanswered(&self, agent: &AgentSpec) -> String {
        let whom = match &agent.kind {
            AgentKind::Function { service } => self
                .topology
                .services
                .get(*service)
                .map_or(Cow::Borrowed("its service"), |service| Cow::Owned(format!("service {}", service.name))),
            AgentKind::LocalLlm(model) => Cow::Owned(format!("the model {}", model.model)),
            _ => Cow::Borrowed("a service"),
        };
        let fields: Vec<String> = agent.output.iter().map(|field| format!("{}: …", field.name)).collect();
        let name = &agent.name;
        format!(
            "{name:<width$}  would ask {whom}, and given says nothing of it.\n    {:width$}    Write given: {{ {name}: {{ {} }} }}, or \
             {{ {name}: {{ fails: timeout }} }}",
            "",
            fields.join(", "),
            width = self.width
        )
    }

    /// Every agent in order, then status and triggers; differences stand below what they speak of.
    fn way(&self, out: &mut String) {
        let record = &self.step.record;
        self.below(out, |path| matches!(path, Path::Event(_) | Path::Map(_) | Path::Entry(..)));
        for (index, (agent, part)) in self.topology.agents.iter().zip(&record.parts).enumerate() {
            if self.step.faults.contains(&Fault::Unanswered(index)) {
                // What follows would rest on an answer that nobody gave.
                let _ = writeln!(out, "  ✗ {}", self.unanswered(agent));
                return;
            }
            self.line(out, &agent.name, &format!("{:<8} {}", part.provenance.outcome.name(), told(agent, part)));
            let is_its = |path: &Path| matches!(path, Path::Part { agent, .. } | Path::Provenance { agent, .. } if *agent == index);
            if self.below(out, is_its) {
                self.why(out, agent, part, record);
            }
        }
        let status = if record.incomplete.is_empty() {
            "complete".to_owned()
        } else {
            format!("partial: without {}", record.incomplete.join(", "))
        };
        self.line(out, "status", &status);
        self.below(out, |path| matches!(path, Path::Record(_)));
        for (index, difference) in self.step.differences.iter().enumerate() {
            if let Difference::Incomplete { expected, got } = difference {
                self.difference(out, index, "incomplete", &names(expected), &names(got));
            }
        }
        self.line(out, "triggers", &names(&self.step.fired()));
        for (index, difference) in self.step.differences.iter().enumerate() {
            if let Difference::Triggers { expected, got } = difference {
                self.difference(out, index, "triggers", &names(expected), &names(got));
                self.rules(out, expected, got);
            }
        }
    }

    fn line(&self, out: &mut String, name: &str, text: &str) {
        let _ = writeln!(out, "    {name:<width$}  {}", text.trim_end(), width = self.width);
    }

    /// The differences at these paths; whether there are any.
    fn below(&self, out: &mut String, is_here: impl Fn(&Path) -> bool) -> bool {
        let mut any = false;
        for (index, difference) in self.step.differences.iter().enumerate() {
            if let Difference::Value { expected, got } = difference
                && is_here(&expected.path)
            {
                any = true;
                let shown = |value| shown(value, self.type_at(&expected.path));
                self.difference(out, index, &expected.name, &shown(&expected.value), &shown(got));
            }
        }
        any
    }

    fn type_at(&self, path: &Path) -> Option<Type> {
        match path {
            Path::Part { agent, field } => Some(self.topology.agents.get(*agent)?.output.get(*field)?.ty),
            Path::Event(EventField::OccurredAt) | Path::Record(RecordField::ReceivedAt) => Some(Type::Timestamp),
            _ => None,
        }
    }

    /// The first of all bears the mark.
    fn difference(&self, out: &mut String, index: usize, name: &str, expected: &str, got: &str) {
        let mark = if index == 0 { '✗' } else { '·' };
        let _ = writeln!(out, "  {mark} {:width$}  {name}: expected {expected}, got {got}", "", width = self.width);
    }

    fn note(&self, out: &mut String, text: &str) {
        let _ = writeln!(out, "    {:width$}    {text}", "", width = self.width);
    }

    /// Why a part is as it is, where a condition decided it.
    fn why(&self, out: &mut String, agent: &AgentSpec, part: &Part, record: &Record) {
        let provenance = &part.provenance;
        if let (Outcome::Skipped, Some(Reason::Condition), Some(when)) =
            (provenance.outcome, provenance.reason, &agent.when)
        {
            self.note(out, &format!("when: {}", judged(when, record)));
        }
        if let (AgentKind::LeadScore(score), Outcome::Ok) = (&agent.kind, provenance.outcome) {
            for rule in score.rules.iter().filter(|rule| rule.when.eval(record) != Truth::True) {
                self.note(out, &format!("not {:+}: {}", rule.add, judged(&rule.when, record)));
            }
        }
    }

    /// Why campaigns fired that were not to, and did not that were to.
    fn rules(&self, out: &mut String, expected: &[std::sync::Arc<str>], got: &[std::sync::Arc<str>]) {
        for rule in &self.topology.triggers {
            match (expected.contains(&rule.campaign), got.contains(&rule.campaign)) {
                (true, false) => {
                    self.note(out, &format!("{} did not fire: {}", rule.campaign, held_back(rule, &self.step.record)));
                }
                (false, true) => {
                    self.note(out, &format!("{} fired: {}", rule.campaign, rule.when.explain(&self.step.record)));
                }
                _ => {}
            }
        }
    }
}

/// Why a rule that did not fire did not.
fn held_back(rule: &TriggerSpec, record: &Record) -> String {
    if rule.when.eval(record) != Truth::True {
        return judged(&rule.when, record);
    }
    match (&rule.consent, rule.cooldown) {
        (Some(purpose), _) if !record.event.consents_to(purpose) => {
            format!("its condition holds, but event.consent.{purpose} is not true")
        }
        (_, Some(cooldown)) => {
            format!(
                "its condition holds, but it fired before and has a cooldown of {}",
                ago(cooldown.as_millis() as i64)
            )
        }
        _ => "its condition holds".to_owned(),
    }
}

/// A condition with the values it met, and what it says.
fn judged(condition: &Condition, record: &Record) -> String {
    let explained = condition.explain(record);
    match condition.eval(record) {
        Truth::True => format!("{explained} is true"),
        Truth::False => format!("{explained} is false"),
        Truth::Unknown(what) => format!("{explained} is unknown: {what}"),
    }
}

/// How a part came about, and its fields.
fn told(agent: &AgentSpec, part: &Part) -> String {
    let provenance = &part.provenance;
    let mut how: Vec<String> = Vec::new();
    if let Some(reason) = provenance.reason {
        how.push(match provenance.attempts {
            0 | 1 => reason.name().to_owned(),
            attempts => format!("{} ×{attempts}", reason.name()),
        });
    }
    if let Some(source) = provenance.source {
        how.push(source.name().to_owned());
    }
    if let Some(age_ms) = provenance.age_ms {
        how.push(format!("{} old", ago(age_ms)));
    }
    let fields = agent.output.iter().enumerate().map(|(index, field)| (field, part.field(index)));
    let fields = fields.filter(|(_, value)| !value.is_null());
    let fields = fields.map(|(field, value)| format!("{} {}", field.name, shown(value, Some(field.ty))));
    format!("{:<24} {}", how.join(", "), fields.collect::<Vec<_>>().join(" · "))
}

/// `7m`, `90s`, `1500ms`: the largest unit that divides it.
fn ago(ms: i64) -> String {
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    match units.iter().find(|(unit, _)| ms > 0 && ms % unit == 0) {
        Some((unit, name)) => format!("{}{name}", ms / unit),
        None => format!("{ms}ms"),
    }
}

fn names(names: &[std::sync::Arc<str>]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// A value as a test file would write it.
fn shown(value: &Value, ty: Option<Type>) -> String {
    match (value, ty) {
        (Value::Null, _) => "null".to_owned(),
        (Value::Text(text), _) => quoted(text),
        (Value::List(values), _) => {
            format!("[{}]", values.iter().map(|value| shown(value, None)).collect::<Vec<_>>().join(", "))
        }
        (Value::Int(ms), Some(Type::Timestamp)) => match DateTime::from_timestamp_millis(*ms) {
            Some(at) => at.to_rfc3339_opts(SecondsFormat::AutoSi, true),
            None => ms.to_string(),
        },
        (value, _) => short(&value.to_string()).into_owned(),
    }
}

/// Bare where it cannot be mistaken, else in quotes.
fn quoted(text: &str) -> String {
    let plain = |character: char| character.is_alphanumeric() || "_-./:@+".contains(character);
    let word = !text.is_empty()
        && text.chars().all(plain)
        && text.parse::<f64>().is_err()
        && !matches!(text, "null" | "true" | "false");
    match short(text) {
        text if word => text.into_owned(),
        text if text.contains('"') && !text.contains(['\'', '\n']) => format!("'{text}'"),
        text => format!("{text:?}"),
    }
}

fn short(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => Cow::Owned(format!("{}…", &text[..at])),
        None => Cow::Borrowed(text),
    }
}
