//! A small model against what PyTorch says of it, damaged ones, and the way to a model under load.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::{Condvar as StdCondvar, Mutex as StdMutex},
};

use serde::Deserialize;

use super::{model::Model, runner::Classifier, *};
use crate::{
    agent::{Agent, Step, tests::spec_with},
    event::{EventField, Outcome, Part, Path as Field, Record, Source, Type, Value},
    topology::{AgentKind, Fallback},
};

/// Made by tests/sentiment/model.py, with what transformers and PyTorch say of it.
const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sentiment/roberta");
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sentiment/model.py");

#[derive(Deserialize)]
struct Vector {
    text: String,
    ids: Vec<u32>,
    logits: Vec<f32>,
}

fn recorded() -> Vec<Vector> {
    serde_json::from_slice(&fs::read(Path::new(MODEL).join("vectors.json")).unwrap()).unwrap()
}

/// The largest distance between the logits of the model and those of the vectors; their ids are the same.
fn distance(model: &Model, vectors: &[Vector], batch: usize) -> f32 {
    let mut largest = 0.0_f32;
    for vectors in vectors.chunks(batch) {
        let ids: Vec<Vec<u32>> = vectors.iter().map(|vector| model.tokens(&vector.text).unwrap()).collect();
        let logits = model.logits(&ids.iter().map(Vec::as_slice).collect::<Vec<_>>());
        for ((vector, ids), logits) in vectors.iter().zip(&ids).zip(logits) {
            assert_eq!(ids, &vector.ids, "{:?}", vector.text);
            let apart = logits.iter().zip(&vector.logits).map(|(ours, theirs)| (ours - theirs).abs());
            largest = apart.fold(largest, f32::max);
        }
    }
    largest
}

/// A copy of the model that a test may damage.
fn copy() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in fs::read_dir(MODEL).unwrap() {
        let path = file.unwrap().path();
        fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    folder
}

