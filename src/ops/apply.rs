//! Doing what a plan says, in an order in which stopping anywhere does no harm: topics, first offsets, schemas, and
//! last the control record, which makes it deployed.

use futures::future::try_join_all;

use super::{
    OpsError,
    plan::{Change, LEVEL, Plan},
    render::Line,
};
use crate::{
    codec::RegistryClient,
    kafka::{
        admin::{Admin, TopicSpec},
        control,
    },
    topology::Start,
};

/// Carries out a plan without refusals; `done` is told each change once it is made, as one line of text.
/// Gives the number of changes.
pub async fn apply(
    plan: &Plan,
    admin: &Admin,
    registry: &RegistryClient,
    mut done: impl FnMut(&str),
) -> Result<usize, OpsError> {
    let specs: Vec<TopicSpec> = plan
        .changes
        .iter()
        .filter_map(|change| match change {
            Change::CreateTopic { spec, .. } => Some(spec.clone()),
            _ => None,
        })
        .collect();
    admin.create_topics(&specs).await?;
    // Each group's coordinator is to be found first, which takes its time: all at once, told in their turn.
    let groups = plan.changes.iter().filter_map(|change| match change {
        Change::FirstOffsets { group, topic, partitions, start } => Some((group, topic, partitions, *start)),
        _ => None,
    });
    try_join_all(
        groups
            .map(async |(group, topic, partitions, start)| first_offsets(admin, group, topic, partitions, start).await),
    )
    .await?;
    for change in &plan.changes {
        match change {
            Change::CreateTopic { .. } | Change::FirstOffsets { .. } => {}
            Change::Schema { subject, schema, level, register, .. } => {
                // The level first, so that the new schema is held to it.
                if *level {
                    registry.set_compatibility(subject, LEVEL).await?;
                }
                if *register {
                    registry.register(subject, schema).await?;
                }
            }
            Change::Chain { chain, .. } => {
                control::write(admin.config(), &format!("{}.control", plan.topology), chain).await?;
            }
        }
        let Line { sign, kind, name, detail } = change.line();
        done(&format!("{sign} {kind} {name} {detail}"));
    }
    Ok(plan.changes.len())
}

/// `partitions` empty is all of them: the topic has only just been created.
async fn first_offsets(
    admin: &Admin,
    group: &str,
    topic: &str,
    partitions: &[i32],
    start: Start,
) -> Result<(), OpsError> {
    let count = admin.topics(&[topic.to_owned()]).await?.get(topic).map_or(0, |state| state.partitions);
    let bounds = admin.bounds(topic, count).await?;
    let offsets: Vec<_> = (0..)
        .zip(&bounds)
        .filter(|(partition, _)| partitions.is_empty() || partitions.contains(partition))
        .map(|(partition, bounds)| match start {
            Start::Beginning => (partition, bounds.begin),
            Start::End => (partition, bounds.end),
        })
        .collect();
    Ok(admin.commit_first(group, topic, &offsets).await?)
}
