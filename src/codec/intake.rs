//! What intake accepts: the rules that an event must keep beyond its schema, and the key it goes by.

use std::sync::Arc;

use crate::{
    event::{Class, Event, Path, Record, Value},
    topology::codes,
};

/// A key is at most so long, in bytes: it stands in every record of every topic.
pub const MAX_KEY_BYTES: usize = 1_024;
/// An event's texts are at most so long together, in bytes: below the brokers' usual limit of 1 MiB, with room for
/// the parts of all agents.
pub const MAX_EVENT_BYTES: usize = 512 * 1024;
/// 1990-01-01 UTC in milliseconds since 1970: before, a clock was never set, or seconds were taken for milliseconds.
pub const EARLIEST_MS: i64 = 631_152_000_000;
/// How far a producer's clock may be ahead, in milliseconds.
pub const MAX_AHEAD_MS: i64 = 24 * 60 * 60 * 1_000;

/// Why an event is a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code} {field}: {message}")]
pub struct Rejection {
    /// `HW602` (breaks a rule), `HW603` (no key) or `HW604` (too large).
    pub code: &'static str,
    pub class: Class,
    /// The event's field, as producers write it.
    pub field: &'static str,
    pub message: String,
}

/// Where a raw record lies, for events without an id.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub offset: i64,
}

/// Checks an event and gives the key it goes by: the first of `key_paths` that is set. An event without an id gets
/// `<topic>-<partition>-<offset>`. `now_ms` is milliseconds since 1970 UTC.
pub fn accept(
    mut event: Event,
    key_paths: &[Path],
    place: Place<'_>,
    now_ms: i64,
) -> Result<(Arc<str>, Event), Rejection> {
    let rule = |field, message| Rejection { code: codes::HW602, class: Class::Schema, field, message };
    if event.id.is_empty() {
        event.id = format!("{}-{}-{}", place.topic, place.partition, place.offset).into();
    }
    let unset = |id: &Option<Arc<str>>| id.as_deref().unwrap_or_default().is_empty();
    if unset(&event.user_id) && unset(&event.anonymous_id) {
        return Err(rule("user_id", "neither user_id nor anonymous_id is set: whose event is it?".into()));
    }
    if event.occurred_at_ms < EARLIEST_MS {
        let at = event.occurred_at_ms;
        return Err(rule("occurred_at", format!("{at} is before 1990; it counts milliseconds since 1970 UTC")));
    }
    if event.occurred_at_ms > now_ms.saturating_add(MAX_AHEAD_MS) {
        let at = event.occurred_at_ms;
        return Err(rule(
            "occurred_at",
            format!("{at} is more than 24 h ahead; it counts milliseconds since 1970 UTC, not micro- or nanoseconds"),
        ));
    }
    let bytes = size(&event);
    if bytes > MAX_EVENT_BYTES {
        let message = format!("its texts hold {bytes} bytes, at most {MAX_EVENT_BYTES} are accepted");
        return Err(Rejection { code: codes::HW604, class: Class::TooLarge, field: "event", message });
    }
    let (key, event) = key_of(event, key_paths)?;
    Ok((key, event))
}

fn key_of(event: Event, paths: &[Path]) -> Result<(Arc<str>, Event), Rejection> {
    // Paths read records; a record without parts around the event costs nothing.
    let record = Record { event, ..Record::default() };
    let found = paths.iter().map(|path| path.get(&record)).find(is_set);
    let no_key = |message| Rejection { code: codes::HW603, class: Class::Key, field: "key", message };
    let key: Arc<str> = match found {
        Some(Value::Text(text)) => text,
        Some(value) => value.to_string().into(),
        None => return Err(no_key("none of the fields in source.key is set".into())),
    };
    if key.len() > MAX_KEY_BYTES {
        return Err(no_key(format!("the key has {} bytes, at most {MAX_KEY_BYTES} are accepted", key.len())));
    }
    Ok((key, record.event))
}

fn is_set(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Text(text) => !text.is_empty(),
        _ => true,
    }
}

