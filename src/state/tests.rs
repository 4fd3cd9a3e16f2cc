//! The store on a real disk.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests are tests

mod crash;
mod damage;
mod protocol;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const SESSION: usize = 0;
const FUNNEL: usize = 1;
const TAG: u32 = 7;
const T: i64 = 1_800_000_000_000;

fn names(tables: &[&str]) -> Vec<Arc<str>> {
    tables.iter().map(|name| Arc::from(*name)).collect()
}

fn open(folder: &Path) -> Store {
    Store::open(folder, names(&["session", "funnel"])).unwrap()
}

fn put<'a>(table: usize, key: &'a str, value: &'a str) -> Write<'a> {
    Write { table, key: key.as_bytes(), value: Some(value.as_bytes()), at_ms: T }
}

fn get(partition: &PartitionStore, table: usize, key: &str) -> Option<String> {
    let entry = partition.get(table, key.as_bytes()).unwrap()?;
    Some(String::from_utf8(entry.value().to_vec()).unwrap())
}

fn begin(partition: &PartitionStore, table: usize) {
    partition.adopt(table, Position { offset: 0, tag: TAG, at_ms: T }).unwrap();
}

#[test]
fn what_was_written_is_read_also_after_reopening() {
    let folder = TempDir::new().unwrap();
    {
        let store = open(folder.path());
        assert!(!store.was_rebuilt());
        let partition = store.partition(3).unwrap();
        assert_eq!(partition.position(SESSION), None);
        begin(&partition, SESSION);
        let long = "k".repeat(100_000);
        let writes = [put(SESSION, "ann", "1"), put(SESSION, "", "no key"), put(SESSION, &long, "long")];
        partition.apply(writes, &[Mark { table: SESSION, next_offset: 42, at_ms: T + 5 }]).unwrap();
        assert_eq!(get(&partition, SESSION, "ann").as_deref(), Some("1"));
        assert_eq!(get(&partition, FUNNEL, "ann"), None, "another table");
        assert_eq!(get(&store.partition(4).unwrap(), SESSION, "ann"), None, "another partition");
    }
    let store = open(folder.path());
    assert!(!store.was_rebuilt());
    let partition = store.partition(3).unwrap();
    assert_eq!(partition.position(SESSION), Some(Position { offset: 42, tag: TAG, at_ms: T + 5 }));
    assert_eq!(partition.position(FUNNEL), None);
    assert_eq!(get(&partition, SESSION, "ann").as_deref(), Some("1"));
    assert_eq!(get(&partition, SESSION, "").as_deref(), Some("no key"));
    assert_eq!(get(&partition, SESSION, &"k".repeat(100_000)).as_deref(), Some("long"));
    assert_eq!(get(&partition, SESSION, &"k".repeat(100_001)), None);
    assert_eq!(partition.get(SESSION, b"ann").unwrap().unwrap().at_ms(), T);
}

#[test]
fn a_deleted_key_is_gone() {
    let folder = TempDir::new().unwrap();
    let partition = open(folder.path()).partition(0).unwrap();
    partition.apply([put(SESSION, "ann", "1")], &[]).unwrap();
    partition.apply([Write { value: None, ..put(SESSION, "ann", "") }], &[]).unwrap();
    assert_eq!(get(&partition, SESSION, "ann"), None);
}

#[test]
fn a_mark_before_the_restore_writes_nothing() {
    let folder = TempDir::new().unwrap();
    let partition = open(folder.path()).partition(0).unwrap();
    let mark = Mark { table: FUNNEL, next_offset: 1, at_ms: T };
    let refused = partition.apply([put(FUNNEL, "ann", "1")], &[mark]).unwrap_err();
    assert!(matches!(&refused, StoreError::NotRestored { table, .. } if table == "funnel"), "{refused}");
    assert_eq!(get(&partition, FUNNEL, "ann"), None);
}

#[test]
fn tables_are_told_by_name_whatever_their_order() {
    let folder = TempDir::new().unwrap();
    {
        let partition = open(folder.path()).partition(0).unwrap();
        for (table, value) in [(SESSION, "of session"), (FUNNEL, "of funnel")] {
            begin(&partition, table);
            partition.apply([put(table, "ann", value)], &[]).unwrap();
        }
    }
    let store = Store::open(folder.path(), names(&["score", "funnel"])).unwrap();
    let partition = store.partition(0).unwrap();
    assert_eq!((get(&partition, 0, "ann"), partition.position(0)), (None, None), "a new table");
    assert_eq!(get(&partition, 1, "ann").as_deref(), Some("of funnel"));
    assert_eq!(partition.wipe_strangers().unwrap(), ["session"]);
    assert_eq!(partition.wipe_strangers().unwrap(), [""; 0]);
    drop((store, partition));
    let partition = open(folder.path()).partition(0).unwrap();
    assert_eq!((get(&partition, SESSION, "ann"), partition.position(SESSION)), (None, None));
    assert_eq!(get(&partition, FUNNEL, "ann").as_deref(), Some("of funnel"));
}

