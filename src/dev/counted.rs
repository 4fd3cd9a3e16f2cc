//! What the demo counts, and the lines that say it.

use std::time::Duration;

use chrono::DateTime;
use serde_json::Value as Json;

use crate::state::grouped;

/// The first trigger, as the receiver got it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FirstTrigger {
    pub campaign: String,
    /// User, or else visitor.
    pub who: String,
    /// From the event to the webhook's arrival, in milliseconds.
    pub age_ms: i64,
    /// What else is known, ready to print: `crm enterprise (live)`, `geo GB`, `score 72`.
    pub facts: Vec<String>,
}

/// What was counted since the start. All but the latencies only grow.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counted {
    pub first_trigger: Option<FirstTrigger>,
    /// Enriched records.
    pub records: u64,
    /// Records with a part that failed.
    pub partial: u64,
    /// The CRM agent's parts by outcome.
    pub crm_ok: u64,
    pub crm_stale: u64,
    pub crm_fallback: u64,
    pub crm_failed: u64,
    /// Of the parts that are ok, those answered by the cache.
    pub cache_hits: u64,
    /// Attempts of the CRM's breaker to see whether it is back.
    pub probes: u64,
    pub breaker_closed: bool,
    /// Age of the oldest cached value served since the last look, in milliseconds.
    pub oldest_ms: i64,
    /// 99th percentile from event to readable trigger since the last look, in milliseconds; none if no trigger fired.
    pub p99_ms: Option<u64>,
}

/// What the topics say at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reckoning {
    pub events: u64,
    pub triggers: u64,
    pub delivered: u64,
    pub lost: u64,
    pub twice: u64,
}

impl FirstTrigger {
    /// Out of a webhook's body that arrived at `at_ms`; none if it is not a trigger's.
    pub fn read(body: &[u8], at_ms: i64) -> Option<Self> {
        let body: Json = serde_json::from_slice(body).ok()?;
        let who = body["user_id"].as_str().or(body["anonymous_id"].as_str())?;
        let facts = body["payload"].as_object()?.iter().filter_map(|(name, value)| match value {
            Json::String(text) => Some(format!("{name} {text}")),
            Json::Number(_) | Json::Bool(_) => Some(format!("{name} {value}")),
            _ => None,
        });
        let occurred_at = DateTime::parse_from_rfc3339(body["occurred_at"].as_str()?).ok()?;
        Some(FirstTrigger {
            campaign: body["campaign"].as_str()?.to_owned(),
            who: who.to_owned(),
            age_ms: at_ms - occurred_at.timestamp_millis(),
            facts: facts.collect(),
        })
    }

    pub(super) fn line(&self, elapsed: Duration) -> String {
        let facts = self.facts.join(" · ");
        format!(
            "{}  first trigger   {} → {}   click {} ms ago   {facts}\n",
            clock(elapsed),
            self.campaign,
            self.who,
            self.age_ms
        )
    }
}

impl Counted {
    /// Parts of the CRM agent.
    pub(super) fn crm(&self) -> u64 {
        self.crm_ok + self.crm_stale + self.crm_fallback + self.crm_failed
    }

    pub(super) fn since(&self, before: &Counted) -> Counted {
        Counted {
            records: self.records.saturating_sub(before.records),
            partial: self.partial.saturating_sub(before.partial),
            crm_ok: self.crm_ok.saturating_sub(before.crm_ok),
            crm_stale: self.crm_stale.saturating_sub(before.crm_stale),
            crm_fallback: self.crm_fallback.saturating_sub(before.crm_fallback),
            crm_failed: self.crm_failed.saturating_sub(before.crm_failed),
            cache_hits: self.cache_hits.saturating_sub(before.cache_hits),
            probes: self.probes.saturating_sub(before.probes),
            ..self.clone()
        }
    }

    /// `self` is the outage's difference, `now` what holds at its end.
    pub(super) fn outage(&self, now: &Counted) -> String {
        if self.records == 0 {
            return "no event came through!".to_owned();
        }
        let p99 = now.p99_ms.map_or_else(|| "no trigger".to_owned(), |ms| format!("p99 {ms} ms"));
        let stale = percent(self.crm_stale, self.crm());
        let oldest = if self.crm_stale > 0 { format!(" (oldest {} s)", now.oldest_ms / 1_000) } else { String::new() };
        let cached = match percent(self.cache_hits, self.crm()) {
            0 => String::new(),
            hits => format!(", from cache {hits} %"),
        };
        let partial = percent(self.partial, self.records);
        format!("events still flow: {p99}, crm_lookup stale {stale} %{oldest}{cached}, partial {partial} %")
    }
}

impl Reckoning {
    /// The last line, `elapsed` after the first event.
    pub fn line(&self, elapsed: Duration) -> String {
        format!(
            "{}  {} events · {} triggers · {} delivered · {} lost · {} twice (counted in the topics)\n",
            clock(elapsed),
            grouped(self.events),
            grouped(self.triggers),
            grouped(self.delivered),
            grouped(self.lost),
            grouped(self.twice)
        )
    }

    /// Whether the demo may say that all went well: nothing lost, nothing twice, and there was something to lose.
    pub fn passed(&self) -> bool {
        self.lost == 0 && self.twice == 0 && self.events > 0
    }
}

/// ` 0:08`.
pub(super) fn clock(elapsed: Duration) -> String {
    format!("{:2}:{:02}", elapsed.as_secs() / 60, elapsed.as_secs() % 60)
}

/// Rounded down, so that 100 means all; of nothing it is 0.
pub(super) fn percent(part: u64, whole: u64) -> u64 {
    (part.saturating_mul(100)).checked_div(whole).unwrap_or_default().min(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_trigger_is_read_from_its_webhook() {
        let trigger = crate::event::Trigger {
            campaign: "win-back".into(),
            user_id: Some("u_1842".into()),
            occurred_at_ms: 1_772_000_000_000,
            payload: [("score".into(), 72.0.into()), ("segment".into(), "enterprise".into())].into(),
            ..Default::default()
        };
        let first = FirstTrigger::read(&crate::deliver::body::body(&trigger), 1_772_000_000_038).unwrap();
        let expected = FirstTrigger {
            campaign: "win-back".into(),
            who: "u_1842".into(),
            age_ms: 38,
            facts: vec!["score 72.0".into(), "segment enterprise".into()],
        };
        assert_eq!(first, expected);
        assert_eq!(FirstTrigger::read(b"{}", 0), None);
        assert_eq!(FirstTrigger::read(b"x", 0), None);
    }

    #[test]
    fn only_a_clean_and_lively_demo_passes() {
        let good = Reckoning { events: 1, ..Reckoning::default() };
        assert!(good.passed());
        assert!(!Reckoning { lost: 1, ..good }.passed());
        assert!(!Reckoning { twice: 1, ..good }.passed());
        assert!(!Reckoning::default().passed());
    }
}
