//! What a worker counts: plain atomics, written by its threads, read by whoever reports.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Counters of one stage in one process.
#[derive(Debug, Default)]
pub struct Stats {
    /// Records taken in.
    pub taken: AtomicU64,
    /// Events released.
    pub released: AtomicU64,
    pub dead_letters: AtomicU64,
    /// Records lost to retention before we read them.
    pub lost: AtomicU64,
    pub commits: AtomicU64,
    /// Records in committed batches.
    pub committed_records: AtomicU64,
    pub aborts: AtomicU64,
    /// Producers replaced after doubt.
    pub recycles: AtomicU64,
    pub rebalances: AtomicU64,
    /// Commit metadata that was no ledger of ours.
    pub foreign_ledgers: AtomicU64,
    /// Loops in which intake stopped because too much waited for a commit, or too many events were under way.
    pub backpressure: AtomicU64,
    /// Events whose id another record had within the window: left out.
    pub duplicates: AtomicU64,
    /// Records that intake had accepted before: they change no state and fire nothing.
    pub repeats: AtomicU64,
    /// Events that say they happened after they were received, by more than clocks differ: taken to have happened then.
    pub from_the_future: AtomicU64,
    /// Triggers that were not fired although their rule held: without consent, within the cooldown, for a repeat.
    pub withheld_consent: AtomicU64,
    pub withheld_cooldown: AtomicU64,
    pub withheld_repeat: AtomicU64,
    /// States of keys that could not be read and began anew.
    pub unreadable_states: AtomicU64,
    /// About the bytes that states of keys in use lately take of the memory.
    pub state_memory_bytes: Arc<AtomicU64>,
    /// Bytes that the local stores take of the disk.
    pub state_disk_bytes: AtomicU64,
    /// From begin to commit.
    pub commit_time: Histogram,
    /// From fetched to committed.
    pub hop_time: Histogram,
}

impl Stats {
    /// What a person wants to see of it now and then.
    pub fn line(&self, name: &str) -> String {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let ms = |histogram: &Histogram, quantile| {
            histogram.quantile_ms(quantile).map_or_else(|| "–".to_owned(), |ms| format!("{ms:.1}"))
        };
        let unusual: String = [
            (" · from the future", &self.from_the_future),
            (" · unreadable states", &self.unreadable_states),
            (" · without consent", &self.withheld_consent),
            (" · in cooldown", &self.withheld_cooldown),
            (" · repeats held back", &self.withheld_repeat),
        ]
        .iter()
        .filter(|(_, counter)| read(counter) > 0)
        .map(|(what, counter)| format!("{what} {}", read(counter)))
        .collect();
        let state = match (read(&self.state_memory_bytes), read(&self.state_disk_bytes)) {
            (0, 0) => String::new(),
            (memory, disk) => format!(" · state {:.1} MB in memory, {:.1} MB on disk", mb(memory), mb(disk)),
        };
        format!(
            "{name:<16} in {} · out {} · duplicates {} · repeats {} · dead letters {} · commits {} (p50 {} p99 {} ms) · hop p50 {} p99 {} ms · aborts {} · \
             recycles {} · lost {}{unusual}{state}",
            read(&self.taken),
            read(&self.released),
            read(&self.duplicates),
            read(&self.repeats),
            read(&self.dead_letters),
            read(&self.commits),
            ms(&self.commit_time, 0.5),
            ms(&self.commit_time, 0.99),
            ms(&self.hop_time, 0.5),
            ms(&self.hop_time, 0.99),
            read(&self.aborts),
            read(&self.recycles),
            read(&self.lost),
        )
    }

    /// Adds one.
    pub fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Adds several.
    pub fn add(counter: &AtomicU64, more: u64) {
        counter.fetch_add(more, Ordering::Relaxed);
    }
}

/// Durations in buckets that grow by a tenth: quantiles within 10 %.
#[derive(Debug)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
}

const BUCKETS: usize = 160;
const FIRST_MICROSECONDS: f64 = 10.0;
const GROWTH: f64 = 1.1;

impl Default for Histogram {
    fn default() -> Self {
        Histogram { buckets: [const { AtomicU64::new(0) }; BUCKETS] }
    }
}

impl Histogram {
    /// Counts `times` values of that duration.
    pub fn record(&self, duration: Duration, times: u64) {
        let microseconds = duration.as_micros() as f64;
        let bucket = ((microseconds / FIRST_MICROSECONDS).max(1.0).ln() / GROWTH.ln()) as usize;
        self.buckets[bucket.min(BUCKETS - 1)].fetch_add(times, Ordering::Relaxed);
    }

    /// The quantile (0 to 1) in milliseconds; `None` while nothing was recorded.
    pub fn quantile_ms(&self, quantile: f64) -> Option<f64> {
        let counts: Vec<u64> = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        let total: u64 = counts.iter().sum();
        let rank = ((total as f64 * quantile).ceil() as u64).max(1);
        let mut seen = 0;
        counts.iter().enumerate().find_map(|(bucket, count)| {
            seen += count;
            (total > 0 && seen >= rank)
                .then(|| FIRST_MICROSECONDS * GROWTH.powi(bucket as i32) * GROWTH.sqrt() / 1_000.0)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_tenth() {
        let histogram = Histogram::default();
        assert_eq!(histogram.quantile_ms(0.5), None);
        for milliseconds in 1..=100 {
            histogram.record(Duration::from_millis(milliseconds), 1);
        }
        for (quantile, expected) in [(0.5, 50.0), (0.99, 99.0), (0.01, 1.0)] {
            let found = histogram.quantile_ms(quantile).unwrap();
            assert!((found / expected - 1.0).abs() < 0.1, "{quantile}: {found} for {expected}");
        }
    }
}
