//! The end of the process in the middle of everything, and the end of the disk.

use std::{
    io::{BufRead, BufReader, Write as _},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use super::{super::*, SESSION, T, begin, names, put};

const FOLDER: &str = "HEADWATER_TEST_STORE";
const KEYS: usize = 50;

fn open_small(folder: &std::path::Path) -> Result<Store, StoreError> {
    // Small buffers: a flush every few batches.
    let limits = Limits { write_buffer_bytes: 0, ..Limits::default() };
    Store::open_with(folder, names(&["session"]), limits)
}

/// Writes batch after batch: every key gets the batch's number. Says each on stdout; ends with the first error.
fn write_on() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let mut out = std::io::stdout();
    let store = match open_small(&folder) {
        Ok(store) => store,
        Err(error) => return writeln!(out, "error {error:?} at opening").unwrap(),
    };
    let partition = store.partition(0).unwrap();
    if partition.position(SESSION).is_none() {
        begin(&partition, SESSION);
    }
    for number in partition.position(SESSION).unwrap().offset.. {
        let value = format!("{number:<4000}{}", fastrand::u128(..));
        let keys: Vec<String> = (0..KEYS).map(|key| key.to_string()).collect();
        let mark = Mark { table: SESSION, next_offset: number + 1, at_ms: T };
        if let Err(error) = partition.apply(keys.iter().map(|key| put(SESSION, key, &value)), &[mark]) {
            let again = partition.apply([], &[mark]).unwrap_err();
            writeln!(out, "error {error:?} then {again:?}").unwrap();
            return;
        }
        writeln!(out, "batch {number}").unwrap();
    }
}

#[test]
#[ignore = "the child process of the tests below; alone it does nothing"]
fn child() {
    write_on();
}

fn start(folder: &std::path::Path, limit: &str) -> (Child, impl Iterator<Item = String>) {
    let mut child = Command::new("sh")
        .args(["-c", &format!("{limit} exec \"$0\" \"$@\"")])
        .arg(std::env::current_exe().unwrap())
        .args(["state::tests::crash::child", "--exact", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    (child, lines)
}

fn number(line: &str) -> Option<i64> {
    line.rsplit_once("batch ")?.1.trim().parse().ok()
}

/// The number of batches that are whole; panics where one is not.
fn whole_batches(folder: &std::path::Path) -> i64 {
    let store = open_small(folder).unwrap();
    assert!(!store.was_rebuilt());
    let partition = store.partition(0).unwrap();
    let Some(position) = partition.position(SESSION) else { return 0 };
    for key in 0..KEYS {
        let entry = partition.get(SESSION, key.to_string().as_bytes()).unwrap();
        let found = entry.map(|entry| String::from_utf8(entry.value()[..20].to_vec()).unwrap());
        let expected = (position.offset > 0).then(|| format!("{:<20}", position.offset - 1));
        assert_eq!(found, expected, "key {key} at {position:?}");
    }
    position.offset
}

#[test]
fn kill_9_leaves_whole_batches_with_their_position() {
    let folder = TempDir::new().unwrap();
    for round in 0..6 {
        let (mut child, lines) = start(folder.path(), "");
        let last = lines.filter_map(|line| number(&line)).nth(10 + fastrand::usize(..60)).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let whole = whole_batches(folder.path());
        assert!(whole > last, "round {round}: {whole} batches, though {last} was applied");
    }
}

#[test]
fn a_full_disk_is_said_as_such_and_what_was_written_stays() {
    let folder = TempDir::new().unwrap();
    // The kernel refuses to let any file grow beyond this, as a full disk would; in blocks of 512 bytes. The journal is
    // made 64 MiB long at once and filled as batches come; a limit below that is met at opening.
    let (mut child, lines) = start(folder.path(), "trap '' XFSZ; ulimit -f 20;");
    let said: Vec<String> = lines.filter(|line| line.contains("error ")).collect();
    child.wait().unwrap();
    assert!(said.len() == 1 && said[0].contains("error Full") && said[0].contains("at opening"), "{said:?}");

    let (mut child, mut lines) = start(folder.path(), "trap '' XFSZ; ulimit -f 131073;");
    let error = lines.find(|line| line.contains("error ")).unwrap();
    child.wait().unwrap();
    assert!(error.contains("error Full") && error.contains("then Full"), "{error}");
    assert!(whole_batches(folder.path()) > 0);
}
