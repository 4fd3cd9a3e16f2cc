//! What this version checks but does not run yet, by name: a topology written for a later version loads, and `run` says
//! plainly what it would leave out instead of leaving it out.

use super::{
    codes,
    diagnostic::{Diagnostic, Severity},
    model::{AgentKind, DestinationKind, Topology},
};

/// One finding (`HW505`) per thing in use that this version does not run. Empty: it can run.
pub fn plan_refusals(topology: &Topology) -> Vec<Diagnostic> {
    let mut refusals = Vec::new();
    let mut refuse = |what: String, fix: &str| {
        refusals.push(Diagnostic {
            code: codes::HW505,
            severity: Severity::Error,
            file: topology.name.to_string(),
            line: 0,
            column: 0,
            width: 0,
            message: format!("{what} is not in this version"),
            fix: Some(fix.to_owned()).filter(|fix| !fix.is_empty()),
        });
    };
    for agent in &topology.agents {
        match &agent.kind {
            AgentKind::Unbound => refuse(
                format!("agent \"{}\": a function that is bound to no service", agent.name),
                "Bind it: services.<name>: { type: hubspot, token: … }",
            ),
            AgentKind::LocalLlm(llm) if !cfg!(feature = "ml") && !llm.is_lexicon() && !agent.has_stand_in() => refuse(
                format!("agent \"{}\": local_llm with model \"{}\" (cargo feature ml)", agent.name, llm.model),
                "Build with --features ml, declare fallback: lexicon, or write model: lexicon",
            ),
            _ => {}
        }
    }
    for (index, destination) in topology.destinations.iter().enumerate() {
        let used = topology.triggers.iter().any(|trigger| trigger.destinations.contains(&index));
        if let DestinationKind::Later { kind } = &destination.kind
            && used
        {
            refuse(format!("destination \"{}\": type {kind}", destination.name), "Use a webhook");
        }
    }
    for sink in &topology.sinks {
        refuse(format!("sink \"{}\": type {}", sink.name, sink.kind), "Take it away");
    }
    for feed in &topology.feeds {
        refuse(format!("feed \"{}\": type {}", feed.name, feed.kind), "Take it away");
    }
    refusals.dedup();
    refusals
}
