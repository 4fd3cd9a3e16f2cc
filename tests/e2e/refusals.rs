//! What `apply`, `plan` and `run` refuse, and what they say; and what they never say.

use std::{fs, process::Output, time::Duration};

use super::site::{LIMIT, OnDevelopmentBroker, Site};
use crate::support::{headwater, wait::wait_until};

fn site(placement: &str) -> Site {
    let cluster = OnDevelopmentBroker::start().expect("a broker");
    Site::new(&cluster, placement, Duration::ZERO)
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_second_apply_changes_nothing_and_plan_agrees() {
    let site = site("placement: split");
    let again = site.command(&["apply"], &[]);
    assert!(again.status.success() && said(&again).contains("nothing to change"), "{}", said(&again));
    let plan = site.command(&["plan"], &["--json", "--fail-on-change"]);
    assert_eq!(plan.status.code(), Some(0), "{}", said(&plan));
    let json: serde_json::Value = serde_json::from_slice(&plan.stdout).expect("stdout is JSON and nothing else");
    assert!(json.is_object(), "{json}");
}

#[test]
fn another_chain_is_refused_by_apply_and_by_run() {
    let site = site("placement: split");
    let applied = site.command(&["apply"], &["--placement", "fused"]);
    assert_eq!(applied.status.code(), Some(1), "{}", said(&applied));
    assert!(said(&applied).contains("HW503") && said(&applied).contains("drain"), "{}", said(&applied));
    let run = site.command(&["run"], &["--placement", "fused"]);
    assert_eq!(run.status.code(), Some(3), "{}", said(&run));
    assert!(said(&run).contains("HW503") && said(&run).contains("headwater plan"), "{}", said(&run));
}

#[test]
fn what_is_not_applied_does_not_run_and_says_what_to_do() {
    let site = site("placement: fused");
    let other = site.edited("name: ", "name: not_applied_");
    let run = site.command_on(&other, &["run"], &[]);
    assert_eq!(run.status.code(), Some(3), "{}", said(&run));
    assert!(said(&run).contains("headwater apply"), "{}", said(&run));
}

#[test]
fn what_later_versions_bring_is_refused_by_name() {
    let site = site("placement: fused");
    let sink = "sinks:\n  audit: { type: postgres, from: [enriched], url: \"postgres://db/audit\" }\n\ndestinations:\n";
    let file = site.edited("destinations:\n", sink);
    for command in ["run", "apply"] {
        let refused = site.command_on(&file, &[command], &[]);
        assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
        assert!(said(&refused).contains("HW505") && said(&refused).contains("postgres"), "{}", said(&refused));
    }
}

#[test]
fn a_stage_that_does_not_exist_is_named_with_those_that_do() {
    let site = site("placement: split");
    let run = site.command(&["run"], &["--stages", "intake,goe"]);
    assert_eq!(run.status.code(), Some(3), "{}", said(&run));
    assert!(said(&run).contains("goe") && said(&run).contains("geo"), "{}", said(&run));
}

#[test]
fn a_cluster_that_cannot_be_reached_is_named() {
    let file = "topologies/campaign.yaml";
    let nowhere =
        [("HEADWATER_BOOTSTRAP_SERVERS", "127.0.0.1:1"), ("HEADWATER_SCHEMA_REGISTRY_URL", "http://127.0.0.1:1")];
    for command in ["run", "plan", "apply"] {
        let output = headwater::run(&[command, file], &nowhere, LIMIT);
        assert_eq!(output.status.code(), Some(3), "{command}: {}", said(&output));
        assert!(
            said(&output).contains("HW501") && said(&output).contains("127.0.0.1:1"),
            "{command}: {}",
            said(&output)
        );
    }
    let output = headwater::run(&["run", file], &[], LIMIT);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("HW506 HEADWATER_BOOTSTRAP_SERVERS"), "{}", said(&output));
}

/// Secrets stand in headers and signatures, and nowhere else, whatever goes wrong.
#[test]
fn a_secret_is_never_said() {
    let site = site("placement: fused");
    let marked = [
        ("HUBSPOT_TOKEN", "marked-hubspot-token"),
        ("INTENT_TOKEN", "marked-intent-token"),
        ("HOOK_SECRET", "whsec_bWFya2VkLWhvb2stc2VjcmV0LW9mLXRlc3Rz"),
    ];
    let debug = ("HEADWATER_LOG", "debug");
    let mut all = String::new();
    let mut sent = 0;
    // The CRM refuses its token, then the receiver the signature: what can be said about them is said.
    for variables in [[debug, marked[0], marked[1]], [debug, marked[1], marked[2]]] {
        let run = site.run_with(&variables, "pod-0", &["--report-every", "1"]);
        site.send(31 + sent as u64, 500);
        sent += 500;
        let verdict = site.settled(sent, &run);
        assert!(verdict.is_clean(), "{verdict}");
        let is_refused = || match sent {
            500 => site.crm.counts().unauthorized > 0,
            _ => site.receiver.counts().bad_signature > 0,
        };
        wait_until(LIMIT, is_refused, || format!("{:?} {:?}", site.crm.counts(), site.receiver.counts()));
        run.sigterm();
        assert!(run.wait(Duration::from_secs(60)).success());
        all += &(run.stdout() + &run.stderr());
    }
    for suffix in ["enriched", "triggers", "dead-letters"] {
        all += &format!("{:?}", site.verifier().values(suffix));
    }
    all += &said(&site.command(&["plan"], &["--json"]));
    for (name, value) in marked {
        assert!(!all.contains(value), "{name} was said");
        assert!(!all.contains(value.trim_start_matches("whsec_")), "{name} was said in part");
    }
}

#[test]
fn the_derived_schemas_in_the_repository_are_up_to_date() {
    let output = headwater::run(&["schema", "topologies/campaign.yaml", "--check"], &[], LIMIT);
    assert!(output.status.success(), "write them: make schemas\n{}", said(&output));
    assert!(fs::metadata("schemas/campaign.Enriched.avsc").is_ok());
}
