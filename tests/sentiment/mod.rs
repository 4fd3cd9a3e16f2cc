//! Sentiment from topology to part: by word list against the authors' own program, and what happens without a model.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use headwater::{
    agent::{self, Agent, Step},
    event::{Outcome, Part, Record, Source, Value},
    service::Services,
    topology::{LoadOptions, Topology, Variables, load, plan_refusals},
};

const MODEL: &str = "cardiffnlp/twitter-roberta-base-sentiment";

fn topology(agent: &str) -> Topology {
    let text = format!("name: campaign\nsource: {{ topic: events.raw, key: event.user_id }}\nagents:\n  - {agent}\n");
    let options = LoadOptions { variables: Variables::placeholders(), ..LoadOptions::default() };
    load("campaign.yaml", &text, &options).unwrap_or_else(|findings| panic!("{findings:?}")).topology
}

fn build(agent: &str) -> Result<Arc<dyn Agent>, String> {
    let topology = topology(agent);
    let services = Services::build(&topology).unwrap();
    agent::build(&topology, &services).map(|agents| agents[0].clone()).map_err(|error| error.to_string())
}

fn part(agent: &dyn Agent, text: &str) -> Part {
    let mut record = Record::default();
    record.event.description = Some(text.into());
    match agent.start(&record) {
        Step::Done(part) => part,
        Step::Pending(_) | Step::Ordered(_) => panic!("not answered at once"),
    }
}

/// The source package of the authors' program, which brings the texts of their paper. Fetched once.
fn package() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("vader");
    let package = folder.join("vaderSentiment-3.3.2.tar.gz");
    if !package.is_file() {
        let fetch = Command::new("python3")
            .args([
                "-m",
                "pip",
                "download",
                "--quiet",
                "--disable-pip-version-check",
                "--no-deps",
                "--no-binary",
                ":all:",
            ])
            .arg("--dest")
            .arg(&folder)
            .arg("vaderSentiment==3.3.2")
            .output();
        let why = match fetch {
            Ok(output) if package.is_file() && output.status.success() => return Some(package),
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => format!("python3: {error}"),
        };
        eprintln!(
            "NOT RUN: vaderSentiment 3.3.2 is not to be had ({why}); only the recorded tests/sentiment/vader.jsonl"
        );
        return None;
    }
    Some(package)
}

#[test]
fn the_lexicon_says_what_the_program_of_its_authors_says() {
    let Some(package) = package() else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sentiment/vader.py");
    let output = Command::new("python3").arg(script).arg(package).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lexicon = build("{ name: sentiment, type: local_llm, model: lexicon }").unwrap();
    let (mut count, mut wrong) = (0, Vec::new());
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let (text, compound): (String, f64) = serde_json::from_str(line).unwrap();
        let label = match compound {
            compound if compound >= 0.05 => "positive",
            compound if compound <= -0.05 => "negative",
            _ => "neutral",
        };
        count += 1;
        let said = part(&*lexicon, &text).fields;
        if said != [Value::text(label), Value::Float(compound)] {
            wrong.push(format!("{said:?} for {compound}: {text:?}"));
        }
    }
    assert!(count > 40_000, "only {count} texts");
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));
}

#[test]
fn only_the_fields_that_the_topology_asks_for_travel() {
    let agent = "{ name: sentiment, type: local_llm, model: lexicon, output: { mood: label } }";
    assert_eq!(part(&*build(agent).unwrap(), "I love it").fields, [Value::text("positive")]);
}

#[cfg(not(feature = "ml"))]
#[test]
fn without_models_the_fallback_speaks_and_says_why() {
    let agent = format!("{{ name: sentiment, type: local_llm, model: {MODEL}, fallback: lexicon }}");
    assert!(plan_refusals(&topology(&agent)).is_empty());
    let part = part(&*build(&agent).unwrap(), "I love it");
    assert_eq!(part.fields, [Value::text("positive"), Value::Float(0.6369)]);
    let provenance = part.provenance;
    assert_eq!((provenance.outcome, provenance.source), (Outcome::Fallback, Some(Source::Lexicon)));
    assert_eq!(provenance.reason, Some(headwater::event::Reason::NotDeployed));
}

#[cfg(not(feature = "ml"))]
#[test]
fn without_models_and_fallback_nothing_starts() {
    let agent = format!("{{ name: sentiment, type: local_llm, model: {MODEL}, fallback: dead_letter }}");
    let refusals = plan_refusals(&topology(&agent));
    assert_eq!(refusals.len(), 1);
    assert_eq!(refusals[0].code, "HW505");
    assert!(refusals[0].message.contains("cargo feature ml"), "{}", refusals[0].message);
    assert!(build(&agent).err().unwrap().starts_with("HW505 agent \"sentiment\""));
}

#[cfg(feature = "ml")]
#[tokio::test]
async fn a_model_from_a_directory_answers_and_says_so() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sentiment/roberta");
    for quantized in [false, true] {
        let agent = format!(
            "{{ name: sentiment, type: local_llm, model: {MODEL}, directory: {}, quantized: {quantized}, timeout: 30s, \
             deadline: 60s, fallback: lexicon }}",
            directory.display()
        );
        assert!(plan_refusals(&topology(&agent)).is_empty());
        let agent = build(&agent).unwrap();
        let mut record = Record::default();
        record.event.description = Some("I love this shop!".into());
        let Step::Pending(part) = agent.start(&record) else { panic!("the event's path waited for a matrix") };
        let part = part.await;
        assert_eq!(part.field(0), &Value::text("neutral"));
        assert_eq!((part.provenance.outcome, part.provenance.source), (Outcome::Ok, Some(Source::Local)));
    }
}

#[cfg(feature = "ml")]
#[test]
fn a_directory_without_the_model_is_refused_at_start() {
    let agent =
        format!("{{ name: sentiment, type: local_llm, model: {MODEL}, directory: ./nowhere, fallback: lexicon }}");
    let error = build(&agent).err().unwrap();
    assert!(error.starts_with("agent \"sentiment\": model") && error.contains("nowhere"), "{error}");
}
