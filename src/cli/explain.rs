//! `headwater explain`: the long text of an error code.

use std::process::ExitCode;

use super::{complain, exit, print};
use crate::topology::codes;

/// Explain an error code: what it means, why it matters, what to do.
#[derive(clap::Args)]
#[command(after_help = "\
Exit codes: 0 explained, 1 there is no such code.

Examples:
  headwater explain HW207
  headwater explain")]
pub(crate) struct ExplainArgs {
    /// The code; without one, all codes are listed.
    #[arg(value_name = "CODE")]
    code: Option<String>,
}

/// Runs the command.
pub(crate) fn run(args: ExplainArgs) -> ExitCode {
    let Some(id) = args.code else {
        let lines: String = codes::ALL.iter().map(|code| format!("{}  {}\n", code.id, code.title)).collect();
        print(&lines);
        return ExitCode::from(exit::OK);
    };
    match codes::find(&id) {
        Some(code) => {
            print(&format!("{}: {}\n\n{}\n", code.id, code.title, code.explain.trim_end()));
            ExitCode::from(exit::OK)
        }
        None => {
            complain(&format!("there is no code \"{id}\"; headwater explain lists them all"));
            ExitCode::from(exit::NEGATIVE)
        }
    }
}
