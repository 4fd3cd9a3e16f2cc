//! kcat, as Debian ships it.

use std::io::Write;
use std::process::{Command, Stdio};

use super::Running;

/// Runs kcat against the broker and gives what it printed.
fn kcat(running: &Running, arguments: &[&str], input: &str) -> String {
    let spawned = Command::new("kcat")
        .args(["-b", &running.address()])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = spawned.expect("kcat is needed for this test: apt-get install kcat");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kcat {arguments:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn kcat_lists_produces_and_consumes() {
    let running = Running::start();
    running.broker().create_topic("events", 2, &[]).unwrap();
    let listed = kcat(&running, &["-L"], "");
    assert!(listed.contains("broker 1 at 127.0.0.1:"), "{listed}");
    assert!(listed.contains(r#"topic "events" with 2 partitions"#), "{listed}");
    kcat(&running, &["-P", "-t", "events", "-p", "1", "-K", ":"], "u_1:hello\nu_2:world\n");
    let read = kcat(&running, &["-C", "-t", "events", "-p", "1", "-e", "-q", "-f", "%o %k %s\n"], "");
    assert_eq!(read, "0 u_1 hello\n1 u_2 world\n");
    let last = kcat(&running, &["-C", "-t", "events", "-p", "1", "-o", "-1", "-e", "-q"], "");
    assert_eq!(last, "world\n");
}

#[test]
fn kcat_reads_as_a_group_and_a_second_run_finds_nothing_new() {
    let running = Running::start();
    running.broker().create_topic("events", 2, &[]).unwrap();
    kcat(&running, &["-P", "-t", "events", "-p", "0"], "a\n");
    kcat(&running, &["-P", "-t", "events", "-p", "1"], "b\n");
    let arguments = ["-X", "auto.offset.reset=earliest", "-q", "-e", "-G", "g", "events"];
    let mut first: Vec<_> = kcat(&running, &arguments, "").lines().map(str::to_owned).collect();
    first.sort();
    assert_eq!(first, ["a", "b"]);
    assert_eq!(kcat(&running, &arguments, ""), "");
}
