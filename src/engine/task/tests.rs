use super::*;

const FRESH: Stamp = Stamp { tag: 7, chain: 1, epoch: 0, takeovers: 0 };

fn commit(task: &mut Task<&'static str>, turn: &mut Turn) -> LedgerEntry {
    let entry = task.entry();
    task.committed(turn);
    entry
}

/// Admits as a worker does that has nothing else under way: solitude is granted, what is announced is committed.
fn admit(task: &mut Task<&'static str>, offset: i64, turn: &mut Turn, committed: &mut LedgerEntry) -> Room {
    let mut room = task.admit(offset, turn);
    for _ in 0..2 {
        if room == Room::Wait && task.is_dirty() {
            *committed = commit(task, turn);
        }
        if room == Room::Wait && turn.holder().is_none_or(|holder| holder == 0) {
            room = task.admit(offset, turn);
        }
    }
    room
}

/// A life that dies after taking in what it may; gives what it left committed.
fn life(committed: i64, metadata: &str) -> (LedgerEntry, Vec<(i64, Room)>) {
    let (mut task, _) = Task::resume(0, committed, metadata.as_bytes(), FRESH, None, 1_000);
    let mut entry = LedgerEntry { partition: 0, offset: committed, metadata: metadata.to_owned() };
    let (mut taken, turn) = (Vec::new(), &mut Turn::default());
    for offset in 0..3 {
        let room = admit(&mut task, offset, turn, &mut entry);
        taken.push((offset, room));
        if room == Room::Wait {
            break;
        }
        task.push(offset, offset as u64, "kills");
    }
    (entry, taken)
}

/// So many lives after the first one, each ended by its records. Gives what the last one took in.
fn lives(count: usize) -> (LedgerEntry, Vec<(i64, Room)>) {
    let mut last = life(0, "");
    for _ in 0..count {
        last = life(last.0.offset, &last.0.metadata);
    }
    last
}

#[test]
fn a_record_that_kills_three_times_is_tried_alone_and_condemned_if_it_kills_three_times_then() {
    for normal in 0..3 {
        assert_eq!(lives(normal).1, [(0, Room::Go), (1, Room::Go), (2, Room::Go)]);
    }
    for alone in 3..6 {
        assert_eq!(lives(alone).1, [(0, Room::Go), (1, Room::Wait)], "the fourth life goes one by one");
    }
    assert_eq!(lives(6).1, [(0, Room::Condemned), (1, Room::Wait)]);
    assert_eq!(lives(9).1, [(0, Room::Condemned), (1, Room::Wait)], "what is condemned stays so until it is buried");
}

#[test]
fn a_life_that_goes_on_after_doubt_is_not_counted_again() {
    for earlier in 0..7 {
        let mut entry = if earlier == 0 { life(0, "").0 } else { lives(earlier - 1).0 };
        let (mut task, _) = Task::resume(0, entry.offset, entry.metadata.as_bytes(), FRESH, None, 10);
        let began_with = task.began_with();
        for _ in 0..10 {
            admit(&mut task, 0, &mut Turn::default(), &mut entry);
            let metadata = entry.metadata.as_bytes();
            task = Task::resume(0, entry.offset, metadata, FRESH, Some(task.began_with()), 10).0;
            assert_eq!(task.began_with(), began_with);
        }
    }
}

#[test]
fn of_two_partitions_on_trial_the_second_announces_nothing_while_the_first_is_tried() {
    let text = Ledger::starting_at(0).encode(&Stamp { takeovers: 3, ..FRESH });
    let resume = |partition| Task::resume(partition, 0, text.as_bytes(), FRESH, None, 10).0;
    let (mut first, mut second, turn) = (resume(0), resume(1), &mut Turn::default());
    assert_eq!(first.admit(0, turn), Room::Wait);
    assert!(!first.is_dirty(), "first of all it waits for solitude");
    assert_eq!(first.admit(0, turn), Room::Wait);
    commit(&mut first, turn);
    assert_eq!(second.admit(0, turn), Room::Wait);
    assert!(!second.is_dirty());
    assert_eq!(first.admit(0, turn), Room::Go);
    let (flight, _) = first.push(0, 1, "well");
    first.ready(flight);
    first.release();
    assert_eq!(second.admit(0, turn), Room::Wait);
    assert!(!second.is_dirty(), "not before the first one's record is committed");
    commit(&mut first, turn);
    assert_eq!(second.admit(0, turn), Room::Wait);
    assert_eq!(second.admit(0, turn), Room::Wait);
    assert!(second.is_announcing());
}

#[test]
fn a_take_over_of_an_idle_partition_counts_nothing() {
    let (mut entry, _) = life(0, "");
    let (task, _) = Task::<()>::resume(0, entry.offset, entry.metadata.as_bytes(), FRESH, None, 10);
    assert!(!task.is_dirty(), "nothing arrived, nothing is said");
    entry = life(entry.offset, &entry.metadata).0;
    let (_, stamp) = Ledger::decode(entry.metadata.as_bytes(), 0, FRESH.tag).unwrap();
    assert_eq!(stamp.takeovers, 2);
}

