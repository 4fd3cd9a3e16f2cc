//! The examples of `--help` are run as they stand, in a folder like a fresh clone.

use std::{fs, path::Path, process::Command};

fn headwater(folder: &Path, args: &[&str]) -> (String, i32) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_headwater")).current_dir(folder).env_clear().args(args).output().unwrap();
    (String::from_utf8(output.stdout).unwrap(), output.status.code().unwrap())
}

#[test]
fn every_example_of_the_offline_commands_works() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    for part in ["topologies", "schemas"] {
        fs::create_dir(folder.path().join(part)).unwrap();
        for entry in fs::read_dir(root.join(part)).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), folder.path().join(part).join(entry.file_name())).unwrap();
        }
    }
    for command in ["check", "explain", "schema", "test"] {
        let (help, code) = headwater(folder.path(), &[command, "--help"]);
        assert_eq!(code, 0, "{command} --help");
        let examples: Vec<&str> = help
            .lines()
            .filter_map(|line| line.strip_prefix("  headwater "))
            .filter(|line| !line.contains("  "))
            .collect();
        assert!(examples.len() >= 2, "{command} has examples: {help}");
        for example in examples {
            let example = example.replace("/tmp/schemas", "other-schemas");
            let args: Vec<&str> = example.split_whitespace().collect();
            let (out, code) = headwater(folder.path(), &args);
            assert_eq!(code, 0, "headwater {example}\n{out}");
            assert!(!out.is_empty(), "headwater {example} says something");
        }
    }
}

#[test]
fn exit_codes_tell_no_from_unavailable() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(headwater(folder.path(), &["check", "nowhere.yaml"]).1, 3);
    assert_eq!(headwater(folder.path(), &["check", "--no-such-flag"]).1, 2);
    assert_eq!(headwater(folder.path(), &["explain", "HW000"]).1, 1);
    fs::write(folder.path().join("bad.yaml"), "name: x\n").unwrap();
    assert_eq!(headwater(folder.path(), &["check", "bad.yaml"]).1, 1);
    let (json, code) = headwater(folder.path(), &["check", "bad.yaml", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &json["ok"]), (1, &serde_json::Value::Bool(false)));
    assert_eq!(json["findings"][0]["code"], "HW105");
    assert_eq!(json["findings"][0]["line"], 1);
}
