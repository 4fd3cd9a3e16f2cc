//! Visits by inactivity gap in event time: which visit an event belongs to, and how that visit stands.

mod campaign;
mod visits;

use std::{fmt::Write as _, sync::Arc};

use sha2::{Digest, Sha256};

use self::{
    campaign::Campaign,
    visits::{Rules, Seen, Visits},
};
use super::{Keyed, Ran, fields};
use crate::{
    event::{Outcome, Part, Path, Reason, Record, Source, Value},
    topology::{AgentSpec, SessionSpec},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Id,
    StartedAt,
    PageViews,
    Events,
    DurationMs,
    Number,
    IsNew,
    EntryUrl,
    ExitUrl,
    AwayMs,
    AbsorbedId,
}

impl Field {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "id" => Field::Id,
            "started_at" => Field::StartedAt,
            "page_views" => Field::PageViews,
            "events" => Field::Events,
            "duration_ms" => Field::DurationMs,
            "number" => Field::Number,
            "is_new" => Field::IsNew,
            "entry_url" => Field::EntryUrl,
            "exit_url" => Field::ExitUrl,
            "away_ms" => Field::AwayMs,
            "absorbed_id" => Field::AbsorbedId,
            _ => return None,
        })
    }
}

/// An agent of type `session`.
pub(super) struct Session {
    rules: Rules,
    /// What the person is known by: `source.key`.
    key: Vec<Path>,
    fields: Box<[Option<Field>]>,
}

impl Session {
    /// Prepares the rules; `key` is the topology's `source.key`.
    pub fn new(spec: &AgentSpec, session: &SessionSpec, key: &[Path]) -> Self {
        let ms = |duration: std::time::Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Session {
            rules: Rules {
                gap_ms: ms(session.gap),
                lateness_ms: ms(session.lateness),
                midnight: session.split_midnight,
                campaign: session.split_campaign,
            },
            key: key.to_vec(),
            fields: fields(&spec.output, Field::from_name),
        }
    }

    /// The id of the visit that an event begins: the same whenever the same event begins one.
    fn id(&self, record: &Record) -> Arc<str> {
        let key = self.key.iter().map(|path| path.get(record).to_string()).find(|text| !text.is_empty());
        let mut hash = Sha256::new();
        for text in [key.unwrap_or_default().as_str(), &record.event.id, &record.event_time_ms().to_string()] {
            hash.update(text);
            hash.update([0xff]);
        }
        let mut id = String::with_capacity(32);
        for byte in &hash.finalize()[..16] {
            let _ = write!(id, "{byte:02x}");
        }
        id.into()
    }

    /// How a visit stands.
    fn part(&self, visits: &Visits, index: usize, is_new: bool) -> Part {
        let Some(visit) = visits.visit(index) else { return too_late() };
        let number = |count: u64| Value::Int(i64::try_from(count).unwrap_or(i64::MAX));
        let url =
            |page: &Option<visits::Page>| page.as_ref().map_or(Value::Null, |page| Value::Text(page.url.0.clone()));
        let value = |field: &Option<Field>| match field {
            Some(Field::Id) => Value::Text(visit.id.0.clone()),
            Some(Field::StartedAt) => Value::Int(visit.start),
            Some(Field::PageViews) => number(visit.pages),
            Some(Field::Events) => number(visit.events),
            Some(Field::DurationMs) => Value::Int(visit.end.saturating_sub(visit.start)),
            Some(Field::Number) => number(visits.number(index)),
            Some(Field::IsNew) => Value::Bool(is_new),
            Some(Field::EntryUrl) => url(&visit.entry),
            Some(Field::ExitUrl) => url(&visit.exit),
            Some(Field::AwayMs) => visits.away_ms(index).into(),
            Some(Field::AbsorbedId) => visit.absorbed.as_ref().map_or(Value::Null, |id| Value::Text(id.0.clone())),
            None => Value::Null,
        };
        Part::ok(Source::State, self.fields.iter().map(value).collect())
    }
}

/// The part of an event that no visit can count any more.
fn too_late() -> Part {
    Part::without(Outcome::Skipped, Reason::Overdue)
}

impl Keyed for Session {
    type State = Visits;

    fn count(&self, record: &Record, _: Part, state: &mut Visits) -> Ran {
        let event = &record.event;
        let seen = Seen {
            at: record.event_time_ms(),
            is_page: matches!(&*event.kind, "page" | "screen"),
            url: event.url.as_ref(),
            campaign: if self.rules.campaign { Campaign::of(event) } else { Campaign::default() },
        };
        match state.count(&self.rules, &seen, || self.id(record)) {
            Some(counted) => Ran { part: self.part(state, counted.index, counted.is_new), changed: true },
            None => Ran { part: too_late(), changed: false },
        }
    }

    fn recall(&self, record: &Record, _: Part, state: &Visits) -> Part {
        let Some(index) = state.find(record.event_time_ms()) else { return too_late() };
        let is_new = self.fields.contains(&Some(Field::IsNew))
            && state.visit(index).is_some_and(|visit| visit.id.0 == self.id(record));
        self.part(state, index, is_new)
    }
}

#[cfg(test)]
mod tests;