#[test]
fn a_wiped_table_leaves_the_others_alone() {
    let folder = TempDir::new().unwrap();
    // A name that begins with another's, and keys that look like the end of one.
    let store = Store::open(folder.path(), names(&["s", "ss"])).unwrap();
    let partition = store.partition(0).unwrap();
    let keys: Vec<String> = (0..2_500).map(|n| format!("s{n}")).collect();
    for table in [0, 1] {
        begin(&partition, table);
        partition.apply(keys.iter().map(|key| put(table, key, "v")), &[]).unwrap();
    }
    partition.wipe(0).unwrap();
    assert_eq!(partition.position(0), None);
    assert!(keys.iter().all(|key| get(&partition, 0, key).is_none()));
    assert!(keys.iter().all(|key| get(&partition, 1, key).is_some()));
    assert_eq!(partition.position(1).map(|position| position.tag), Some(TAG));
}

#[test]
fn a_dropped_partition_begins_anew() {
    let folder = TempDir::new().unwrap();
    {
        let store = open(folder.path());
        let (old, other) = (store.partition(0).unwrap(), store.partition(1).unwrap());
        begin(&old, SESSION);
        old.apply([put(SESSION, "ann", "1")], &[]).unwrap();
        other.apply([put(SESSION, "ann", "kept")], &[]).unwrap();
        store.drop_partition(0).unwrap();
        store.drop_partition(5).unwrap();
        let new = store.partition(0).unwrap();
        assert_eq!((get(&new, SESSION, "ann"), new.position(SESSION)), (None, None));
        old.apply([put(SESSION, "ann", "late")], &[]).unwrap();
        assert_eq!(get(&new, SESSION, "ann"), None, "an old handle reaches the new partition");
        new.apply([put(SESSION, "bob", "2")], &[]).unwrap();
    }
    let store = open(folder.path());
    let partition = store.partition(0).unwrap();
    assert_eq!(get(&partition, SESSION, "ann"), None);
    assert_eq!(get(&partition, SESSION, "bob").as_deref(), Some("2"));
    assert_eq!(get(&store.partition(1).unwrap(), SESSION, "ann").as_deref(), Some("kept"));
}

#[test]
fn a_sweep_removes_what_is_too_old_in_bounded_steps() {
    let folder = TempDir::new().unwrap();
    let partition = open(folder.path()).partition(0).unwrap();
    let keys: Vec<String> = (0..100).map(|n| format!("{n:03}")).collect();
    let aged = |(n, key)| Write { at_ms: T + (n as i64 % 2), ..put(SESSION, key, "v") };
    partition.apply(keys.iter().map(String::as_str).enumerate().map(aged), &[]).unwrap();
    partition.apply([put(FUNNEL, "000", "v")], &[]).unwrap();
    begin(&partition, SESSION);
    let sweep = || partition.sweep(SESSION, T + 1, 30).unwrap();
    let steps = [sweep(), sweep(), sweep(), sweep()];
    assert_eq!(steps[0], Swept { seen: 30, removed: 15, is_round: false });
    assert_eq!(steps[3], Swept { seen: 10, removed: 5, is_round: true });
    let left: Vec<bool> = keys.iter().map(|key| get(&partition, SESSION, key).is_some()).collect();
    assert!((0..100).all(|n| left[n] == (n % 2 == 1)), "{left:?}");
    assert!(get(&partition, FUNNEL, "000").is_some(), "another table");
    assert_eq!(sweep(), Swept { seen: 30, removed: 0, is_round: false }, "from the start again");
}

#[test]
fn usage_grows_with_what_is_written() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let partition = store.partition(0).unwrap();
    let before = store.usage();
    let value = "v".repeat(1_000);
    let keys: Vec<String> = (0..1_000).map(|n| n.to_string()).collect();
    partition.apply(keys.iter().map(|key| put(SESSION, key, &value)), &[]).unwrap();
    let after = store.usage();
    assert_eq!((partition.usage().keys, after.keys - before.keys), (1_000, 1_000));
    assert!(after.bytes > before.bytes, "{before:?} {after:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_store_equals_the_fold_of_what_was_applied(
        batches in prop::collection::vec(
            prop::collection::vec((0..2usize, 0..20u8, prop::option::of("[a-z]{0,40}")), 0..20),
            1..12,
        ),
        reopen_at in 0..12usize,
    ) {
        let folder = TempDir::new().unwrap();
        let mut store = open(folder.path());
        let mut fold = BTreeMap::new();
        begin(&store.partition(0).unwrap(), SESSION);
        for (n, batch) in batches.iter().enumerate() {
            let partition = store.partition(0).unwrap();
            let mark = Mark { table: SESSION, next_offset: n as i64 + 1, at_ms: T };
            let writes = batch.iter().map(|(table, key, value)| {
                Write { table: *table, key: std::slice::from_ref(key), value: value.as_deref().map(str::as_bytes), at_ms: T }
            });
            partition.apply(writes, &[mark]).unwrap();
            for (table, key, value) in batch {
                fold.insert((*table, *key), value.clone());
            }
            if n == reopen_at {
                drop((partition, store));
                store = open(folder.path());
            }
        }
        let partition = store.partition(0).unwrap();
        for table in 0..2 {
            for key in 0..20 {
                let expected = fold.get(&(table, key)).cloned().flatten();
                let found = partition.get(table, &[key]).unwrap().map(|entry| entry.value().to_vec());
                prop_assert_eq!(found, expected.map(String::into_bytes));
            }
        }
        prop_assert_eq!(partition.position(SESSION).unwrap().offset, batches.len() as i64);
    }
}
