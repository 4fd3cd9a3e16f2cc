use super::super::offsets::{Committed, GroupOffsets};

fn at() -> (String, i32) {
    ("in".to_owned(), 0)
}

fn committed(offset: i64) -> Committed {
    Committed { offset, leader_epoch: -1, metadata: String::new() }
}

#[test]
fn pending_offsets_appear_on_commit_and_vanish_on_abort() {
    let mut offsets = GroupOffsets::default();
    for (offset, commit) in [(5, true), (9, false)] {
        let before = offsets.get(&at()).cloned();
        offsets.commit_pending(1, at(), committed(offset));
        assert!(offsets.is_unstable(&at()));
        assert_eq!(offsets.get(&at()), before.as_ref());
        offsets.finish(2, true);
        assert!(offsets.is_unstable(&at()), "another producer's end changes nothing");
        offsets.finish(1, commit);
        assert!(!offsets.is_unstable(&at()));
        assert_eq!(offsets.get(&at()), Some(&committed(5)));
    }
}

#[test]
fn a_plain_commit_after_a_pending_one_stays() {
    let mut offsets = GroupOffsets::default();
    offsets.commit_pending(1, at(), committed(5));
    offsets.commit(at(), committed(7));
    offsets.finish(1, true);
    assert_eq!(offsets.get(&at()), Some(&committed(7)));
}

#[test]
fn deleting_a_topic_forgets_its_offsets() {
    let mut offsets = GroupOffsets::default();
    offsets.commit(at(), committed(5));
    offsets.commit_pending(1, at(), committed(6));
    assert_eq!(offsets.partitions(), [at()]);
    offsets.delete_topic("in");
    offsets.finish(1, true);
    assert!(offsets.is_empty());
}
