//! Settings of a process: which cluster, which registry, who it is. From `HEADWATER_…` variables, else a config file.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use crate::secret::Secret;

/// Where the cluster is and how to talk to it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `HEADWATER_BOOTSTRAP_SERVERS`: `host:port,…`.
    pub bootstrap_servers: String,
    /// `HEADWATER_SCHEMA_REGISTRY_URL`.
    pub registry_url: String,
    /// `HEADWATER_SCHEMA_REGISTRY_USERNAME`, `…_PASSWORD`.
    pub registry_auth: Option<(String, Secret)>,
    /// `HEADWATER_KAFKA_<KEY>`: any librdkafka property (`HEADWATER_KAFKA_SECURITY_PROTOCOL` → `security.protocol`).
    pub kafka: BTreeMap<String, Secret>,
    /// `HEADWATER_POD`, else the host's name: a stable name, part of every transactional id.
    pub pod: String,
    /// `HEADWATER_STATE_DIR`: where the local copies of keyed state lie; below it one folder per topology, pod and
    /// stage. Default `headwater-state` in the working directory.
    pub state_dir: PathBuf,
}

/// What is wrong with the settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Set it in the environment or in the config file.
    #[error("HW506 {0} is not set: set it in the environment, or \"{1}\" in the file that --config names")]
    Missing(&'static str, &'static str),
    /// The file is to be flat YAML: `bootstrap_servers: …`.
    #[error("config file {file}: {message}")]
    File { file: String, message: String },
}

impl Settings {
    /// Reads `HEADWATER_…` variables; what they leave unset comes from the config file (flat YAML, keys as the
    /// variables without prefix, lower case), if one is given.
    pub fn load(
        variables: impl IntoIterator<Item = (String, String)>,
        file: Option<&Path>,
    ) -> Result<Self, SettingsError> {
        let mut values: BTreeMap<String, String> = match file {
            None => BTreeMap::new(),
            Some(path) => {
                let fail = |message: String| SettingsError::File { file: path.display().to_string(), message };
                let text = std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
                serde_saphyr::from_str(&text).map_err(|error| fail(error.to_string()))?
            }
        };
        for (name, value) in variables {
            if let Some(key) = name.strip_prefix("HEADWATER_") {
                values.insert(key.to_ascii_lowercase(), value);
            }
        }
        let kafka = values
            .iter()
            .filter_map(|(key, value)| {
                key.strip_prefix("kafka_").map(|key| (key.replace('_', "."), Secret::new(value.clone())))
            })
            .collect();
        let mut take = |key: &str| values.remove(key).filter(|value| !value.is_empty());
        Ok(Settings {
            bootstrap_servers: take("bootstrap_servers")
                .ok_or(SettingsError::Missing("HEADWATER_BOOTSTRAP_SERVERS", "bootstrap_servers"))?,
            registry_url: take("schema_registry_url")
                .ok_or(SettingsError::Missing("HEADWATER_SCHEMA_REGISTRY_URL", "schema_registry_url"))?
                .trim_end_matches('/')
                .to_owned(),
            registry_auth: take("schema_registry_username")
                .map(|username| (username, Secret::new(take("schema_registry_password").unwrap_or_default()))),
            kafka,
            state_dir: take("state_dir").map_or_else(|| PathBuf::from("headwater-state"), PathBuf::from),
            pod: take("pod").or_else(hostname).unwrap_or_else(|| "pod-0".to_owned()),
        })
    }
}

/// The environment's variables; what is not UTF-8 is no variable of ours.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

fn hostname() -> Option<String> {
    let name = std::env::var("HOSTNAME").ok().or_else(|| std::fs::read_to_string("/etc/hostname").ok())?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}
