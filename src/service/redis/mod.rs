//! Campaign data in Redis: JSON texts, a batch of lookups in one pipeline.
//!
//! A key of the policy is a list of Redis keys, one a line, the most precise first; the first that is there counts.
//! Read with `GETRANGE`, which reads no more than we take whatever lies there, and which says of a hash or list that it
//! is no text. Formats: "GETRANGE" and "RESP protocol description" in the documentation of Redis. One server (or a
//! proxy that looks like one); Redis Cluster's redirections are not followed.

mod wire;

use std::sync::Arc;

use futures::{FutureExt, future::BoxFuture};
use redis::{Pipeline, Value as Reply};
use serde_json::Value as Json;
use wire::Wire;

use crate::{
    event::Type,
    policy::{Call, CallError, Found, Key, Kind, Response},
    topology::RedisSpec,
};

use super::{ServiceError, convert};

/// What an answer says, in this order.
pub(super) const COLUMNS: [(&str, Type); 4] =
    [("campaign", Type::Text), ("campaign_id", Type::Text), ("channel", Type::Text), ("cost", Type::Float)];

/// The most that one value may hold, in bytes; one more is asked for, to see that there is more.
const MAX_VALUE: usize = 16 * 1024;

/// Redis, ready to be asked.
pub(super) struct Redis {
    wire: Arc<Wire>,
}

impl Redis {
    /// Prepares the client; connects when the first question comes.
    pub fn new(service: &str, spec: &RedisSpec) -> Result<Self, ServiceError> {
        let wire = Wire::new(spec.url.expose())
            .map_err(|message| ServiceError::Redis { service: service.into(), message: message.to_string() })?;
        Ok(Redis { wire: Arc::new(wire) })
    }
}

impl Call for Redis {
    fn call(&self, keys: Vec<Key>) -> BoxFuture<'static, Response> {
        let wire = self.wire.clone();
        async move {
            let (pipeline, counts) = questions(&keys);
            wire.ask(pipeline).await.and_then(|replies| answers(replies, &counts)).into()
        }
        .boxed()
    }
}

/// One pipeline for all keys, and how many commands of it belong to each.
fn questions(keys: &[Key]) -> (Pipeline, Vec<usize>) {
    let mut pipeline = redis::pipe();
    let mut counts = Vec::with_capacity(keys.len());
    for key in keys {
        let before = pipeline.len();
        for redis_key in key.lines() {
            pipeline.cmd("GETRANGE").arg(redis_key).arg(0).arg(MAX_VALUE);
        }
        counts.push(pipeline.len() - before);
    }
    (pipeline, counts)
}

/// One result per key. `Err` is what concerns all of them: the server refuses or cannot.
fn answers(replies: Vec<Reply>, counts: &[usize]) -> Result<Vec<Result<Found, CallError>>, CallError> {
    let mut replies = replies.into_iter();
    let mut answers = Vec::with_capacity(counts.len());
    for count in counts {
        let mut answer = Ok(None);
        // Read to the end, also past the first that is there: the rest belongs to this key too.
        for reply in replies.by_ref().take(*count) {
            let one = match reply {
                Reply::ServerError(error) if error.code() == "WRONGTYPE" => {
                    Err(bad("a key holds no text; write it with SET, as JSON"))
                }
                Reply::ServerError(error) => return Err(wire::refused(error.code())),
                Reply::BulkString(text) if text.is_empty() => Ok(None),
                Reply::BulkString(text) => read(&text).map(Some),
                Reply::Nil => Ok(None),
                _ => Err(bad("an answer that is no text")),
            };
            if matches!(answer, Ok(None)) {
                answer = one;
            }
        }
        answers.push(answer);
    }
    Ok(answers)
}

/// Reads one JSON object.
fn read(text: &[u8]) -> Result<Arc<[crate::event::Value]>, CallError> {
    if text.len() > MAX_VALUE {
        return Err(bad(&format!("a value of more than {MAX_VALUE} bytes")));
    }
    // The text itself may hold what is nobody's business, so only the place is told.
    let json: Json = serde_json::from_slice(text)
        .map_err(|error| bad(&format!("broken JSON at line {}, column {}", error.line(), error.column())))?;
    let Json::Object(fields) = json else { return Err(bad("JSON that is no object")) };
    let values = COLUMNS.iter().map(|(name, ty)| {
        convert::value(fields.get(*name), *ty).map_err(|found| bad(&format!("field {name}: {found}")))
    });
    values.collect()
}

fn bad(message: &str) -> CallError {
    CallError::new(Kind::BadResponse, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Value;

    fn text(text: &str) -> Reply {
        Reply::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn the_most_precise_key_that_is_there_counts() {
        let keys: Vec<Key> = vec!["a:GB\na".into(), "b".into(), "c:GB\nc".into()];
        let (pipeline, counts) = questions(&keys);
        assert_eq!((pipeline.len(), &*counts), (5, &[2, 1, 2][..]));
        let replies = vec![text(""), text(r#"{"campaign":"A"}"#), text(""), text(r#"{"cost":"1.5"}"#), text("{}")];
        let answers = answers(replies, &counts).unwrap();
        let field = |answer: usize, field: usize| answers[answer].as_ref().unwrap().as_ref().unwrap()[field].clone();
        assert_eq!(field(0, 0), Value::text("A"));
        assert_eq!(answers[1], Ok(None));
        assert_eq!((field(2, 0), field(2, 3)), (Value::Null, Value::Float(1.5)));
    }

    #[test]
    fn a_value_that_is_no_campaign_fails_its_own_key_only() {
        for wrong in
            ["[]", "\"spring\"", "{", r#"{"cost":"cheap"}"#, &format!("{{\"x\":\"{}\"}}", "x".repeat(MAX_VALUE))]
        {
            let answers = answers(vec![text(wrong), text(r#"{"campaign":"A"}"#)], &[1, 1]).unwrap();
            let error = answers[0].as_ref().unwrap_err();
            assert_eq!(error.kind, Kind::BadResponse);
            assert!(!error.message.contains("cheap"), "{error}");
            assert!(answers[1].is_ok());
        }
    }

    #[test]
    fn a_password_does_not_get_into_an_error() {
        let spec = RedisSpec { url: "redis://:hunter2@[::1".into() };
        let error = Redis::new("attribution", &spec).err().unwrap().to_string();
        assert!(error.contains("attribution") && !error.contains("hunter2"), "{error}");
    }
}
