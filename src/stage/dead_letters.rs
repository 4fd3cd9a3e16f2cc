//! Makes and writes dead letters: the original bytes, where they came from, and what is wrong in words.

use std::{fmt::Write, sync::Arc};

use sha2::{Digest, Sha256};

use crate::{
    clock,
    codec::{CodecError, DeadLetterEncoder, SchemaCache, preview},
    engine::{Outputs, PushError},
    event::{Class, DeadLetter},
    kafka::Input,
    topology::codes,
    worker::Burial,
};

/// Key, headers and value together; what does not fit any more is left out, the value for its hash. With the rest a dead
/// letter stays below 1 MiB, brokers' usual limit, so that it is never refused itself.
const MAX_ORIGINAL: usize = 900 * 1024;
/// Of the key, which stands in the record and in the letter.
const MAX_KEY: usize = 64 * 1024;
/// Producer and trace context are cut there.
const MAX_LABEL: usize = 256;
/// Messages are cut there.
const MAX_MESSAGE: usize = 2 * 1024;

/// A stage's way to the dead-letter topic.
pub struct DeadLetters {
    stage: Arc<str>,
    encoder: DeadLetterEncoder,
    schemas: Arc<SchemaCache>,
    /// Index of the dead-letter topic among the stage's outputs.
    topic: usize,
}

impl DeadLetters {
    /// For a stage, with the id that `DeadLetter` is registered under. `schemas` serve the previews.
    pub fn new(stage: Arc<str>, schema_id: u32, topic: usize, schemas: Arc<SchemaCache>) -> Result<Self, CodecError> {
        Ok(DeadLetters { stage, encoder: DeadLetterEncoder::new(schema_id)?, schemas, topic })
    }

    /// A dead letter of this record.
    pub fn letter(
        &self,
        input: &Input<'_>,
        code: &'static str,
        class: Class,
        message: impl Into<String>,
    ) -> DeadLetter {
        let preview = input.value.and_then(|value| preview(&self.schemas, value));
        DeadLetter { preview, ..self.unread(input, code, class, message.into()) }
    }

    /// A dead letter of a record that is not looked into.
    fn unread(&self, input: &Input<'_>, code: &'static str, class: Class, mut message: String) -> DeadLetter {
        truncate(&mut message, MAX_MESSAGE);
        let key = input.key.filter(|key| key.len() <= MAX_KEY);
        let mut room = MAX_ORIGINAL - 2 * key.map_or(0, <[u8]>::len);
        let too_large = input.value.is_some_and(|value| value.len() > room);
        room -= input.value.filter(|_| !too_large).map_or(0, <[u8]>::len);
        let mut headers = input.headers.keep();
        headers.retain(|(name, value)| {
            let bytes = name.len() + value.len();
            let fits = bytes <= room;
            room -= if fits { bytes } else { 0 };
            fits
        });
        let text = |name| {
            let value = input.headers.get(name)?;
            Some(String::from_utf8_lossy(&value[..value.len().min(MAX_LABEL)]).into_owned())
        };
        DeadLetter {
            id: format!("{}:{}-{}@{}", self.stage, input.topic, input.partition, input.offset),
            failed_at_ms: clock::unix_ms(),
            stage: self.stage.clone(),
            code,
            class,
            message,
            agents: Vec::new(),
            destination: None,
            producer: text("producer").unwrap_or_else(|| "unknown".to_owned()),
            attempts: 0,
            replays: 0,
            event_id: None,
            topic: input.topic.into(),
            partition: input.partition,
            offset: input.offset,
            timestamp_ms: input.timestamp_ms,
            schema_id: input.value.and_then(schema_id),
            traceparent: text("traceparent"),
            preview: None,
            key: key.map(<[u8]>::to_vec),
            value: input.value.filter(|_| !too_large).map(<[u8]>::to_vec),
            value_sha256: input.value.filter(|_| too_large).map(hash),
            headers,
        }
    }

    /// A dead letter for what the worker found.
    pub fn buried(&self, input: &Input<'_>, why: Burial) -> DeadLetter {
        let is_readable = !matches!(why, Burial::Killed | Burial::Panicked(_));
        let (code, class, message) = match why {
            Burial::Killed => (
                codes::HW606,
                Class::Agent,
                "its worker died on it again and again, at last with this record alone".to_owned(),
            ),
            Burial::Refused(message) => {
                (codes::HW607, Class::TooLarge, format!("the broker refuses what is made of it: {message}"))
            }
            Burial::Panicked(message) => (codes::HW610, Class::Agent, format!("panicked: {message}")),
            Burial::TooLarge(message) => (codes::HW604, Class::TooLarge, message),
            Burial::Unencodable(message) => (codes::HW602, Class::Schema, message),
        };
        // What killed or panicked may do so again when it is read for its preview.
        match is_readable {
            true => self.letter(input, code, class, message),
            false => self.unread(input, code, class, message),
        }
    }

    /// Writes it, with the reason repeated in headers for people with stock tools.
    pub fn write(
        &mut self,
        letter: &DeadLetter,
        source: (i32, i64),
        outputs: &mut Outputs,
    ) -> Result<(), PushError<CodecError>> {
        let (encoder, topic) = (&mut self.encoder, self.topic);
        let key = letter.key.as_deref().unwrap_or_default();
        let output = outputs.push(topic, -1, source, key, usize::MAX, |out| encoder.encode(letter, out))?;
        output.headers = vec![
            ("headwater-error-code", letter.code.into()),
            ("headwater-error-class", letter.class.name().into()),
            ("headwater-error-message", letter.message.clone().into_bytes()),
            ("headwater-error-stage", letter.stage.as_bytes().to_vec()),
            ("headwater-error-origin", format!("{}-{}@{}", letter.topic, letter.partition, letter.offset).into_bytes()),
        ];
        Ok(())
    }
}

fn truncate(text: &mut String, limit: usize) {
    if text.len() > limit {
        let mut end = limit;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
}

fn schema_id(value: &[u8]) -> Option<i32> {
    match value {
        [0, a, b, c, d, ..] => Some(i32::from_be_bytes([*a, *b, *c, *d])),
        _ => None,
    }
}

fn hash(value: &[u8]) -> String {
    Sha256::digest(value).iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
