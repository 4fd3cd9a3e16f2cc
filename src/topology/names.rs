//! What things may be called: names become Avro fields, topics, groups and metric labels.

use super::{codes, decode::Name, diagnostic::Findings};

/// Words that mean something in a record, a topic or a group.
const RESERVED: &[&str] = &[
    "event",
    "status",
    "provenance",
    "events",
    "enriched",
    "triggers",
    "incomplete",
    "received_at",
    "enriched_at",
    "origin",
    "chain",
    "topology_version",
    "intake",
    "deliver",
    "sink",
    "state",
    "dedup",
    "decide",
    "repeat",
    "refire",
    "control",
    "dead_letters",
    "true",
    "false",
    "null",
    "in",
];

/// Words that every part has beside its fields.
const PROVENANCE: &[&str] = &["outcome", "reason", "source", "attempts", "latency_ms", "age_ms", "provenance"];

/// An agent, a stage, the topology: an Avro name and the end of a topic's.
pub(super) fn check(name: &Name, noun: &str, findings: &mut Findings) {
    if RESERVED.contains(&name.value.as_str()) {
        let message = format!("\"{}\" is reserved and no name for {noun}", name.value);
        findings.error(codes::HW109, name.span, message, "Choose another name");
    } else if !is_word(&name.value) {
        let message = format!("\"{}\" is no name for {noun}", name.value);
        findings.error(
            codes::HW109,
            name.span,
            message,
            "A name has small letters, digits and _, begins with a letter, at most 40 characters",
        );
    }
}

/// A field of a part.
pub(super) fn check_field(name: &Name, findings: &mut Findings) {
    if PROVENANCE.contains(&name.value.as_str()) {
        let message = format!("\"{}\" is reserved: every part has it beside its fields", name.value);
        findings.error(codes::HW109, name.span, message, "Choose another name on the left side of output");
    } else if !is_word(&name.value) {
        let message = format!("\"{}\" is no name for a field", name.value);
        findings.error(
            codes::HW109,
            name.span,
            message,
            "A name has small letters, digits and _, begins with a letter, at most 40 characters",
        );
    }
}

/// A step of a funnel: the beginning of a field's name.
pub(super) fn check_step(name: &Name, findings: &mut Findings) {
    if !is_word(&name.value) {
        let message = format!("\"{}\" is no name for a step, of which a field is named", name.value);
        findings.error(
            codes::HW109,
            name.span,
            message,
            "A name has small letters, digits and _, begins with a letter, at most 40 characters",
        );
    }
}

/// A campaign, a destination, a sink: a label and the end of a group's name.
pub(super) fn check_label(name: &Name, noun: &str, findings: &mut Findings) {
    let fine = name.value.len() <= 60
        && name.value.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.value.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if !fine {
        let message = format!("\"{}\" is no name for {noun}", name.value);
        findings.error(codes::HW109, name.span, message, "A name has letters, digits, - and _, at most 60 characters");
    }
}

/// A topic's name, by Kafka's rules.
pub(super) fn check_topic(name: &Name, findings: &mut Findings) {
    let fine = (1..=249).contains(&name.value.len())
        && !matches!(name.value.as_str(), "." | "..")
        && name.value.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if !fine {
        let message = format!("\"{}\" is no name for a topic", name.value);
        findings.error(
            codes::HW109,
            name.span,
            message,
            "Kafka allows letters, digits, ., _ and -, at most 249 characters",
        );
    }
}

fn is_word(name: &str) -> bool {
    name.len() <= 40
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}
