//! The queue before a model: bounded, in the order of arrival, refusing what cannot make its deadline. Pure.
//!
//! ```text
//! push ─▶ waiting ─▶ next: a window, once enough wait or the oldest waited long enough ─▶ served: what a text costs
//! ```

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Texts in one pass of the model.
pub(super) const MAX_BATCH: usize = 16;
/// Texts taken at once, to be batched with those of like length.
const WINDOW: usize = 2 * MAX_BATCH;
/// How long the first text of a batch waits for company.
const WAIT: Duration = Duration::from_millis(5);
/// Texts that wait; more are refused.
const MAX_WAITING: usize = 1024;
/// How much a new measurement of a text's cost counts.
const NEWS: f64 = 0.2;

/// What the thread before the model is to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<J> {
    /// Serve these, oldest first.
    Serve(Vec<J>),
    /// Ask again at that time, or after a push.
    At(Instant),
    /// Ask again after a push.
    Idle,
    /// Go home.
    Closed,
}

/// Jobs that wait for the model.
pub(super) struct Queue<J> {
    waiting: VecDeque<(J, Instant)>,
    /// Taken and not served yet.
    in_service: usize,
    /// What a text costs in full batches.
    cost: Duration,
    closed: bool,
}

impl<J> Queue<J> {
    /// An empty queue before a model that takes `cost` a text.
    pub fn new(cost: Duration) -> Self {
        Queue { waiting: VecDeque::new(), in_service: 0, cost, closed: false }
    }

    /// Takes a job in, unless there is no room or those before it take longer than to its deadline.
    pub fn push(&mut self, job: J, now: Instant, deadline: Instant) -> bool {
        let before = u32::try_from(self.waiting.len() + self.in_service).unwrap_or(u32::MAX);
        let done = now.checked_add(self.cost.saturating_mul(before.saturating_add(1)));
        if self.closed || self.waiting.len() >= MAX_WAITING || done.is_none_or(|done| done > deadline) {
            return false;
        }
        self.waiting.push_back((job, now));
        true
    }

    /// What to do now.
    pub fn next(&mut self, now: Instant) -> Next<J> {
        if self.closed {
            return Next::Closed;
        }
        let Some((_, first)) = self.waiting.front() else { return Next::Idle };
        let due = *first + WAIT;
        if self.waiting.len() < MAX_BATCH && now < due {
            return Next::At(due);
        }
        let window = self.waiting.len().min(WINDOW);
        self.in_service = window;
        Next::Serve(self.waiting.drain(..window).map(|(job, _)| job).collect())
    }

    /// What was taken is served: `texts` of it went through the model in that time.
    pub fn served(&mut self, texts: usize, took: Duration) {
        self.in_service = 0;
        // Batches that are not full cost more a text, and say nothing of a queue.
        if texts >= MAX_BATCH {
            let each = took / u32::try_from(texts).unwrap_or(u32::MAX);
            self.cost = self.cost.mul_f64(1.0 - NEWS) + each.mul_f64(NEWS);
        }
    }

    /// Refuses all that comes, and sends the thread home.
    pub fn close(&mut self) {
        self.closed = true;
        self.waiting.clear();
    }
}

/// Batches of a window: which texts go together, by length in tokens. Each at most [`MAX_BATCH`] texts and, padded to
/// its longest, `max_tokens` tokens; a text that is longer by itself goes alone.
pub(super) fn batches(lengths: &[usize], max_tokens: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|text| lengths[*text]);
    let mut batches: Vec<Vec<usize>> = Vec::new();
    for text in order {
        match batches.last_mut() {
            Some(batch) if batch.len() < MAX_BATCH && (batch.len() + 1) * lengths[text] <= max_tokens => {
                batch.push(text)
            }
            _ => batches.push(vec![text]),
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const MS: Duration = Duration::from_millis(1);

    fn queue(cost_ms: u32) -> (Queue<usize>, Instant) {
        (Queue::new(MS * cost_ms), clock::now())
    }

    #[test]
    fn a_lonely_text_waits_for_company_and_a_batch_does_not() {
        let (mut queue, now) = queue(1);
        assert_eq!(queue.next(now), Next::Idle);
        assert!(queue.push(0, now, now + MS * 1000));
        assert_eq!(queue.next(now), Next::At(now + WAIT));
        assert_eq!(queue.next(now + WAIT), Next::Serve(vec![0]));
        for job in 0..40 {
            assert!(queue.push(job, now, now + MS * 1000));
        }
        assert_eq!(queue.next(now), Next::Serve((0..WINDOW).collect()));
        assert_eq!(queue.next(now + WAIT), Next::Serve((WINDOW..40).collect()));
    }

    #[test]
    fn what_cannot_make_its_deadline_is_refused_at_once() {
        let (mut queue, now) = queue(10);
        let taken = (0..100).filter(|job| queue.push(*job, now, now + MS * 200)).count();
        assert_eq!(taken, 20);
        assert!(queue.push(100, now, now + MS * 210), "a longer deadline still has room");
        assert!(matches!(queue.next(now), Next::Serve(_)));
        assert!(!queue.push(101, now, now + MS * 200), "what is in service counts too");
        queue.served(21, MS * 210);
        assert!(queue.push(101, now, now + MS * 200));
    }

    #[test]
    fn the_cost_follows_full_batches_only() {
        let (mut queue, _) = queue(10);
        queue.served(1, MS * 100);
        assert_eq!(queue.cost, MS * 10);
        queue.served(16, MS * 320);
        assert_eq!(queue.cost, MS * 12);
    }

    #[test]
    fn the_queue_is_bounded_and_closes() {
        let (mut queue, now) = queue(0);
        assert_eq!((0..5000).filter(|job| queue.push(*job, now, now + MS)).count(), MAX_WAITING);
        queue.close();
        assert_eq!(queue.next(now), Next::Closed);
        assert!(!queue.push(0, now, now + MS));
    }

    proptest::proptest! {
        #[test]
        fn each_text_is_in_one_batch_of_bounded_size(lengths in proptest::collection::vec(1_usize..600, 0..WINDOW)) {
            let batches = batches(&lengths, 2048);
            let mut seen: Vec<usize> = batches.concat();
            seen.sort_unstable();
            proptest::prop_assert_eq!(seen, (0..lengths.len()).collect::<Vec<_>>());
            for batch in &batches {
                let longest = batch.iter().map(|text| lengths[*text]).max().unwrap();
                proptest::prop_assert!(batch.len() <= MAX_BATCH && (batch.len() == 1 || batch.len() * longest <= 2048));
            }
        }
    }
}
