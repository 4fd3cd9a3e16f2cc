//! Placement: the sorted list of agents cut into stages, with the topics between them.

use std::{fmt, str::FromStr, sync::Arc};

use super::{
    codes,
    decode::Name,
    diagnostic::Findings,
    model::{AgentSpec, StageSpec},
    names,
    raw::RawStage,
    suggest::did_you_mean,
};

/// How agents are cut into stages, when they are not named in groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Placement {
    /// Each agent is a stage of its own.
    #[default]
    Split,
    /// One stage holds all agents.
    Fused,
}

impl FromStr for Placement {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "split" => Ok(Placement::Split),
            "fused" => Ok(Placement::Fused),
            _ => Err(format!("there is no placement \"{word}\": there are split and fused")),
        }
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Placement::Split => "split",
            Placement::Fused => "fused",
        })
    }
}

/// Name of the one stage of [`Placement::Fused`].
const FUSED: &str = "enrich";

/// One stage per agent, or one for all.
pub(super) fn place(topology: &str, placement: Placement, agents: &[AgentSpec]) -> Vec<StageSpec> {
    let groups = match placement {
        Placement::Split => agents.iter().enumerate().map(|(index, agent)| (agent.name.clone(), vec![index])).collect(),
        Placement::Fused => vec![(Arc::from(FUSED), (0..agents.len()).collect())],
    };
    chain(topology, groups)
}

/// Named groups, checked: every agent in one of them, and no agent reading from a later one.
pub(super) fn place_groups(
    topology: &str,
    groups: &[RawStage],
    at: &Name,
    agents: &[AgentSpec],
    findings: &mut Findings,
) -> Vec<StageSpec> {
    let mut stage_of: Vec<Option<usize>> = vec![None; agents.len()];
    for (index, group) in groups.iter().enumerate() {
        names::check(&group.name, "a stage", findings);
        if groups[..index].iter().any(|other| other.name.value == group.name.value) {
            let message = format!("there are two stages \"{}\"", group.name.value);
            findings.error(codes::HW215, group.name.span, message, "Give one of them another name");
        }
        if group.agents.is_empty() {
            let message = format!("stage \"{}\" holds no agent", group.name.value);
            findings.error(codes::HW216, group.name.span, message, "Take it away, or put agents into it");
        }
        for member in &group.agents {
            let Some(agent) = agents.iter().position(|agent| *agent.name == *member.value) else {
                let message =
                    format!("agent \"{}\" is not defined; stage \"{}\" holds it", member.value, group.name.value);
                let fix = did_you_mean(&member.value, agents.iter().map(|agent| &*agent.name));
                findings.error(codes::HW202, member.span, message, fix);
                continue;
            };
            if let Some(other) = stage_of[agent].replace(index) {
                let message = format!(
                    "agent \"{}\" stands in two stages, \"{}\" and \"{}\"",
                    member.value, groups[other].name.value, group.name.value
                );
                findings.error(codes::HW216, member.span, message, "Keep it in one of them");
            }
        }
    }
    let missing: Vec<&str> =
        agents.iter().zip(&stage_of).filter(|(_, stage)| stage.is_none()).map(|(agent, _)| &*agent.name).collect();
    if !missing.is_empty() {
        let message = format!("no stage holds {}", missing.join(", "));
        findings.error(codes::HW216, at.span, message, "Every agent stands in one stage");
    }
    for (agent, stage) in stage_of.iter().enumerate().filter_map(|(agent, stage)| Some((agent, (*stage)?))) {
        let later =
            agents[agent].deps.iter().filter_map(|dep| Some((*dep, stage_of[*dep]?))).find(|(_, of)| *of > stage);
        if let Some((dep, of)) = later {
            let (group, other) = (&groups[stage], &groups[of].name.value);
            let (name, from) = (&agents[agent].name, &agents[dep].name);
            let message = format!(
                "stage \"{}\" is not contiguous: {name} reads {from}, which runs only in the later stage \"{other}\"",
                group.name.value
            );
            let span = group.agents.iter().find(|member| *member.value == **name).map_or(at.span, |member| member.span);
            let fix = format!("Move {from} into \"{}\" or before, or {name} into \"{other}\"", group.name.value);
            findings.error(codes::HW205, span, message, fix);
        }
    }
    let members = |stage: usize| (0..agents.len()).filter(|agent| stage_of[*agent] == Some(stage)).collect();
    let groups = groups.iter().enumerate().map(|(index, group)| (Arc::from(group.name.value.as_str()), members(index)));
    chain(topology, groups.collect())
}

/// Joins stages by topics: the first reads `<topology>.events`, the last writes `<topology>.enriched`, and what lies
/// between bears the name of the stage that wrote it.
fn chain(topology: &str, groups: Vec<(Arc<str>, Vec<usize>)>) -> Vec<StageSpec> {
    let mut input: Arc<str> = format!("{topology}.events").into();
    let last = groups.len().saturating_sub(1);
    groups
        .into_iter()
        .enumerate()
        .map(|(index, (name, agents))| {
            let output: Arc<str> =
                if index == last { format!("{topology}.enriched") } else { format!("{topology}.{name}") }.into();
            let stage = StageSpec { name, agents, input: input.clone(), output: output.clone() };
            input = output;
            stage
        })
        .collect()
}
