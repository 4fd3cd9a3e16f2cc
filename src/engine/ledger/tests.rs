use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const STAMP: Stamp = Stamp { tag: 0xDEAD_BEEF, chain: u32::MAX, epoch: i64::MAX, takeovers: 4 };

#[test]
fn an_untouched_ledger_commits_its_offset_and_no_runs() {
    let ledger = Ledger::starting_at(42);
    let (back, stamp) = Ledger::decode(ledger.encode(&STAMP).as_bytes(), 42, STAMP.tag).unwrap();
    assert_eq!((back, stamp), (ledger, STAMP));
}

#[test]
fn offsets_done_beyond_an_open_one_are_passed_over_by_the_next_life() {
    let mut ledger = Ledger::starting_at(10);
    for offset in [10, 11, 12, 15, 16] {
        assert!(ledger.take_in(offset));
    }
    for offset in [11, 12, 16] {
        assert!(ledger.done(offset));
    }
    assert_eq!(ledger.base(), 10);
    let (mut next_life, _) = Ledger::decode(ledger.encode(&STAMP).as_bytes(), 10, STAMP.tag).unwrap();
    assert!(next_life.take_in(10));
    assert!(!next_life.take_in(11));
    assert!(!next_life.take_in(12));
    assert!(next_life.take_in(15));
    assert!(!next_life.take_in(16));
    assert!(next_life.take_in(17));
    assert_eq!(next_life.open(), 3);
}

#[test]
fn a_foreign_copied_or_moved_ledger_is_no_ledger() {
    let metadata = Ledger::starting_at(10).encode(&STAMP);
    let decode = |text: &str, base, tag| Ledger::decode(text.as_bytes(), base, tag).unwrap_err();
    assert_eq!(decode("", 10, STAMP.tag), LedgerError::Foreign);
    assert_eq!(decode("set by hand", 10, STAMP.tag), LedgerError::Foreign);
    assert_eq!(decode("h1.!!", 10, STAMP.tag), LedgerError::Malformed);
    assert_eq!(decode(&metadata, 10, 1), LedgerError::OtherPartition);
    assert_eq!(decode(&metadata, 11, STAMP.tag), LedgerError::OtherBase);
}

#[test]
fn a_gap_wider_than_the_span_stops_only_while_something_is_open() {
    let mut ledger = Ledger::starting_at(0);
    assert!(ledger.has_room(10 * MAX_SPAN));
    ledger.take_in(0);
    assert!(!ledger.has_room(10 * MAX_SPAN));
    ledger.done(0);
    assert!(ledger.has_room(10 * MAX_SPAN));
}

#[test]
fn a_record_seen_again_is_not_taken_in_again() {
    let mut ledger = Ledger::starting_at(0);
    assert!(ledger.take_in(0));
    assert!(!ledger.take_in(0));
    ledger.done(0);
    assert!(!ledger.take_in(0));
}

#[test]
fn the_worst_ledger_fits_into_kafkas_metadata() {
    // Every open offset alone, between done runs as long as the span allows; base and stamp as large as can be.
    let start = i64::MAX - 2 * MAX_SPAN;
    let mut ledger = Ledger::starting_at(start);
    let mut offset = start;
    for index in 0..MAX_OPEN as i64 {
        assert!(ledger.has_room(offset));
        ledger.take_in(offset);
        // 24 runs of three bytes, the others of two.
        offset += if index < 23 { 16_385 } else { 129 };
    }
    ledger.advance((start + MAX_SPAN).min(offset));
    assert_eq!(ledger.open(), MAX_OPEN);
    let metadata = ledger.encode(&STAMP);
    assert!(metadata.len() <= 4_096, "{} bytes", metadata.len());
    assert!(metadata.is_ascii());
}

/// A model that remembers every offset by itself.
#[derive(Default)]
struct Model {
    seen_to: i64,
    open: BTreeSet<i64>,
}

#[derive(Debug, Clone)]
enum Move {
    /// A record arrives after so many offsets that nobody sees.
    Arrive(i64),
    /// The n-th open one is done.
    Done(prop::sample::Index),
    Restart,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let gap = prop_oneof![8 => Just(0i64), 3 => 0i64..4, 1 => 0i64..2_000, 1 => 0i64..40_000];
    prop::collection::vec(
        prop_oneof![
            6 => gap.prop_map(Move::Arrive),
            5 => any::<prop::sample::Index>().prop_map(Move::Done),
            1 => Just(Move::Restart),
        ],
        0..3_000,
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_reachable_ledger_fits_survives_a_restart_and_redoes_only_what_is_open(moves in moves()) {
        let stamp = STAMP;
        let mut ledger = Ledger::starting_at(7);
        let mut model = Model { seen_to: 7, open: BTreeSet::new() };
        let mut log: Vec<i64> = Vec::new();
        for step in moves {
            match step {
                Move::Arrive(gap) => {
                    let offset = model.seen_to + gap;
                    if ledger.has_room(offset) {
                        prop_assert!(ledger.take_in(offset));
                        model.open.insert(offset);
                        model.seen_to = offset + 1;
                        log.push(offset);
                    }
                }
                Move::Done(index) if !model.open.is_empty() => {
                    let offset = *index.get(&model.open.iter().copied().collect::<Vec<_>>());
                    prop_assert!(ledger.done(offset));
                    model.open.remove(&offset);
                }
                Move::Done(_) => {}
                Move::Restart => {
                    let base = ledger.base();
                    let (mut back, _) = Ledger::decode(ledger.encode(&stamp).as_bytes(), base, stamp.tag).unwrap();
                    // The log is read again from the committed offset, and half-way there the process dies again.
                    let again: Vec<i64> = log.iter().copied().filter(|offset| *offset >= base).collect();
                    for (index, offset) in again.iter().enumerate() {
                        prop_assert!(back.has_room(*offset));
                        prop_assert_eq!(back.take_in(*offset), model.open.contains(offset), "offset {}", offset);
                        if index == again.len() / 2 {
                            let text = back.encode(&stamp);
                            back = Ledger::decode(text.as_bytes(), back.base(), stamp.tag).unwrap().0;
                            for offset in again.iter().take(index + 1).filter(|offset| **offset >= base) {
                                prop_assert_eq!(back.take_in(*offset), model.open.contains(offset));
                            }
                        }
                    }
                    back.advance(model.seen_to);
                    ledger = back;
                }
            }
            prop_assert_eq!(ledger.base(), model.open.first().copied().unwrap_or(model.seen_to));
            prop_assert_eq!(ledger.open(), model.open.len());
            prop_assert!(ledger.encode(&stamp).len() <= 4_096);
        }
    }

    #[test]
    fn metadata_of_any_kind_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), base in 0i64..1_000) {
        let _ = Ledger::decode(&bytes, base, 1);
        let raw = format!("h1.{}", URL_SAFE_NO_PAD.encode(&bytes));
        let _ = Ledger::decode(raw.as_bytes(), base, bytes.first_chunk::<4>().map_or(0, |tag| u32::from_be_bytes(*tag)));
    }
}
