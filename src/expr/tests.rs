//! What conditions say, and that no text makes them panic.

use std::sync::Arc;

use proptest::prelude::*;

use super::{Condition, ExprError, Scope, Truth, is_whole, names};
use crate::event::{EventField, EventMap, Part, Path, ProvenanceField, Record, Source, Type, Value};

struct Names;

impl Scope for Names {
    fn resolve(&self, dotted: &str) -> Option<(Path, Type)> {
        Some(match dotted {
            "score.value" => (Path::Part { agent: 0, field: 0 }, Type::Float),
            "score.reasons" => (Path::Part { agent: 0, field: 1 }, Type::TextList),
            "geo.country" => (Path::Part { agent: 1, field: 0 }, Type::Text),
            "geo.outcome" => (Path::Provenance { agent: 1, field: ProvenanceField::Outcome }, Type::Text),
            "device.bot" => (Path::Part { agent: 2, field: 0 }, Type::Bool),
            "event.url" => (Path::Event(EventField::Url), Type::Text),
            "event.properties" => (Path::Map(EventMap::Properties), Type::Text),
            _ => {
                let key = dotted.strip_prefix("event.properties.")?;
                (Path::Entry(EventMap::Properties, key.into()), Type::Text)
            }
        })
    }
}

fn record() -> Record {
    let mut record = Record {
        parts: vec![
            Part::ok(
                Source::Local,
                vec![Value::Float(72.0), Value::List(Arc::from([Value::from("crm"), Value::from("geo")]))],
            ),
            Part::ok(Source::Local, vec![Value::from("GB")]),
            Part::default(),
        ],
        ..Record::default()
    };
    record.event.url = Some("https://acme.example/pricing".into());
    record.event.properties.insert("plan".into(), "pro".into());
    record.event.properties.insert("price".into(), "12.50".into());
    record.event.properties.insert("two words".into(), "yes".into());
    record
}

fn eval(source: &str) -> Truth {
    Condition::compile(source, &Names).unwrap().eval(&record())
}

fn refused(source: &str) -> String {
    Condition::compile(source, &Names).unwrap_err().to_string()
}

#[test]
fn conditions_hold_or_do_not() {
    for yes in [
        "score.value >= 60",
        "score.value == 72",
        "score.value > 71.5 && geo.country in [\"US\", \"GB\"]",
        "geo.outcome == \"ok\"",
        "event.url.contains(\"/pricing\")",
        "event.url.matches(\"^https://[a-z]+\")",
        "matches(event.url, 'pricing$')",
        "event.properties.plan == 'pro'",
        "event.properties[\"two words\"] == \"yes\"",
        "number(event.properties.price) * 2 == 25.0",
        "size(score.reasons) == 2 && 'crm' in score.reasons",
        "score.reasons.exists(geo, geo == 'geo')",
        "has(event.properties.plan) && !has(event.properties.seats)",
        "!has(device.bot)",
        "int('3') + 1 == 4",
        "score.value * 2 - size(score.reasons) == 142",
        "'plan' in event.properties",
        "event.url.startsWith('https') ? score.value > 1 : false",
    ] {
        assert_eq!(eval(yes), Truth::True, "{yes}");
    }
    for no in ["score.value < 60", "geo.country in [\"US\"]", "event.url.endsWith('x')", "!(score.value == 72)"] {
        assert_eq!(eval(no), Truth::False, "{no}");
    }
}

#[test]
fn an_absent_value_is_unknown_by_name_unless_the_rest_decides() {
    for (source, missing) in [
        ("device.bot", "device.bot"),
        ("!device.bot", "device.bot"),
        ("device.bot && score.value > 1", "device.bot"),
        ("score.value > 1 && !device.bot", "device.bot"),
        ("event.properties.seats == \"3\"", "event.properties.seats"),
        ("event.properties.seats != \"3\"", "event.properties.seats"),
        ("event.properties[\"no such\"] == \"3\"", "event.properties.no such"),
        ("event.properties.seats in [\"3\"]", "event.properties.seats"),
        ("event.properties.seats.matches(\"3\")", "event.properties.seats"),
    ] {
        assert_eq!(eval(source), Truth::Unknown(missing.into()), "{source}");
    }
    for decided in ["device.bot && score.value < 1", "score.value < 1 && device.bot"] {
        assert_eq!(eval(decided), Truth::False, "{decided}");
    }
    for decided in ["device.bot || score.value > 1", "score.value > 1 || device.bot"] {
        assert_eq!(eval(decided), Truth::True, "{decided}");
    }
    assert!(matches!(eval("number(event.properties.plan) > 1"), Truth::Unknown(_)));
    assert!(matches!(eval("1 / 0 == 1"), Truth::Unknown(_)));
}

#[test]
fn explain_puts_each_value_behind_its_name() {
    let explain = |source: &str| Condition::compile(source, &Names).unwrap().explain(&record());
    assert_eq!(
        explain("score.value >= 60 && geo.country in [\"US\"]"),
        "score.value (72) >= 60 && geo.country (\"GB\") in [\"US\"]"
    );
    assert_eq!(explain("!device.bot"), "!device.bot (absent)");
    assert_eq!(
        explain("event.url.contains(\"geo.country\")"),
        "event.url (\"https://acme.example/pricing\").contains(\"geo.country\")"
    );
    assert_eq!(explain("event.properties[\"two words\"] == 'x'"), "event.properties[\"two words\"] (\"yes\") == 'x'");
}

