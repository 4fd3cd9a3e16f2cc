//! The proxy before a broker: what it does to EndTxn is what a transactional producer then meets.
//!
//! Each case is a function of a broker's address; `on_apache_kafka` runs all of them there.

use std::time::Duration;

use rdkafka::{
    ClientConfig,
    error::KafkaError,
    producer::{BaseProducer, BaseRecord, Producer},
};

use crate::support::{
    kafka::ApacheKafka,
    proxy::{Fault, Proxy},
    topics::{self, Isolation},
    wait::wait_until,
    world::{cases, unique},
};

const LIMIT: Duration = Duration::from_secs(30);

struct Bench {
    broker: String,
    proxy: Proxy,
    topic: String,
}

impl Bench {
    fn new(broker: &str, name: &str) -> Bench {
        let topic = unique(name);
        topics::create(broker, &[(&topic, 1)]);
        Bench { broker: broker.to_owned(), proxy: Proxy::start(broker), topic }
    }

    /// An initialised transactional producer; its transactional id is the topic's name.
    fn producer(&self, bootstrap: &str) -> BaseProducer {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("transactional.id", &self.topic)
            .set("linger.ms", "0")
            .set("retry.backoff.ms", "5")
            // A cut connection is the point here; saying so on stderr is not.
            .set("log_level", "0")
            .create()
            .expect("a producer");
        producer.init_transactions(LIMIT).expect("initialised");
        producer
    }

    /// Begins a transaction with one record in the log.
    fn write(&self, producer: &BaseProducer, value: &str) {
        producer.begin_transaction().expect("begun");
        producer
            .send(BaseRecord::<str, str>::to(&self.topic).payload(value))
            .map_err(|(error, _)| error)
            .expect("queued");
        producer.flush(LIMIT).expect("delivered");
    }

    fn values(&self, isolation: Isolation) -> Vec<String> {
        let messages = topics::read(&self.broker, &self.topic, isolation, LIMIT);
        messages.into_iter().map(|message| String::from_utf8(message.value.expect("a value")).expect("text")).collect()
    }
}

fn a_proxy_without_faults_passes_transactions_and_counts_their_answers(broker: &str) {
    let bench = Bench::new(broker, "proxy-pass");
    let producer = bench.producer(bench.proxy.bootstrap());
    for number in 0..20 {
        bench.write(&producer, &number.to_string());
        producer.commit_transaction(LIMIT).expect("committed");
    }
    assert_eq!(bench.values(Isolation::Committed), (0..20).map(|number| number.to_string()).collect::<Vec<_>>());
    let counts = bench.proxy.counts();
    assert_eq!((counts.end_txn, counts.late, counts.cut, counts.unread), (20, 0, 0, 0), "{counts:?}");
    // Each transaction is let in once; all other answers told the producer to come again.
    assert_eq!(counts.add_partitions - counts.add_partitions_concurrent, 20, "{counts:?}");
}

fn a_commit_whose_answer_is_cut_off_has_happened_once(broker: &str) {
    let bench = Bench::new(broker, "proxy-cut-answer");
    let producer = bench.producer(bench.proxy.bootstrap());
    bench.write(&producer, "doubtful");
    bench.proxy.on_end_txn(Fault::CutAnswer);
    // librdkafka asks again by itself and hears of the first decision.
    producer.commit_transaction(LIMIT).expect("committed");
    assert_eq!(bench.values(Isolation::Committed), ["doubtful"]);
    let counts = bench.proxy.counts();
    // A third request is possible: the broker may ask the producer to wait until the markers are written.
    assert!(counts.cut == 1 && counts.end_txn >= 2, "{counts:?}");
}

fn a_commit_that_never_reached_the_broker_is_asked_for_again(broker: &str) {
    let bench = Bench::new(broker, "proxy-cut-request");
    let producer = bench.producer(bench.proxy.bootstrap());
    bench.write(&producer, "late");
    bench.proxy.on_end_txn(Fault::CutRequest);
    producer.commit_transaction(LIMIT).expect("committed");
    assert_eq!(bench.values(Isolation::Committed), ["late"]);
    let counts = bench.proxy.counts();
    // A third request is possible: the broker may ask the producer to wait until the markers are written.
    assert!(counts.cut == 1 && counts.end_txn >= 2, "{counts:?}");
}

fn a_delayed_commit_still_happens(broker: &str) {
    let bench = Bench::new(broker, "proxy-delay");
    let producer = bench.producer(bench.proxy.bootstrap());
    bench.write(&producer, "patient");
    bench.proxy.on_end_txn(Fault::Delay(Duration::from_millis(300)));
    producer.commit_transaction(LIMIT).expect("committed");
    assert_eq!(bench.proxy.counts().late, 1);
    assert_eq!(bench.values(Isolation::Committed), ["patient"]);
}

fn a_straggling_commit_is_fenced_by_a_new_producer_of_the_same_id(broker: &str) {
    let bench = Bench::new(broker, "proxy-straggler");
    let old = bench.producer(bench.proxy.bootstrap());
    bench.write(&old, "straggler");
    bench.proxy.on_end_txn(Fault::Hold);
    std::thread::scope(|scope| {
        let commit = scope.spawn(|| old.commit_transaction(LIMIT));
        wait_until(LIMIT, || bench.proxy.counts().end_txn == 1, || "the commit did not reach the proxy".into());
        // The new producer goes straight to the broker: its epoch aborts what the old one left open.
        let new = bench.producer(&bench.broker);
        bench.proxy.release();
        let refused = commit.join().expect("the thread ends").expect_err("fenced");
        assert!(matches!(&refused, KafkaError::Transaction(error) if error.is_fatal()), "{refused}");
        bench.write(&new, "successor");
        new.commit_transaction(LIMIT).expect("committed");
    });
    assert_eq!(bench.proxy.counts().late, 1);
    assert_eq!(bench.values(Isolation::Committed), ["successor"]);
    assert_eq!(bench.values(Isolation::Uncommitted), ["straggler", "successor"]);
}

cases! { on_apache_kafka, ApacheKafka::shared().map(ApacheKafka::bootstrap) =>
    a_proxy_without_faults_passes_transactions_and_counts_their_answers
    a_commit_whose_answer_is_cut_off_has_happened_once
    a_commit_that_never_reached_the_broker_is_asked_for_again
    a_delayed_commit_still_happens
    a_straggling_commit_is_fenced_by_a_new_producer_of_the_same_id
}
