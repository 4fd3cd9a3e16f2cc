//! Who owns a transactional id, and what happens to the others.

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::Producer;

use super::wire::{self, Wire};
use super::{PATIENCE, deliver, eventually, send};

on_both! {
    fn a_second_owner_of_a_transactional_id_fences_the_first(running) {
        let out = running.topic("out", 1);
        let zombie = running.transactional("t");
        zombie.begin_transaction().unwrap();
        deliver(&zombie, &out, 0, "zombie");
        let owner = running.transactional("t");
        send(&zombie, &out, 0, "late");
        let fenced = zombie.commit_transaction(PATIENCE).unwrap_err();
        let KafkaError::Transaction(error) = &fenced else { panic!("{fenced}") };
        assert!(error.is_fatal(), "{fenced}");
        assert_eq!(error.code(), RDKafkaErrorCode::Fenced, "{fenced}");
        owner.begin_transaction().unwrap();
        deliver(&owner, &out, 0, "owner");
        owner.commit_transaction(PATIENCE).unwrap();
        eventually("the owner's record alone", || {
            (running.read(&out, 0, "read_committed") == ["owner"]).then_some(())
        });
    }

    fn initialising_aborts_what_the_previous_owner_left_open(running) {
        let out = running.topic("out", 1);
        let mut wire = Wire::connect(running);
        let (id, epoch) = eventually("initialised", || wire.try_init_producer(10_000));
        assert_eq!(wire.add_partition((id, epoch), &out), wire::NONE);
        assert_eq!(wire.init_producer(10_000).0, wire::CONCURRENT_TRANSACTIONS, "the abort is under way");
        assert_eq!(wire.end((id, epoch), true), wire::PRODUCER_FENCED);
        let (next_id, next_epoch) = eventually("initialised again", || wire.try_init_producer(10_000));
        assert_eq!(next_id, id);
        assert!(next_epoch > epoch + 1, "one epoch for the abort, one for the new owner");
        assert_eq!(wire.add_partition((id, epoch), &out), wire::PRODUCER_FENCED);
    }

    fn an_overdue_transaction_is_aborted_and_its_producer_fenced(running) {
        let out = running.topic("out", 1);
        let id = running.name("t");
        let slow = running.producer(&[("transactional.id", &id), ("transaction.timeout.ms", "1000")]);
        slow.init_transactions(PATIENCE).unwrap();
        slow.begin_transaction().unwrap();
        deliver(&slow, &out, 0, "overdue");
        let stable = running.consumer("g", &[("isolation.level", "read_committed")]);
        let end = || stable.fetch_watermarks(&out, 0, PATIENCE).unwrap().1;
        eventually("the abort marker", || (end() == 2).then_some(()));
        assert!(running.read(&out, 0, "read_committed").is_empty());
        assert!(slow.commit_transaction(PATIENCE).is_err());
    }
}
