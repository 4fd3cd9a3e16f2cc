//! Sentiment of a text: by word list (VADER), or by a classifier that runs in this process.
//!
//! ```text
//! start ─┬─ model: lexicon ─▶ lexicon ─▶ ok, source lexicon
//!        └─ a model ─▶ its queue ─▶ batch, on a thread of its own ─▶ ok, source local
//!                         └ queue longer than the deadline, late, broken ─▶ fallback (lexicon or values), else failed
//! ```
//!
//! Both speak of the same fields in the same way, so that a fallback does not change their meaning: `label` is
//! positive, neutral or negative (a classifier of something else has labels of its own), `score` runs from -1 to 1.

mod lexicon;
#[cfg(feature = "ml")]
mod ml;
#[cfg(not(feature = "ml"))]
mod without;

use std::{sync::Arc, time::Instant};

#[cfg(feature = "ml")]
use ml as model;
#[cfg(not(feature = "ml"))]
use without as model;

pub(super) use model::Models;

use crate::{
    clock,
    event::{Outcome, Part, Path, Provenance, Reason, Record, Source, Value},
    policy::Fallbacks,
    topology::{AgentSpec, Fallback, LocalLlmSpec},
};

use super::{Agent, AgentError, Step, fields, input};

/// From this compound score on a text is positive; from its negative down it is negative (README of vaderSentiment).
const THRESHOLD: f64 = 0.05;

/// What is looked at of a text, in bytes: several times what a model takes in, and no worker is held up for longer than
/// a few milliseconds by the longest.
const MAX_TEXT: usize = 16 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Label,
    Score,
}

/// What a text is said to be.
#[derive(Debug, Clone, PartialEq)]
struct Verdict {
    label: Value,
    /// From -1 to 1.
    score: f64,
}

/// Why there is no verdict of a model, and whether it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Missed {
    reason: Reason,
    /// 1 once the text was before the model.
    attempts: u32,
}

/// What is known of a field from a verdict, and what stands in where there is none.
struct Form {
    fields: Box<[Option<Field>]>,
    labels: [Value; 3],
    /// The lexicon comes before all other fallbacks.
    lexicon_stands_in: bool,
    fallbacks: Fallbacks,
}

/// An agent of type `local_llm`.
pub(super) struct Sentiment {
    text: Option<Path>,
    form: Arc<Form>,
    /// `None` is the lexicon.
    model: Option<model::Port>,
}

impl Sentiment {
    /// Loads the model, unless another agent has it loaded already. May take seconds and reads large files.
    ///
    /// # Errors
    /// The model cannot be loaded, or this build cannot run one and the agent has nothing to fall back to.
    pub fn new(spec: &AgentSpec, llm: &LocalLlmSpec, models: &mut Models) -> Result<Self, AgentError> {
        lexicon::warm_up();
        let model = if llm.is_lexicon() { None } else { Some(models.open(spec, llm)?) };
        Ok(Sentiment { text: input(spec, "text").cloned(), form: Arc::new(Form::new(spec)), model })
    }
}

impl Agent for Sentiment {
    fn start(&self, record: &Record) -> Step {
        let text = match self.text.as_ref().map_or(Value::Null, |path| path.get(record)) {
            Value::Null => None,
            Value::Text(text) => Some(text),
            other => Some(other.to_string().into()),
        };
        // Skipped, not neutral: nothing was said.
        let Some(text) = text.filter(|text| !text.trim().is_empty()) else {
            return Step::Done(Part::without(Outcome::Skipped, Reason::MissingInput));
        };
        let Some(model) = &self.model else {
            return Step::Done(self.form.part(&self.form.judge(&text), Outcome::Ok, Source::Lexicon));
        };
        let started = clock::now();
        match model.ask(text.clone(), started) {
            Err(missed) => Step::Done(self.form.stand_in(&text, missed, started)),
            Ok(answer) => {
                let form = self.form.clone();
                Step::Pending(Box::pin(async move {
                    match answer.await {
                        Ok(verdict) => form.live(&verdict, started),
                        Err(missed) => form.stand_in(&text, missed, started),
                    }
                }))
            }
        }
    }
}

impl Form {
    fn new(spec: &AgentSpec) -> Self {
        let fills = |fallback: &&Fallback| matches!(fallback, Fallback::Lexicon | Fallback::Values(_));
        Form {
            fields: fields(&spec.output, |name| match name {
                "label" => Some(Field::Label),
                "score" => Some(Field::Score),
                _ => None,
            }),
            labels: ["negative", "neutral", "positive"].map(Value::text),
            lexicon_stands_in: spec.fallback.iter().find(fills) == Some(&Fallback::Lexicon),
            fallbacks: Fallbacks::new(spec),
        }
    }

    /// What the lexicon says.
    fn judge(&self, text: &str) -> Verdict {
        let score = lexicon::compound(beginning(text));
        let label = match score {
            score if score >= THRESHOLD => 2,
            score if score <= -THRESHOLD => 0,
            _ => 1,
        };
        Verdict { label: self.labels[label].clone(), score }
    }

    fn part(&self, verdict: &Verdict, outcome: Outcome, source: Source) -> Part {
        let shown = self.fields.iter().map(|field| match field {
            Some(Field::Label) => verdict.label.clone(),
            Some(Field::Score) => Value::Float(verdict.score),
            None => Value::Null,
        });
        let provenance = Provenance { outcome, source: Some(source), ..Provenance::default() };
        Part { fields: shown.collect(), provenance }
    }

    /// A part from the model.
    fn live(&self, verdict: &Verdict, started: Instant) -> Part {
        let mut part = self.part(verdict, Outcome::Ok, Source::Local);
        part.provenance.attempts = 1;
        part.provenance.latency_ms = since(started);
        part
    }

    /// A part from what stands in for the model.
    fn stand_in(&self, text: &str, missed: Missed, started: Instant) -> Part {
        let mut part = if self.lexicon_stands_in {
            let mut part = self.part(&self.judge(text), Outcome::Fallback, Source::Lexicon);
            part.provenance.reason = Some(missed.reason);
            part
        } else {
            self.fallbacks.failed(missed.reason, || None)
        };
        part.provenance.attempts = missed.attempts;
        part.provenance.latency_ms = since(started);
        part
    }
}

/// As much of a text as is looked at.
fn beginning(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT)]
}

fn since(started: Instant) -> u32 {
    u32::try_from((clock::now() - started).as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
