//! Events at an even pace, whatever becomes of them, and when each became readable.
//!
//! Open loop: the n-th event is due at the start plus n intervals, and its latency counts from then. A generator that
//! is late, a producer that queues, a pipeline that stalls: all of it shows (no coordinated omission).

use std::{
    collections::HashSet,
    thread,
    time::{Duration, Instant},
};

use headwater::clock;

use crate::{
    Outcome,
    feed::Feed,
    figures::{Latencies, load},
    site::{Shape, Site},
    stand::Stand,
    support::{headwater::Headwater, proxy::Proxy, wait::wait_for},
    tail::{Seen, Tail},
    usage,
};

/// What may be still under way when the last event has been sent.
const DRAIN: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(30);

/// How fast and how long.
#[derive(Debug, Clone)]
pub struct Pace {
    /// Events per second.
    pub rate: u32,
    pub warm_up: Duration,
    pub measured: Duration,
}

impl Pace {
    fn events(&self, time: Duration) -> u64 {
        (time.as_secs_f64() * f64::from(self.rate)) as u64
    }

    /// When the event with this number is due, after the start.
    fn due(&self, number: u64) -> Duration {
        Duration::from_secs_f64(number as f64 / f64::from(self.rate))
    }
}

/// How the engine reaches the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Direct,
    /// Through a proxy that counts CONCURRENT_TRANSACTIONS answers, and costs time.
    Counted,
}

/// Runs the topology in that shape at that pace and gives the figures as text.
pub fn run(stand: &Stand, shape: Shape, pace: &Pace, way: Way) -> Outcome<String> {
    let raw = format!("paced.{}.{way:?}", shape.name().replace([' ', ','], ""));
    let mut feed = Feed::new(stand, &raw, 0)?;
    let site = Site::new(stand, shape, &raw)?;
    let proxy = (way == Way::Counted).then(|| Proxy::start(stand.kafka.bootstrap()));
    let engine = site.run(proxy.as_ref().map_or(stand.kafka.bootstrap(), Proxy::bootstrap), &[]);
    engine.wait_for_output("running ", Duration::from_secs(60));

    let runtime = stand.runtime.handle();
    // Where intake is part of the first stage there is no hop of its own.
    let hop = (shape != Shape::Keyed).then(|| Tail::start(&site, "events", runtime)).transpose()?;
    let enriched = Tail::start(&site, "enriched", runtime)?;
    let triggers = Tail::start(&site, "triggers", runtime)?;

    let (first, last) = (pace.events(pace.warm_up) + 1, pace.events(pace.warm_up + pace.measured));
    let began = clock::now() + Duration::from_millis(200);
    let schedule = pace.clone();
    let generator = thread::Builder::new().name("generator".to_owned()).spawn(move || {
        let mut late_ms = Vec::new();
        for number in 1..=last {
            let due = began + schedule.due(number);
            wait_until(due);
            feed.send(clock::unix_ms())?;
            late_ms.push(due.elapsed().as_secs_f64() * 1e3);
        }
        Outcome::Ok((feed.finish()?, Latencies::new(late_ms.split_off(first as usize - 1))))
    })?;
    wait_until(began + pace.due(first));
    let (engine_before, broker_before) = (usage::cpu_us(engine.pid())?, usage::cpu_us(stand.kafka.broker_pid())?);
    let counted_before = proxy.as_ref().map(Proxy::counts);
    let (value_bytes, late) = generator.join().map_err(|_| "the generator panicked")??;
    let (engine_after, broker_after) = (usage::cpu_us(engine.pid())?, usage::cpu_us(stand.kafka.broker_pid())?);
    let counted_after = proxy.as_ref().map(Proxy::counts);
    // What does not come is counted below.
    wait_for(DRAIN, || (enriched.count() >= last || !engine.is_running()).then_some(()));
    let (peak_mb, _) = usage::resident_mb(engine.pid())?;
    engine.sigterm();
    engine.wait(STOP);

    let since_due = |seen: &[Seen]| {
        let measured = seen.iter().filter(|seen| (first..=last).contains(&seen.number));
        Latencies::new(measured.map(|seen| since(began + pace.due(seen.number), seen.at)).collect())
    };
    let events = (last - first + 1) as f64;
    let enriched = enriched.finish()?;
    let mut text = format!(
        "\n{} at {} events/s, {} s after {} s of warming up{}; mean value {value_bytes} bytes; load average {}\n",
        shape.name(),
        pace.rate,
        pace.measured.as_secs(),
        pace.warm_up.as_secs(),
        if way == Way::Counted { ", through the counting proxy (latencies include it)" } else { "" },
        load(),
    );
    text += &format!("  generator behind its schedule  {late}\n");
    if let Some(hop) = hop {
        text += &format!("  one hop: due → <name>.events   {}\n", since_due(&hop.finish()?));
    }
    text += &format!("  due → enriched readable        {}\n", since_due(&enriched));
    text += &format!("  due → trigger readable         {}\n", since_due(&triggers.finish()?));
    text += &format!("  {}\n", accounts(&enriched, last));
    text += &format!(
        "  CPU per event: engine {:.0} µs, broker {:.0} µs; engine's peak memory {peak_mb} MB\n",
        (engine_after - engine_before) as f64 / events,
        (broker_after - broker_before) as f64 / events,
    );
    if let (Some(before), Some(after)) = (counted_before, counted_after) {
        let asked = after.add_partitions + after.add_offsets - before.add_partitions - before.add_offsets;
        let partitions = after.add_partitions_concurrent - before.add_partitions_concurrent;
        let offsets = after.add_offsets_concurrent - before.add_offsets_concurrent;
        text += &format!(
            "  CONCURRENT_TRANSACTIONS: {} of {asked} answers ({:.1} %): AddPartitions {partitions} of {}, AddOffsets \
             {offsets} of {}; EndTxn {}; unread {}\n",
            partitions + offsets,
            100.0 * (partitions + offsets) as f64 / asked.max(1) as f64,
            after.add_partitions - before.add_partitions,
            after.add_offsets - before.add_offsets,
            after.end_txn - before.end_txn,
            after.unread - before.unread,
        );
    }
    Ok(text + &said(&engine))
}

