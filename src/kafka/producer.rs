//! One transactional producer: begin → produce all → delivery reports → send offsets → commit, in one go.
//!
//! Its calls block: they belong on the commit thread. A transaction is open for milliseconds, never while a call to a
//! service is pending.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use rdkafka::{
    ClientContext, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::ConsumerGroupMetadata,
    error::{KafkaError as RdError, RDKafkaErrorCode as Code},
    message::{DeliveryResult, Header, Message, OwnedHeaders},
    producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer},
    topic_partition_list::Offset,
};

use super::{
    KafkaError, client_config,
    reports::{Shared, TRACKED, Written, written},
};
use crate::{clock, config::Settings, engine::Batch};

/// How long the broker lets a transaction of ours stay open. One that hangs holds back readers for that long.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);
/// A commit that takes longer may have been retried behind our back.
const SOCKET_TIMEOUT: Duration = Duration::from_secs(8);

/// How a transaction ended.
#[derive(Debug)]
pub enum TransactionOutcome {
    /// Committed; with it where what was written to state topics ends.
    Clean(Vec<Written>),
    /// Aborted by an answer of the broker; nothing of it is or will be visible.
    DefiniteAbort(String),
    /// It may be visible, or become so. The producer is not to be used again.
    Doubtful(String),
    /// The broker refuses these records for good; nothing of the transaction becomes visible. The producer is not to be
    /// used again.
    Refused(Vec<Refusal>),
    /// Another producer has opened the same transactional id, which is given. Nothing of the transaction becomes
    /// visible.
    Fenced(String),
}

/// A record that the broker refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Partition and offset of the input it was made from.
    pub source: (i32, i64),
    pub message: String,
}

struct Context(Arc<Shared>);

impl ClientContext for Context {
    /// Ordinary disconnects and time-outs reach no error callback, only the log (librdkafka,
    /// `rd_kafka_broker_conn_closed`): its lines `FAIL` and `REQTMOUT` taint.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if matches!(facility, "FAIL" | "REQTMOUT") {
            self.0.tainted.store(true, Ordering::Release);
        }
        super::rebalance::log(level, facility, message);
    }

    fn error(&self, error: RdError, reason: &str) {
        if matches!(
            error.rdkafka_error_code(),
            Some(
                Code::BrokerTransportFailure
                    | Code::AllBrokersDown
                    | Code::OperationTimedOut
                    | Code::MessageTimedOut
                    | Code::RequestTimedOut
                    | Code::Resolve
            )
        ) {
            self.0.tainted.store(true, Ordering::Release);
        }
        tracing::warn!(%error, reason, "producer");
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
        let (attempt, index) = ((opaque >> 32) as u32, opaque & (TRACKED - 1));
        let mut reports = self.0.reports.lock();
        if attempt != reports.attempt {
            return;
        }
        reports.delivered += 1;
        match result {
            Err((error, _)) => reports.failed.push((index, error.rdkafka_error_code().unwrap_or(Code::Fail))),
            Ok(message) if opaque & TRACKED != 0 => reports.offsets.push((index, message.offset())),
            Ok(_) => {}
        }
        self.0.changed.notify_one();
    }
}

/// A transactional producer and its state.
pub struct Transactor {
    id: String,
    producer: ThreadedProducer<Context>,
    shared: Arc<Shared>,
}

impl Transactor {
    /// Makes the producer and fences every other one of the same id. Blocks for up to half a minute.
    pub fn start(settings: &Settings, transactional_id: &str) -> Result<Self, KafkaError> {
        let shared = Arc::new(Shared::default());
        let mut config = client_config(settings);
        let milliseconds = |duration: Duration| duration.as_millis().to_string();
        config
            .set("transactional.id", transactional_id)
            .set("transaction.timeout.ms", milliseconds(TRANSACTION_TIMEOUT))
            .set("message.timeout.ms", milliseconds(TRANSACTION_TIMEOUT))
            .set("socket.timeout.ms", milliseconds(SOCKET_TIMEOUT))
            // Records wait in our batch, not in librdkafka; retries are for CONCURRENT_TRANSACTIONS, soon over.
            .set("linger.ms", "0")
            .set("retry.backoff.ms", "2")
            .set("batch.size", "1000000")
            .set("queue.buffering.max.messages", "200000")
            .set("message.max.bytes", "2000000")
            // Taint is read from the log: it must speak, whatever the process logs.
            .set("log.connection.close", "true")
            .set_log_level(RDKafkaLogLevel::Info);
        let producer: ThreadedProducer<Context> = config
            .create_with_context(Context(shared.clone()))
            .map_err(|error| KafkaError::Setting(error.to_string()))?;
        producer.init_transactions(Duration::from_secs(30)).map_err(|error| match error.rdkafka_error_code() {
            Some(Code::Fenced | Code::InvalidProducerEpoch | Code::ProducerFenced) => {
                KafkaError::Fenced(transactional_id.to_owned())
            }
            Some(Code::TransactionalIdAuthorizationFailed | Code::ClusterAuthorizationFailed) => KafkaError::Refused {
                what: format!("open the transactional id {transactional_id}"),
                message: error.to_string(),
            },
            _ => KafkaError::Unreachable {
                servers: settings.bootstrap_servers.clone(),
                what: "did not open a transaction",
                message: error.to_string(),
            },
        })?;
        Ok(Transactor { id: transactional_id.to_owned(), producer, shared })
    }

