//! What the lexicon says, against what the program of its authors says.

use super::*;

/// `[text, compound]` a line, written by tests/sentiment/vader.py.
const VECTORS: &str = include_str!("../../../../tests/sentiment/vader.jsonl");

#[test]
fn every_recorded_text_scores_as_recorded() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in VECTORS.lines() {
        let (text, expected): (String, f64) = serde_json::from_str(line).unwrap();
        let scored = compound(&text);
        if scored != expected {
            wrong.push(format!("{scored} for {expected}: {text:?}"));
        }
        count += 1;
    }
    assert!(count > 700, "{count}");
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_text_of_100_kb_is_scored_and_leaves_no_large_buffers() {
    assert_eq!(compound(&"good but bad ".repeat(8000)), -1.0);
    SCRATCH.with_borrow(|scratch| assert!(scratch.tokens.capacity() <= KEPT));
    assert_eq!(compound("good"), 0.4404, "and nothing of it is left");
}

proptest::proptest! {
    #[test]
    fn any_text_has_a_score_between_minus_one_and_one(text in ".{0,200}") {
        let score = compound(&text);
        proptest::prop_assert!((-1.0..=1.0).contains(&score));
        proptest::prop_assert_eq!(score, compound(&text), "and always the same");
    }
}
