//! `kill -9` in the middle of the work, while it finishes out of order.

use std::time::Duration;

use super::site::{LIMIT, Site, apache_kafka};
use crate::support::{
    wait::{say, wait_until},
    world::{Cluster, cases},
};

const EVENTS: usize = 20_000;

cases! { on_apache_kafka, apache_kafka() =>
    killed_three_times_every_event_comes_out_once_in_order_and_every_trigger_once
}

fn killed_three_times_every_event_comes_out_once_in_order_and_every_trigger_once(cluster: impl Cluster) {
    // A CRM so slow that hundreds of events wait for it at once, each key's followers behind it.
    let site = Site::new(&cluster, "placement: split", Duration::from_millis(300));
    let mut run = site.run("pod-0", &[]);
    site.send(9, EVENTS);
    for kill in 1..=3i64 {
        let goal = kill * EVENTS as i64 / 8;
        wait_until(
            LIMIT,
            || site.reached("enriched") >= goal || !run.is_running(),
            || format!("{} of {goal}\n{}", site.reached("enriched"), run.stderr()),
        );
        assert!(run.is_running(), "{}", run.stderr());
        let seen = site.reached("enriched");
        assert!(seen < EVENTS as i64, "killed too late to prove anything: {seen}");
        run.kill9();
        say(&format!("killed for the {kill}. time at {seen} of {EVENTS}"));
        run = site.run("pod-0", &[]);
    }
    let verdict = site.settled(EVENTS, &run);
    say(&format!("{verdict}"));
    assert!(verdict.is_clean(), "{verdict}\n{}", run.stderr());
    assert_eq!((verdict.events, verdict.enriched), (EVENTS, EVENTS), "{verdict}");
    assert!(verdict.triggers > 0, "{verdict}");
    wait_until(
        LIMIT,
        || site.receiver.counts().distinct as usize >= verdict.triggers,
        || format!("{:?} of {}\n{}", site.receiver.counts(), verdict.triggers, run.stderr()),
    );
    let counts = site.receiver.counts();
    say(&format!("webhooks: {counts:?}"));
    // At most what was in flight or answered during one commit, per kill.
    assert!(counts.repeats <= 3 * 4 * 2 * 32, "{counts:?}");
    run.sigterm();
    assert!(run.wait(Duration::from_secs(30)).success(), "{}", run.stderr());
}
