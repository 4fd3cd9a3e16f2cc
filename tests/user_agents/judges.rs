//! The floors on all that outside judges have: people's browsers (npm's `user-agents`, weighted), what Python's
//! `ua-parser` makes of them, and crawlers (npm's `crawler-user-agents`).
//!
//! `UPDATE_SAMPLES=1 cargo test --test all user_agents` writes the recorded samples anew from them.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use super::{Person, fixture, hold, hold_recall};
use crate::python;

const JUDGE: &str = r"
import sys
import ua_parser
for line in sys.stdin:
    seen = ua_parser.parse(line.rstrip('\n'))
    browser, system = seen.user_agent, seen.os
    print('\t'.join([browser.family if browser else '', (browser.major or '') if browser else '', system.family if system else '']))
";

/// Installs a package of npm's once; `None`, and loudly so, where it is not to be had.
fn package(requirement: &str, file: &str) -> Option<Value> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(requirement.replace(|c: char| !c.is_alphanumeric(), "-"));
    let path = folder.join("node_modules").join(file);
    if !path.is_file() {
        std::fs::create_dir_all(&folder).unwrap();
        let install = Command::new("npm")
            .args(["install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"])
            .args([folder.as_path(), Path::new(requirement)])
            .output();
        let why = match install {
            Ok(output) if output.status.success() => String::new(),
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => format!("npm: {error}"),
        };
        if !path.is_file() {
            eprintln!("NOT RUN: {requirement} cannot be installed ({why}); only the recorded sample was checked");
            return None;
        }
    }
    Some(serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
}

fn people(library: &Path, browsers: &Value) -> Vec<Person> {
    let mut distinct: BTreeMap<&str, (f64, &str)> = BTreeMap::new();
    for browser in browsers.as_array().unwrap() {
        let device = browser["deviceCategory"].as_str().unwrap();
        distinct.entry(browser["userAgent"].as_str().unwrap()).or_insert((0.0, device)).0 +=
            browser["weight"].as_f64().unwrap();
    }
    let asked: String = distinct.keys().map(|user_agent| format!("{user_agent}\n")).collect();
    let said = python::run(library, JUDGE, &[], asked.as_bytes());
    let people = distinct.iter().zip(said.lines()).map(|((user_agent, (weight, device)), said)| {
        let columns: Vec<&str> = said.split('\t').collect();
        let [browser, major, os] = columns[..] else { panic!("{said}") };
        Person {
            user_agent: (*user_agent).into(),
            weight: *weight,
            browser: browser.into(),
            major: major.into(),
            os: os.into(),
            device: (*device).into(),
        }
    });
    let people: Vec<_> = people.collect();
    assert_eq!(people.len(), distinct.len());
    people
}

#[test]
fn we_agree_with_another_parser_on_what_people_use() {
    let instead = "the recorded sample was checked";
    let library = python::library("ua-parser==1.0.*", "ua_parser_builtins", instead);
    let browsers = package("user-agents@2", "user-agents/dist/user-agents.json");
    let (Some(library), Some(browsers)) = (library, browsers) else { return };
    let people = people(&library, &browsers);
    if std::env::var_os("UPDATE_SAMPLES").is_some() {
        record_people(people.clone());
    }
    hold(&people);
}

#[test]
fn crawlers_are_told_from_people() {
    let Some(list) = package("crawler-user-agents@1", "crawler-user-agents/crawler-user-agents.json") else { return };
    let instances = list.as_array().unwrap().iter().filter_map(|crawler| crawler["instances"].as_array()).flatten();
    let crawlers: Vec<String> = instances.map(|instance| instance.as_str().unwrap().to_owned()).collect();
    assert!(crawlers.len() >= 1_500, "{}", crawlers.len());
    if std::env::var_os("UPDATE_SAMPLES").is_some() {
        let sample: String = crawlers.iter().step_by(4).map(|crawler| format!("{}\n", crawler.trim())).collect();
        std::fs::write(fixture("crawlers.txt"), sample).unwrap();
    }
    hold_recall(&crawlers);
}

/// The most frequent ones, and up to five of each browser on each system.
fn record_people(mut people: Vec<Person>) {
    people
        .sort_by(|one, other| other.weight.total_cmp(&one.weight).then_with(|| one.user_agent.cmp(&other.user_agent)));
    let mut of_a_kind: HashMap<(String, String), usize> = HashMap::new();
    let mut sample = String::from("# weight\tbrowser\tmajor version\tsystem\tdevice\tuser agent\n");
    for (rank, person) in people.iter().enumerate() {
        let count = of_a_kind.entry((person.browser.clone(), person.os.clone())).or_default();
        *count += 1;
        if rank < 200 || *count <= 5 {
            let Person { user_agent, weight, browser, major, os, device } = person;
            sample.push_str(&format!("{weight:.8}\t{browser}\t{major}\t{os}\t{device}\t{user_agent}\n"));
        }
    }
    let path: PathBuf = fixture("browsers.tsv");
    std::fs::write(path, sample).unwrap();
}
