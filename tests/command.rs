//! The binary as a shell meets it: results to stdout, the rest to stderr, documented exit codes.

use std::time::Duration;

use headwater::cli::exit;

use crate::support::headwater::run;

const LIMIT: Duration = Duration::from_secs(20);

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_version_is_a_result() {
    let output = run(&["--version"], &[], LIMIT);
    assert_eq!(output.status.code(), Some(exit::OK.into()));
    assert_eq!(text(&output.stdout).trim(), format!("headwater {}", env!("CARGO_PKG_VERSION")));
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn a_command_that_does_not_exist_is_a_usage_error_on_stderr() {
    let output = run(&["enlighten"], &[], LIMIT);
    assert_eq!(output.status.code(), Some(exit::USAGE.into()));
    assert_eq!(text(&output.stdout), "");
    assert!(text(&output.stderr).contains("enlighten"), "{}", text(&output.stderr));
}
