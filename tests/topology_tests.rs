//! `headwater test` as a shell meets it: every topology's tests pass, failing ones look as their golden files say.
//! `UPDATE_GOLDEN=1 cargo test --test all topology_tests` writes the golden files anew.

use std::{fs, path::Path, process::Command, time::Duration};

use crate::support::headwater::Headwater;

/// Runs the command in that folder, without any variable set. Gives stdout, stderr, exit code.
fn test(folder: &Path, args: &[&str]) -> (String, String, i32) {
    let output = Command::new(env!("CARGO_BIN_EXE_headwater"))
        .current_dir(folder)
        .env_clear()
        .arg("test")
        .args(args)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code().unwrap())
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Names of the files of a folder that end so, sorted.
fn files(folder: &Path, suffix: &str) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(suffix)).collect();
    names.sort();
    names
}

const PAIR: [(&str, &str); 2] = [
    ("t.yaml", "name: t\nsource: { topic: events.raw }\nagents: [{ name: device, type: user_agent }]\n"),
    (
        "t.test.yaml",
        "- { name: a Bot, event: { user_agent: curl/8.5.0 }, expect: { device.bot: true } }\n\
         - { name: nobody, event: {}, expect: { device.reason: missing_input } }\n",
    ),
];

fn pair() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in PAIR {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

#[test]
fn every_topology_has_tests_and_they_pass() {
    let folder = root().join("topologies");
    let topologies = files(&folder, ".yaml");
    let topologies = topologies.iter().filter(|name| !name.ends_with(".test.yaml"));
    for file in topologies {
        let (out, err, code) = test(&folder, &[file]);
        assert_eq!(code, 0, "{file}\n{out}{err}");
        assert!(out.starts_with('✓') && out.contains(" passed"), "{file}: {out}");
    }
}

#[test]
fn every_topology_to_learn_from_is_free_of_warnings() {
    // two-agents.yaml shows the warnings.
    for file in ["campaign.yaml", "first-agent.yaml", "fused.yaml", "own-api.yaml"] {
        let output = Command::new(env!("CARGO_BIN_EXE_headwater"))
            .current_dir(root().join("topologies"))
            .env_clear()
            .args(["check", file])
            .output()
            .unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && out.starts_with('✓') && !out.contains("refuse"), "{out}");
    }
}

#[test]
fn every_screen_is_as_its_golden_file_says() {
    let folder = root().join("tests/golden/test");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut differences = String::new();
    let tests = files(&folder, ".test.yaml");
    assert!(tests.len() >= 2);
    for tests in tests {
        let name = tests.trim_end_matches(".test.yaml");
        let (out, err, code) = test(&folder, &[&format!("{name}.yaml")]);
        let printed = format!("{out}--- stderr\n{err}exit code {code}\n");
        let golden = folder.join(format!("{name}.txt"));
        if update {
            fs::write(&golden, &printed).unwrap();
        } else if fs::read_to_string(&golden).unwrap_or_default() != printed {
            differences.push_str(&format!("--- {} is to be:\n{printed}\n", golden.display()));
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

#[test]
fn only_the_tests_that_are_asked_for_run() {
    let folder = pair();
    let (out, _, code) = test(folder.path(), &["t.yaml", "--filter", "bot"]);
    assert_eq!((out.as_str(), code), ("✓ 1 passed, 1 left out   t.test.yaml\n", 0));
    let (out, err, code) = test(folder.path(), &["t.yaml", "--filter", "robot"]);
    assert_eq!((out.as_str(), code), ("", 1));
    assert!(err.contains("a Bot") && err.contains("nobody"), "says which there are: {err}");
}

#[test]
fn json_says_all_that_the_screen_says() {
    let folder = pair();
    let tests = PAIR[1].1.replace("missing_input", "timeout");
    fs::write(folder.path().join("t.test.yaml"), tests).unwrap();
    let (out, err, code) = test(folder.path(), &["t.yaml", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, err.as_str()), (1, ""));
    assert_eq!(json["ok"], false);
    assert_eq!((&json["passed"], &json["failed"], &json["left_out"]), (&1.into(), &1.into(), &0.into()));
    let (bot, nobody) = (&json["cases"][0], &json["cases"][1]);
    assert_eq!((&bot["name"], &bot["line"], &bot["ok"]), (&"a Bot".into(), &1.into(), &true.into()));
    assert_eq!(bot["events"][0]["agents"]["device"]["fields"]["bot"], true);
    let difference = serde_json::json!({ "path": "device.reason", "expected": "timeout", "got": "missing_input" });
    assert_eq!(nobody["events"][0]["differences"], serde_json::json!([difference]));
}

#[test]
fn what_cannot_be_read_is_told_from_what_fails() {
    let folder = pair();
    assert_eq!(test(folder.path(), &["nowhere.yaml"]).2, 3);
    fs::remove_file(folder.path().join("t.test.yaml")).unwrap();
    let (out, err, code) = test(folder.path(), &["t.yaml"]);
    assert_eq!((out.as_str(), code), ("", 3));
    assert!(err.contains("t.test.yaml cannot be read") && err.contains("first-agent.test.yaml"), "{err}");
    fs::write(folder.path().join("t.yaml"), "name: t\n").unwrap();
    let (_, err, code) = test(folder.path(), &["t.yaml"]);
    assert!(code == 1 && err.contains("HW105"), "{err}");
    assert_eq!(test(folder.path(), &["t.yaml", "--watch", "--json"]).2, 2);
}

#[test]
fn watching_runs_them_again_at_each_save_and_outlives_mistakes() {
    const LIMIT: Duration = Duration::from_secs(60);
    let folder = pair();
    let file = |name: &str| folder.path().join(name);
    let save = |name: &str, text: &str| {
        // As editors do: the file is there whole or not at all.
        fs::write(file("new"), text).unwrap();
        fs::rename(file("new"), file(name)).unwrap();
    };
    let topology = file("t.yaml").display().to_string();
    let watching = Headwater::spawn(&["test", topology.as_str(), "--watch"], &[]);
    watching.wait_for_output("2 passed", LIMIT);
    save("t.test.yaml", &PAIR[1].1.replace("true", "false"));
    watching.wait_for_output("expected false, got true", LIMIT);
    save("t.yaml", "name: t\n");
    watching.wait_for_output("HW105", LIMIT);
    save("t.yaml", PAIR[0].1);
    save("t.test.yaml", &PAIR[1].1.replace("a Bot", "the last"));
    watching.wait_for_output("UTC saved, again\n✓ 2 passed", LIMIT);
    watching.sigterm();
    assert_eq!(watching.wait(LIMIT).code(), Some(0));
}