#[test]
fn explain_cuts_long_texts() {
    let mut record = record();
    record.event.url = Some("é".repeat(5000).into());
    let text = Condition::compile("event.url != \"x\"", &Names).unwrap().explain(&record);
    assert!(text.len() < 250 && text.contains("…") && text.ends_with("!= \"x\""), "{text}");
}

/// Half of what a thread has by default. A deeper bound overflows it, and an overflow ends the process.
#[test]
fn conditions_near_the_bounds_evaluate_on_a_small_stack() {
    let deepest = |open: &str, middle: &str, close: &str| {
        let (close, end) = close.split_once('|').unwrap_or((close, ""));
        let source = |depth: usize| format!("{}{middle}{}{end}", open.repeat(depth), close.repeat(depth));
        let depth = (1..60).take_while(|depth| Condition::compile(&source(*depth), &Names).is_ok()).last().unwrap();
        assert!(depth >= 4, "{open} nests only {depth} deep");
        Condition::compile(&source(depth), &Names).unwrap()
    };
    let conditions = [
        deepest("score.value > 1 && ", "score.value > 1", ""),
        deepest("1 + ", "1 > 1", ""),
        deepest("1 > 1 ? 1 > 1 : ", "score.value > 1", ""),
        deepest("(", "score.value > 1", ")"),
        deepest("!", "(score.value > 1)", ""),
        deepest("!(", "score.value > 1", ")"),
        deepest("string(", "score.value", ")| != \"\""),
        deepest("['x'].exists(x, ", "score.value > 1", ")"),
    ];
    let run = move || conditions.iter().filter(|condition| condition.eval(&record()) == Truth::True).count();
    let worker = std::thread::Builder::new().stack_size(1 << 20).spawn(run).unwrap();
    assert!(worker.join().unwrap() >= 5);
}

#[test]
fn type_errors_say_what_to_write() {
    assert_eq!(
        refused("score.value >= \"60\""),
        "type error: score.value is a number and \"60\" is text; write score.value >= 60"
    );
    assert_eq!(
        refused("event.properties.price > 100"),
        "type error: event.properties.price is text and 100 is a number; write number(event.properties.price) > 100"
    );
    assert_eq!(
        refused("device.bot == \"true\""),
        "type error: device.bot is true or false and \"true\" is text; write device.bot"
    );
    assert_eq!(
        refused("geo.country == null"),
        "type error: an absent value is unknown, not null; write !has(geo.country)"
    );
    assert_eq!(refused("score.value"), "type error: a condition is to be true or false, and score.value is a number");
    assert_eq!(refused("score.value && true"), "type error: && wants true or false, and score.value is a number");
    assert!(refused("geo.country in \"US\"").contains("in wants a list"), "{}", refused("geo.country in \"US\""));
    assert!(refused("lower(geo.country) == \"x\"").contains("no function \"lower\""));
    assert!(refused("event.url.matches(\"(\")").contains("not a pattern"));
    assert!(refused("event.url.matches(geo.country)").contains("text in quotes"));
}

#[test]
fn undefined_names_are_all_named() {
    let error = Condition::compile("geo.contry == \"US\" && sesion.page_views > 3", &Names).unwrap_err();
    assert_eq!(error, ExprError::Undefined { names: vec!["geo.contry".into(), "sesion.page_views".into()] });
}

#[test]
fn oversize_conditions_are_refused_before_they_reach_the_parser() {
    for source in [
        "a".repeat(5000),
        format!("{}true{}", "(".repeat(40), ")".repeat(40)),
        format!("{}true", "!".repeat(2000)),
        format!("{}1 == 1", "1 + ".repeat(300)),
        format!("{}1 == 1", "1 + ".repeat(200)),
        format!("{}true", "true ? true : ".repeat(100)),
        format!("score{}", ".value".repeat(300)),
    ] {
        assert!(Condition::compile(&source, &Names).is_err(), "{}", &source[..40]);
    }
    let conjunction = format!("{}score.value > 1", "score.value > 1 && ".repeat(40));
    assert_eq!(eval(&conjunction), Truth::True, "forty conjuncts are fine");
}

#[test]
fn names_are_found_without_compiling() {
    assert_eq!(
        names("!device.bot && event.url.contains(\"geo.x\") && size(score.reasons) > 1"),
        ["device.bot", "event.url", "score.reasons"]
    );
    assert!(!is_whole("event.name == \"a"));
    assert!(!is_whole("f(a"));
    assert!(is_whole("a in [\"b)\"]"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn no_text_makes_compiling_or_evaluating_panic(source in ".{0,80}") {
        if let Ok(condition) = Condition::compile(&source, &Names) {
            condition.eval(&record());
            condition.explain(&record());
        }
    }

    #[test]
    fn no_mixture_of_real_words_makes_it_panic(words in prop::collection::vec(prop::sample::select(vec![
        "score.value", "geo.country", "device.bot", "event.url", "event.properties", "1", "-1", "9223372036854775807", "2.5", "\"x\"", "'", "b'\\xff'", "r\"\\\"",
        "&&", "||", "!", "==", "<", ">=", "+", "-", "*", "/", "%", "(", ")", "[", "]", "{", "}", ":", "?", ",", ".", "in", "has(", "size(",
        "number(", "matches(", ".exists(x,", ".map(x,", "null", "true", "é", "\u{202e}", "\\", "\0",
    ]), 0..24)) {
        let source = words.join(" ");
        if let Ok(condition) = Condition::compile(&source, &Names) {
            condition.eval(&record());
            condition.explain(&record());
        }
    }
}
