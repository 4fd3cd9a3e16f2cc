//! The bare loop: consume, produce the same bytes, commit, exactly once, and nothing else. What Kafka itself costs.
//!
//! Well tuned: the consumer fetches ahead while a transaction commits, thousands of records share a transaction, and
//! delivery reports are awaited by a counter instead of `flush`, which polls in steps of 100 ms.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use rdkafka::{
    ClientConfig, ClientContext, Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    message::DeliveryResult,
    producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer},
};

use crate::Outcome;

/// Records per transaction at most.
const BATCH: usize = 8_000;
const TIMEOUT: Duration = Duration::from_secs(30);

/// The group that it reads as.
pub const GROUP: &str = "bare";

#[derive(Default)]
struct Reports {
    delivered: Mutex<usize>,
    changed: Condvar,
    failed: AtomicBool,
}

struct Context(Arc<Reports>);

impl ClientContext for Context {}

impl ProducerContext for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.0.failed.store(true, Ordering::Release);
        }
        *self.0.delivered.lock() += 1;
        self.0.changed.notify_one();
    }
}

/// Copies `input` to `output` for ever: whoever started it ends it.
pub fn run(bootstrap: &str, input: &str, output: &str) -> Outcome<()> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", format!("{GROUP}.{output}"))
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", "read_committed")
        // By default librdkafka stops fetching a partition for a second when its queue is full.
        .set("fetch.queue.backoff.ms", "5")
        .create()?;
    consumer.subscribe(&[input])?;
    let reports = Arc::new(Reports::default());
    let producer: ThreadedProducer<Context> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("transactional.id", format!("{GROUP}.{output}"))
        .set("linger.ms", "1")
        .set("retry.backoff.ms", "2")
        .set("batch.size", "1000000")
        .set("queue.buffering.max.messages", "200000")
        .create_with_context(Context(reports.clone()))?;
    producer.init_transactions(TIMEOUT)?;
    let mut next: Vec<Option<i64>> = Vec::new();
    loop {
        let mut batch = 0;
        while batch < BATCH {
            // Waits only for the first record of a batch.
            let Some(message) = consumer.poll(if batch == 0 { TIMEOUT } else { Duration::ZERO }) else { break };
            let message = message?;
            if batch == 0 {
                *reports.delivered.lock() = 0;
                producer.begin_transaction()?;
            }
            let partition = message.partition();
            let mut record = BaseRecord::to(output).partition(partition).payload(message.payload().unwrap_or_default());
            record.key = message.key();
            producer.send(record).map_err(|(error, _)| error)?;
            let slot = usize::try_from(partition)?;
            if next.len() <= slot {
                next.resize(slot + 1, None);
            }
            next[slot] = Some(message.offset() + 1);
            batch += 1;
        }
        if batch > 0 {
            await_reports(&reports, batch)?;
            let mut offsets = TopicPartitionList::new();
            for (partition, offset) in next.iter_mut().enumerate() {
                if let Some(offset) = offset.take() {
                    offsets.add_partition_offset(input, i32::try_from(partition)?, Offset::Offset(offset))?;
                }
            }
            let member = consumer.group_metadata().ok_or("no member of a group")?;
            producer.send_offsets_to_transaction(&offsets, &member, TIMEOUT)?;
            producer.commit_transaction(TIMEOUT)?;
        }
    }
}

fn await_reports(reports: &Reports, batch: usize) -> Outcome<()> {
    let mut delivered = reports.delivered.lock();
    while *delivered < batch {
        if reports.changed.wait_for(&mut delivered, TIMEOUT).timed_out() {
            return Err("delivery reports do not come".into());
        }
    }
    if reports.failed.load(Ordering::Acquire) { Err("a record was not delivered".into()) } else { Ok(()) }
}