/// What came out: of how many, how often, and how warm the cache was.
fn accounts(enriched: &[Seen], sent: u64) -> String {
    let distinct: HashSet<u64> = enriched.iter().map(|seen| seen.number).collect();
    let asked = enriched.iter().filter(|seen| seen.cached.is_some()).count();
    let cached = enriched.iter().filter(|seen| seen.cached == Some(true)).count();
    format!(
        "sent {sent}, enriched {}, missing {}, twice {}; CRM parts from the cache {:.1} % of {asked}",
        enriched.len(),
        sent.saturating_sub(distinct.len() as u64),
        enriched.len() - distinct.len(),
        100.0 * cached as f64 / asked.max(1) as f64,
    )
}

/// The stages' last report lines, and whatever else the engine complained of.
fn said(engine: &Headwater) -> String {
    let stderr = engine.stderr();
    let (before, last) = stderr.split_once("stopping: ").unwrap_or((&stderr, ""));
    let reports = last.lines().filter(|line| line.contains(" · commits "));
    let complaints: Vec<&str> =
        before.lines().filter(|line| line.contains(" WARN ") || line.contains("ERROR")).collect();
    let mut text = String::from("  since its start, warming up included:\n");
    for line in reports.chain(complaints.iter().copied().take(5)) {
        text += &format!("    {line}\n");
    }
    if complaints.is_empty() { text } else { text + &format!("    {} warnings or errors\n", complaints.len()) }
}

/// Milliseconds; 0 where the clock's grain makes it less.
fn since(due: Instant, at: Instant) -> f64 {
    at.saturating_duration_since(due).as_secs_f64() * 1e3
}

fn wait_until(due: Instant) {
    loop {
        let left = due.saturating_duration_since(clock::now());
        if left.is_zero() {
            return;
        }
        thread::park_timeout(left);
    }
}