    /// Whether this producer must be replaced before the next transaction.
    pub fn is_tainted(&self) -> bool {
        self.shared.tainted.load(Ordering::Acquire)
    }

    /// Commits a batch: its records and its ledgers, or nothing. Output topics from `state_from` on hold state.
    pub fn commit(
        &self,
        batch: &Batch,
        output_topics: &[Arc<str>],
        state_from: usize,
        input_topic: &str,
        member: &ConsumerGroupMetadata,
    ) -> TransactionOutcome {
        let began = clock::now();
        let outcome = self.try_commit(batch, output_topics, state_from, input_topic, member);
        // Serves what the log has queued up, a disconnect before the answer above among it.
        self.producer.poll(Duration::ZERO);
        match outcome {
            Ok(_) if self.is_tainted() => {
                TransactionOutcome::Doubtful("committed, but a connection failed meanwhile".to_owned())
            }
            Ok(_) if began.elapsed() > SOCKET_TIMEOUT => {
                TransactionOutcome::Doubtful("committed, but slower than a request may take".to_owned())
            }
            Ok(written) => TransactionOutcome::Clean(written),
            Err(Failure::Refused(refusals)) => TransactionOutcome::Refused(refusals),
            Err(Failure::Error(error)) => self.abort(error),
        }
    }

    fn try_commit(
        &self,
        batch: &Batch,
        output_topics: &[Arc<str>],
        state_from: usize,
        input_topic: &str,
        member: &ConsumerGroupMetadata,
    ) -> Result<Vec<Written>, Failure> {
        let attempt = self.shared.begin();
        self.producer.begin_transaction()?;
        let mut sources = Vec::with_capacity(batch.outputs.len());
        for (index, (output, key, value)) in batch.outputs.iter().enumerate() {
            sources.push(output.source);
            let tracked = if output.topic >= state_from { TRACKED } else { 0 };
            let mut record = BaseRecord::with_opaque_to(&output_topics[output.topic], attempt | tracked | index)
                .partition(output.partition)
                .key(key)
                .payload(value);
            record.headers = (!output.headers.is_empty()).then(|| headers(output));
            self.send(record, output.source)?;
        }
        let offsets = self.await_reports(&sources)?;
        let written = written(batch, &offsets);
        let mut offsets = TopicPartitionList::with_capacity(batch.ledgers.len());
        for ledger in &batch.ledgers {
            let mut element = offsets.add_partition(input_topic, ledger.partition);
            element.set_offset(Offset::Offset(ledger.offset))?;
            element.set_metadata(ledger.metadata.as_str());
        }
        self.producer.send_offsets_to_transaction(&offsets, member, TRANSACTION_TIMEOUT)?;
        self.producer.commit_transaction(TRANSACTION_TIMEOUT)?;
        Ok(written)
    }

