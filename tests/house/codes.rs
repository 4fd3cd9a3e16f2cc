//! Error codes: each explained, each that is used known.

use std::collections::BTreeSet;

use headwater::topology::codes::{self, Code};
use regex::Regex;

use super::{
    assert_none,
    source::{self, Source},
};

/// Shorter than this explains nothing, characters.
const SHORTEST: usize = 80;

fn unexplained(code: &Code) -> Option<String> {
    let placeholder = code.explain.contains(concat!("TO", "DO"));
    let complaint = if placeholder {
        "the explanation is a placeholder"
    } else if code.explain.trim().chars().count() <= SHORTEST {
        "the explanation says too little"
    } else if code.title.is_empty() {
        "no title"
    } else {
        return None;
    };
    Some(format!("{}: {complaint}", code.id))
}

fn unknown(source: &Source) -> Vec<String> {
    let code = Regex::new(r"\bHW\d{3}\b").expect("a regex");
    let used: BTreeSet<&str> = code.find_iter(&source.text).map(|found| found.as_str()).collect();
    let unknown = used.into_iter().filter(|id| codes::find(id).is_none());
    unknown.map(|id| format!("{}: {id} is not in src/topology/codes.rs", source.path)).collect()
}

#[test]
fn every_code_is_explained() {
    assert_none("`headwater explain` has something to say:", codes::ALL.iter().filter_map(unexplained).collect());
}

#[test]
fn codes_ascend_and_none_stands_twice() {
    assert!(codes::ALL.windows(2).all(|pair| pair[0].id < pair[1].id), "sort src/topology/codes.rs");
}

#[test]
fn every_code_that_is_used_is_in_the_table() {
    let papers = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].map(source::file);
    let sources = source::library().into_iter().chain(papers).chain(source::below("topologies", ".yaml"));
    assert_none("an error code that nobody explains:", sources.flat_map(|source| unknown(&source)).collect());
}

#[test]
fn a_bare_or_unknown_code_is_seen() {
    let code = |explain| Code { id: "HW101", title: "unknown key", explain };
    assert!(unexplained(&code("too short")).is_some());
    assert!(
        unexplained(&code("a text that is long enough to tell the operator what it means, and what to do about it"))
            .is_none()
    );
    assert_eq!(unknown(&Source::sample("src/a.rs", "HW101 HW999")).len(), 1);
}
