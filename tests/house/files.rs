//! What each file looks like, and what must not stand in it.

use std::{collections::BTreeSet, path::Path};

use regex::Regex;

use super::{
    assert_none,
    source::{self, Source},
};

/// Lines of a file that still holds one idea.
const LONGEST: usize = 400;

/// Longer files, each with the reason why cutting it would make it worse.
const LONGER: &[(&str, &str)] = &[];

/// What must not stand in code outside tests: pattern, where it may, what to do instead.
/// Clippy denies most of it; an `allow` gets past clippy and not past this.
const BANNED: &[(&str, &[&str], &str)] = &[
    (r"\.unwrap\(\)", &[], "give the error to the caller, or a default"),
    (r"\b(panic|todo|unimplemented)!", &[], "give an error to the caller"),
    (r"\bInstant::now\b|\bSystemTime::now\b", &["src/clock.rs"], "be given time, or use crate::clock at the shell"),
    (r"\be?print(ln)?!", &["src/cli/"], "return it, or trace it; only commands write"),
    (r"\bthread::sleep\b", &[], "park on a condition, or sleep on the runtime"),
];

fn banned(source: &Source) -> Vec<String> {
    let code = source.code();
    let mut complaints = Vec::new();
    for (pattern, allowed, instead) in BANNED {
        if allowed.iter().any(|prefix| source.path.starts_with(prefix)) {
            continue;
        }
        for found in Regex::new(pattern).expect("a regex").find_iter(&code) {
            let line = code[..found.start()].matches('\n').count() + 1;
            complaints.push(format!("{}:{line}: {}: {instead}", source.path, found.as_str()));
        }
    }
    complaints
}

fn too_long(source: &Source, exceptions: &[(&str, &str)]) -> Option<String> {
    let lines = source.text.lines().count();
    match exceptions.iter().find(|(path, _)| *path == source.path) {
        None if lines > LONGEST => Some(format!("{}: {lines} lines", source.path)),
        Some(_) if lines <= LONGEST => Some(format!("{}: {lines} lines need no exception", source.path)),
        _ => None,
    }
}

/// A charter is a sentence: one line, with an end.
fn without_charter(source: &Source) -> Option<String> {
    let first = source.text.lines().next().unwrap_or_default();
    let sentence = first.strip_prefix("//! ").is_some_and(|charter| charter.split(' ').count() >= 3);
    (!sentence).then(|| format!("{}:1: {first:?}", source.path))
}

/// Work put off, or a test switched off without a word.
fn unfinished(source: &Source) -> Vec<String> {
    let mark = Regex::new(concat!(r"\b(TO", r"DO|FIX", r"ME|XX", r"X)\b|#\[ign", r"ore\]")).expect("a regex");
    let lines = source.text.lines().enumerate().filter(|(_, line)| mark.is_match(line));
    lines.map(|(number, line)| format!("{}:{}: {}", source.path, number + 1, line.trim())).collect()
}

fn all() -> Vec<Source> {
    [source::below("src", ".rs"), source::below("tests", ".rs")].concat()
}

#[test]
fn nothing_banned_stands_outside_tests() {
    assert_none(
        "banned outside tests (tests/house/files.rs, BANNED):",
        source::library().iter().flat_map(banned).collect(),
    );
}

#[test]
fn a_file_has_at_most_400_lines_or_a_named_reason() {
    let files = all();
    let mut complaints: Vec<String> = files.iter().filter_map(|source| too_long(source, LONGER)).collect();
    let gone = LONGER.iter().filter(|(path, _)| !files.iter().any(|source| source.path == *path));
    complaints.extend(gone.map(|(path, _)| format!("{path}: an exception for a file that is not there")));
    assert_none("a file holds one idea (tests/house/files.rs, LONGER):", complaints);
}

#[test]
fn every_file_begins_with_its_charter() {
    // Below tests/ the front doors suffice: a subject's file, a folder's mod.rs.
    let tests = source::below("tests", ".rs").into_iter();
    let doors = tests.filter(|source| source.path.ends_with("/mod.rs") || source.path.matches('/').count() == 1);
    let bare = source::library().into_iter().chain(doors).filter_map(|source| without_charter(&source)).collect();
    assert_none("the first line says in one sentence what the file is for:", bare);
}

#[test]
fn every_folder_of_the_library_has_a_mod_rs() {
    let files = source::library();
    let folders: BTreeSet<&Path> = files.iter().filter_map(|source| Path::new(&source.path).parent()).collect();
    let bare = folders
        .iter()
        .filter(|folder| folder.as_os_str() != "src" && !source::root().join(folder).join("mod.rs").exists());
    assert_none("a folder's mod.rs is its front door:", bare.map(|folder| folder.display().to_string()).collect());
}

#[test]
fn nothing_is_put_off_or_switched_off() {
    assert_none("finish it or leave it out:", all().iter().flat_map(unfinished).collect());
}

/// Targets are not found by themselves (`autotests = false`), so a forgotten `mod` would never run.
#[test]
fn every_integration_test_is_a_module_of_all() {
    let modules = source::file("tests/all.rs").text;
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(source::root().join("tests")).expect("a readable folder") {
        let path = entry.expect("a readable folder").path();
        if path.join("mod.rs").exists() || path.extension().is_some_and(|extension| extension == "rs") {
            names.insert(path.file_stem().expect("a name").to_string_lossy().into_owned());
        }
    }
    names.remove("all");
    let forgotten = names.iter().filter(|name| !modules.lines().any(|line| line.trim() == format!("mod {name};")));
    assert_none("add `mod …;` to tests/all.rs:", forgotten.cloned().collect());
}

#[test]
fn each_of_these_rules_can_fail() {
    let complaints = |text: &str| banned(&Source::sample("src/engine/a.rs", text)).len();
    assert_eq!(complaints("fn f() { x.unwrap(); Instant::now(); println!(); panic!(); thread::sleep(d) }"), 5);
    assert_eq!(
        complaints(
            "// x.unwrap()\nfn f() { x.unwrap_or(1); g(\"panic!\") } #[cfg(test)] mod t { fn f() { x.unwrap() } }"
        ),
        0
    );
    assert_eq!(banned(&Source::sample("src/clock.rs", "Instant::now()")).len(), 0);

    let long = Source::sample("src/a.rs", &"\n".repeat(401));
    assert!(too_long(&long, &[]).is_some() && too_long(&long, &[("src/a.rs", "why")]).is_none());
    assert!(too_long(&Source::sample("src/a.rs", "\n"), &[("src/a.rs", "why")]).is_some());

    assert!(without_charter(&Source::sample("src/a.rs", "use b;")).is_some());
    assert!(without_charter(&Source::sample("src/a.rs", "//! What it is for.")).is_none());

    let later = ["// TO", "DO later\n#[ign", "ore]\n// a plan"].concat();
    assert_eq!(unfinished(&Source::sample("src/a.rs", &later)).len(), 2);
}
