//! A plan as people and as scripts read it.

use serde_json::{Value as Json, json};

use super::{
    deployment::Role,
    plan::{Change, LEVEL, Plan},
};
use crate::{kafka::admin::TopicSpec, topology::Start};

/// How a change is shown: sign, kind, name, the rest.
pub(super) struct Line {
    pub sign: char,
    pub kind: &'static str,
    pub name: String,
    pub detail: String,
}

impl Change {
    /// One line of `plan`.
    pub(super) fn line(&self) -> Line {
        match self {
            Change::CreateTopic { spec, role } => {
                Line { sign: '+', kind: "topic", name: spec.name.clone(), detail: topic_detail(spec, *role) }
            }
            Change::Schema { subject, register, from, detail, .. } => {
                let detail = match (from, register) {
                    (Some(version), true) => format!("v{version}→v{} {detail}   {LEVEL} ✓", version + 1),
                    (Some(_), false) => format!("{detail}{LEVEL}"),
                    (None, _) => format!("{detail}   {LEVEL}"),
                };
                Line { sign: if from.is_some() { '~' } else { '+' }, kind: "schema", name: subject.clone(), detail }
            }
            Change::FirstOffsets { group, topic, partitions, start } => {
                let place = match start {
                    Start::Beginning => "beginning",
                    Start::End => "end",
                };
                let which = match partitions.as_slice() {
                    [] => String::new(),
                    some => format!(" ({} partition{})", some.len(), if some.len() == 1 { "" } else { "s" }),
                };
                Line {
                    sign: '+',
                    kind: "group",
                    name: group.clone(),
                    detail: format!("begins at the {place} of {topic}{which}"),
                }
            }
            Change::Chain { chain, from } => {
                let stages: Vec<_> = chain.stages.iter().map(|stage| stage.name.as_str()).collect();
                let (sign, name, detail) = match from {
                    None => ('+', format!("{}", chain.number), format!("stages {}", stages.join(" → "))),
                    Some(before) => {
                        let detail = format!(
                            "topology {}→{}: rules, parameters and agents roll out pod by pod, no drain",
                            before.topology_version, chain.topology_version
                        );
                        ('~', format!("{} kept", chain.number), detail)
                    }
                };
                Line { sign, kind: "chain", name, detail }
            }
        }
    }
}

fn topic_detail(spec: &TopicSpec, role: Role) -> String {
    let plural = if spec.partitions == 1 { "" } else { "s" };
    let keep = match role {
        Role::Control | Role::State { window_ms: None, .. } => "compacted".to_owned(),
        Role::State { window_ms: Some(window_ms), .. } => format!("compacted, delete {}h", window_ms / 3_600_000),
        Role::Internal => "delete 24h".to_owned(),
        _ => "delete 7d".to_owned(),
    };
    format!("{} partition{plural}, rf {}, {keep}", spec.partitions, spec.replication)
}

impl Plan {
    /// The block that `headwater plan` prints. `file` is the topology's, for the last line.
    pub fn text(&self, file: &str) -> String {
        let lines: Vec<_> = self.changes.iter().map(Change::line).collect();
        let width = lines.iter().map(|line| line.name.chars().count()).max().unwrap_or(0).clamp(30, 48);
        let mut text = String::new();
        for Line { sign, kind, name, detail } in lines {
            text += &format!("  {sign} {kind:<8} {name:<width$} {detail}\n");
        }
        for note in &self.notes {
            text += &format!("  ! {note}\n");
        }
        for refusal in &self.refusals {
            text += &format!("  ✗ {} {}\n", refusal.code, refusal.message);
        }
        text += &match (self.refusals.is_empty(), self.changes.is_empty()) {
            (false, _) => "    this cannot be applied; nothing is changed.\n".to_owned(),
            (true, true) => format!("    nothing to change: {}\n", self.as_it_is()),
            (true, false) => format!("    nothing is deleted.  Apply with: headwater apply {file}\n"),
        };
        text
    }

    /// What is there already.
    pub fn as_it_is(&self) -> String {
        let [topics, subjects, groups] = self.unchanged;
        format!("{topics} topics, {subjects} subjects and {groups} groups are as {} needs them", self.topology)
    }

    /// The same for scripts.
    pub fn json(&self) -> Json {
        let change = |change: &Change| {
            let Line { sign, kind, name, detail } = change.line();
            json!({ "action": if sign == '+' { "add" } else { "change" }, "kind": kind, "name": name, "detail": detail })
        };
        let refusal = |refusal: &super::Refusal| json!({ "code": refusal.code, "message": refusal.message });
        json!({
            "topology": self.topology,
            "changes": self.changes.iter().map(change).collect::<Vec<_>>(),
            "notes": self.notes,
            "refusals": self.refusals.iter().map(refusal).collect::<Vec<_>>(),
            "unchanged": { "topics": self.unchanged[0], "subjects": self.unchanged[1], "groups": self.unchanged[2] },
        })
    }
}
