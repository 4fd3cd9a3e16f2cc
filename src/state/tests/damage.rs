//! Folders and files that are not as they were left.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::{super::*, SESSION, T, begin, get, names, open, put};

/// A store with tables on the disk, and the number of its keys.
fn filled(folder: &Path) -> usize {
    let limits = Limits { write_buffer_bytes: 0, ..Limits::default() };
    let store = Store::open_with(folder, names(&["session", "funnel"]), limits).unwrap();
    let partition = store.partition(0).unwrap();
    begin(&partition, SESSION);
    let keys: Vec<String> = (0..400).map(|key| format!("{key:03}")).collect();
    for batch in 0..12 {
        let value = format!("{batch}{}", "v".repeat(200));
        let mark = Mark { table: SESSION, next_offset: batch + 1, at_ms: T };
        partition.apply(keys.iter().map(|key| put(SESSION, key, &value)), &[mark]).unwrap();
    }
    // Flushed in the background.
    while partition.usage().bytes == 0 {
        std::thread::yield_now();
    }
    drop((store, partition));
    // A journal is made 64 MiB long and is mostly empty: as it would be after a recovery.
    for journal in files(folder).iter().filter(|file| file.extension().is_some_and(|kind| kind == "jnl")) {
        let bytes = fs::read(journal).unwrap();
        fs::File::options().write(true).open(journal).unwrap().set_len(filled_to(&bytes) as u64).unwrap();
    }
    keys.len()
}

/// One past the last byte that is not 0.
fn filled_to(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let below = |entry: fs::DirEntry| match entry.path() {
        path if path.is_dir() => files(&path),
        path => vec![path],
    };
    fs::read_dir(folder).unwrap().flatten().flat_map(below).collect()
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(file, target).unwrap();
    }
}

/// Opens it whatever it holds: what is read must be of one whole batch, or said to be damaged.
fn judge(folder: &Path, keys: usize, what: &str) -> &'static str {
    let store = match Store::open(folder, names(&["session", "funnel"])) {
        Ok(store) => store,
        Err(error) => panic!("{what}: {error}"),
    };
    let partition = match store.partition(0) {
        Ok(partition) => partition,
        Err(error) if error.is_corrupt() => {
            store.drop_partition(0).unwrap();
            store.partition(0).unwrap();
            return "damaged";
        }
        Err(error) => panic!("{what}: {error}"),
    };
    let position = partition.position(SESSION);
    for key in 0..keys {
        match (partition.get(SESSION, format!("{key:03}").as_bytes()), position) {
            (Ok(Some(entry)), Some(position)) => {
                let batch = format!("{}v", position.offset - 1);
                assert!(entry.value().starts_with(batch.as_bytes()), "{what}: key {key} at {position:?}");
            }
            (Ok(None), None) => {}
            (Ok(None), Some(position)) if position.offset == 0 => {}
            (Ok(found), position) => panic!("{what}: {} at {position:?}", found.is_some()),
            (Err(error), _) => {
                assert!(error.is_corrupt(), "{what}: {error}");
                store.drop_partition(0).unwrap();
                let anew = store.partition(0).unwrap();
                anew.apply([put(SESSION, "000", "1")], &[]).unwrap();
                assert_eq!(get(&anew, SESSION, "000").as_deref(), Some("1"), "{what}");
                return "damaged";
            }
        }
    }
    if store.was_rebuilt() { "rebuilt" } else { "whole" }
}

#[test]
fn whatever_is_damaged_is_rebuilt_or_said_and_never_read_as_something_else() {
    let original = TempDir::new().unwrap();
    let keys = filled(original.path());
    let mut seen = std::collections::BTreeMap::<_, usize>::new();
    for file in files(&original.path().join("v1")) {
        let name = file.strip_prefix(original.path()).unwrap().to_owned();
        let bytes = fs::read(&file).unwrap();
        let filled = filled_to(&bytes);
        let places = [0, filled / 3, filled / 2, filled.saturating_sub(1)].map(Some);
        for place in places.into_iter().chain([None]) {
            let damaged = TempDir::new().unwrap();
            copy(original.path(), damaged.path());
            let mut bytes = bytes.clone();
            match place {
                Some(place) if place < bytes.len() => bytes[place] ^= 0xff,
                Some(_) => continue,
                None => bytes.truncate(filled / 2),
            }
            fs::write(damaged.path().join(&name), bytes).unwrap();
            let outcome = judge(damaged.path(), keys, &format!("{} at {place:?}", name.display()));
            *seen.entry(outcome).or_default() += 1;
        }
        let without = TempDir::new().unwrap();
        copy(original.path(), without.path());
        fs::remove_file(without.path().join(&name)).unwrap();
        *seen.entry(judge(without.path(), keys, &format!("{} missing", name.display()))).or_default() += 1;
    }
    assert!(seen.contains_key("rebuilt") && seen.contains_key("damaged"), "{seen:?}");
}

#[test]
fn a_stray_folder_costs_a_rebuild_at_most() {
    let folder = TempDir::new().unwrap();
    let keys = filled(folder.path());
    fs::create_dir(folder.path().join("v1/keyspaces/lost+found")).unwrap();
    assert_eq!(judge(folder.path(), keys, "a stray folder"), "rebuilt");
}

#[test]
fn an_opening_that_killed_the_process_is_not_tried_again() {
    let folder = TempDir::new().unwrap();
    filled(folder.path());
    fs::write(folder.path().join("opening"), "").unwrap();
    assert!(open(folder.path()).was_rebuilt());
    assert!(!open(folder.path()).was_rebuilt());
}

#[test]
fn a_second_opener_is_told_and_harms_nothing() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let partition = store.partition(0).unwrap();
    partition.apply([put(SESSION, "ann", "1")], &[]).unwrap();
    drop(store);
    let second = Store::open(folder.path(), names(&["session"])).err().unwrap();
    assert!(matches!(second, StoreError::Locked { .. }), "{second}: a handle keeps the store open");
    assert_eq!(get(&partition, SESSION, "ann").as_deref(), Some("1"));
    drop(partition);
    assert_eq!(get(&open(folder.path()).partition(0).unwrap(), SESSION, "ann").as_deref(), Some("1"));
}

#[test]
fn a_volume_that_is_lost_while_in_use_is_an_error_and_no_hang() {
    let folder = TempDir::new().unwrap();
    let limits = Limits { write_buffer_bytes: 0, ..Limits::default() };
    let store = Store::open_with(folder.path(), names(&["session"]), limits).unwrap();
    let partition = store.partition(0).unwrap();
    fs::remove_dir_all(folder.path().join("v1")).unwrap();
    let value = "v".repeat(100_000);
    let keys: Vec<String> = (0..100).map(|key| key.to_string()).collect();
    // The first flushes fail in the background; sooner or later a write is told.
    let error = std::iter::repeat_with(|| partition.apply(keys.iter().map(|key| put(SESSION, key, &value)), &[]))
        .find_map(Result::err)
        .unwrap();
    assert!(!matches!(error, StoreError::NotRestored { .. }), "{error}");
    drop((store, partition));
    assert!(open(folder.path()).partition(0).is_ok());
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error_with_its_name() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let error = Store::open(&folder.path().join("file/store"), names(&[])).err().unwrap();
    assert!(error.to_string().contains("file/store"), "{error}");
}
