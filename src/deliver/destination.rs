//! A destination as the stage sees it: the shell around the pure [`Courier`]. It waits, calls and reports; it decides
//! nothing.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, futures::Notified},
    time::{sleep_until, timeout_at},
};

use super::{
    DeliverError, Verdict,
    body::body,
    courier::{Courier, Pace},
    job::{After, Answer, Dead, Job, Moment, Next},
    signature::message_id,
    status::{Change, Snapshot},
    webhook::{Message, Webhook},
};
use crate::{
    clock,
    event::Trigger,
    topology::{DestinationKind, DestinationSpec},
};

/// Whether a call may be started; asked before each. False, for instance, when the worker's last poll is so old that
/// its partitions may belong to another by now.
pub type MayCall = Arc<dyn Fn() -> bool + Send + Sync>;

/// Where triggers go. One per destination and process, shared by the tasks of its partitions.
pub struct Destination {
    name: Arc<str>,
    webhook: Webhook,
    courier: Mutex<Courier>,
    slots: Arc<Semaphore>,
    /// The courier's state has changed: waiting triggers ask again.
    changed: Notify,
    may_call: MayCall,
}

impl Destination {
    /// Builds a destination from its checked specification.
    pub fn new(spec: &DestinationSpec, may_call: MayCall) -> Result<Arc<Self>, DeliverError> {
        Self::with_pace(spec, may_call, Pace::default())
    }

    /// The same, at another pace: tests do not wait for minutes.
    pub fn with_pace(spec: &DestinationSpec, may_call: MayCall, pace: Pace) -> Result<Arc<Self>, DeliverError> {
        let webhook = match &spec.kind {
            DestinationKind::Webhook { url, secret, headers } => Webhook::new(spec, url, secret.as_ref(), headers)?,
            DestinationKind::Later { kind } => {
                return Err(DeliverError::NotInThisVersion { destination: spec.name.clone(), kind: kind.clone() });
            }
        };
        Ok(Arc::new(Destination {
            name: spec.name.clone(),
            webhook,
            courier: Mutex::new(Courier::new(spec, pace, clock::now(), fastrand::u64(..))),
            slots: Arc::new(Semaphore::new(spec.concurrency.clamp(1, Semaphore::MAX_PERMITS))),
            changed: Notify::new(),
            may_call,
        }))
    }

    /// Its name in the topology.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether to poll for more. While it is false the triggers wait in their topic, as lag.
    pub fn accepting(&self) -> bool {
        self.courier.lock().accepting(clock::now())
    }

    /// How it is, for status lines and metrics.
    pub fn snapshot(&self) -> Snapshot {
        self.courier.lock().snapshot(clock::now())
    }

    /// Lifts the suspension that a 410 brought.
    pub fn resume(&self) {
        let change = self.courier.lock().resume(clock::now());
        self.tell(change);
    }

    /// This process's part of the destination's rate, in (0, 1]: assigned partitions / all partitions.
    pub fn set_share(&self, share: f64) {
        self.courier.lock().set_share(share);
    }

    /// Takes one trigger to its verdict, however long that takes. Start a user's next trigger only after it: that is
    /// the order per user. Dropping the future abandons the trigger without a verdict; a call that was out may or may
    /// not have arrived.
    pub fn deliver(self: &Arc<Self>, trigger: Trigger) -> BoxFuture<'static, Verdict> {
        let destination = self.clone();
        Box::pin(async move { destination.run(&trigger).await })
    }

    async fn run(&self, trigger: &Trigger) -> Verdict {
        let message = Message { id: message_id(&trigger.id), body: Bytes::from(body(trigger)) };
        let mut hand = Hand { destination: self, job: self.courier.lock().enter(trigger) };
        let mut slot: Option<OwnedSemaphorePermit> = None;
        loop {
            // Registered before the courier is asked, so that no change falls between question and wait.
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let may_call = (self.may_call)();
            let next = self.courier.lock().next(&mut hand.job, moment(), slot.is_some(), may_call);
            match next {
                Next::Call => match self.call(&message, &mut hand.job).await {
                    (After::Delivered, latency_ms) => {
                        return Verdict::Delivered { attempts: hand.job.attempts(), latency_ms };
                    }
                    (After::Dead(dead), _) => return self.dead(dead, &hand.job),
                    (After::Again, _) => slot = None,
                },
                Next::Dead(dead) => return self.dead(dead, &hand.job),
                Next::Wait(until) => {
                    slot = None;
                    wait(until, changed).await;
                }
                Next::Token(until) => wait(until, changed).await,
                Next::Slot(until) => {
                    let acquire = timeout_at(until.into(), self.slots.clone().acquire_owned());
                    slot = tokio::select! {
                        acquired = acquire => acquired.ok().and_then(Result::ok),
                        () = changed => None,
                    };
                }
            }
        }
    }

    async fn call(&self, message: &Message, job: &mut Job) -> (After, u64) {
        let start = clock::now();
        let answer = self.webhook.attempt(message, clock::unix_ms()).await;
        let latency_ms = clock::now().saturating_duration_since(start).as_millis() as u64;
        if answer.status().is_none_or(|status| status >= 300) {
            tracing::debug!(destination = %self.name, id = %message.id, attempt = job.attempts(), %answer, "webhook not delivered");
        }
        let (after, change) = self.courier.lock().answer(job, &answer, moment());
        self.log(change, &answer);
        self.tell(change);
        (after, latency_ms)
    }

    fn dead(&self, dead: Dead, job: &Job) -> Verdict {
        Verdict::DeadLetter { code: dead.code, class: dead.class, message: dead.message, attempts: job.attempts() }
    }

    fn tell(&self, change: Option<Change>) {
        if change.is_some() {
            self.changed.notify_waiters();
        }
    }

    fn log(&self, change: Option<Change>, answer: &Answer) {
        let destination = &*self.name;
        match change {
            Some(Change::Opened) => tracing::warn!(destination, %answer, "destination is down: triggers wait, probing"),
            Some(Change::Closed) => tracing::info!(destination, "destination is back"),
            Some(Change::Paused) => tracing::info!(destination, %answer, "destination asks us to wait"),
            Some(Change::Suspended) => tracing::error!(destination, %answer, "destination is gone and suspended"),
            Some(Change::Resumed) => tracing::info!(destination, "destination is resumed"),
            Some(Change::Probed) | None => {}
        }
    }
}

/// A trigger in hand; whatever ends its future, the courier learns of it.
struct Hand<'a> {
    destination: &'a Destination,
    job: Job,
}

impl Drop for Hand<'_> {
    fn drop(&mut self) {
        let change = self.destination.courier.lock().leave(&self.job, clock::now());
        self.destination.tell(change);
    }
}

fn moment() -> Moment {
    Moment { at: clock::now(), unix_ms: clock::unix_ms() }
}

async fn wait(until: Instant, changed: std::pin::Pin<&mut Notified<'_>>) {
    tokio::select! {
        () = sleep_until(until.into()) => {}
        () = changed => {}
    }
}
