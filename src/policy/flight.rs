//! Single flight: however many events ask the same at once, one request goes, and all share what comes of it.

use std::{
    collections::{HashMap, hash_map},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use futures::future::Shared;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{CallError, Found, Key};

/// How far a call has come.
#[derive(Debug, Default)]
pub(super) struct Progress {
    sent: AtomicU32,
}

impl Progress {
    /// Requests sent for it so far.
    pub fn sent(&self) -> u32 {
        self.sent.load(Relaxed)
    }

    /// One more has been sent.
    pub fn count(&self) {
        self.sent.fetch_add(1, Relaxed);
    }
}

/// A call under way that one can wait for. Ends with an error of its own if the call was lost in a panic.
#[derive(Debug, Clone)]
pub(super) struct Flight {
    pub result: Shared<oneshot::Receiver<Result<Found, CallError>>>,
    pub progress: Arc<Progress>,
}

/// The calls under way of one service.
#[derive(Debug, Default)]
pub(super) struct Flights {
    calls: Arc<Mutex<HashMap<Key, Flight>>>,
}

/// The duty to end a call that one has begun. Dropped in any way, it takes the call off the list.
#[derive(Debug)]
pub(super) struct Landing {
    calls: Arc<Mutex<HashMap<Key, Flight>>>,
    key: Key,
    done: Option<oneshot::Sender<Result<Found, CallError>>>,
}

/// How one came to a call.
pub(super) enum Boarded<T> {
    /// It is no longer needed.
    NotNeeded(T),
    /// It was under way.
    Joined(Flight),
    /// It is ours to make.
    Started(Flight, Landing),
}

impl Flights {
    /// Whether a call for that key is under way.
    pub fn under_way(&self, key: &str) -> bool {
        self.calls.lock().contains_key(key)
    }

    /// Whether no call is under way.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.calls.lock().is_empty()
    }

    /// Joins the call for that key or starts one, unless `known` has the answer by now. A call stores its answer
    /// before it leaves the list, so that between the two nobody asks again.
    pub fn board<T>(&self, key: &Key, known: impl FnOnce() -> Option<T>) -> Boarded<T> {
        let mut calls = self.calls.lock();
        match calls.entry(key.clone()) {
            hash_map::Entry::Occupied(call) => Boarded::Joined(call.get().clone()),
            hash_map::Entry::Vacant(place) => {
                if let Some(known) = known() {
                    return Boarded::NotNeeded(known);
                }
                let (done, result) = oneshot::channel();
                let flight = Flight { result: futures::FutureExt::shared(result), progress: Arc::default() };
                place.insert(flight.clone());
                Boarded::Started(flight, Landing { calls: self.calls.clone(), key: key.clone(), done: Some(done) })
            }
        }
    }
}

impl Landing {
    /// Ends the call and tells everybody who waits.
    pub fn land(mut self, result: Result<Found, CallError>) {
        if let Some(done) = self.done.take() {
            // Nobody may be waiting any more; the answer is in the cache.
            let _ = done.send(result);
        }
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.calls.lock().remove(&self.key);
    }
}
