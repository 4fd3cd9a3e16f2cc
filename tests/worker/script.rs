//! A stage that does what its records say: `plain 7`, `slow 7`, `ordered 7`, `panic-start 7`, `huge 7`, `hold 7`.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicUsize,
            Ordering::{AcqRel, Acquire, Release},
        },
    },
    time::Duration,
};

use futures::future::BoxFuture;
use headwater::{
    codec::{RegistryClient, SchemaCache},
    engine::{Outputs, hash_key},
    event::DeadLetter,
    kafka::Input,
    stage::DeadLetters,
    worker::{Accept, Burial, Hold, Stage},
};
use parking_lot::Mutex;

/// What the test sees of the stage.
#[derive(Default)]
pub struct Watch {
    now: AtomicUsize,
    /// The most calls that were under way at once.
    pub most: AtomicUsize,
    calls: Mutex<HashSet<String>>,
    /// Whether two calls of one key were under way at once.
    pub overlapped: AtomicBool,
    pub lifted: AtomicBool,
    /// Keys and records in the order in which their ordered steps ran, and in which their calls came back.
    pub ran: Mutex<Vec<(String, String)>>,
    pub answered: Mutex<Vec<(String, String)>>,
}

pub struct Script {
    pub watch: Arc<Watch>,
    dead_letters: DeadLetters,
}

pub enum Work {
    Event {
        what: String,
        key: String,
        called: bool,
        /// Its call has come back.
        back: bool,
        /// The ordered step has run.
        ran: bool,
    },
    Dead(Box<DeadLetter>),
}

impl Default for Script {
    fn default() -> Self {
        // Nothing is looked up: no value here is framed.
        let schemas = Arc::new(SchemaCache::new(RegistryClient::at("http://127.0.0.1:1").expect("a client")));
        let dead_letters = DeadLetters::new("script".into(), 1, 1, schemas).expect("dead letters");
        Script { watch: Arc::default(), dead_letters }
    }
}

fn text(bytes: Option<&[u8]>) -> String {
    String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
}

impl Script {
    fn panic_in(&self, what: &str, place: &str) {
        assert!(!what.starts_with(place), "{place} on purpose");
    }
}

impl Stage for Script {
    type Work = Work;
    type Finished = String;
    const SERIAL: bool = false;
    const DEAD_LETTERS: usize = 1;

    fn accept(&mut self, input: &Input<'_>) -> Accept<Work> {
        let (what, key) = (text(input.value), text(input.key));
        self.panic_in(&what, "panic-accept");
        if what.starts_with("hold") && !self.watch.lifted.load(Acquire) {
            return Accept::Hold(Hold::Schema(1));
        }
        Accept::Work {
            key: hash_key(key.as_bytes()),
            work: Work::Event { what, key, called: false, back: false, ran: false },
        }
    }

    fn bury(&mut self, input: &Input<'_>, why: Burial) -> Work {
        Work::Dead(Box::new(self.dead_letters.buried(input, why)))
    }

    fn behind(&self, work: &Work) -> u64 {
        match work {
            Work::Event { what, ran, .. } if what.starts_with("ordered") => u64::from(*ran),
            _ => u64::MAX,
        }
    }

    fn start(&mut self, work: &mut Work, ahead: u64, futures: &mut Vec<BoxFuture<'static, String>>) -> bool {
        let Work::Event { what, key, called, back, ran } = work else { return true };
        self.panic_in(what, "panic-start");
        if what.starts_with("ordered") {
            let answered = (key.clone(), what.clone());
            if !std::mem::replace(called, true) {
                let (watch, wait) = (self.watch.clone(), Duration::from_micros(fastrand::u64(..4_000)));
                futures.push(Box::pin(async move {
                    tokio::time::sleep(wait).await;
                    let what = answered.1.clone();
                    watch.answered.lock().push(answered);
                    what
                }));
                return false;
            }
            let is_back = self.watch.answered.lock().contains(&answered);
            if is_back && ahead & 1 == 1 && !std::mem::replace(ran, true) {
                self.watch.ran.lock().push(answered);
            }
            return *ran;
        }
        let needs_call = ["slow", "panic-future", "panic-finish"].iter().any(|kind| what.starts_with(kind));
        // It may be asked again while its call is under way.
        if !needs_call || std::mem::replace(called, true) {
            return !needs_call || *back;
        }
        let (what, key, watch) = (what.clone(), key.clone(), self.watch.clone());
        futures.push(Box::pin(async move {
            let now = watch.now.fetch_add(1, AcqRel) + 1;
            watch.most.fetch_max(now, AcqRel);
            if !watch.calls.lock().insert(key.clone()) {
                watch.overlapped.store(true, Release);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
            watch.calls.lock().remove(&key);
            watch.now.fetch_sub(1, AcqRel);
            assert!(!what.starts_with("panic-future"), "panic-future on purpose");
            what
        }));
        false
    }

    fn finish(&mut self, work: &mut Work, finished: String) {
        self.panic_in(&finished, "panic-finish");
        if let Work::Event { back, .. } = work {
            *back = true;
        }
    }

    fn release(&mut self, input: &Input<'_>, work: &mut Work, outputs: &mut Outputs) -> Result<(), Burial> {
        let source = (input.partition, input.offset);
        match work {
            Work::Dead(letter) => {
                self.dead_letters.write(letter, source, outputs).map_err(|error| Burial::Unencodable(error.to_string()))
            }
            Work::Event { what, key, .. } => {
                self.panic_in(what, "panic-release");
                let filling = if what.starts_with("huge") { 5_000 } else { 0 };
                let encode = |out: &mut Vec<u8>| -> Result<(), std::convert::Infallible> {
                    out.extend_from_slice(what.as_bytes());
                    out.resize(out.len() + filling, b'.');
                    Ok(())
                };
                outputs
                    .push(0, input.partition, source, key.as_bytes(), usize::MAX, encode)
                    .map(|_| ())
                    .map_err(|error| Burial::TooLarge(error.to_string()))
            }
        }
    }

    fn is_lifted(&mut self, _: &Hold) -> bool {
        self.watch.lifted.load(Acquire)
    }

    fn assigned(&mut self, _: &[i32]) {}

    fn opening(&mut self, _: i32, _: u32) -> Option<Hold> {
        None
    }
}

/// The same, one event of a key after the other.
pub struct Serial(pub Script);

impl Stage for Serial {
    type Work = Work;
    type Finished = String;
    const SERIAL: bool = true;
    const DEAD_LETTERS: usize = 1;

    fn accept(&mut self, input: &Input<'_>) -> Accept<Work> {
        self.0.accept(input)
    }
    fn bury(&mut self, input: &Input<'_>, why: Burial) -> Work {
        self.0.bury(input, why)
    }
    fn start(&mut self, work: &mut Work, ahead: u64, futures: &mut Vec<BoxFuture<'static, String>>) -> bool {
        self.0.start(work, ahead, futures)
    }
    fn finish(&mut self, work: &mut Work, finished: String) {
        self.0.finish(work, finished);
    }
    fn release(&mut self, input: &Input<'_>, work: &mut Work, outputs: &mut Outputs) -> Result<(), Burial> {
        self.0.release(input, work, outputs)
    }
    fn is_lifted(&mut self, hold: &Hold) -> bool {
        self.0.is_lifted(hold)
    }
    fn assigned(&mut self, partitions: &[i32]) {
        self.0.assigned(partitions);
    }
    fn opening(&mut self, partition: i32, tag: u32) -> Option<Hold> {
        self.0.opening(partition, tag)
    }
}
