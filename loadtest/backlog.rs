//! Out of a full topic as fast as it goes: events per second and CPU per event, engine and bare loop by turns.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use headwater::clock;
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
};

use crate::{
    Outcome, bare,
    feed::Feed,
    figures::{load, median},
    site::{Shape, Site},
    stand::{PARTITIONS, Stand},
    support::{
        topics::{self, Isolation},
        wait::wait_for,
    },
    usage,
};

/// Whatever takes longer is stuck.
const LIMIT: Duration = Duration::from_secs(300);
/// The rate counts from when so much is done: joining a group and the first transaction are no throughput.
const AFTER: f64 = 0.1;
const WARM_EVENTS: u64 = 200_000;

/// What one run gave.
#[derive(Debug, Clone, Copy)]
struct Run {
    events_per_s: f64,
    engine_us: f64,
    broker_us: f64,
    /// From the start of the process to the first committed event.
    first_ms: f64,
    peak_mb: u64,
}

impl Run {
    fn line(&self, name: &str) -> String {
        format!(
            "  {name:<20} {:>9.0} events/s   CPU µs per event: {:>5.1} + broker {:>4.1}   first commit after {:>5.0} ms   peak \
             {:>4} MB",
            self.events_per_s, self.engine_us, self.broker_us, self.first_ms, self.peak_mb
        )
    }

    fn median(runs: &[Run]) -> Run {
        let of = |figure: &dyn Fn(&Run) -> f64| median(&runs.iter().map(figure).collect::<Vec<_>>());
        Run {
            events_per_s: of(&|run| run.events_per_s),
            engine_us: of(&|run| run.engine_us),
            broker_us: of(&|run| run.broker_us),
            first_ms: of(&|run| run.first_ms),
            peak_mb: of(&|run| run.peak_mb as f64) as u64,
        }
    }
}

/// Fills a topic, then lets the bare loop and each shape take turns over it.
pub fn run(stand: &Stand, shapes: &[Shape], events: u64, rounds: usize) -> Outcome<String> {
    let raw = "backlog.raw";
    let value_bytes = fill(stand, raw, events)?;
    let mut text = format!("\nbacklog of {events} events, mean value {value_bytes} bytes, {PARTITIONS} partitions\n");
    let mut bare_runs = Vec::new();
    let mut shape_runs = vec![Vec::new(); shapes.len()];
    for round in 1..=rounds {
        text += &format!(" round {round}, load average {}\n", load());
        let run = bare_run(stand, raw, &format!("backlog.bare.{round}"), events)?;
        text += &format!("{}\n", run.line("bare loop"));
        bare_runs.push(run);
        for (shape, runs) in shapes.iter().zip(&mut shape_runs) {
            let run = engine_run(stand, *shape, raw, events)?;
            text += &format!("{}\n", run.line(shape.name()));
            runs.push(run);
        }
    }
    text += " medians, and what the engine is to the bare loop\n";
    let bare = Run::median(&bare_runs);
    text += &format!("{}\n", bare.line("bare loop"));
    for (shape, runs) in shapes.iter().zip(&shape_runs) {
        let run = Run::median(runs);
        text += &format!(
            "{}   rate ÷ {:.1}, CPU × {:.1}, with broker × {:.1}\n",
            run.line(shape.name()),
            bare.events_per_s / run.events_per_s,
            run.engine_us / bare.engine_us,
            (run.engine_us + run.broker_us) / (bare.engine_us + bare.broker_us),
        );
    }
    Ok(text)
}

/// Has the broker compile what it will run, and open its first transaction.
pub fn warm(stand: &Stand) -> Outcome<()> {
    fill(stand, "warm.raw", WARM_EVENTS)?;
    for turn in 1..=2 {
        bare_run(stand, "warm.raw", &format!("warm.bare.{turn}"), WARM_EVENTS)?;
    }
    Ok(())
}

fn fill(stand: &Stand, raw: &str, events: u64) -> Outcome<u64> {
    let mut feed = Feed::new(stand, raw, 20)?;
    for _ in 0..events {
        feed.send(clock::unix_ms())?;
    }
    feed.finish()
}

fn bare_run(stand: &Stand, raw: &str, output: &str, events: u64) -> Outcome<Run> {
    let bootstrap = stand.kafka.bootstrap();
    topics::create(bootstrap, &[(output, PARTITIONS)]);
    let watch = Watch::new(bootstrap, &format!("{}.{output}", bare::GROUP), raw)?;
    let began = clock::now();
    let mut process = Ended(
        Command::new(std::env::current_exe()?)
            .args(["--bare", bootstrap, raw, output])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?,
    );
    let pid = process.0.id();
    let is_running = || matches!(process.0.try_wait(), Ok(None));
    measure(&[watch], began, pid, stand.kafka.broker_pid(), events, is_running)
}

