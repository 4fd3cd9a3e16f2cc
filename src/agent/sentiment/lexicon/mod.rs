//! Sentiment by word list and rules: VADER, to the fourth decimal what its authors' program says.
//!
//! Hutto, C.J. & Gilbert, E.E. (2014), *VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media
//! Text*, ICWSM-14. The paper gives the idea, vaderSentiment 3.3.2 the rules, its word lists (MIT, see
//! `LICENSE-VADER`) the numbers. The program's oddities are kept, each with a comment: parity is the point.
//!
//! ```text
//! text ─▶ emoji in words ─▶ tokens ─▶ a valence for each ─▶ "but" ─▶ sum, emphasis ─▶ compound in [-1, 1]
//!         words.rs          token.rs  valence.rs            but.rs    below
//! ```
//!
//! Time is linear in the text; nothing is allocated but what a longer text than any before needs.

mod but;
mod token;
mod valence;
mod words;

use std::cell::RefCell;

use token::Token;

/// The square of the score at which the compound is 1/√2 (the program's `alpha`).
const ALPHA: f64 = 15.0;
/// Tokens that a thread's buffers keep room for between texts.
const KEPT: usize = 4096;

/// What a thread needs to score a text, kept for the next one.
#[derive(Default)]
struct Scratch {
    /// The text with emoji in words, where it has any.
    spelled: String,
    tokens: Vec<Token>,
    valences: Vec<f64>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Reads the word lists, so that the first event does not wait for it.
pub(super) fn warm_up() {
    compound("good");
}

/// The compound score of a text: from -1 (most negative) to 1 (most positive), to four decimals.
pub(super) fn compound(text: &str) -> f64 {
    SCRATCH.with_borrow_mut(|scratch| {
        let Scratch { spelled, tokens, valences } = scratch;
        spelled.clear();
        tokens.clear();
        valences.clear();
        let text = token::spell_emoji(text, spelled);
        let mixed_case = token::split(text, tokens);
        valences.extend((0..tokens.len()).map(|at| valence::of(tokens, at, mixed_case)));
        but::shift(tokens, valences);
        let compound = normal(valences, text);
        if tokens.capacity() > KEPT || spelled.capacity() > KEPT * 8 {
            *scratch = Scratch::default();
        }
        compound
    })
}

/// Sum and emphasis, between -1 and 1.
fn normal(valences: &[f64], text: &str) -> f64 {
    let mut sum: f64 = valences.iter().sum();
    if sum > 0.0 {
        sum += emphasis(text);
    } else if sum < 0.0 {
        sum -= emphasis(text);
    }
    let compound = (sum / (sum * sum + ALPHA).sqrt()).clamp(-1.0, 1.0);
    (compound * 1e4).round_ties_even() / 1e4
}

/// What exclamation marks (up to four) and question marks (two or more) add.
fn emphasis(text: &str) -> f64 {
    let (mut exclamations, mut questions) = (0_u32, 0_u32);
    for byte in text.bytes() {
        exclamations += u32::from(byte == b'!');
        questions += u32::from(byte == b'?');
    }
    let asked = match questions {
        0 | 1 => 0.0,
        2 | 3 => f64::from(questions) * 0.18,
        _ => 0.96,
    };
    f64::from(exclamations.min(4)) * 0.292 + asked
}

#[cfg(test)]
mod tests;