/// The bytes of all texts.
fn size(event: &Event) -> usize {
    let optional = [
        &event.user_id,
        &event.anonymous_id,
        &event.url,
        &event.referrer,
        &event.ip,
        &event.user_agent,
        &event.description,
        &event.currency,
    ];
    let maps = [&event.client_hints, &event.campaign, &event.properties];
    event.id.len()
        + event.kind.len()
        + event.name.len()
        + optional.into_iter().flatten().map(|text| text.len()).sum::<usize>()
        + maps.into_iter().flatten().map(|(key, value)| key.len() + value.len()).sum::<usize>()
        + event.consent.keys().map(|key| key.len() + 1).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventField, EventMap};

    const NOW_MS: i64 = 1_790_000_000_000;
    const PLACE: Place<'static> = Place { topic: "events.raw", partition: 3, offset: 99_120 };

    fn event() -> Event {
        Event { id: "e-1".into(), user_id: Some("u_1842".into()), occurred_at_ms: NOW_MS, ..Event::default() }
    }

    fn keys() -> Vec<Path> {
        vec![Path::Event(EventField::UserId), Path::Event(EventField::AnonymousId)]
    }

    fn rejection(event: Event) -> (&'static str, &'static str) {
        let rejection = accept(event, &keys(), PLACE, NOW_MS).unwrap_err();
        (rejection.code, rejection.field)
    }

    #[test]
    fn the_first_field_that_is_set_is_the_key() {
        let (key, _) = accept(event(), &keys(), PLACE, NOW_MS).unwrap();
        assert_eq!(&*key, "u_1842");
        let anonymous = Event { user_id: Some("".into()), anonymous_id: Some("a-7".into()), ..event() };
        let (key, kept) = accept(anonymous, &keys(), PLACE, NOW_MS).unwrap();
        assert_eq!(&*key, "a-7");
        assert_eq!(kept.anonymous_id.as_deref(), Some("a-7"));
    }

    #[test]
    fn an_event_without_an_id_is_named_by_its_place() {
        let (_, named) = accept(Event { id: "".into(), ..event() }, &keys(), PLACE, NOW_MS).unwrap();
        assert_eq!(&*named.id, "events.raw-3-99120");
    }

    #[test]
    fn an_event_of_nobody_is_refused() {
        assert_eq!(rejection(Event { user_id: None, ..event() }), ("HW602", "user_id"));
    }

    #[test]
    fn an_event_without_a_key_is_refused() {
        let path = [Path::Entry(EventMap::Properties, "account".into())];
        let rejection = accept(event(), &path, PLACE, NOW_MS).unwrap_err();
        assert_eq!((rejection.code, rejection.class), ("HW603", Class::Key));
        assert_eq!(rejection.to_string(), "HW603 key: none of the fields in source.key is set");
    }

    #[test]
    fn a_key_may_have_1024_bytes_and_no_more() {
        let long = |len| Event { user_id: Some("k".repeat(len).into()), ..event() };
        assert!(accept(long(MAX_KEY_BYTES), &keys(), PLACE, NOW_MS).is_ok());
        assert_eq!(rejection(long(MAX_KEY_BYTES + 1)), ("HW603", "key"));
    }

    #[test]
    fn a_time_in_seconds_or_microseconds_is_refused() {
        let at = |occurred_at_ms| Event { occurred_at_ms, ..event() };
        assert_eq!(rejection(at(NOW_MS / 1_000)), ("HW602", "occurred_at"));
        assert_eq!(rejection(at(NOW_MS * 1_000)), ("HW602", "occurred_at"));
        assert!(accept(at(NOW_MS + MAX_AHEAD_MS), &keys(), PLACE, NOW_MS).is_ok());
        assert_eq!(rejection(at(NOW_MS + MAX_AHEAD_MS + 1)), ("HW602", "occurred_at"));
        assert_eq!(rejection(at(0)), ("HW602", "occurred_at"));
    }

    #[test]
    fn an_event_that_leaves_no_room_for_parts_is_refused() {
        let mut large = event();
        large.properties.insert("blob".into(), "x".repeat(MAX_EVENT_BYTES).into());
        assert_eq!(rejection(large), ("HW604", "event"));
    }
}
