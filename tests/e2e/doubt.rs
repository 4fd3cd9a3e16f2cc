//! Commits whose outcome nobody knows, and processes that come back from the dead.

use std::{cell::Cell, time::Duration};

use super::site::{LIMIT, Site, apache_kafka};
use crate::support::{
    proxy::{Fault, Proxy},
    wait::wait_until,
    world::{Cluster, cases},
};

cases! { on_apache_kafka, apache_kafka() =>
    commits_that_are_cut_off_or_late_lose_nothing_and_double_nothing
    a_process_that_was_stopped_beyond_its_session_comes_back_and_doubles_nothing
}

/// Events of one wave; each wave is several transactions.
const WAVE: usize = 150;

fn commits_that_are_cut_off_or_late_lose_nothing_and_double_nothing(cluster: impl Cluster) {
    let site = Site::new(&cluster, "placement: fused", Duration::from_millis(5));
    let proxy = Proxy::start(cluster.bootstrap());
    let run = site.run_through(proxy.bootstrap(), "pod-0", &["--report-every", "1"]);
    // Late means: later than a request may take, so that librdkafka has asked again meanwhile.
    let faults = [
        Fault::CutAnswer,
        Fault::Pass,
        Fault::CutRequest,
        Fault::Pass,
        Fault::Pass,
        Fault::CutAnswer,
        Fault::CutAnswer,
        Fault::Delay(Duration::from_secs(10)),
        Fault::Pass,
        Fault::CutRequest,
    ];
    faults.into_iter().for_each(|fault| proxy.on_end_txn(fault));
    let sent = Cell::new(0);
    wait_until(
        LIMIT,
        || {
            // New work keeps transactions coming until every fault has had its turn.
            if site.reached("enriched") >= sent.get() as i64 / 2 {
                site.send(100 + sent.get() as u64, WAVE);
                sent.set(sent.get() + WAVE);
            }
            let counts = proxy.counts();
            (counts.cut >= 5 && counts.late >= 1) || !run.is_running()
        },
        || format!("{:?} after {} events\n{}", proxy.counts(), sent.get(), run.stderr()),
    );
    let sent = sent.get();
    let verdict = site.settled(sent, &run);
    assert!(verdict.is_clean(), "{verdict}\n{}", run.stderr());
    assert_eq!(verdict.enriched, sent, "{verdict}\n{}", run.stderr());
    assert!(run.stderr().contains("in doubt"), "the path was taken\n{}", run.stderr());
    wait_until(LIMIT, || site.has_no_lag(&["events"]), || format!("lag stays\n{}", run.stderr()));
    run.sigterm();
    assert!(run.wait(Duration::from_secs(60)).success(), "{}", run.stderr());
}

fn a_process_that_was_stopped_beyond_its_session_comes_back_and_doubles_nothing(cluster: impl Cluster) {
    let site = Site::new(&cluster, "placement: fused", Duration::from_millis(50));
    let first = site.run("pod-0", &[]);
    site.send(21, 1_000);
    wait_until(LIMIT, || site.reached("enriched") > 0 || !first.is_running(), || first.stderr());
    first.signal("STOP");
    let second = site.run("pod-1", &[]);
    site.send(22, 1_000);
    // The broker gives its partitions away and aborts what it left open; the other one does all of it.
    let verdict = site.settled(2_000, &second);
    assert!(verdict.is_clean(), "{verdict}\n{}", second.stderr());
    first.signal("CONT");
    site.send(23, 500);
    let verdict = site.settled(2_500, &second);
    assert!(verdict.is_clean(), "{verdict}\n{}\n---\n{}", first.stderr(), second.stderr());
    assert_eq!(verdict.enriched, 2_500, "{verdict}");
    for run in [first, second] {
        run.sigterm();
        assert!(run.wait(Duration::from_secs(60)).success(), "{}", run.stderr());
    }
}
