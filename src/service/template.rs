//! Text with holes: an agent's inputs rendered into a key, URL or body.

use std::{fmt::Write as _, sync::Arc};

use crate::{
    event::{Path, Record, Value},
    policy::Key,
};

/// The longest key: longer inputs are no lookup, and servers refuse longer URLs anyway.
const MAX_KEY: usize = 8 * 1024;

/// How an input is written at its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// As it is.
    Plain,
    /// Percent-encoded but for the unreserved characters (RFC 3986, 2.3).
    Url,
    /// Inside a JSON string.
    Json,
}

/// A piece of a template: text, or a hole for the input of that name.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Piece<T> {
    Text(String),
    Hole(T, Encoding),
}

/// A template as the topology writes it: `{name}` is a hole.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Template {
    pub pieces: Vec<Piece<Arc<str>>>,
}

impl Template {
    /// One hole and nothing else.
    pub fn hole(name: &Arc<str>) -> Self {
        Template { pieces: vec![Piece::Hole(name.clone(), Encoding::Plain)] }
    }

    /// Reads a URL. The scheme and host must be fixed: an event must not choose whom we call.
    pub fn url(text: &str) -> Result<Self, String> {
        if text.chars().any(|letter| letter.is_control() || letter.is_whitespace()) {
            return Err("it holds a blank or a line break".to_owned());
        }
        let mut template = Template::default();
        template.parse(text, Encoding::Url);
        let authority_end = text.find("://").map(|scheme| scheme + 3).and_then(|start| {
            let rest = text.get(start..)?;
            Some(start + rest.find(['/', '?', '#']).unwrap_or(rest.len()))
        });
        let hole = text.find('{').filter(|_| template.pieces.iter().any(|piece| matches!(piece, Piece::Hole(..))));
        if hole.is_some_and(|hole| authority_end.is_none_or(|end| hole < end)) {
            return Err("an input must not stand in the scheme or host".to_owned());
        }
        let sample = template.pieces.iter().map(|piece| match piece {
            Piece::Text(text) => text.as_str(),
            Piece::Hole(..) => "x",
        });
        match url::Url::parse(&sample.collect::<String>()) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(template),
            Ok(_) => Err("it must begin with http:// or https://".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Reads a JSON body whose texts may hold holes.
    pub fn json(json: &serde_json::Value) -> Self {
        let mut template = Template::default();
        template.walk(json);
        template
    }

    /// The same followed by another, the two told apart by a line break, which neither holds.
    pub fn then(mut self, other: Template) -> Self {
        self.text("\n");
        self.pieces.extend(other.pieces);
        self
    }

    fn text(&mut self, text: &str) {
        match self.pieces.last_mut() {
            Some(Piece::Text(last)) => last.push_str(text),
            _ => self.pieces.push(Piece::Text(text.to_owned())),
        }
    }

    /// Splits text at its holes; a brace that opens no name is a brace.
    fn parse(&mut self, mut text: &str, encoding: Encoding) {
        let literal = |template: &mut Self, text: &str| match encoding {
            Encoding::Json => template.text(&json_inside(text)),
            _ => template.text(text),
        };
        while let Some(open) = text.find('{') {
            let after = &text[open + 1..];
            let name = after.find('}').map(|close| &after[..close]).filter(|name| is_name(name));
            let Some(name) = name else {
                literal(self, &text[..=open]);
                text = after;
                continue;
            };
            literal(self, &text[..open]);
            self.pieces.push(Piece::Hole(name.into(), encoding));
            text = &after[name.len() + 1..];
        }
        literal(self, text);
    }

    fn walk(&mut self, json: &serde_json::Value) {
        match json {
            serde_json::Value::String(text) => {
                self.text("\"");
                self.parse(text, Encoding::Json);
                self.text("\"");
            }
            serde_json::Value::Array(items) => {
                self.text("[");
                for (index, item) in items.iter().enumerate() {
                    self.text(if index > 0 { "," } else { "" });
                    self.walk(item);
                }
                self.text("]");
            }
            serde_json::Value::Object(fields) => {
                self.text("{");
                for (index, (name, field)) in fields.iter().enumerate() {
                    self.text(if index > 0 { ",\"" } else { "\"" });
                    self.text(&json_inside(name));
                    self.text("\":");
                    self.walk(field);
                }
                self.text("}");
            }
            scalar => self.text(&scalar.to_string()),
        }
    }

    /// Binds the holes to an agent's inputs. `Err` is the hole that has none.
    pub fn bind(&self, inputs: &[(Arc<str>, Path)]) -> Result<Keys, Arc<str>> {
        let pieces = self.pieces.iter().map(|piece| match piece {
            Piece::Text(text) => Ok(Piece::Text(text.clone())),
            Piece::Hole(name, encoding) => {
                let input = inputs.iter().find(|(input, _)| input == name).ok_or_else(|| name.clone())?;
                Ok(Piece::Hole(input.1.clone(), *encoding))
            }
        });
        Ok(Keys { pieces: pieces.collect::<Result<_, Arc<str>>>()? })
    }
}

/// Renders the key of a record for one agent.
#[derive(Debug, Clone, PartialEq)]
pub struct Keys {
    pieces: Vec<Piece<Path>>,
}

impl Keys {
    /// The key; `None` when an input is absent, empty, or cannot stand at its place.
    pub fn key(&self, record: &Record) -> Option<Key> {
        if let [Piece::Hole(path, Encoding::Plain)] = &*self.pieces
            && let Value::Text(text) = path.get(record)
        {
            // The common case copies a pointer.
            return (!text.is_empty() && text.len() <= MAX_KEY).then_some(text);
        }
        let mut key = String::with_capacity(128);
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => key.push_str(text),
                Piece::Hole(path, encoding) => {
                    let value = path.get(record);
                    match &value {
                        Value::Null => return None,
                        Value::Text(text) => write_input(&mut key, text, *encoding)?,
                        other => write_input(&mut key, &other.to_string(), *encoding)?,
                    }
                }
            }
        }
        (key.len() <= MAX_KEY).then(|| key.into())
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn json_inside(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

fn write_input(out: &mut String, text: &str, encoding: Encoding) -> Option<()> {
    if text.is_empty() || text.len() > MAX_KEY {
        return None;
    }
    match encoding {
        Encoding::Plain => out.push_str(text),
        Encoding::Json => out.push_str(&json_inside(text)),
        // A URL parser takes a segment of dots, also an encoded one, as a step up the path.
        Encoding::Url if matches!(text, "." | "..") => return None,
        Encoding::Url => {
            for byte in text.bytes() {
                if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                    out.push(char::from(byte));
                } else {
                    // Writing to a String does not fail.
                    let _ = write!(out, "%{byte:02X}");
                }
            }
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::event::{EventField, EventMap};

    fn inputs() -> Vec<(Arc<str>, Path)> {
        vec![
            ("domain".into(), Path::Entry(EventMap::Properties, "domain".into())),
            ("user_id".into(), Path::Event(EventField::UserId)),
        ]
    }

    fn record(domain: &str) -> Record {
        let mut record = Record::default();
        record.event.properties.insert("domain".into(), domain.into());
        record.event.user_id = Some("u1".into());
        record
    }

    fn render(template: &Template, domain: &str) -> Option<String> {
        template.bind(&inputs()).unwrap().key(&record(domain)).map(|key| key.to_string())
    }

    #[test]
    fn an_input_is_percent_encoded_into_a_url() {
        let url = Template::url("https://intent.example/v2/{domain}?u={user_id}&x={}").unwrap();
        let rendered = render(&url, "a/b?c&ü .d").unwrap();
        assert_eq!(rendered, "https://intent.example/v2/a%2Fb%3Fc%26%C3%BC%20.d?u=u1&x={}");
    }

    #[test]
    fn an_input_cannot_leave_its_place_in_the_path() {
        let url = Template::url("https://intent.example/v2/companies/{domain}/intent").unwrap();
        for domain in ["", ".", "..", &"x".repeat(9000)] {
            assert_eq!(render(&url, domain), None, "{domain:.10}");
        }
        assert_eq!(url.bind(&inputs()).unwrap().key(&Record::default()), None);
    }

    #[test]
    fn an_input_is_escaped_into_a_json_body() {
        let body = Template::json(&json!({"who": "id {domain}!", "n": [1, null, true, "{user_id}"], "{domain}": "x"}));
        let text = render(&body, "a\"b\n").unwrap();
        let parsed: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(parsed, json!({"who": "id a\"b\n!", "n": [1, null, true, "u1"], "{domain}": "x"}));
    }

    #[test]
    fn an_event_does_not_choose_the_host() {
        for url in ["https://{domain}/x", "https://a.{domain}", "{domain}/x", "{domain}://a/b"] {
            assert!(Template::url(url).is_err(), "{url}");
        }
        for url in ["ftp://a.example/{domain}", "not a url", "https://", "https://a.example/\nb"] {
            assert!(Template::url(url).is_err(), "{url}");
        }
        assert!(Template::url("https://a.example?d={domain}").is_ok());
    }

    #[test]
    fn a_hole_without_an_input_is_named() {
        let url = Template::url("https://a.example/{tenant}").unwrap();
        assert_eq!(&*url.bind(&inputs()).unwrap_err(), "tenant");
    }

    proptest! {
        #[test]
        fn whatever_the_input_the_host_and_the_rest_of_the_path_stay(domain in any::<String>()) {
            let url = Template::url("https://intent.example/v2/{domain}/intent?k=1").unwrap();
            if let Some(rendered) = render(&url, &domain) {
                let parsed = url::Url::parse(&rendered).unwrap();
                prop_assert_eq!(parsed.host_str(), Some("intent.example"));
                prop_assert_eq!(parsed.path_segments().unwrap().count(), 3);
                prop_assert_eq!(parsed.query(), Some("k=1"));
            }
        }

        #[test]
        fn whatever_the_input_a_body_is_that_input_in_json(domain in "\\PC{1,40}|[\\x00-\\x1f\"\\\\]{1,10}") {
            let text = render(&Template::json(&json!({"d": "{domain}"})), &domain).unwrap();
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), json!({"d": domain}));
        }
    }
}
