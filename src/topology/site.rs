//! Every place that holds a condition: compiled, its faults placed in the file, and later looked at for absent fields.

use super::{
    codes, decode,
    diagnostic::Findings,
    model::{AgentKind, AgentSpec, Fallback},
    scope::Names,
    yaml::Span,
};
use crate::{
    event::Path,
    expr::{Condition, ExprError},
};

/// One compiled condition and where it stands.
struct Site {
    condition: Condition,
    span: Span,
    /// What follows when it is unknown: `the rule is then unknown and does not count`.
    then: &'static str,
}

/// Collects conditions while agents and triggers are built.
#[derive(Default)]
pub(super) struct Sites(Vec<Site>);

impl Sites {
    /// Compiles one; `None` was reported. `reader` is who asks: `score`.
    pub(super) fn compile(
        &mut self,
        written: &decode::Condition,
        names: &Names,
        reader: &str,
        then: &'static str,
        findings: &mut Findings,
    ) -> Option<Condition> {
        match Condition::compile(&written.source, names) {
            Ok(condition) => {
                self.0.push(Site { condition: condition.clone(), span: written.span, then });
                Some(condition)
            }
            Err(error) => {
                report(written, names, reader, error, findings);
                None
            }
        }
    }

    /// Warns of fields that may be absent where a condition reads them, else at their agent.
    pub(super) fn warn_absent(&self, agents: &[AgentSpec], spans: &[Span], findings: &mut Findings) {
        for (index, agent) in agents.iter().enumerate() {
            let Some(why) = why_absent(agent) else { continue };
            let open = open_fields(agent);
            let mut read_somewhere = false;
            for site in &self.0 {
                for (name, path) in site.condition.reads() {
                    let Path::Part { agent: of, field } = path else { continue };
                    if *of != index {
                        continue;
                    }
                    read_somewhere = true;
                    let asks = site.condition.source().contains(&format!("has({name})"));
                    if open.contains(field) && !asks {
                        let message = format!("{name} can be absent ({why}); {}", site.then);
                        let fix =
                            format!("Add a last fallback {{ {}: … }} to decide otherwise", agent.output[*field].name);
                        findings.warn(codes::HW303, site.span, message, fix);
                    }
                }
            }
            if let Some(first) = open.first().filter(|_| !read_somewhere) {
                let fields: Vec<String> =
                    open.iter().take(2).map(|field| format!("{}.{}", agent.name, agent.output[*field].name)).collect();
                let more = if open.len() > 2 { format!(" and {} more", open.len() - 2) } else { String::new() };
                let message = format!("{}{more} can be absent ({why}); the event is then partial", fields.join(", "));
                let fix = format!("Add a last fallback {{ {}: … }} to decide otherwise", agent.output[*first].name);
                findings.warn(codes::HW303, spans[index], message, fix);
            }
        }
    }
}

/// Why an agent may end without fields; `None` when it cannot.
fn why_absent(agent: &AgentSpec) -> Option<&'static str> {
    let calls = match &agent.kind {
        AgentKind::Function { .. } => true,
        AgentKind::LocalLlm(llm) => !llm.is_lexicon(),
        AgentKind::Unbound => true,
        _ => false,
    };
    let caches = agent.fallback.contains(&Fallback::Cache);
    calls.then_some(if caches {
        "no answer, nothing in the cache, no fallback left"
    } else {
        "no answer, no fallback left"
    })
}

/// The fields that no fallback fills.
fn open_fields(agent: &AgentSpec) -> Vec<usize> {
    if agent.fallback.contains(&Fallback::Lexicon) {
        return Vec::new();
    }
    let filled = |field: &usize| {
        agent.fallback.iter().any(
            |fallback| matches!(fallback, Fallback::Values(values) if values.iter().any(|(index, _)| index == field)),
        )
    };
    (0..agent.output.len()).filter(|field| !filled(field)).collect()
}

fn report(written: &decode::Condition, names: &Names, reader: &str, error: ExprError, findings: &mut Findings) {
    match error {
        ExprError::Syntax { message, offset } => {
            let span = offset.map_or(written.span, |offset| written.at(offset));
            findings.error(codes::HW110, span, message, "");
        }
        ExprError::TooBig { message } => findings.error(codes::HW110, written.span, message, ""),
        ExprError::Undefined { names: undefined } => {
            for name in undefined {
                if let Some(unknown) = names.explain(&name, reader) {
                    let span = written.source.find(&name).map_or(written.span, |offset| {
                        let at = written.at(offset);
                        Span { end: (at.start + name.len()).min(at.end.max(at.start)), ..at }
                    });
                    findings.error(unknown.code, span, unknown.message, unknown.fix);
                }
            }
        }
        ExprError::Type { message } => {
            let (message, fix) = match message.split_once("; write ") {
                Some((message, fix)) => (message.to_owned(), format!("write {fix}")),
                None => (message, String::new()),
            };
            findings.error(codes::HW208, written.span, format!("type error: {message}"), fix);
        }
    }
}
