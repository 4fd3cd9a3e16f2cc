//! Outside judges in Python: libraries installed once, into the build folder, and scripts run with them.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// Installs `requirement` once; `module` is what it brings. `None`, and loudly so, where Python or the package is not
/// to be had: then `instead` is all that was checked.
pub fn library(requirement: &str, module: &str, instead: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(requirement.replace(|c: char| !c.is_alphanumeric(), "-"));
    if folder.join(module).is_dir() {
        return Some(folder);
    }
    let install = Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"])
        .arg(&folder)
        .arg(requirement)
        .output();
    let why = match install {
        Ok(output) if output.status.success() => return Some(folder),
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => format!("python3: {error}"),
    };
    eprintln!("NOT RUN: the judge {requirement} cannot be installed ({why}); only {instead}");
    None
}

/// Runs a script with that library; its output must be a success.
#[allow(clippy::unwrap_used)] // a helper of tests
pub fn run(library: &Path, script: &str, arguments: &[&str], input: &[u8]) -> String {
    let mut child = Command::new("python3")
        .args(["-c", script])
        .args(arguments)
        .env("PYTHONPATH", library)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap().trim().to_owned()
}