#[test]
fn clean_leaves_accuse_nobody_however_many() {
    let (mut offset, mut metadata) = (0, String::new());
    for _ in 0..10 {
        let mut turn = Turn::default();
        let (mut task, _) = Task::resume(0, offset, metadata.as_bytes(), FRESH, None, 10);
        assert_eq!(task.admit(0, &mut turn), Room::Wait);
        let announced = commit(&mut task, &mut turn);
        assert_eq!(task.admit(0, &mut turn), Room::Go);
        task.push(0, 1, "takes longer than the pod lives");
        let farewell = task.farewell(&announced).expect("this life's take-over is taken back");
        (offset, metadata) = (farewell.offset, farewell.metadata);
    }
    let (_, stamp) = Ledger::decode(metadata.as_bytes(), offset, FRESH.tag).unwrap();
    assert_eq!(stamp.takeovers, 0);
}

#[test]
fn a_record_that_is_declined_is_accused_of_nothing_and_announced_again() {
    let mut turn = Turn::default();
    let (mut task, _) = Task::<&str>::resume(0, 0, b"", FRESH, None, 10);
    assert_eq!(task.admit(0, &mut turn), Room::Wait);
    commit(&mut task, &mut turn);
    assert_eq!(task.admit(0, &mut turn), Room::Go);
    task.decline(&mut turn);
    let (_, stamp) = Ledger::decode(commit(&mut task, &mut turn).metadata.as_bytes(), 0, FRESH.tag).unwrap();
    assert_eq!(stamp.takeovers, 0);
    assert_eq!(task.admit(0, &mut turn), Room::Wait, "announced anew");
    let (_, stamp) = Ledger::decode(commit(&mut task, &mut turn).metadata.as_bytes(), 0, FRESH.tag).unwrap();
    assert_eq!(stamp.takeovers, 1);
}

#[test]
fn progress_sets_the_count_back() {
    let turn = &mut Turn::default();
    let (entry, _) = life(0, "");
    let (mut task, _) = Task::resume(0, entry.offset, entry.metadata.as_bytes(), FRESH, None, 10);
    assert_eq!(task.admit(0, turn), Room::Wait);
    commit(&mut task, turn);
    assert_eq!(task.admit(0, turn), Room::Go);
    let (flight, first) = task.push(0, 1, "well");
    assert!(first);
    task.ready(flight);
    assert_eq!(task.release().map(|left| left.0), Some(0));
    let entry = commit(&mut task, turn);
    assert_eq!(entry.offset, 1);
    let (_, stamp) = Ledger::decode(entry.metadata.as_bytes(), 1, FRESH.tag).unwrap();
    assert_eq!(stamp.takeovers, 0);
}

#[test]
fn after_enough_records_alone_the_task_is_normal_again() {
    let turn = &mut Turn::default();
    let text = Ledger::starting_at(0).encode(&Stamp { takeovers: 3, ..FRESH });
    let (mut task, _) = Task::resume(0, 0, text.as_bytes(), FRESH, None, 10);
    let mut entry = LedgerEntry { partition: 0, offset: 0, metadata: text.clone() };
    for offset in 0..MAX_OPEN as i64 {
        assert_eq!(admit(&mut task, offset, turn, &mut entry), Room::Go);
        let (flight, _) = task.push(offset, 1, "well");
        assert_eq!(task.admit(offset + 1, turn), Room::Wait);
        task.ready(flight);
        task.release();
        assert_eq!(task.admit(offset + 1, turn), Room::Wait, "what was tried is committed first");
        commit(&mut task, turn);
    }
    assert_eq!(task.trial(), Trial::Normal);
    assert_eq!(task.admit(MAX_OPEN as i64, turn), Room::Go);
}

#[test]
fn the_bound_on_flights_stops_intake_until_one_is_released() {
    let turn = &mut Turn::default();
    let text = Ledger::starting_at(0).encode(&FRESH);
    let (mut task, _) = Task::resume(0, 0, text.as_bytes(), FRESH, None, 2);
    task.admit(0, turn);
    commit(&mut task, turn);
    assert_eq!(task.admit(0, turn), Room::Go);
    let (first, _) = task.push(0, 1, "a");
    task.push(1, 2, "b");
    assert_eq!(task.admit(2, turn), Room::Wait);
    task.ready(first);
    task.release();
    assert_eq!(task.admit(2, turn), Room::Go);
}

#[test]
fn with_the_culprit_condemned_the_trial_is_over() {
    let text = Ledger::starting_at(0).encode(&Stamp { takeovers: Task::<()>::CONDEMNED, ..FRESH });
    let (mut task, _) = Task::resume(0, 0, text.as_bytes(), FRESH, None, 10);
    let (turn, mut entry) = (&mut Turn::default(), LedgerEntry { partition: 0, offset: 0, metadata: text.clone() });
    assert_eq!(admit(&mut task, 0, turn, &mut entry), Room::Condemned);
    let (flight, _) = task.push(0, 1, "buried");
    task.ready(flight);
    task.release();
    commit(&mut task, turn);
    assert_eq!(turn.holder(), None);
    assert_eq!(admit(&mut task, 1, turn, &mut entry), Room::Go, "alone still, so that the burial is committed");
    let (flight, _) = task.push(1, 1, "well");
    task.ready(flight);
    task.release();
    commit(&mut task, turn);
    assert_eq!((task.trial(), turn.holder()), (Trial::Normal, None));
}