fn engine_run(stand: &Stand, shape: Shape, raw: &str, events: u64) -> Outcome<Run> {
    let site = Site::new(stand, shape, raw)?;
    let bootstrap = stand.kafka.bootstrap();
    let watches =
        site.groups().iter().map(|(group, topic)| Watch::new(bootstrap, group, topic)).collect::<Outcome<Vec<_>>>()?;
    let began = clock::now();
    let engine = site.run(bootstrap, &["--stages", &site.enriching()]);
    let run = measure(&watches, began, engine.pid(), stand.kafka.broker_pid(), events, || engine.is_running());
    engine.sigterm();
    engine.wait(Duration::from_secs(30));
    let run = run.map_err(|error| format!("{error}\n{}", engine.stderr()))?;
    let enriched = topics::ends(bootstrap, &site.topology.topic("enriched"), Isolation::Committed);
    let enriched: i64 = enriched.iter().map(|(_, end)| end).sum();
    // Markers count too, so this sees only what is missing; the tests count exactly.
    if enriched < i64::try_from(events)? { Err(format!("{enriched} of {events} came out").into()) } else { Ok(run) }
}

/// A process that ends when this is dropped.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Looks how far a group is.
struct Watch {
    consumer: BaseConsumer,
    list: TopicPartitionList,
    topic: String,
}

impl Watch {
    fn new(bootstrap: &str, group: &str, topic: &str) -> Outcome<Watch> {
        let consumer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            // Does not wait for offsets of open transactions.
            .set("isolation.level", "read_uncommitted")
            .create()?;
        let mut list = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            list.add_partition(topic, partition);
        }
        Ok(Watch { consumer, list, topic: topic.to_owned() })
    }

    /// By partition; 0 before the first commit.
    fn committed(&self) -> Outcome<Vec<i64>> {
        let found = self.consumer.committed_offsets(self.list.clone(), Duration::from_secs(10))?;
        let offset = |offset| if let Offset::Offset(offset) = offset { offset } else { 0 };
        Ok(found.elements().iter().map(|element| offset(element.offset())).collect())
    }

    /// Whether nothing but the marker of its last transaction lies behind what is committed.
    fn is_at_end(&self) -> Outcome<bool> {
        for (partition, committed) in (0..).zip(self.committed()?) {
            let (_, end) = self.consumer.fetch_watermarks(&self.topic, partition, Duration::from_secs(10))?;
            if committed < end - 1 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Follows the groups, in the order of the flow, until so many events have passed the last one.
fn measure(
    watches: &[Watch],
    began: Instant,
    engine: u32,
    broker: u32,
    events: u64,
    mut is_running: impl FnMut() -> bool,
) -> Outcome<Run> {
    let usage = || Outcome::Ok((clock::now(), usage::cpu_us(engine)?, usage::cpu_us(broker)?));
    let last = watches.last().ok_or("nothing to follow")?;
    let look = || {
        let done: i64 = last.committed()?.iter().sum();
        let mut is_over = done >= events as i64;
        for watch in watches {
            is_over = is_over && watch.is_at_end()?;
        }
        Outcome::Ok((done, is_over))
    };
    let (mut first, mut from) = (None, None);
    let until = wait_for(LIMIT, || {
        let (done, is_over) = match look() {
            Ok(seen) => seen,
            Err(error) => return Some(Err(error)),
        };
        if done > 0 && first.is_none() {
            first = Some(clock::now());
        }
        if from.is_none() && done as f64 >= events as f64 * AFTER {
            from = Some((done, usage()));
        }
        if is_over {
            return Some(usage());
        }
        (!is_running()).then(|| Err("it ended before the backlog did".into()))
    });
    let (at, engine_us, broker_us) = until.ok_or("the backlog does not end")??;
    let (Some(first), Some((done, from))) = (first, from) else { return Err("nothing was seen".into()) };
    let (since, engine_before, broker_before) = from?;
    let rest = events as f64 - done as f64;
    Ok(Run {
        events_per_s: rest / (at - since).as_secs_f64(),
        engine_us: (engine_us - engine_before) as f64 / rest,
        broker_us: (broker_us - broker_before) as f64 / rest,
        first_ms: (first - began).as_secs_f64() * 1e3,
        peak_mb: usage::resident_mb(engine)?.0,
    })
}
