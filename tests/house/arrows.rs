//! Who may import whom: arrows point down, a dependency has one home.

use std::collections::BTreeSet;

use regex::Regex;

use super::{
    assert_none,
    source::{self, Source},
};

/// The modules from the ground up. A file imports only from its own module and those before it.
const LAYERS: &[&str] = &[
    "clock", "secret", "event", "expr", "topology", "config", "codec", "policy", "service", "agent", "state", "engine",
    "kafka", "worker", "deliver", "stage", "rehearse", "ops", "dev", "cli",
];

/// Narrower than the layers: only files whose path begins so import this module.
const ONLY_FROM: &[(&str, &[&str])] = &[("dev", &["src/dev/", "src/cli/dev"])];

/// Where a dependency lives. Elsewhere our own types stand in for its.
const HOMES: &[(&str, &[&str])] = &[
    ("rdkafka", &["src/kafka/", "src/dev/"]),
    ("kafka_protocol", &["src/dev/broker"]),
    ("schema_registry_converter", &["src/codec/"]),
    ("serde_avro_fast", &["src/codec/"]),
    ("serde_saphyr", &["src/topology/", "src/config/"]),
    ("schemars", &["src/topology/", "src/config/"]),
    ("cel", &["src/expr/"]),
    ("fjall", &["src/state/"]),
    ("maxminddb", &["src/agent/"]),
    ("woothee", &["src/agent/"]),
    ("aho_corasick", &["src/agent/"]),
    ("candle_core", &["src/agent/sentiment/"]),
    ("candle_nn", &["src/agent/sentiment/"]),
    ("tokenizers", &["src/agent/sentiment/"]),
    ("moka", &["src/policy/"]),
    // Our own module of that name among them.
    ("redis", &["src/service/"]),
    ("rustls", &["src/service/", "src/dev/", "src/cli/"]),
    ("axum", &["src/dev/", "src/ops/", "src/telemetry/"]),
    ("clap", &["src/cli/", "src/config/"]),
];

fn arrows_up(source: &Source) -> Vec<String> {
    let Some(from) = source.module().first().copied() else { return Vec::new() };
    let Some(height) = LAYERS.iter().position(|layer| *layer == from) else {
        return vec![format!("{}: module {from} has no place in LAYERS", source.path)];
    };
    let code = source.code();
    let imports = imports(source, &code);
    let up = imports.iter().filter(|(_, to)| LAYERS.iter().position(|layer| layer == to).is_some_and(|to| to > height));
    let reserved = imports.iter().filter(|(_, to)| {
        let only = ONLY_FROM.iter().find(|(module, _)| module == to);
        only.is_some_and(|(_, from)| !from.iter().any(|prefix| source.path.starts_with(prefix)))
    });
    let complaints: BTreeSet<String> =
        up.chain(reserved).map(|(line, to)| format!("{}:{line}: {from} imports {to}", source.path)).collect();
    complaints.into_iter().collect()
}

/// The top modules named by `crate::…` and by `super::…` chains that reach the crate, with their lines.
fn imports(source: &Source, code: &str) -> Vec<(usize, String)> {
    let root = Regex::new(r"\bcrate::|\b(?:super::)+").expect("a regex");
    let depth = source.module().len();
    let mut found = Vec::new();
    for path in root.find_iter(code) {
        let supers = path.as_str().matches("super::").count();
        if supers == 0 || supers == depth {
            let line = code[..path.start()].matches('\n').count() + 1;
            found.extend(heads(&code[path.end()..]).into_iter().map(|head| (line, head)));
        }
    }
    found
}

/// The first names of a path or of each path in braces: `{a::b, c::{d, e}}` begins with `a` and `c`.
fn heads(path: &str) -> Vec<String> {
    let Some(group) = path.strip_prefix('{') else { return vec![word(path)] };
    let (mut heads, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            '}' | ',' if depth == 0 => {
                heads.push(word(&group[start..at]));
                start = at + 1;
            }
            _ => {}
        }
        if character == '}' && start == at + 1 {
            break;
        }
    }
    heads.retain(|head| !head.is_empty());
    heads
}

fn word(text: &str) -> String {
    text.trim_start().chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect()
}

fn strangers(source: &Source) -> Vec<String> {
    let code = source.code();
    let away = HOMES.iter().filter(|(_, homes)| !homes.iter().any(|home| source.path.starts_with(home)));
    let used = |name: &str| {
        let path = Regex::new(&format!(r"(?m)(^|[^\w:]){name}::|\buse {name}\b")).expect("a regex");
        path.is_match(&code)
    };
    away.filter(|(name, _)| used(name))
        .map(|(name, homes)| format!("{}: {name} lives in {homes:?}", source.path))
        .collect()
}

#[test]
fn arrows_between_modules_point_down_only() {
    assert_none(
        "arrows point down only (tests/house/arrows.rs, LAYERS):",
        source::library().iter().flat_map(arrows_up).collect(),
    );
}

#[test]
fn a_dependency_has_one_home() {
    assert_none(
        "a dependency has one home (tests/house/arrows.rs, HOMES):",
        source::library().iter().flat_map(strangers).collect(),
    );
}

#[test]
fn every_kind_of_arrow_up_is_seen() {
    let complaints = |path, text| arrows_up(&Source::sample(path, text));
    assert_eq!(
        complaints("src/event/part.rs", "use crate::codec::Layout;"),
        ["src/event/part.rs:1: event imports codec"]
    );
    assert_eq!(
        complaints("src/event/part.rs", "\nfn f() { crate::cli::main() }"),
        ["src/event/part.rs:2: event imports cli"]
    );
    assert_eq!(complaints("src/codec/a.rs", "use crate::{event::{Part, Path}, kafka, clock};").len(), 1);
    assert_eq!(complaints("src/codec/a.rs", "use crate::{event::Part}; use x::{kafka, stage};"), [""; 0]);
    assert_eq!(complaints("src/codec/a.rs", "use super::super::stage;"), ["src/codec/a.rs:1: codec imports stage"]);
    assert_eq!(complaints("src/codec/mod.rs", "use super::stage;").len(), 1);
    assert_eq!(complaints("src/codec/a.rs", "use super::stage;"), [""; 0], "that is codec::stage");
    assert_eq!(complaints("src/cli/run.rs", "use crate::dev::Broker;"), ["src/cli/run.rs:1: cli imports dev"]);
    assert_eq!(complaints("src/cli/dev.rs", "use crate::dev::Broker;"), [""; 0]);
    assert_eq!(complaints("src/attic/a.rs", "").len(), 1, "a module without a place");
    assert_eq!(complaints("src/codec/a.rs", "use crate::event::Part; #[cfg(test)] mod t { use crate::cli; }"), [""; 0]);
}

#[test]
fn a_dependency_away_from_home_is_seen() {
    let complaints = |path, text| strangers(&Source::sample(path, text)).len();
    assert_eq!(complaints("src/stage/a.rs", "use rdkafka::message::Message;"), 1);
    assert_eq!(complaints("src/stage/a.rs", "fn f(x: rdkafka::Offset) {}"), 1);
    assert_eq!(complaints("src/kafka/a.rs", "use rdkafka::message::Message;"), 0);
    assert_eq!(complaints("src/stage/a.rs", "// rdkafka::Offset\nuse crate::parcel::f; fn g() { parcel::f() }"), 0);
}
