//! Durations (`2s`, `500ms`, `5m`, `1h`, `14d`) and rates (`100/10s`, `30/s`), as people write them.

use std::time::Duration;

use super::model::Rate;

const UNITS: &[(&str, u64)] = &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Longest duration: a century. Keeps arithmetic on milliseconds far from overflow.
const MAX_MS: u64 = 100 * 365 * 86_400_000;

/// Reads one duration: a whole number and a unit.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let ms = number.parse::<u64>().ok()?.checked_mul(*factor)?;
    (ms <= MAX_MS).then(|| Duration::from_millis(ms))
}

/// Reads one rate: a count, a slash, a duration whose number may be left out.
pub(super) fn rate(text: &str) -> Option<Rate> {
    let (count, per) = text.split_once('/')?;
    let count = count.trim().parse().ok().filter(|count| *count > 0)?;
    let per = per.trim();
    let per = duration(per).or_else(|| duration(&format!("1{per}")))?;
    (!per.is_zero()).then_some(Rate { count, per })
}

/// Writes a duration in the largest unit that holds it whole.
pub(super) fn show(duration: Duration) -> String {
    let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let (name, factor) =
        UNITS.iter().rev().find(|(_, factor)| ms >= *factor && ms.is_multiple_of(*factor)).unwrap_or(&UNITS[0]);
    format!("{}{name}", ms / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_number_and_a_unit() {
        assert_eq!(duration("2s"), Some(Duration::from_secs(2)));
        assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(duration("14d"), Some(Duration::from_secs(14 * 86_400)));
        for wrong in ["2", "s", "", "2 s", "-2s", "1.5s", "2sec", "99999999999999999d", "900000d"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
        for text in ["2s", "500ms", "5m", "1h", "14d", "90s", "0ms"] {
            assert_eq!(show(duration(text).unwrap()), text);
        }
    }

    #[test]
    fn rates_are_a_count_per_time() {
        assert_eq!(rate("100/10s"), Some(Rate { count: 100, per: Duration::from_secs(10) }));
        assert_eq!(rate("30/s"), Some(Rate { count: 30, per: Duration::from_secs(1) }));
        for wrong in ["30", "0/s", "/s", "30/", "x/s", "30/0s"] {
            assert_eq!(rate(wrong), None, "{wrong}");
        }
    }
}
