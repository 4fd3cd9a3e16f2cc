//! Golden files: what `headwater check` prints for each fault. They are the manual, so read them when they change.
//! `UPDATE_GOLDEN=1 cargo test --test all golden` writes them anew.

use std::{fs, path::Path, process::Command};

/// Runs the command as a person would, beside the file, without any variable set.
fn check(folder: &Path, file: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_headwater"))
        .current_dir(folder)
        .env_clear()
        .args(["check", file])
        .output()
        .unwrap();
    assert!(output.stderr.is_empty(), "{file}: {}", String::from_utf8_lossy(&output.stderr));
    let code = output.status.code().unwrap();
    format!("{}exit code {code}\n", String::from_utf8(output.stdout).unwrap())
}

#[test]
fn every_fault_is_reported_as_its_golden_file_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/check");
    let mut files: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".yaml"))
        .collect();
    files.sort();
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut differences = String::new();
    for file in &files {
        let printed = check(&folder, file);
        let golden = folder.join(file).with_extension("txt");
        if update {
            fs::write(&golden, &printed).unwrap();
        } else if fs::read_to_string(&golden).unwrap_or_default() != printed {
            differences.push_str(&format!("--- {} is to be:\n{printed}\n", golden.display()));
        }
        if let Some((code, _)) = file.split_once('-').filter(|(code, _)| code.starts_with("HW")) {
            assert!(printed.contains(&format!(" {code}: ")), "{file} does not show {code}:\n{printed}");
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

#[test]
fn every_code_of_check_has_a_golden_file() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/check");
    let names: Vec<String> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    for code in headwater::topology::codes::ALL.iter().filter(|code| code.id < "HW500") {
        assert!(names.iter().any(|name| name.starts_with(code.id)), "no golden file shows {}", code.id);
    }
}
