//! Which campaign brought a person: touches by UTM parameters, click ids and referrer, kept per person within a
//! look-back window in event time, and the credit shared among them.
//!
//! ```text
//! event ─▶ start: what marks the link ─▶ campaign:gclid:… in Redis, where `campaigns` is declared
//!       └▶ count: its touch joins the person's history ─▶ the window up to the event ─▶ credit ─▶ part
//! ```
//!
//! # What counts as a touch
//!
//! A link that a campaign marked (`params.rs`), or a page reached from another site (`referrers.txt`). A page within
//! the site is none. A page reached without any sign is a direct touch, unless there is another in the window before
//! it. A visit told again (by a reload, by every other event on the page) is one touch.
//!
//! # What the part shows
//!
//! The touch with the credit: with several labels (`source/medium/campaign`), the newest touch of the one with the
//! most. `credit` lists all of them. An event that is no touch shows the same from what is known; a late event sees
//! what was known at its own time.
//!
//! # Campaign data
//!
//! Redis strings that hold JSON, `{"campaign": …, "campaign_id": …, "channel": …, "cost": …}`, each optional. Asked for
//! in this order, and the first that is there counts: `campaign:<click id's name>:<id>:<country>`, the same without
//! country, `campaign:utm:<source>/<medium>/<campaign>:<country>`, the same without country. What is absent in the link
//! is empty in the key. Where Redis does not answer, the touch counts as the link tells it, and the part bears the
//! call's outcome; the next event of the same visit completes it.

mod channel;
mod credit;
mod history;
mod host;
mod params;
mod referrers;
mod touch;
mod word;

use std::{fmt::Write as _, sync::Arc};

#[cfg(test)]
pub(super) use channel::CLICK_IDS;
use credit::{Credits, share};
use history::{History, View};
pub(super) use params::Params;
use referrers::Referrers;
use touch::{Found, Touch};
use word::Word;

use crate::{
    event::{Outcome, Part, Path, Provenance, Record, Source, Value},
    policy::{Key, Line, Reply, Stack},
    topology::{AgentSpec, AttributionModel, AttributionSpec, Fallback},
};

use super::{AgentError, Keyed, Ran, Step, fields, input};

/// Longest country in a key; a code of ISO 3166 has two letters.
const MAX_COUNTRY: usize = 8;

/// A field of the part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Campaign,
    CampaignId,
    Channel,
    Source,
    Medium,
    Term,
    Content,
    ClickId,
    ClickIdType,
    Referrer,
    Cost,
    Touches,
    FirstTouchAt,
    LastTouchAt,
    Credit,
}

/// An agent of type `attribution`.
pub(super) struct Attribution {
    url: Option<Path>,
    referrer: Option<Path>,
    country: Option<Path>,
    model: AttributionModel,
    window_ms: i64,
    fields: Box<[Option<Field>]>,
    referrers: Referrers,
    campaigns: Option<Arc<Stack>>,
    /// Declared values, which fill what the campaigns' store leaves open.
    declared: Option<Vec<(usize, Value)>>,
}

impl Attribution {
    /// Reads the list of referrers. `campaigns` is the line to the campaigns' store, whose answers have the columns of
    /// [`crate::service::CAMPAIGN_COLUMNS`].
    pub fn new(spec: &AgentSpec, own: &AttributionSpec, campaigns: Option<Arc<Line>>) -> Result<Self, AgentError> {
        let referrers = Referrers::load(own.referrers.as_deref()).map_err(|fault| AgentError::Referrers {
            agent: spec.name.clone(),
            path: own.referrers.clone().unwrap_or_default(),
            line: fault.line,
            message: fault.message,
        })?;
        let fields = fields(&spec.output, |name| {
            Some(match name {
                "campaign" => Field::Campaign,
                "campaign_id" => Field::CampaignId,
                "channel" => Field::Channel,
                "utm_source" => Field::Source,
                "utm_medium" => Field::Medium,
                "utm_term" => Field::Term,
                "utm_content" => Field::Content,
                "click_id" => Field::ClickId,
                "click_id_type" => Field::ClickIdType,
                "referrer" => Field::Referrer,
                "cost" => Field::Cost,
                "touches" => Field::Touches,
                "first_touch_at" => Field::FirstTouchAt,
                "last_touch_at" => Field::LastTouchAt,
                "credit" => Field::Credit,
                _ => return None,
            })
        });
        let mut asks = spec.clone();
        // Declared values stand in for fields of the part, not for columns of the store.
        asks.fallback.retain(|fallback| matches!(fallback, Fallback::Cache));
        let columns: Vec<usize> = (0..crate::service::CAMPAIGN_COLUMNS.len()).collect();
        Ok(Attribution {
            url: input(spec, "url").cloned(),
            referrer: input(spec, "referrer").cloned(),
            country: input(spec, "country").cloned(),
            model: own.model,
            window_ms: i64::try_from(own.window.as_millis()).unwrap_or(i64::MAX),
            fields,
            referrers,
            campaigns: campaigns.map(|line| Stack::new(&asks, line, columns)),
            declared: spec.fallback.iter().find_map(|fallback| match fallback {
                Fallback::Values(values) => Some(values.clone()),
                _ => None,
            }),
        })
    }

    fn touch(&self, record: &Record) -> Option<Touch> {
        let url = text(self.url.as_ref(), record);
        let referrer = text(self.referrer.as_ref(), record);
        let params = Params::read(url.as_deref(), &record.event.campaign);
        Touch::read(params, url.as_deref(), referrer.as_deref(), record.event_time_ms(), &self.referrers)
    }

