//! The one binary. Everything is in the library, so that tests and benchmarks reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    headwater::cli::main()
}
