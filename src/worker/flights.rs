//! Events under way: started, finished, and released in their key's order.

use std::panic::{AssertUnwindSafe, catch_unwind};

use futures::FutureExt;

use super::{Burial, Stage, Stats, Worker, slot::InFlight, worker::Done};
use crate::{
    engine::Flight,
    kafka::{Input, KafkaError, OwnedInput},
};

impl<S: Stage> Worker<S> {
    /// Starts what can start of one event, and what its key's next ones may then start.
    pub(super) fn start(&mut self, partition: i32, flight: Flight, input: Option<&Input<'_>>) {
        let (mut flight, mut input) = (flight, input);
        while let Some(next) = self.start_one(partition, flight, input) {
            (flight, input) = (next, None);
        }
    }

    /// Starts one event. Gives its key's next one if that may go on now.
    fn start_one(&mut self, partition: i32, flight: Flight, input: Option<&Input<'_>>) -> Option<Flight> {
        let slot = self.slots.get_mut(&partition)?;
        // Not only the one before: it may have skipped a step, or be a dead letter, while an earlier one still waits.
        let ahead = slot.task.before(flight).map_or(u64::MAX, |before| before.clear);
        let in_flight = slot.task.get_mut(flight)?;
        let mut futures = std::mem::take(&mut self.futures);
        let ready = match catch_unwind(AssertUnwindSafe(|| self.stage.start(&mut in_flight.work, ahead, &mut futures)))
        {
            Ok(ready) => ready,
            Err(panic) => {
                futures.clear();
                bury(&mut self.stage, in_flight, input, Burial::Panicked(panic_text(&*panic)));
                true
            }
        };
        let clear = self.stage.behind(&in_flight.work) & ahead;
        let got_ahead = std::mem::replace(&mut in_flight.clear, clear) != clear;
        if ready {
            slot.task.ready(flight);
        }
        let next = slot.task.after(flight).filter(|_| got_ahead && !S::SERIAL);
        let epoch = slot.epoch;
        for future in futures.drain(..) {
            let (done, thread) = (self.finished.to.clone(), self.thread.clone());
            let call = async move {
                let result = AssertUnwindSafe(future).catch_unwind().await.map_err(|panic| panic_text(&*panic));
                // The worker has ended where this fails; what is not committed is done again by the next owner.
                let _ = done.send(Done { partition, epoch, flight, result });
                thread.unpark();
            };
            slot.calls.spawn_on(call, &self.settings.runtime);
        }
        self.futures = futures;
        next
    }

    /// Takes what futures brought back.
    pub(super) fn take_finished(&mut self) -> bool {
        let mut busy = false;
        while let Ok(done) = self.finished.from.try_recv() {
            busy = true;
            let Some(slot) = self.slots.get_mut(&done.partition).filter(|slot| slot.epoch == done.epoch) else {
                continue;
            };
            while slot.calls.try_join_next().is_some() {} // Those that have ended need no place any more.
            let Some(in_flight) = slot.task.get_mut(done.flight) else { continue };
            let stage = &mut self.stage;
            let outcome = done.result.and_then(|finished| {
                let finish = AssertUnwindSafe(|| stage.finish(&mut in_flight.work, finished));
                catch_unwind(finish).map_err(|panic| panic_text(&*panic))
            });
            if let Err(panic) = outcome {
                bury(&mut self.stage, in_flight, None, Burial::Panicked(panic));
            }
            self.start(done.partition, done.flight, None);
            self.release(done.partition, None);
        }
        busy
    }

    /// Lets leave what may leave: its outputs join the batch, its offset is done.
    pub(super) fn release(&mut self, partition: i32, current: Option<&Input<'_>>) {
        while let Some(slot) = self.slots.get_mut(&partition)
            && let Some((offset, mut in_flight, next)) = slot.task.release()
        {
            let kept = in_flight.original.take();
            slot.kept -= kept.as_ref().map_or(0, |kept| kept.view().bytes());
            let view = kept.as_ref().map(OwnedInput::view);
            if let Some(input) = view.as_ref().or(current.filter(|input| input.offset == offset)) {
                self.write(input, &mut in_flight.work);
            }
            Stats::count(&self.stats.released);
            self.released += 1;
            match self.since.last_mut() {
                Some((since, count)) if *since == in_flight.since => *count += 1,
                _ => self.since.push((in_flight.since, 1)),
            }
            if S::SERIAL
                && let Some(next) = next
            {
                self.start(partition, next, None);
            }
        }
    }

    fn write(&mut self, input: &Input<'_>, work: &mut S::Work) {
        let mark = self.gathered.outputs.mark();
        let (stage, outputs) = (&mut self.stage, &mut self.gathered.outputs);
        let why = match catch_unwind(AssertUnwindSafe(|| stage.release(input, work, outputs))) {
            Ok(Ok(())) => None,
            Ok(Err(why)) => Some(why),
            Err(panic) => Some(Burial::Panicked(panic_text(&*panic))),
        };
        if let Some(why) = why {
            outputs.reset(mark);
            let mut grave = stage.bury(input, why);
            stage.inherit(&mut grave, work);
            if let Err(why) = stage.release(input, &mut grave, outputs) {
                // A defect of ours. Stopping loses nothing; going on would.
                self.fatal = Some(KafkaError::Refused {
                    what: format!("write the dead letter of {}-{}@{}", input.topic, input.partition, input.offset),
                    message: format!("{why:?}"),
                });
            }
        }
        Stats::add(&self.stats.dead_letters, outputs.added(mark, S::DEAD_LETTERS) as u64);
    }
}

/// Makes a dead letter of an event under way.
fn bury<S: Stage>(stage: &mut S, in_flight: &mut InFlight<S::Work>, input: Option<&Input<'_>>, why: Burial) {
    let kept = in_flight.original.as_ref().map(OwnedInput::view);
    if let Some(input) = input.or(kept.as_ref()) {
        let mut grave = stage.bury(input, why);
        stage.inherit(&mut grave, &mut in_flight.work);
        in_flight.work = grave;
    }
}

pub(super) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panicked".to_owned())
}
