use bytes::{Buf, Bytes};
use kafka_protocol::ResponseError;
use proptest::prelude::*;

use super::super::batch::{self, BatchError, build};
use super::super::log::{Aborted, PartitionLog};

const PLAIN: (i64, i16, i32) = (-1, -1, -1);

fn append(
    log: &mut PartitionLog,
    producer: (i64, i16, i32),
    transactional: bool,
    values: &[&str],
) -> Result<(i64, bool), ResponseError> {
    let bytes = build::batch(producer, transactional, 1000, values);
    let header = batch::parse(&bytes).unwrap();
    log.append(&bytes, &header, None).map(|appended| (appended.base_offset, appended.is_new))
}

fn base_offsets(batches: &[Bytes]) -> Vec<i64> {
    batches.iter().map(|batch| (&batch[..]).get_i64()).collect()
}

#[test]
fn a_stored_batch_differs_in_base_offset_and_leader_epoch_only() {
    let sent = build::batch(PLAIN, false, 1000, &["a", "b"]);
    let mut log = PartitionLog::default();
    append(&mut log, PLAIN, false, &["first"]).unwrap();
    log.append(&sent, &batch::parse(&sent).unwrap(), None).unwrap();
    let read = log.read(1, usize::MAX, true, false).unwrap();
    let kept = &read.batches[0];
    assert_eq!((&kept[..]).get_i64(), 1);
    assert_eq!(kept[16..], sent[16..]);
    assert!(batch::parse(kept).is_ok(), "its checksum still holds");
}

#[test]
fn append_time_replaces_timestamps_and_the_checksum_follows() {
    let sent = build::batch(PLAIN, false, 1000, &["a", "b"]);
    let placed = batch::place(&sent, &batch::parse(&sent).unwrap(), 7, Some(5000));
    let header = batch::parse(&placed).unwrap();
    assert_eq!((header.max_timestamp, header.attributes & 8), (5000, 8));
    assert_eq!(batch::find_time(&placed, 4000), Some((7, 5000)));
}

#[test]
fn damaged_cut_and_doubled_batches_are_told_apart() {
    let good = build::batch(PLAIN, false, 1000, &["a"]);
    let mut damaged = good.to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    assert_eq!(batch::parse(&damaged), Err(BatchError::Checksum));
    assert_eq!(batch::parse(&good[..good.len() - 1]), Err(BatchError::Length(good.len() - 1)));
    let doubled = [&good[..], &good[..]].concat();
    assert_eq!(batch::parse(&doubled), Err(BatchError::Length(doubled.len())));
    let mut old = good.to_vec();
    old[16] = 1;
    assert_eq!(batch::parse(&old), Err(BatchError::Format(1)));
    assert_eq!(batch::parse(&[]), Err(BatchError::Length(0)));
}

#[test]
fn a_repeated_batch_gets_its_old_offset_and_a_gap_is_refused() {
    let mut log = PartitionLog::default();
    assert_eq!(append(&mut log, (9, 0, 0), false, &["a", "b"]), Ok((0, true)));
    assert_eq!(append(&mut log, (9, 0, 2), false, &["c"]), Ok((2, true)));
    assert_eq!(append(&mut log, (9, 0, 0), false, &["a", "b"]), Ok((0, false)));
    assert_eq!(append(&mut log, (9, 0, 4), false, &["e"]), Err(ResponseError::OutOfOrderSequenceNumber));
    assert_eq!(append(&mut log, (9, 1, 3), false, &["d"]), Err(ResponseError::OutOfOrderSequenceNumber));
    assert_eq!(append(&mut log, (9, 1, 0), false, &["d"]), Ok((3, true)), "a new epoch begins anew");
    assert_eq!(append(&mut log, (9, 0, 3), false, &["d"]), Err(ResponseError::InvalidProducerEpoch));
    assert_eq!(log.end_offset(), 4);
}

#[test]
fn sequences_wrap_around() {
    let mut log = PartitionLog::default();
    append(&mut log, (9, 0, i32::MAX - 1), false, &["a", "b"]).unwrap();
    assert_eq!(append(&mut log, (9, 0, 0), false, &["c"]), Ok((2, true)));
    let across = build::batch((9, 0, i32::MAX), false, 0, &["a", "b", "c"]);
    assert_eq!(batch::parse(&across).unwrap().last_sequence(), 1);
}

#[test]
fn readers_of_committed_records_stop_at_the_first_open_transaction() {
    let mut log = PartitionLog::default();
    append(&mut log, (1, 0, 0), true, &["a"]).unwrap();
    append(&mut log, (2, 0, 0), true, &["b"]).unwrap();
    append(&mut log, PLAIN, false, &["c"]).unwrap();
    assert_eq!((log.last_stable_offset(), log.end_offset()), (0, 3));
    assert!(log.read(0, usize::MAX, true, true).unwrap().batches.is_empty());
    log.append_marker(1, 0, false, 2000);
    assert_eq!(log.last_stable_offset(), 1);
    log.append_marker(2, 0, true, 2000);
    assert_eq!(log.last_stable_offset(), 5);
    let read = log.read(0, usize::MAX, true, true).unwrap();
    assert_eq!(base_offsets(&read.batches), [0, 1, 2, 3, 4]);
    assert_eq!(read.aborted, [Aborted { producer_id: 1, first_offset: 0, last_offset: 3 }]);
    let later = log.read(4, usize::MAX, true, true).unwrap();
    assert!(later.aborted.is_empty(), "behind its marker an aborted transaction is of no interest");
}

