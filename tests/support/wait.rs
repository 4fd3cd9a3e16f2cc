//! Waiting for a condition, with a bound and a message that says what was missing.

use std::time::Duration;

use headwater::clock;

/// How often a condition is looked at.
const PAUSE: Duration = Duration::from_millis(10);

/// Waits until `condition` holds. Panics after `limit` with what `describe` says of the state then.
///
/// The bound only turns a hang into a failure: nothing is asserted about how long it took.
pub fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool, describe: impl FnOnce() -> String) {
    if wait_for(limit, || condition().then_some(())).is_none() {
        panic!("not within {limit:?}: {}", describe());
    }
}

/// Waits until `attempt` gives something. `None` after `limit`.
pub fn wait_for<T>(limit: Duration, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let end = clock::now() + limit;
    loop {
        if let Some(found) = attempt() {
            return Some(found);
        }
        if clock::now() >= end {
            return None;
        }
        std::thread::park_timeout(PAUSE);
    }
}

/// A line that is seen although the test passes: the harness captures `eprintln!`, not the handle.
pub fn say(line: &str) {
    use std::io::Write;
    // A closed stderr is no reason to fail a test.
    let _ = writeln!(std::io::stderr().lock(), "\n{line}");
}

/// The name of the running test.
pub fn test_name() -> String {
    std::thread::current().name().unwrap_or("a test").to_owned()
}