    fn send(&self, record: BaseRecord<'_, [u8], [u8], usize>, source: (i32, i64)) -> Result<(), Failure> {
        let mut record = record;
        loop {
            let (error, back) = match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err(refused) => refused,
            };
            match error.rdkafka_error_code() {
                Some(Code::QueueFull) => {
                    // The queue is as long as a batch may be; wait for some of it to leave.
                    let mut reports = self.shared.reports.lock();
                    if self.shared.changed.wait_for(&mut reports, TRANSACTION_TIMEOUT).timed_out() {
                        return Err(Failure::Error(error));
                    }
                    record = back;
                }
                Some(Code::MessageSizeTooLarge) => {
                    return Err(Failure::Refused(vec![Refusal { source, message: error.to_string() }]));
                }
                _ => return Err(Failure::Error(error)),
            }
        }
    }

    /// Waits until all records are acknowledged; gives the offsets of those of state topics.
    fn await_reports(&self, sources: &[(i32, i64)]) -> Result<Vec<(usize, i64)>, Failure> {
        let deadline = clock::now() + TRANSACTION_TIMEOUT;
        let mut reports = self.shared.reports.lock();
        while reports.delivered < sources.len() {
            if self.shared.changed.wait_until(&mut reports, deadline).timed_out() {
                return Err(Failure::Error(RdError::MessageProduction(Code::MessageTimedOut)));
            }
        }
        if reports.failed.is_empty() {
            return Ok(std::mem::take(&mut reports.offsets));
        }
        let refusals: Vec<Refusal> = reports
            .failed
            .iter()
            .filter(|(_, code)| is_records_fault(*code))
            .map(|(index, code)| Refusal { source: sources[*index], message: code.to_string() })
            .collect();
        match reports.failed.first() {
            Some((_, code)) if refusals.is_empty() => Err(Failure::Error(RdError::MessageProduction(*code))),
            _ => Err(Failure::Refused(refusals)),
        }
    }

    fn abort(&self, error: RdError) -> TransactionOutcome {
        let text = error.to_string();
        if matches!(error.rdkafka_error_code(), Some(Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch))
        {
            return TransactionOutcome::Fenced(self.id.clone());
        }
        let requires_abort = match &error {
            RdError::Transaction(inner) => inner.txn_requires_abort() && !inner.is_fatal(),
            _ => false,
        };
        if !requires_abort || self.is_tainted() {
            return TransactionOutcome::Doubtful(text);
        }
        match self.producer.abort_transaction(TRANSACTION_TIMEOUT) {
            Ok(()) if !self.is_tainted() => TransactionOutcome::DefiniteAbort(text),
            Ok(()) => TransactionOutcome::Doubtful(text),
            Err(abort) => TransactionOutcome::Doubtful(format!("{text}; then the abort failed: {abort}")),
        }
    }
}

enum Failure {
    Refused(Vec<Refusal>),
    Error(RdError),
}

impl From<RdError> for Failure {
    fn from(error: RdError) -> Self {
        Failure::Error(error)
    }
}

/// Errors that lie in a record, or in one of its batch, and that no retry mends.
fn is_records_fault(code: Code) -> bool {
    matches!(
        code,
        Code::MessageSizeTooLarge
            | Code::InvalidRecord
            | Code::InvalidMessage
            | Code::InvalidMessageSize
            | Code::InvalidTimestamp
            | Code::MessageBatchTooLarge
    )
}

/// An idempotent producer without transactions, for dead letters of stages whose effects lie outside Kafka.
pub struct DeadLetterProducer {
    producer: ThreadedProducer<Context>,
    shared: Arc<Shared>,
}

impl DeadLetterProducer {
    /// Makes the producer. Connects when first used.
    pub fn start(settings: &Settings) -> Result<Self, KafkaError> {
        let shared = Arc::new(Shared::default());
        let mut config = client_config(settings);
        config
            .set("enable.idempotence", "true")
            .set("message.timeout.ms", TRANSACTION_TIMEOUT.as_millis().to_string())
            .set("linger.ms", "0")
            .set("message.max.bytes", "2000000");
        let producer = config
            .create_with_context(Context(shared.clone()))
            .map_err(|error| KafkaError::Setting(error.to_string()))?;
        Ok(DeadLetterProducer { producer, shared })
    }

    /// Writes all records, or says why not; some may have been written then. Blocks until they are acknowledged.
    pub fn send_all(&self, outputs: &crate::engine::Outputs, topics: &[Arc<str>]) -> Result<(), String> {
        let attempt = self.shared.begin();
        for (index, (output, key, value)) in outputs.iter().enumerate() {
            let mut record = BaseRecord::with_opaque_to(&topics[output.topic], attempt | index)
                .partition(output.partition)
                .key(key)
                .payload(value);
            record.headers = (!output.headers.is_empty()).then(|| headers(output));
            self.producer.send(record).map_err(|(error, _)| error.to_string())?;
        }
        let deadline = clock::now() + TRANSACTION_TIMEOUT + Duration::from_secs(1);
        let mut reports = self.shared.reports.lock();
        while reports.delivered < outputs.len() {
            if self.shared.changed.wait_until(&mut reports, deadline).timed_out() {
                return Err("dead letters were not acknowledged in time".to_owned());
            }
        }
        reports.failed.first().map_or(Ok(()), |(_, code)| Err(code.to_string()))
    }
}

fn headers(output: &crate::engine::Output) -> OwnedHeaders {
    output.headers.iter().fold(OwnedHeaders::new_with_capacity(output.headers.len()), |headers, (key, value)| {
        headers.insert(Header { key, value: Some(value) })
    })
}