    /// The keys under which the campaigns' store may know the link, the most precise first; `None` where nothing marks
    /// it.
    fn key(&self, record: &Record) -> Option<Key> {
        let url = text(self.url.as_ref(), record);
        let params = Params::read(url.as_deref(), &record.event.campaign);
        let country = text(self.country.as_ref(), record)
            .filter(|country| country.len() <= MAX_COUNTRY && country.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        let mut keys = String::with_capacity(160);
        let mut add = |own: &str| {
            // Writing to a String does not fail. A line break stands in no key: texts of links are cleaned.
            if let Some(country) = country.as_deref().filter(|country| !country.is_empty()) {
                let _ = writeln!(keys, "{own}:{country}");
            }
            let _ = writeln!(keys, "{own}");
        };
        if let Some((kind, id)) = &params.click {
            add(&format!("campaign:{}:{}", kind.name, &**id));
        }
        if params.source.is_some() || params.medium.is_some() || params.campaign.is_some() {
            let of = |word: &Option<Word>| word.as_deref().unwrap_or_default().to_owned();
            add(&format!("campaign:utm:{}/{}/{}", of(&params.source), of(&params.medium), of(&params.campaign)));
        }
        keys.pop();
        (!keys.is_empty()).then(|| keys.into())
    }

    /// The part for an event of that time: what the history says, and how the lookup went.
    fn part(&self, at_ms: i64, history: &History, asked: &Provenance) -> Part {
        let view = history.view(at_ms, self.window_ms);
        let credits = share(self.model, view);
        let value = |field: &Option<Field>| match (field, &credits) {
            (Some(Field::Touches), _) => Value::Int(i64::try_from(view.count()).unwrap_or(i64::MAX)),
            (Some(field), Some(credits)) => show(*field, credits, view),
            _ => Value::Null,
        };
        let mut part = Part { fields: self.fields.iter().map(value).collect(), provenance: asked.clone() };
        if asked.outcome == Outcome::Pending {
            // Nothing was asked.
            part.provenance = Provenance { outcome: Outcome::Ok, source: Some(Source::State), ..Provenance::default() };
        } else if asked.reason.is_some() && asked.outcome != Outcome::Stale {
            self.fill(&mut part);
        }
        part
    }

    /// Declared values for what is open.
    fn fill(&self, part: &mut Part) {
        let Some(declared) = &self.declared else { return };
        for (field, value) in declared {
            if let Some(open) = part.fields.get_mut(*field).filter(|open| open.is_null()) {
                *open = value.clone();
            }
        }
        part.provenance.outcome = Outcome::Fallback;
        part.provenance.source = Some(Source::Default);
    }
}

impl Keyed for Attribution {
    type State = History;

    fn start(&self, record: &Record) -> Step {
        let asks = self.campaigns.as_ref().and_then(|stack| Some((stack, self.key(record)?)));
        match asks.map(|(stack, key)| stack.start(key)) {
            None => Step::Ordered(Part::default()),
            Some(Reply::Now(part)) => Step::Ordered(part),
            Some(Reply::Later(part)) => Step::Pending(part),
        }
    }

    fn count(&self, record: &Record, part: Part, state: &mut History) -> Ran {
        let changed = self.touch(record).is_some_and(|mut touch| {
            touch.found = found(&part);
            state.add(touch, self.window_ms)
        });
        Ran { part: self.part(record.event_time_ms(), state, &part.provenance), changed }
    }

    fn recall(&self, record: &Record, part: Part, state: &History) -> Part {
        self.part(record.event_time_ms(), state, &part.provenance)
    }
}

/// The text at that place of the record.
fn text(path: Option<&Path>, record: &Record) -> Option<Arc<str>> {
    match path?.get(record) {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

/// What the campaigns' store said, column by column; `None` where it said nothing.
fn found(part: &Part) -> Option<Found> {
    let word = |index| part.field(index).as_str().and_then(Word::new);
    let found = Found {
        campaign: word(0),
        id: word(1),
        channel: word(2),
        cost: match part.field(3) {
            Value::Float(cost) => Some(*cost),
            _ => None,
        },
    };
    (found != Found::default()).then_some(found)
}

fn show(field: Field, credits: &Credits, view: View) -> Value {
    let winner = credits.winner;
    let word = |word: Option<&Word>| word.map_or(Value::Null, Word::value);
    let found = winner.found.as_ref();
    match field {
        Field::Campaign => word(winner.campaign_name()),
        Field::CampaignId => word(found.and_then(|found| found.id.as_ref()).or(winner.id.as_ref())),
        Field::Channel => match found.and_then(|found| found.channel.as_ref()) {
            Some(channel) => channel.value(),
            None => Value::from(winner.channel.name()),
        },
        Field::Source => word(winner.source.as_ref()),
        Field::Medium => word(winner.medium.as_ref()),
        Field::Term => word(winner.term.as_ref()),
        Field::Content => word(winner.content.as_ref()),
        Field::ClickId => word(winner.click.as_ref().map(|(_, id)| id)),
        Field::ClickIdType => word(winner.click.as_ref().map(|(kind, _)| kind)),
        Field::Referrer => word(winner.referrer.as_ref()),
        Field::Cost => found.and_then(|found| found.cost).into(),
        Field::Touches => Value::Null,
        Field::FirstTouchAt => view.touches.first().map(|touch| touch.at).into(),
        Field::LastTouchAt => view.touches.last().map(|touch| touch.at).into(),
        Field::Credit => Value::List(credits.texts().iter().map(Value::text).collect()),
    }
}

#[cfg(test)]
mod tests;
