//! Quantiles, medians, and the lines that show them.

use std::{fmt, fs};

/// Latencies, sorted, in milliseconds.
pub struct Latencies(Vec<f64>);

impl Latencies {
    pub fn new(mut milliseconds: Vec<f64>) -> Self {
        milliseconds.sort_by(f64::total_cmp);
        Latencies(milliseconds)
    }

    /// Nearest rank: the least value that so large a share does not exceed.
    pub fn quantile(&self, quantile: f64) -> Option<f64> {
        let rank = (self.0.len() as f64 * quantile).ceil() as usize;
        self.0.get(rank.max(1) - 1).copied()
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return write!(f, "none");
        }
        for (name, quantile) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)] {
            write!(f, "{name} {:>6.1}  ", self.quantile(quantile).unwrap_or_default())?;
        }
        write!(f, "ms  (n {})", self.0.len())
    }
}

/// The middle one, or the mean of the two in the middle.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[odd / 2],
        even => (sorted[even / 2 - 1] + sorted[even / 2]) / 2.0,
    }
}

/// Where it was measured, and how busy that is already.
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{cores} cores, shared by broker, engine, stubs and load generator; load average before: {}", load())
}

/// The load averages of 1, 5 and 15 minutes.
pub fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}
