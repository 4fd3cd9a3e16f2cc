//! The agent as the engine sees it.

use super::*;
use crate::{
    agent::tests::{run, spec_with},
    event::{EventField, Type},
    topology::AgentKind,
};

fn llm(model: &str) -> LocalLlmSpec {
    LocalLlmSpec { model: model.into(), directory: None, quantized: false }
}

fn declared(model: &str, fallback: Vec<Fallback>) -> AgentSpec {
    let output = [("label", Type::Text), ("score", Type::Float)];
    let input = vec![("text".into(), Path::Event(EventField::Description))];
    AgentSpec { input, fallback, ..spec_with(AgentKind::LocalLlm(llm(model)), &output) }
}

fn agent(model: &str, fallback: Vec<Fallback>) -> Result<Sentiment, AgentError> {
    Sentiment::new(&declared(model, fallback), &llm(model), &mut Models::default())
}

fn saying(text: &str) -> Record {
    let mut record = Record::default();
    record.event.description = Some(text.into());
    record
}

#[test]
fn the_lexicon_answers_at_once() {
    let agent = agent("lexicon", vec![]).unwrap();
    for (text, label, score) in [
        ("What a great, great shop!", "positive", 0.8588),
        ("The parcel came at noon.", "neutral", 0.0),
        ("Horrible service, slow and rude", "negative", -0.7579),
    ] {
        let part = run(&agent, &saying(text));
        assert_eq!(part.fields, [Value::text(label), Value::Float(score)], "{text}");
        assert_eq!(part.provenance.outcome, Outcome::Ok);
        assert_eq!(part.provenance.source, Some(Source::Lexicon));
    }
}

#[test]
fn a_score_of_exactly_the_threshold_has_a_side() {
    let form = Form::new(&declared("lexicon", vec![]));
    assert_eq!(form.judge("").label, Value::text("neutral"));
    assert_eq!(form.judge("bias").label, Value::text("negative"), "-0.1027");
}

#[test]
fn no_text_is_skipped_and_not_neutral() {
    let agent = agent("lexicon", vec![]).unwrap();
    for record in [Record::default(), saying(""), saying(" \n")] {
        let provenance = run(&agent, &record).provenance;
        assert_eq!((provenance.outcome, provenance.reason), (Outcome::Skipped, Some(Reason::MissingInput)));
    }
}

#[test]
fn of_a_text_of_100_kb_the_beginning_is_judged() {
    let agent = agent("lexicon", vec![]).unwrap();
    let part = run(&agent, &saying(&format!("I love it. {}horrible", "é ".repeat(40_000))));
    assert_eq!(part.fields, [Value::text("positive"), Value::Float(0.6369)]);
    for text in ["\0\0\0", "\u{202e}مرحبا", "🏳️\u{200d}🌈", "\u{301}\u{301}"] {
        assert_eq!(run(&agent, &saying(text)).field(0), &Value::text("neutral"), "{text:?}");
    }
}

#[test]
fn only_the_fields_asked_for_are_filled_under_their_names() {
    let mut spec = declared("lexicon", vec![]);
    spec.output = vec![crate::topology::OutputField { name: "mood".into(), ty: Type::Text, from: "label".into() }];
    let agent = Sentiment::new(&spec, &llm("lexicon"), &mut Models::default()).unwrap();
    assert_eq!(run(&agent, &saying("I love it")).fields, [Value::text("positive")]);
}

#[cfg(not(feature = "ml"))]
mod without_models {
    use super::*;

    const MODEL: &str = "cardiffnlp/twitter-roberta-base-sentiment";

    #[test]
    fn the_first_fallback_that_fills_speaks() {
        let values = || Fallback::Values(vec![(0, Value::text("unknown"))]);
        let lexicon = agent(MODEL, vec![Fallback::DeadLetter, Fallback::Lexicon, values()]).unwrap();
        let part = run(&lexicon, &saying("I love it"));
        assert_eq!(part.fields, [Value::text("positive"), Value::Float(0.6369)]);
        assert_eq!(part.provenance.outcome, Outcome::Fallback);
        assert_eq!(part.provenance.source, Some(Source::Lexicon));
        assert_eq!(part.provenance.reason, Some(Reason::NotDeployed));
        let part = run(&agent(MODEL, vec![values(), Fallback::Lexicon]).unwrap(), &saying("I love it"));
        assert_eq!(part.fields, [Value::text("unknown"), Value::Null]);
        assert_eq!(part.provenance.source, Some(Source::Default));
    }

    #[test]
    fn without_a_fallback_that_fills_it_is_refused_by_name() {
        for fallback in [vec![], vec![Fallback::DeadLetter]] {
            let error = agent(MODEL, fallback).err().unwrap().to_string();
            assert!(error.starts_with("HW505 agent \"agent\": model \"cardiffnlp/"), "{error}");
        }
    }
}
