//! Browser, operating system, class of device and bots, from the user-agent header and, where there are any, from
//! client hints, which say more and are believed first.

mod bots;
mod browsers;
mod hints;
mod marks;
mod parse;
mod systems;

use std::{collections::BTreeMap, path::Path as FilePath, sync::Arc};

use bots::Bots;
pub use bots::BotsError;
use parse::{Device, parse};

use crate::{
    event::{EventMap, Outcome, Part, Path, Reason, Record, Source, Value},
    topology::AgentSpec,
};

use super::{Agent, AgentError, Step, fields, input};

/// The longest header that is looked at; longer ones are cut, for what matters stands in front.
const MAX_HEADER: usize = 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Browser,
    BrowserVersion,
    Os,
    OsVersion,
    Device,
    Vendor,
    Model,
    Bot,
    BotReason,
}

impl Field {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "browser" => Field::Browser,
            "browser_version" => Field::BrowserVersion,
            "os" => Field::Os,
            "os_version" => Field::OsVersion,
            "device" => Field::Device,
            "vendor" => Field::Vendor,
            "model" => Field::Model,
            "bot" => Field::Bot,
            "bot_reason" => Field::BotReason,
            _ => return None,
        })
    }

    fn of(self, device: &Device<'_>) -> Value {
        let text = |text: Option<&str>| text.map_or(Value::Null, Value::text);
        match self {
            Field::Browser => text(device.browser.as_deref()),
            Field::BrowserVersion => text(device.browser_version.as_deref()),
            Field::Os => text(device.os.as_deref()),
            Field::OsVersion => text(device.os_version.as_deref()),
            Field::Device => text(device.class),
            Field::Vendor => text(device.vendor),
            Field::Model => text(device.model),
            Field::Bot => Value::Bool(device.bot_reason.is_some()),
            Field::BotReason => device.bot_reason.clone().map_or(Value::Null, Value::Text),
        }
    }
}

/// An agent of type `user_agent`.
pub(super) struct UserAgent {
    user_agent: Option<Path>,
    hints: Option<Path>,
    fields: Box<[Option<Field>]>,
    bots: Arc<Bots>,
    /// The part of an empty header, which no browser sends.
    blank: Part,
}

impl UserAgent {
    /// Finds its inputs and fields, and reads the list of bots: the one at `path` or the one that ships.
    pub fn new(spec: &AgentSpec, path: Option<&FilePath>) -> Result<Self, AgentError> {
        let bots = path.map_or_else(Bots::shipped, Bots::read);
        let bots = bots.map_err(|error| AgentError::Bots { agent: spec.name.clone(), error })?;
        let fields = fields(&spec.output, Field::from_name);
        let nobody = Device { class: Some("bot"), bot_reason: Some("empty user agent".into()), ..Device::default() };
        Ok(UserAgent {
            user_agent: input(spec, "user_agent").cloned(),
            hints: input(spec, "hints").cloned(),
            blank: Part::ok(Source::Local, shown(&fields, &nobody)),
            fields,
            bots,
        })
    }

    /// The part for these headers; hints by lower-case header name.
    fn recognise<'a>(&self, user_agent: Option<&'a str>, hint: impl Fn(&str) -> Option<&'a str>) -> Part {
        let short = |text: &'a str| &text[..text.floor_char_boundary(MAX_HEADER)];
        let hints = hints::Hints::read(|name| hint(name).map(short));
        let user_agent = user_agent.map(|text| short(text.trim()));
        match user_agent {
            // Servers send events too, without the header; only who sends an empty one has something to hide.
            None if hints.is_empty() => Part::without(Outcome::Skipped, Reason::MissingInput),
            Some("" | "-") if hints.is_empty() => self.blank.clone(),
            _ => {
                let device = parse(user_agent.unwrap_or_default(), &hints, &self.bots);
                Part::ok(Source::Local, shown(&self.fields, &device))
            }
        }
    }
}

fn shown(fields: &[Option<Field>], device: &Device<'_>) -> Vec<Value> {
    fields.iter().map(|field| field.map_or(Value::Null, |field| field.of(device))).collect()
}

impl Agent for UserAgent {
    fn start(&self, record: &Record) -> Step {
        let user_agent = self.user_agent.as_ref().map(|path| path.get(record));
        let user_agent = user_agent.as_ref().and_then(Value::as_str);
        Step::Done(match &self.hints {
            None => self.recognise(user_agent, |_| None),
            // The usual input, read in place instead of as a copy of the map.
            Some(Path::Map(EventMap::ClientHints)) => {
                let hints: &BTreeMap<Arc<str>, Arc<str>> = &record.event.client_hints;
                self.recognise(user_agent, |name| hints.get(name).map(|text| &**text))
            }
            Some(path) => match path.get(record) {
                Value::Map(map) => self.recognise(user_agent, |name| map.get(name).and_then(Value::as_str)),
                _ => self.recognise(user_agent, |_| None),
            },
        })
    }
}

#[cfg(test)]
mod tests;
