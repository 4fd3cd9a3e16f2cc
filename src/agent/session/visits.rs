//! One person's visits: a state machine in event time.
//!
//! An event belongs to the visits beside it in time, whatever the order of arrival: it lies within one, continues the
//! one before, moves the beginning of the one after, closes the gap between both, which are then one, or begins its
//! own. So any order of the same events within the allowed lateness ends in the same visits. Only two things depend on
//! arrival: ids (a visit keeps the id it was first given, since it has been told), and a late event of another campaign
//! in the middle of a visit, which stays in it because what was counted cannot be parted again.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::campaign::Campaign;

/// Visits that stay open to late events, at most.
pub(super) const MAX_OPEN: usize = 8;

/// Most bytes of a URL that are kept; what goes beyond is cut off.
const MAX_URL: usize = 1024;

const DAY_MS: i64 = 86_400_000;

/// How visits are told apart. Times in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// A visit ends after so long without an event.
    pub gap_ms: i64,
    /// An event may be so much older than the person's latest.
    pub lateness_ms: i64,
    /// Midnight (UTC) ends it.
    pub midnight: bool,
    /// Another campaign ends it.
    pub campaign: bool,
}

impl Rules {
    /// Whether an event at `next` continues a visit that has come to `end`.
    fn continues(&self, (end, campaign): (i64, &Campaign), (next, next_campaign): (i64, &Campaign)) -> bool {
        next.saturating_sub(end) <= self.gap_ms
            && (!self.midnight || end.div_euclid(DAY_MS) == next.div_euclid(DAY_MS))
            && (!self.campaign || campaign.is_continued_by(next_campaign))
    }
}

/// What visits need to know of an event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'e> {
    /// Event time, milliseconds since 1970 UTC.
    pub at: i64,
    pub is_page: bool,
    pub url: Option<&'e Arc<str>>,
    pub campaign: Campaign,
}

/// A text that is shared with records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text(pub Arc<str>);

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Text(text.into()))
    }
}

/// Where a visit was at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Page {
    at: i64,
    pub url: Text,
}

/// One visit. Times in milliseconds since 1970 UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Visit {
    pub id: Text,
    pub start: i64,
    pub end: i64,
    pub events: u64,
    pub pages: u64,
    /// Of the earliest event that has a URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<Page>,
    /// Of the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Page>,
    /// The visit that became part of this one, the last if several did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absorbed: Option<Text>,
    #[serde(default)]
    campaign: Campaign,
}

impl Visit {
    fn begun(id: Arc<str>, seen: &Seen) -> Self {
        let mut visit = Visit {
            id: Text(id),
            start: seen.at,
            end: seen.at,
            events: 0,
            pages: 0,
            entry: None,
            exit: None,
            absorbed: None,
            campaign: seen.campaign,
        };
        visit.add(seen);
        visit
    }

    fn add(&mut self, seen: &Seen) {
        self.start = self.start.min(seen.at);
        self.end = self.end.max(seen.at);
        self.events = self.events.saturating_add(1);
        self.pages = self.pages.saturating_add(u64::from(seen.is_page));
        if let Some(url) = seen.url.filter(|url| !url.is_empty()) {
            let page = || Some(Page { at: seen.at, url: Text(kept(url)) });
            if self.entry.as_ref().is_none_or(|entry| seen.at < entry.at) {
                self.entry = page();
            }
            if self.exit.as_ref().is_none_or(|exit| seen.at >= exit.at) {
                self.exit = page();
            }
        }
    }

    /// Makes the visit after this one a part of it.
    fn absorb(&mut self, next: Visit) {
        self.end = self.end.max(next.end);
        self.events = self.events.saturating_add(next.events);
        self.pages = self.pages.saturating_add(next.pages);
        self.entry = self.entry.take().or(next.entry);
        self.exit = next.exit.or(self.exit.take());
        self.campaign.fill(&next.campaign);
        self.absorbed = Some(next.id);
    }
}

/// The URL as far as it is kept: its bounds bound the state. Control characters are no part of a URL.
fn kept(url: &Arc<str>) -> Arc<str> {
    if url.len() <= MAX_URL && !url.bytes().any(|byte| byte.is_ascii_control()) {
        return url.clone();
    }
    let cut: String = url.chars().filter(|char| !char.is_control()).take(MAX_URL).collect();
    cut[..cut.floor_char_boundary(MAX_URL)].into()
}

/// Where an event was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counted {
    /// Of the visit, see [`Visits::visit`].
    pub index: usize,
    /// The event began it.
    pub is_new: bool,
}

