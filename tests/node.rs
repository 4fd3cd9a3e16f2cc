//! Outside judges in Node: packages installed once, into the build folder, and scripts run with them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Installs `package@version` once. `None`, and loudly so, where Node or the package is not to be had: then `instead` is
/// all that was checked.
pub fn library(package: &str, version: &str, instead: &str) -> Option<PathBuf> {
    let name = format!("node-{}", package.replace(|c: char| !c.is_alphanumeric(), "-"));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if folder.join("node_modules").join(package).is_dir() {
        return Some(folder);
    }
    let why = match fs::create_dir_all(&folder) {
        Ok(()) => {
            let install = Command::new("npm")
                .args(["install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"])
                .arg(&folder)
                .arg(format!("{package}@{version}"))
                .output();
            match install {
                Ok(output) if output.status.success() => return Some(folder),
                Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
                Err(error) => format!("npm: {error}"),
            }
        }
        Err(error) => error.to_string(),
    };
    eprintln!("NOT RUN: the judge {package}@{version} cannot be installed ({why}); only {instead}");
    None
}

/// Runs a CommonJS script with that library; its output must be a success.
#[allow(clippy::unwrap_used)] // a helper of tests
pub fn run(library: &Path, script: &str, arguments: &[&str]) -> String {
    let output = Command::new("node")
        .current_dir(library)
        .args(["-e", script, "--"])
        .args(arguments)
        .env_remove("HTTP_PROXY")
        .env_remove("http_proxy")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
