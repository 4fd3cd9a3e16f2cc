//! DescribeConfigs, AlterConfigs, IncrementalAlterConfigs.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult};
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse as IncrementalResponse;
use kafka_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, DescribeConfigsRequest, DescribeConfigsResponse,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::Shared;
use super::state::{Refusal, State};
use super::topic::{TOPIC_CONFIGS, Topic};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const FROM_TOPIC: i8 = 1;
const FROM_DEFAULT: i8 = 5;

/// One setting and where its value comes from.
pub struct Described {
    /// Of the setting.
    pub name: &'static str,
    /// As text.
    pub value: String,
    /// Kafka's number for the topic itself (1) or the default (5).
    pub source: i8,
}

/// All settings of a topic.
pub fn topic_configs(topic: &Topic) -> impl Iterator<Item = Described> {
    TOPIC_CONFIGS.iter().map(|&(name, default)| match topic.configs.get(name) {
        Some(value) => Described { name, value: value.clone(), source: FROM_TOPIC },
        None => Described { name, value: default.to_owned(), source: FROM_DEFAULT },
    })
}

fn broker_configs(shared: &Shared) -> Vec<Described> {
    let setting = |name, value: String| Described { name, value, source: FROM_DEFAULT };
    vec![
        setting("auto.create.topics.enable", shared.config.auto_create_topics.to_string()),
        setting("default.replication.factor", "1".to_owned()),
        setting("num.partitions", shared.config.default_partitions.to_string()),
        setting(
            "transaction.abort.timed.out.transaction.cleanup.interval.ms",
            shared.config.transaction_abort_interval.as_millis().to_string(),
        ),
    ]
}

/// What topics and the broker are set to.
pub fn describe(shared: &Shared, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let state = shared.state.lock();
    let results = request.resources.into_iter().map(|resource| {
        let result = DescribeConfigsResult::default().with_resource_type(resource.resource_type);
        let all = match resource.resource_type {
            TOPIC => state.topics.get(resource.resource_name.as_str()).map(|topic| topic_configs(topic).collect()),
            BROKER => Some(broker_configs(shared)),
            _ => Some(Vec::new()),
        };
        let result = match all {
            Some(all) => {
                let keys = &resource.configuration_keys;
                let asked = |d: &Described| keys.as_ref().is_none_or(|keys| keys.iter().any(|k| k.as_str() == d.name));
                let configs = all.into_iter().filter(asked).map(|described| {
                    DescribeConfigsResourceResult::default()
                        .with_name(StrBytes::from_static_str(described.name))
                        .with_value(Some(StrBytes::from_string(described.value)))
                        .with_config_source(described.source)
                        .with_read_only(resource.resource_type == BROKER)
                });
                result.with_configs(configs.collect())
            }
            None => result.with_error_code(ResponseError::UnknownTopicOrPartition.code()),
        };
        result.with_resource_name(resource.resource_name)
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

/// Replaces all settings of topics.
pub fn alter(shared: &Shared, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let mut state = shared.state.lock();
    let responses = request.resources.into_iter().map(|resource| {
        let pair = |c: kafka_protocol::messages::alter_configs_request::AlterableConfig| {
            Some((c.name.to_string(), c.value?.to_string()))
        };
        let configs: BTreeMap<_, _> = resource.configs.into_iter().filter_map(pair).collect();
        let name = resource.resource_name.as_str();
        let (code, text) =
            outcome(configure(&mut state, resource.resource_type, name, request.validate_only, |all| *all = configs));
        AlterConfigsResourceResponse::default()
            .with_error_code(code)
            .with_error_message(text)
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name)
    });
    AlterConfigsResponse::default().with_responses(responses.collect())
}

/// Changes some settings of topics.
pub fn incremental_alter(shared: &Shared, request: IncrementalAlterConfigsRequest) -> IncrementalAlterConfigsResponse {
    const SET: i8 = 0;
    const DELETE: i8 = 1;
    const APPEND: i8 = 2;
    let mut state = shared.state.lock();
    let responses = request.resources.into_iter().map(|resource| {
        let name = resource.resource_name.as_str();
        let change = |all: &mut BTreeMap<String, String>| {
            for config in resource.configs {
                let (name, value) = (config.name.to_string(), config.value.unwrap_or_default().to_string());
                let before = all.get(&name).filter(|before| !before.is_empty()).cloned();
                let listed = |before: String| before.split(',').map(str::to_owned).collect::<Vec<_>>();
                match (config.config_operation, before) {
                    (SET, _) | (APPEND, None) => _ = all.insert(name, value),
                    (DELETE, _) => _ = all.remove(&name),
                    (APPEND, Some(before)) => _ = all.insert(name, format!("{before},{value}")),
                    (_, before) => {
                        let kept: Vec<_> = before.map(listed).unwrap_or_default();
                        let kept: Vec<_> = kept.into_iter().filter(|entry| *entry != value).collect();
                        all.insert(name, kept.join(","));
                    }
                }
            }
        };
        let (code, text) = outcome(configure(&mut state, resource.resource_type, name, request.validate_only, change));
        IncrementalResponse::default()
            .with_error_code(code)
            .with_error_message(text)
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name)
    });
    IncrementalAlterConfigsResponse::default().with_responses(responses.collect())
}

fn configure(
    state: &mut State,
    resource_type: i8,
    name: &str,
    validate_only: bool,
    change: impl FnOnce(&mut BTreeMap<String, String>),
) -> Result<(), Refusal> {
    if resource_type != TOPIC {
        let text = "the development broker has settings for topics only".to_owned();
        return Err((ResponseError::InvalidRequest, text));
    }
    let unknown = || (ResponseError::UnknownTopicOrPartition, format!("The topic '{name}' does not exist."));
    let topic = state.topics.get_mut(name).ok_or_else(unknown)?;
    let before = topic.configs.clone();
    let mut configs = before.clone();
    change(&mut configs);
    topic.configure(configs).map_err(|text| (ResponseError::InvalidConfig, text))?;
    if validate_only {
        topic.configure(before).map_err(|text| (ResponseError::InvalidConfig, text))?;
    }
    Ok(())
}

fn outcome(result: Result<(), Refusal>) -> (i16, Option<StrBytes>) {
    match result {
        Ok(()) => (0, None),
        Err((error, text)) => (error.code(), Some(StrBytes::from_string(text))),
    }
}