/// One person's visits: how many are over for good, and those that late events may still change.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(in crate::agent) struct Visits {
    /// Visits before the open ones.
    #[serde(default)]
    before: u64,
    /// When the last of those ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before_end: Option<i64>,
    /// Set when more were open than are kept: events before this are too late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    floor: Option<i64>,
    /// In time; the last is the current one, and its end the latest event.
    #[serde(default)]
    open: Vec<Visit>,
}

impl Visits {
    /// Counts an event; `id` names the visit if it begins one. `None`: it came too late and changed nothing.
    pub(super) fn count(&mut self, rules: &Rules, seen: &Seen, id: impl FnOnce() -> Arc<str>) -> Option<Counted> {
        let at = seen.at;
        if self.is_too_late(rules, at) {
            return None;
        }
        let next = self.open.partition_point(|visit| visit.start <= at);
        let last = next.checked_sub(1);
        let is_within = last.is_some_and(|last| at < self.open[last].end);
        let continues = last.filter(|last| {
            let visit = &self.open[*last];
            is_within || rules.continues((visit.end, &visit.campaign), (at, &seen.campaign))
        });
        let campaign = continues.map_or(seen.campaign, |last| {
            let mut campaign = self.open[last].campaign;
            campaign.fill(&seen.campaign);
            campaign
        });
        let is_continued = !is_within
            && self
                .open
                .get(next)
                .is_some_and(|visit| rules.continues((at, &campaign), (visit.start, &visit.campaign)));
        let counted = match (continues, is_continued) {
            (Some(last), is_continued) => {
                self.open[last].add(seen);
                if !is_within {
                    self.open[last].campaign = campaign;
                }
                if is_continued {
                    let absorbed = self.open.remove(next);
                    self.open[last].absorb(absorbed);
                }
                Counted { index: last, is_new: false }
            }
            (None, true) => {
                let visit = &mut self.open[next];
                visit.add(seen);
                visit.campaign.fill(&campaign);
                Counted { index: next, is_new: false }
            }
            (None, false) if next == 0 && self.open.len() >= MAX_OPEN => return None,
            (None, false) => {
                self.open.insert(next, Visit::begun(id(), seen));
                Counted { index: next, is_new: true }
            }
        };
        let closed = self.close(rules);
        Some(Counted { index: counted.index.saturating_sub(closed), ..counted })
    }

    /// The open visit that an event of that time lies in.
    pub(super) fn find(&self, at: i64) -> Option<usize> {
        let last = self.open.partition_point(|visit| visit.start <= at).checked_sub(1)?;
        (at <= self.open[last].end).then_some(last)
    }

    /// An open visit.
    pub(super) fn visit(&self, index: usize) -> Option<&Visit> {
        self.open.get(index)
    }

    /// The person's how many-th an open visit is, from 1.
    pub(super) fn number(&self, index: usize) -> u64 {
        self.before.saturating_add(index as u64).saturating_add(1)
    }

    /// How long the person was away before an open visit, in milliseconds; `None` before the first.
    pub(super) fn away_ms(&self, index: usize) -> Option<i64> {
        let end = match index.checked_sub(1) {
            Some(last) => Some(self.open.get(last)?.end),
            None => self.before_end,
        };
        Some(self.open.get(index)?.start.saturating_sub(end?))
    }

    fn is_too_late(&self, rules: &Rules, at: i64) -> bool {
        self.floor.is_some_and(|floor| at < floor)
            || self.open.last().is_some_and(|current| at < current.end.saturating_sub(rules.lateness_ms))
    }

    /// Lets go of visits that no event can reach any more, and of the oldest where too many are open. Says how many.
    fn close(&mut self, rules: &Rules) -> usize {
        let latest = self.open.last().map_or(i64::MIN, |current| current.end);
        let oldest_reached = latest.saturating_sub(rules.lateness_ms).saturating_sub(rules.gap_ms);
        let unreachable = self.open.iter().take_while(|visit| visit.end < oldest_reached).count();
        let too_many = self.open.len().saturating_sub(MAX_OPEN);
        let closed = unreachable.max(too_many);
        if let Some(last) = closed.checked_sub(1).and_then(|last| self.open.get(last)) {
            self.before = self.before.saturating_add(closed as u64);
            self.before_end = Some(last.end);
            self.open.drain(..closed);
            if too_many > unreachable {
                self.floor = self.open.first().map(|visit| visit.start);
            }
        }
        closed
    }
}

#[cfg(test)]
mod tests;