fn edit(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{from}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

/// Changes the header of a file of weights.
fn edit_header(folder: &Path, change: impl FnOnce(&mut serde_json::Map<String, serde_json::Value>, usize)) {
    let path = folder.join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    change(&mut header, bytes.len() - 8 - length);
    let header = serde_json::to_vec(&header).unwrap();
    let parts = [&(header.len() as u64).to_le_bytes()[..], &header, &bytes[8 + length..]];
    fs::write(path, parts.concat()).unwrap();
}

fn refusal(folder: &Path) -> String {
    let error = Model::load(folder, false).err().expect("not refused").to_string();
    assert!(error.contains(&folder.display().to_string()), "{error}");
    error
}

#[test]
fn logits_are_those_of_pytorch_alone_and_in_a_padded_batch() {
    let model = Model::load(Path::new(MODEL), false).unwrap();
    let vectors = recorded();
    for batch in [1, 5, vectors.len()] {
        let distance = distance(&model, &vectors, batch);
        assert!(distance < 1e-4, "batches of {batch}: {distance}");
    }
}

#[test]
fn the_two_files_of_the_slow_tokenizer_do_as_well() {
    let folder = copy();
    fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
    assert!(distance(&Model::load(folder.path(), false).unwrap(), &recorded(), 8) < 1e-4);
    fs::remove_file(folder.path().join("merges.txt")).unwrap();
    assert!(refusal(folder.path()).contains("merges.txt"));
}

#[test]
fn eight_bits_say_nearly_the_same() {
    let model = Model::load(Path::new(MODEL), true).unwrap();
    let distance = distance(&model, &recorded(), 8);
    assert!(distance > 1e-6, "it was not quantised");
    assert!(distance < 0.5, "{distance}, of logits that reach 3");
}

#[test]
fn pytorch_agrees_today_where_it_is_installed() {
    let python = std::env::var("HEADWATER_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let there = Command::new(&python).args(["-c", "import torch, transformers"]).output();
    if !there.is_ok_and(|output| output.status.success()) {
        eprintln!(
            "NOT RUN: {python} has no torch and transformers (set HEADWATER_TEST_PYTHON); \
             only the recorded vectors.json was checked"
        );
        return;
    }
    let output = Command::new(&python).args([SCRIPT, MODEL, "--judge"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let vectors: Vec<Vector> = serde_json::from_slice(&output.stdout).unwrap();
    assert!(vectors.len() >= 20);
    assert!(distance(&Model::load(Path::new(MODEL), false).unwrap(), &vectors, 8) < 1e-4);
}

#[test]
fn a_missing_tensor_is_named_with_its_file() {
    let folder = copy();
    edit_header(folder.path(), |header, _| {
        let tensor = header.remove("roberta.encoder.layer.1.output.dense.bias").unwrap();
        header.insert("roberta.pooler.dense.bias".to_owned(), tensor);
    });
    let error = refusal(folder.path());
    assert!(
        error.contains("model.safetensors: tensor \"roberta.encoder.layer.1.output.dense.bias\" is missing"),
        "{error}"
    );
}

#[test]
fn a_foreign_tensor_is_named_and_a_known_leftover_is_not() {
    let folder = copy();
    let empty = |end: usize| serde_json::json!({ "dtype": "F32", "shape": [0], "data_offsets": [end, end] });
    edit_header(folder.path(), |header, end| {
        header.insert("roberta.pooler.dense.weight".to_owned(), empty(end));
    });
    assert!(Model::load(folder.path(), false).is_ok());
    edit_header(folder.path(), |header, end| {
        header.insert("lm_head.bias".to_owned(), empty(end));
    });
    let error = refusal(folder.path());
    assert!(error.contains("model.safetensors: tensor \"lm_head.bias\" is foreign"), "{error}");
}

#[test]
fn files_that_do_not_fit_together_are_refused_by_name() {
    let folder = copy();
    let config = folder.path().join("config.json");
    edit(&config, "\"vocab_size\": 300", "\"vocab_size\": 301");
    let error = refusal(folder.path());
    assert!(
        error.contains("word_embeddings.weight") && error.contains("[300, 32]") && error.contains("[301, 32]"),
        "{error}"
    );
    edit(&config, "\"vocab_size\": 301", "\"vocab_size\": 299");
    assert!(refusal(folder.path()).contains("tokenizer.json: has a token 299"));
    edit(&config, "\"roberta\"", "\"bert\"");
    assert!(refusal(folder.path()).contains("config.json: model_type is \"bert\""));
}

#[test]
fn a_file_that_is_cut_short_or_holds_no_numbers_is_refused() {
    let folder = copy();
    let path = folder.path().join("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    refusal(folder.path());
    fs::write(&path, [0xff; 16]).unwrap();
    refusal(folder.path());
    let end = bytes.len();
    bytes[end - 20_000..].fill(0xff);
    fs::write(&path, bytes).unwrap();
    assert!(refusal(folder.path()).contains("no number"));
    fs::remove_file(path).unwrap();
    assert!(refusal(folder.path()).contains("model.safetensors"));
}

fn declared(model: &str, deadline: Duration, timeout: Duration) -> AgentSpec {
    let llm = LocalLlmSpec { model: model.into(), directory: None, quantized: false };
    let output = [("label", Type::Text), ("score", Type::Float)];
    AgentSpec {
        input: vec![("text".into(), Field::Event(EventField::Description))],
        fallback: vec![Fallback::Lexicon],
        deadline,
        timeout,
        ..spec_with(AgentKind::LocalLlm(llm), &output)
    }
}

fn agent(model: &str, models: &mut Models) -> Result<super::super::Sentiment, AgentError> {
    let spec = declared(model, Duration::from_secs(60), Duration::from_secs(60));
    let AgentKind::LocalLlm(llm) = &spec.kind else { unreachable!() };
    super::super::Sentiment::new(&spec, llm, models)
}

async fn part(agent: &dyn Agent, text: &str) -> Part {
    let mut record = Record::default();
    record.event.description = Some(text.into());
    match agent.start(&record) {
        Step::Done(part) => part,
        Step::Pending(part) => part.await,
        Step::Ordered(_) => panic!("keeps no state"),
    }
}

#[tokio::test]
async fn any_text_has_a_verdict_however_long_and_in_any_script() {
    let mut models = Models::default();
    let agent = agent(MODEL, &mut models).unwrap();
    let long = "good bad ".repeat(11_200);
    let texts =
        ["good", "\0\0\0", "😀", "مرحبا", "\u{202e}x", &long[..100_000], &"x".repeat(100_000), &"👍".repeat(25_000)];
    let parts = futures::future::join_all(texts.iter().map(|text| part(&agent, text))).await;
    for (text, part) in texts.iter().zip(parts) {
        let provenance = &part.provenance;
        assert_eq!((provenance.outcome, provenance.source), (Outcome::Ok, Some(Source::Local)), "{:?}", text.get(..8));
        assert_eq!(provenance.attempts, 1);
        let (Value::Text(label), Value::Float(score)) = (part.field(0), part.field(1)) else { panic!("{part:?}") };
        assert!(["negative", "neutral", "positive"].contains(&&**label) && score.abs() <= 1.0, "{part:?}");
    }
    let again = agent_of_same_model(&mut models);
    assert_eq!(part(&again, "good").await.fields, part(&agent, "good").await.fields);
    assert_eq!(models.loaded.len(), 1, "two agents share one model");
}

fn agent_of_same_model(models: &mut Models) -> super::super::Sentiment {
    agent(MODEL, models).unwrap()
}

#[test]
fn a_model_that_is_not_there_is_refused_with_the_agent_and_where_was_looked() {
    let error = agent("no/such-model", &mut Models::default()).err().unwrap().to_string();
    assert_eq!(error, "agent \"agent\": model \"no/such-model\" is not there: no config.json in no/such-model");
}

/// A model that waits for a gate, and fails or panics when told.
#[derive(Default)]
struct Gate {
    open: StdMutex<bool>,
    news: StdCondvar,
}

impl Gate {
    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.news.notify_all();
    }
}

struct Fake(Arc<Gate>);

impl Classifier for Fake {
    fn tokens(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        match text {
            "untellable" => Err(ModelError::Compute("no tokens".to_owned())),
            _ => Ok(text.bytes().map(u32::from).collect()),
        }
    }

    fn judge(&self, texts: &[&[u32]]) -> Result<Vec<Option<Verdict>>, ModelError> {
        // The measurement at start passes: sixteen texts that are alike.
        let asked = |word: &str| texts.iter().any(|text| text.iter().copied().eq(word.bytes().map(u32::from)));
        if asked("gate") {
            let open = self.0.open.lock().unwrap();
            drop(self.0.news.wait_while(open, |open| !*open).unwrap());
        }
        if asked("panic") {
            panic!("as asked");
        }
        if asked("fail") {
            return Err(ModelError::Compute("as asked".to_owned()));
        }
        Ok(vec![Some(Verdict { label: Value::text("positive"), score: 1.0 }); texts.len()])
    }
}

fn faked(deadline_ms: u64, timeout_ms: u64) -> (super::super::Sentiment, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    let runner = Runner::start(Box::new(Fake(gate.clone()))).unwrap();
    let (deadline, timeout) = (Duration::from_millis(deadline_ms), Duration::from_millis(timeout_ms));
    let spec = declared("fake", deadline, timeout);
    let sentiment = super::super::Sentiment {
        text: Some(Field::Event(EventField::Description)),
        form: Arc::new(super::super::Form::new(&spec)),
        model: Some(Port { runner, deadline, timeout }),
    };
    (sentiment, gate)
}

fn fell_back(part: &Part) -> (Option<Reason>, u32) {
    assert_eq!(
        (part.provenance.outcome, part.provenance.source),
        (Outcome::Fallback, Some(Source::Lexicon)),
        "{part:?}"
    );
    (part.provenance.reason, part.provenance.attempts)
}

#[tokio::test]
async fn behind_a_slow_text_the_deadline_holds_and_says_what_was_late() {
    let (agent, gate) = faked(400, 100);
    let slow = tokio::spawn(async move { (part(&agent, "gate").await, agent) });
    let (part_of_slow, agent) = slow.await.unwrap();
    assert_eq!(fell_back(&part_of_slow), (Some(Reason::Timeout), 1), "it was before the model");
    assert_eq!(fell_back(&part(&agent, "good").await), (Some(Reason::RateLimited), 0), "it never was");
    gate.open();
    let free = loop {
        let part = part(&agent, "good").await;
        if part.provenance.outcome == Outcome::Ok {
            break part;
        }
    };
    assert_eq!(free.provenance.source, Some(Source::Local));
}

#[tokio::test]
async fn a_queue_without_room_falls_back_at_once() {
    let (agent, gate) = faked(60_000, 60_000);
    let mut record = Record::default();
    let mut pending = Vec::new();
    record.event.description = Some("gate".into());
    let refused = loop {
        match agent.start(&record) {
            Step::Pending(part) => pending.push(part),
            Step::Done(part) => break part,
            Step::Ordered(_) => panic!("keeps no state"),
        }
        assert!(pending.len() < 3000, "the queue has no bound");
    };
    assert_eq!(fell_back(&refused), (Some(Reason::RateLimited), 0));
    gate.open();
    for part in futures::future::join_all(pending).await {
        assert_eq!(part.provenance.outcome, Outcome::Ok);
    }
}

#[tokio::test]
async fn a_model_that_fails_or_panics_goes_on_with_the_next_text() {
    let (agent, _gate) = faked(60_000, 60_000);
    assert_eq!(fell_back(&part(&agent, "fail").await), (Some(Reason::BadResponse), 1));
    assert_eq!(fell_back(&part(&agent, "untellable").await), (Some(Reason::BadResponse), 1));
    assert_eq!(fell_back(&part(&agent, "panic").await), (Some(Reason::Unavailable), 1));
    assert_eq!(part(&agent, "good").await.provenance.outcome, Outcome::Ok);
}

#[tokio::test]
async fn texts_of_an_agent_that_is_gone_fall_back() {
    let (agent, gate) = faked(60_000, 60_000);
    let first = tokio::spawn({
        let mut record = Record::default();
        record.event.description = Some("gate".into());
        let Step::Pending(part) = agent.start(&record) else { panic!("not pending") };
        part
    });
    tokio::task::yield_now().await;
    drop(agent);
    gate.open();
    let part = first.await.unwrap();
    assert!(matches!(part.provenance.outcome, Outcome::Ok | Outcome::Fallback), "{part:?}");
}
