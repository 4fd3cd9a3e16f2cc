//! What a test expects: paths with values, campaigns, agents that failed.

use std::sync::Arc;

use super::{Expect, Expected, value};
use crate::{
    event::{Outcome, Path, ProvenanceField, Reason, RecordField, Source, Value},
    expr::Scope as _,
    topology::{
        codes,
        decode::{Cx, Decode, Name},
        model::Topology,
        scope::{Names, join},
        suggest::did_you_mean,
        yaml::{Node, Shape},
    },
};

/// Reads `expect`.
pub(super) struct Expecting<'e> {
    pub topology: &'e Topology,
    pub names: &'e Names<'e>,
}

impl Expecting<'_> {
    /// What is expected; what was reported is left out.
    pub(super) fn read(&self, node: &Node, cx: &mut Cx) -> Expect {
        let mut expect = Expect::default();
        let Shape::Map(entries) = &node.shape else {
            cx.expected(node, "a map of paths and values");
            return expect;
        };
        for (key, node) in entries {
            let Some(name) = Name::decode(key, cx) else { continue };
            match name.value.as_str() {
                "triggers" => {
                    let campaigns = self.topology.triggers.iter().map(|trigger| trigger.campaign.clone()).collect();
                    expect.triggers = known(node, campaigns, "campaign", codes::HW112, cx);
                }
                "incomplete" => {
                    expect.incomplete = known(node, self.topology.agent_names(), "agent", codes::HW202, cx);
                }
                _ => expect.values.extend(self.value(&name, node, cx)),
            }
        }
        expect
    }

    fn value(&self, name: &Name, node: &Node, cx: &mut Cx) -> Option<Expected> {
        let Some((path, ty)) = self.names.resolve(&name.value) else {
            let unknown = self.names.explain(&name.value, "expect")?;
            cx.findings.error(unknown.code, name.span, unknown.message, unknown.fix);
            return None;
        };
        if matches!(path, Path::Map(_)) {
            let message = format!("{} is a map", name.value);
            cx.findings.error(codes::HW107, name.span, message, format!("Expect one entry: {}.<key>", name.value));
            return None;
        }
        let outer = std::mem::replace(&mut cx.what, name.value.clone());
        let value = value::read(node, ty, cx);
        if let (Some(Value::Text(text)), Some(words)) = (&value, words(&path))
            && !words.contains(&&**text)
        {
            let message = format!("{} is never \"{text}\"", name.value);
            let fix = match did_you_mean(text, words.iter().copied()) {
                fix if fix.is_empty() => format!("There are {}", join(words.iter().copied())),
                fix => fix,
            };
            cx.findings.error(codes::HW112, node.span, message, fix);
        }
        cx.what = outer;
        Some(Expected { name: name.value.as_str().into(), path, value: value? })
    }
}

/// The words that a path can yield, where they are few.
fn words(path: &Path) -> Option<Vec<&'static str>> {
    match path {
        // Nothing is pending once the record is complete.
        Path::Provenance { field: ProvenanceField::Outcome, .. } => {
            Some(Outcome::ALL.iter().filter(|outcome| **outcome != Outcome::Pending).map(|word| word.name()).collect())
        }
        Path::Provenance { field: ProvenanceField::Reason, .. } => {
            Some(Reason::ALL.iter().map(|word| word.name()).collect())
        }
        Path::Provenance { field: ProvenanceField::Source, .. } => {
            Some(Source::ALL.iter().map(|word| word.name()).collect())
        }
        Path::Record(RecordField::Status) => Some(vec!["complete", "partial"]),
        _ => None,
    }
}

/// A list of names, each of which is to be one of these.
fn known(node: &Node, names: Vec<Arc<str>>, noun: &str, code: &'static str, cx: &mut Cx) -> Option<Vec<Arc<str>>> {
    let mut found: Vec<Arc<str>> = Vec::new();
    for name in Vec::<Name>::decode(node, cx)? {
        match names.iter().find(|known| ***known == *name.value) {
            Some(known) if found.contains(known) => {
                cx.findings.error(
                    codes::HW215,
                    name.span,
                    format!("\"{known}\" stands here twice"),
                    "Keep one of them",
                );
            }
            Some(known) => found.push(known.clone()),
            None => {
                let message = format!("{noun} \"{}\" is not defined; expect speaks of it", name.value);
                let names = || names.iter().map(|name| &**name);
                let fix = match did_you_mean(&name.value, names()) {
                    fix if fix.is_empty() && !self::is_empty(names()) => format!("Defined: {}", join(names())),
                    fix => fix,
                };
                cx.findings.error(code, name.span, message, fix);
            }
        }
    }
    Some(found)
}

fn is_empty<'n>(mut names: impl Iterator<Item = &'n str>) -> bool {
    names.next().is_none()
}
