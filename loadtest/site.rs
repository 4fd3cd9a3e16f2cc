//! A topology applied to the stand, and the real binary running it.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
};

use clap::ValueEnum;
use headwater::{
    config::Settings,
    dev::world::deploy,
    topology::{LoadOptions, Loaded, Topology, Variables, load},
};
use tempfile::TempDir;

use crate::{
    Outcome,
    stand::{HOOK_SECRET, PARTITIONS, Stand},
    support::headwater::Headwater,
};

/// How the agents are placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shape {
    /// Intake, then a stage per agent.
    Split,
    /// Intake, then one stage.
    Fused,
    /// One stage that does intake's work too: a single hop.
    Keyed,
}

impl Shape {
    pub const ALL: [Shape; 3] = [Shape::Split, Shape::Fused, Shape::Keyed];

    /// As the tables name it.
    pub fn name(self) -> &'static str {
        match self {
            Shape::Split => "split",
            Shape::Fused => "fused",
            Shape::Keyed => "fused, keyed source",
        }
    }
}

/// One topology with a name of its own, applied.
pub struct Site {
    pub name: String,
    pub shape: Shape,
    pub topology: Topology,
    pub settings: Settings,
    variables: Vec<(&'static str, String)>,
    file: PathBuf,
    _folder: TempDir,
}

impl Site {
    /// Applies the topology over this raw topic.
    pub fn new(stand: &Stand, shape: Shape, raw: &str) -> Outcome<Site> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("load{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let placement = if shape == Shape::Split { "split" } else { "fused" };
        let text = include_str!("topology.yaml")
            .replace("name: load ", &format!("placement: {placement}\nname: {name} "))
            .replace("topic: load.raw ", &format!("topic: {raw} "))
            .replace("keyed: false ", &format!("keyed: {} ", shape == Shape::Keyed));
        let folder = TempDir::with_prefix("headwater-load-")?;
        let file = folder.path().join("topology.yaml");
        std::fs::write(&file, &text)?;
        let places = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/geoip/GeoIP2-City-Test.mmdb");
        let variables = vec![
            ("HUBSPOT_URL", stand.crm.url()),
            ("HUBSPOT_TOKEN", "demo".to_owned()),
            ("HOOK_URL", stand.receiver.url()),
            ("HOOK_SECRET", HOOK_SECRET.to_owned()),
            ("ALLOW_PRIVATE", "true".to_owned()),
            ("GEOIP_DB", places.to_owned()),
        ];
        let named = variables.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        let options = LoadOptions { variables: Variables::required(named), ..LoadOptions::default() };
        let Loaded { topology, .. } = load("loadtest/topology.yaml", &text, &options)
            .map_err(|findings| format!("the topology has errors: {findings:?}"))?;
        let settings = Settings::load(
            [
                ("HEADWATER_BOOTSTRAP_SERVERS".to_owned(), stand.kafka.bootstrap().to_owned()),
                ("HEADWATER_SCHEMA_REGISTRY_URL".to_owned(), stand.registry.url()),
            ],
            None,
        )?;
        stand.runtime.block_on(deploy(&topology, &settings, PARTITIONS))?;
        Ok(Site { name, shape, topology, settings, variables, file, _folder: folder })
    }

    /// Starts `headwater run` against the broker behind that address.
    pub fn run(&self, bootstrap: &str, more: &[&str]) -> Headwater {
        let file = self.file.display().to_string();
        let args: Vec<&str> = ["run", &file, "--report-every", "10"].into_iter().chain(more.iter().copied()).collect();
        let mut env: Vec<(&str, &str)> = self.variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        env.push(("HEADWATER_BOOTSTRAP_SERVERS", bootstrap));
        env.push(("HEADWATER_SCHEMA_REGISTRY_URL", &self.settings.registry_url));
        env.push(("HEADWATER_POD", "load-0"));
        Headwater::spawn(&args, &env)
    }

    /// The stages that enrich, without deliveries, as `--stages` wants them.
    pub fn enriching(&self) -> String {
        let stages = self.topology.stages.iter().map(|stage| stage.name.to_string());
        let intake = (self.shape != Shape::Keyed).then(|| "intake".to_owned());
        intake.into_iter().chain(stages).collect::<Vec<_>>().join(",")
    }

    /// The groups that those read as and the topics that they read, in the order of the flow.
    pub fn groups(&self) -> Vec<(String, String)> {
        let raw = (format!("{}.intake", self.name), self.topology.source.topic.to_string());
        // A group on a topic of ours bears its name. Over a keyed source the first stage reads the raw topic itself.
        let read = self.topology.stages.iter().skip(usize::from(self.shape == Shape::Keyed));
        [raw].into_iter().chain(read.map(|stage| (stage.input.to_string(), stage.input.to_string()))).collect()
    }
}
