//! What the repository says of itself is so.

use std::{collections::BTreeSet, process::Command};

use headwater::cli::exit;
use regex::Regex;

use super::{assert_none, source};

/// The lines to type in the `sh` blocks of one section, comments left out.
fn commands(text: &str, heading: &str) -> Vec<String> {
    let start = text.find(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no section {heading:?}"));
    let section = &text[start + 1..];
    let section = section.find("\n## ").map_or(section, |end| &section[..end]);
    let block = Regex::new(r"(?s)```sh\n(.*?)```").expect("a regex");
    let lines = block.captures_iter(section).flat_map(|found| found[1].lines().map(str::to_owned).collect::<Vec<_>>());
    lines
        .map(|line| line.split('#').next().unwrap_or_default().trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect()
}

/// `target: … ## what it does`.
fn documented(makefile: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let target = Regex::new(r"(?m)^([a-z][a-z-]*):([^=\n]*)$").expect("a regex");
    let all = target.captures_iter(makefile).map(|found| found[1].to_owned()).collect();
    let with = target.captures_iter(makefile).filter(|found| found[2].contains("## ")).map(|found| found[1].to_owned());
    (all, with.collect())
}

#[test]
fn setting_up_takes_exactly_two_commands() {
    assert_eq!(commands(&source::file("README.md").text, "Set up"), ["make demo", "make test"]);
}

#[test]
fn exit_codes_are_documented_as_they_are() {
    let text = source::file("README.md").text;
    let section = text.split("\n### Exit codes\n").nth(1).expect("a section on exit codes");
    let rows = section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let documented: Vec<u8> = rows.filter_map(|row| row.split('|').nth(1)?.trim().parse().ok()).collect();
    assert_eq!(documented, [exit::OK, exit::NEGATIVE, exit::USAGE, exit::UNAVAILABLE]);
}

#[test]
fn every_target_is_in_make_help() {
    let (all, with) = documented(&source::file("Makefile").text);
    assert_eq!(all, with, "write `target: ## what it does` in the Makefile");
    let help = Command::new("make").arg("help").current_dir(source::root()).output().expect("make runs");
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    let missing =
        all.iter().filter(|target| !help.lines().any(|line| line.trim_start().starts_with(&format!("make {target} "))));
    assert_none(&format!("make help does not show:\n{help}"), missing.cloned().collect());
}

#[test]
fn every_make_target_that_is_written_about_exists() {
    let (all, _) = documented(&source::file("Makefile").text);
    let named = Regex::new(r"`make ([a-z][a-z-]*)`").expect("a regex");
    let papers = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(source::file);
    let named =
        papers.iter().flat_map(|paper| named.captures_iter(&paper.text).map(move |found| (paper, found[1].to_owned())));
    let missing = named.filter(|(_, target)| !all.contains(target));
    assert_none("no such target:", missing.map(|(paper, target)| format!("{}: make {target}", paper.path)).collect());
}

#[test]
fn every_file_that_is_linked_to_exists() {
    let link = Regex::new(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)").expect("a regex");
    let papers = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(source::file);
    let links =
        papers.iter().flat_map(|paper| link.captures_iter(&paper.text).map(move |found| (paper, found[1].to_owned())));
    let broken = links.filter(|(_, path)| !source::root().join(path).exists());
    assert_none("a link to nothing:", broken.map(|(paper, path)| format!("{}: {path}", paper.path)).collect());
}

#[test]
fn the_changelog_speaks_of_this_version() {
    let text = source::file("CHANGELOG.md").text;
    let heading = format!("## [{}]", env!("CARGO_PKG_VERSION"));
    let start = text.find(&heading).unwrap_or_else(|| panic!("no {heading} in CHANGELOG.md"));
    let entry = &text[start + heading.len()..];
    let entry = entry.find("\n## ").map_or(entry, |end| &entry[..end]);
    assert!(entry.lines().any(|line| line.starts_with("- ")), "{heading} has no entry");
}

#[test]
fn commands_and_targets_are_read_as_written() {
    let text =
        "\n## Set up\n```sh\nmake demo   # why\n\n# a comment\nmake test\n```\n## Next\n```sh\nmake clean\n```\n";
    assert_eq!(commands(text, "Set up"), ["make demo", "make test"]);
    let (all, with) = documented("VERSION := 1\nhelp: ## this list\n\ttrue\nbare: help\n");
    assert_eq!((all.len(), with.len()), (2, 1));
}
