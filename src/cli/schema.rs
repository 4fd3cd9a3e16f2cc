//! `headwater schema`: writes the schemas that are derived, or says which are out of date.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use super::{DEFAULT_TOPOLOGY, complain, exit, print};
use crate::{
    codec::enriched_schema,
    topology::{LoadOptions, Topology, Variables, json_schema, load, render, test_json_schema},
};

/// Write the derived schemas: the JSON schemas of topologies and tests for editors, and what follows from a topology.
#[derive(clap::Args)]
#[command(after_help = "\
Exit codes: 0 written or up to date, 1 out of date (--check) or the topology has errors, 3 a file cannot be read or written.

Examples:
  headwater schema
  headwater schema topologies/campaign.yaml --check
  headwater schema --dir /tmp/schemas")]
pub(crate) struct SchemaArgs {
    /// The topology file.
    #[arg(value_name = "FILE", default_value = DEFAULT_TOPOLOGY)]
    file: PathBuf,
    /// Writes nothing; fails if a file is out of date.
    #[arg(long)]
    check: bool,
    /// Where the schemas are.
    #[arg(long, value_name = "FOLDER", default_value = "schemas")]
    dir: PathBuf,
}

/// Every derived schema of a topology: file name and text.
fn derived(topology: &Topology) -> Vec<(String, String)> {
    vec![
        ("topology.schema.json".to_owned(), json_schema()),
        ("test.schema.json".to_owned(), test_json_schema()),
        (format!("{}.Enriched.avsc", topology.name), enriched_schema(topology)),
    ]
}

/// Runs the command.
pub(crate) fn run(args: SchemaArgs) -> ExitCode {
    let file = args.file.display().to_string();
    let text = match fs::read_to_string(&args.file) {
        Ok(text) => text,
        Err(error) => return unavailable(&file, "read", &error),
    };
    let options = LoadOptions { variables: Variables::placeholders(), ..LoadOptions::default() };
    let topology = match load(&file, &text, &options) {
        Ok(loaded) => loaded.topology,
        Err(findings) => {
            complain(&render(&findings, &text));
            return ExitCode::from(exit::NEGATIVE);
        }
    };
    let mut stale = false;
    for (name, content) in derived(&topology) {
        let path = args.dir.join(name);
        let shown = path.display().to_string();
        let old = match fs::read_to_string(&path) {
            Ok(old) => Some(old),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return unavailable(&shown, "read", &error),
        };
        if old.as_deref() == Some(&content) {
            print(&format!("  up to date   {shown}\n"));
        } else if args.check {
            stale = true;
            print(&format!("✗ out of date  {shown}\n"));
        } else if let Err(error) = write(&path, &content) {
            return unavailable(&shown, "written", &error);
        } else {
            print(&format!("✓ written      {shown}\n"));
        }
    }
    if stale {
        complain(&format!("Write them: headwater schema {file}"));
    }
    ExitCode::from(if stale { exit::NEGATIVE } else { exit::OK })
}

fn write(path: &Path, content: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, content)
}

fn unavailable(file: &str, done: &str, error: &io::Error) -> ExitCode {
    complain(&format!("{file} cannot be {done}: {error}"));
    ExitCode::from(exit::UNAVAILABLE)
}
