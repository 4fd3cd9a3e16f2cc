//! The thread that a model runs on. It alone waits for matrices; events wait in the queue, on the I/O runtime.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::{
    ModelError, Verdict,
    queue::{MAX_BATCH, Next, Queue, batches},
};
use crate::clock;

/// Tokens in one pass of the model, padding included: bounds its memory (some 200 MB for a base model).
const MAX_TOKENS: usize = 2048;
/// What a text costs is first measured on this one.
const TYPICAL: &str =
    "I ordered two pairs last week and they still have not arrived, but the support was kind about it.";

/// What the thread runs.
pub(super) trait Classifier: Send {
    /// The tokens of a text, cut to what the model takes in.
    fn tokens(&self, text: &str) -> Result<Vec<u32>, ModelError>;
    /// One verdict per text; `None` where the model gives no number.
    fn judge(&self, texts: &[&[u32]]) -> Result<Vec<Option<Verdict>>, ModelError>;
}

/// A text on its way.
pub(super) struct Job {
    pub text: Arc<str>,
    /// Told when the text is before the model; closed when nobody waits for it any more.
    pub begun: oneshot::Sender<()>,
    /// `None`: the model has nothing to say of it.
    pub answer: oneshot::Sender<Option<Verdict>>,
}

struct Shared {
    queue: Mutex<Queue<Job>>,
    news: Condvar,
}

/// A model at work. Dropped, it sends its thread home.
pub(super) struct Runner(Arc<Shared>);

impl Runner {
    /// Measures what a text costs, then starts the thread.
    pub fn start(model: Box<dyn Classifier>) -> Result<Arc<Self>, ModelError> {
        let cost = measure(&*model)?;
        let shared = Arc::new(Shared { queue: Mutex::new(Queue::new(cost)), news: Condvar::new() });
        let on_thread = shared.clone();
        let thread = thread::Builder::new().name("sentiment".to_owned()).spawn(move || run(&on_thread, &*model));
        thread.map_err(|error| ModelError::Compute(format!("no thread: {error}")))?;
        Ok(Arc::new(Runner(shared)))
    }

    /// Takes a job in, unless it could not be served by its deadline.
    pub fn push(&self, job: Job, now: Instant, deadline: Instant) -> bool {
        let is_in = self.0.queue.lock().push(job, now, deadline);
        if is_in {
            self.0.news.notify_one();
        }
        is_in
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.0.queue.lock().close();
        self.0.news.notify_one();
    }
}

/// What a text costs in a full batch. Also brings the weights into memory.
fn measure(model: &dyn Classifier) -> Result<Duration, ModelError> {
    let tokens = model.tokens(TYPICAL)?;
    let started = clock::now();
    model.judge(&[&tokens[..]; MAX_BATCH])?;
    Ok((clock::now() - started) / MAX_BATCH as u32)
}

fn run(shared: &Shared, model: &dyn Classifier) {
    let mut is_failing = false;
    loop {
        let jobs = {
            let mut queue = shared.queue.lock();
            loop {
                match queue.next(clock::now()) {
                    Next::Serve(jobs) => break jobs,
                    Next::At(time) => {
                        shared.news.wait_until(&mut queue, time);
                    }
                    Next::Idle => shared.news.wait(&mut queue),
                    Next::Closed => return,
                }
            }
        };
        let started = clock::now();
        // A panic in a model is that window's misfortune: its events fall back, and the thread goes on.
        let served = catch_unwind(AssertUnwindSafe(|| serve(model, jobs)));
        let (texts, failure) = served.unwrap_or((0, Some("it panicked".to_owned())));
        shared.queue.lock().served(texts, clock::now() - started);
        match &failure {
            Some(failure) if !is_failing => tracing::error!(failure, "the model fails; fallbacks speak for it"),
            None if is_failing && texts > 0 => tracing::info!("the model works again"),
            _ => {}
        }
        is_failing = failure.is_some() || (is_failing && texts == 0);
    }
}

/// Serves a window. How many texts went through the model, and what went wrong, if anything.
fn serve(model: &dyn Classifier, jobs: Vec<Job>) -> (usize, Option<String>) {
    let mut failure = None;
    let mut tokens = Vec::with_capacity(jobs.len());
    let mut waiting = Vec::with_capacity(jobs.len());
    for job in jobs.into_iter().filter(|job| !job.begun.is_closed()) {
        match model.tokens(&job.text) {
            Ok(ids) => {
                tokens.push(ids);
                waiting.push(Some(job));
            }
            Err(error) => {
                failure = Some(error.to_string());
                answer(job, None);
            }
        }
    }
    let lengths: Vec<usize> = tokens.iter().map(Vec::len).collect();
    let mut count = 0;
    for batch in batches(&lengths, MAX_TOKENS) {
        let mut answers = Vec::with_capacity(batch.len());
        let mut texts = Vec::with_capacity(batch.len());
        for place in batch {
            let Some(Job { begun, answer, .. }) = waiting[place].take() else { continue };
            // Nobody waits for it any more: it fell back while it waited.
            if begun.send(()).is_ok() {
                answers.push(answer);
                texts.push(&tokens[place][..]);
            }
        }
        if texts.is_empty() {
            continue;
        }
        count += texts.len();
        let verdicts = model.judge(&texts).unwrap_or_else(|error| {
            failure = Some(error.to_string());
            Vec::new()
        });
        let mut verdicts = verdicts.into_iter();
        for answer in answers {
            // Sent in vain when the deadline has just passed.
            let _ = answer.send(verdicts.next().flatten());
        }
    }
    (count, failure)
}

fn answer(job: Job, verdict: Option<Verdict>) {
    if job.begun.send(()).is_ok() {
        let _ = job.answer.send(verdict);
    }
}
