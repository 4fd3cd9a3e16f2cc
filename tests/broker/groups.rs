//! Consumer groups, with librdkafka's assignors.

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::Message;
use std::time::Duration;

use super::{PATIENCE, Running, assigned, deliver, eventually, next_record};

const QUICK: [(&str, &str); 3] =
    [("session.timeout.ms", "6000"), ("heartbeat.interval.ms", "50"), ("partition.assignment.strategy", "range")];
const COOPERATIVE: [(&str, &str); 3] = [
    ("session.timeout.ms", "6000"),
    ("heartbeat.interval.ms", "50"),
    ("partition.assignment.strategy", "cooperative-sticky"),
];

fn drive(consumers: &[&BaseConsumer]) {
    for consumer in consumers {
        if let Some(polled) = consumer.poll(Duration::from_millis(5)) {
            polled.unwrap();
        }
    }
}

fn two_members_share_and_one_inherits(running: &Running, settings: &[(&str, &str)]) {
    let events = running.topic("events", 4);
    let first = running.consumer("g", settings);
    first.subscribe(&[&events]).unwrap();
    eventually("the first has everything", || {
        drive(&[&first]);
        (assigned(&first) == [0, 1, 2, 3]).then_some(())
    });
    let second = running.consumer("g", settings);
    second.subscribe(&[&events]).unwrap();
    eventually("both have their half", || {
        drive(&[&first, &second]);
        let mut all = [assigned(&first), assigned(&second)].concat();
        all.sort_unstable();
        (assigned(&first).len() == 2 && all == [0, 1, 2, 3]).then_some(())
    });
    drop(second); // leaves
    eventually("the first has everything again", || {
        drive(&[&first]);
        (assigned(&first) == [0, 1, 2, 3]).then_some(())
    });
}

on_both! {
    fn eager_members_share_partitions_and_the_last_inherits(running) {
        two_members_share_and_one_inherits(running, &QUICK);
    }

    fn cooperative_members_share_partitions_and_the_last_inherits(running) {
        two_members_share_and_one_inherits(running, &COOPERATIVE);
    }

    fn a_cooperative_member_keeps_what_it_keeps_while_another_joins(running) {
        let events = running.topic("events", 4);
        let first = running.consumer("g", &COOPERATIVE);
        first.subscribe(&[&events]).unwrap();
        eventually("the first has everything", || {
            drive(&[&first]);
            (assigned(&first).len() == 4).then_some(())
        });
        let second = running.consumer("g", &COOPERATIVE);
        second.subscribe(&[&events]).unwrap();
        eventually("the second has its half", || {
            drive(&[&first, &second]);
            assert!(assigned(&first).len() >= 2, "never revoked altogether");
            (assigned(&second).len() == 2).then_some(())
        });
    }

    fn a_static_member_that_comes_back_takes_its_place(running) {
        let events = running.topic("events", 2);
        let settings = [QUICK.as_slice(), &[("group.instance.id", "pod-0")]].concat();
        let member = || {
            let consumer = running.consumer("g", &settings);
            consumer.subscribe(&[&events]).unwrap();
            eventually("assigned", || {
                drive(&[&consumer]);
                (assigned(&consumer).len() == 2).then_some(())
            });
            consumer
        };
        drop(member()); // static members do not leave
        drop(member());
    }

    fn a_new_member_goes_on_where_the_group_stopped(running) {
        let events = running.topic("events", 1);
        let producer = running.producer(&[]);
        for value in ["a", "b", "c"] {
            deliver(&producer, &events, 0, value);
        }
        let next = |commit: bool| {
            let consumer = running.consumer("g", &QUICK);
            consumer.subscribe(&[&events]).unwrap();
            let message = next_record(&consumer);
            if commit {
                consumer.commit_consumer_state(CommitMode::Sync).unwrap();
            }
            String::from_utf8(message.payload().unwrap().to_vec()).unwrap()
        };
        assert_eq!(next(false), "a");
        assert_eq!(next(true), "a", "nothing was committed before");
        assert_eq!(next(true), "b");
    }

    fn groups_are_listed_with_state_and_members(running) {
        let events = running.topic("events", 1);
        let consumer = running.consumer("listed", &QUICK);
        consumer.subscribe(&[&events]).unwrap();
        eventually("assigned", || {
            drive(&[&consumer]);
            (assigned(&consumer).len() == 1).then_some(())
        });
        let name = running.name("listed");
        let groups = consumer.fetch_group_list(Some(&name), PATIENCE).unwrap();
        let group = &groups.groups()[0];
        assert_eq!((group.name(), group.state(), group.protocol()), (name.as_str(), "Stable", "range"));
        assert_eq!(group.members().len(), 1);
        assert_eq!(group.members()[0].client_host(), "/127.0.0.1");
    }
}