#[test]
fn a_marker_of_a_higher_epoch_fences_the_producer_here() {
    let mut log = PartitionLog::default();
    append(&mut log, (1, 0, 0), true, &["a"]).unwrap();
    log.append_marker(1, 1, false, 2000);
    assert_eq!(append(&mut log, (1, 0, 1), true, &["b"]), Err(ResponseError::InvalidProducerEpoch));
    assert_eq!(log.last_stable_offset(), 2);
}

#[test]
fn a_read_gives_whole_batches_within_its_limit_but_at_least_one_where_asked() {
    let mut log = PartitionLog::default();
    let size = build::batch(PLAIN, false, 1000, &["a", "b"]).len();
    (0..5).for_each(|_| _ = append(&mut log, PLAIN, false, &["a", "b"]).unwrap());
    let offsets = |from, most, one| base_offsets(&log.read(from, most, one, false).unwrap().batches);
    assert_eq!(offsets(0, size * 2 + 1, false), [0, 2]);
    assert_eq!(offsets(3, size, false), [2], "the batch that holds the offset");
    assert_eq!(offsets(0, 1, true), [0]);
    assert!(offsets(0, 1, false).is_empty());
    assert!(offsets(10, size, true).is_empty());
    assert_eq!(log.read(11, size, true, false).unwrap_err(), ResponseError::OffsetOutOfRange);
}

#[test]
fn times_are_found_record_by_record() {
    let mut log = PartitionLog::default();
    append(&mut log, PLAIN, false, &["a", "b", "c"]).unwrap(); // 1000, 1001, 1002
    assert_eq!(log.find_time(1001, false), Some((1, 1001)));
    assert_eq!(log.find_time(0, false), Some((0, 1000)));
    assert_eq!(log.find_time(1003, false), None);
    assert_eq!(log.find_max_time(), Some((2, 1002)));
}

#[test]
fn what_an_open_transaction_wrote_is_never_dropped() {
    let mut log = PartitionLog::default();
    append(&mut log, PLAIN, false, &["a"]).unwrap();
    append(&mut log, (1, 0, 0), true, &["b"]).unwrap();
    assert!(log.drop_oldest() > 0);
    assert_eq!((log.start_offset(), log.drop_oldest()), (1, 0));
    log.append_marker(1, 0, false, 2000);
    assert!(log.drop_oldest() > 0);
    assert!(log.drop_oldest() > 0);
    assert_eq!((log.start_offset(), log.memory_bytes()), (3, 0));
    assert_eq!(log.read(0, 1, true, true).unwrap_err(), ResponseError::OffsetOutOfRange);
}

proptest! {
    /// Any mix of plain and transactional appends, markers and drops: what a committed reader is shown, minus what the
    /// aborted list names, is what was committed or plain, in order.
    #[test]
    fn a_committed_reader_sees_exactly_what_was_committed(steps in prop::collection::vec((0i64..4, 0u8..4), 0..60)) {
        let mut log = PartitionLog::default();
        let mut sequences = [0i32; 4];
        let mut expected: Vec<(i64, i64)> = Vec::new(); // offset, producer
        let mut open: [Vec<i64>; 4] = Default::default();
        for (producer, step) in steps {
            let at = producer as usize;
            match step {
                0 | 1 if producer == 0 => {
                    let (offset, _) = append(&mut log, PLAIN, false, &["x"]).unwrap();
                    expected.push((offset, -1));
                }
                0 | 1 => {
                    let (offset, _) = append(&mut log, (producer, 0, sequences[at]), true, &["x"]).unwrap();
                    sequences[at] += 1;
                    open[at].push(offset);
                }
                _ if producer > 0 && !open[at].is_empty() => {
                    let commit = step == 2;
                    log.append_marker(producer, 0, commit, 0);
                    let written = std::mem::take(&mut open[at]);
                    if commit {
                        expected.extend(written.into_iter().map(|offset| (offset, producer)));
                    }
                }
                _ => {}
            }
        }
        expected.sort_unstable();
        let stable = open.iter().flatten().min().copied().unwrap_or(log.end_offset());
        prop_assert_eq!(log.last_stable_offset(), stable);
        expected.retain(|(offset, _)| *offset < stable);

        let read = log.read(0, usize::MAX, true, true).unwrap();
        let mut aborted = read.aborted.clone();
        aborted.sort_by_key(|a| a.first_offset);
        // As a client does it: an aborted producer is dropped from its first offset to its next marker.
        let mut dropping = std::collections::HashSet::new();
        let mut aborted = aborted.into_iter().peekable();
        let mut seen = Vec::new();
        for bytes in &read.batches {
            let (header, offset) = (batch::parse(bytes).unwrap(), (&bytes[..]).get_i64());
            while let Some(next) = aborted.next_if(|a| a.first_offset <= offset) {
                dropping.insert(next.producer_id);
            }
            if header.control() {
                dropping.remove(&header.producer_id);
            } else if !dropping.contains(&header.producer_id) {
                seen.push((offset, header.producer_id));
            }
        }
        prop_assert_eq!(seen, expected);
    }
}
