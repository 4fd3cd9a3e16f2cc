//! From a text to its tokens.

use super::words::{self, Word};

/// One token and what the rules ask of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token {
    pub word: Word,
    /// All its letters are capitals.
    pub shouts: bool,
    /// Turns a rated word after it round.
    pub negates: bool,
}

impl Token {
    fn new(token: &str) -> Self {
        let word = words::find(token);
        let negates = word.negates
            || token.as_bytes().windows(3).any(|three| three[1] == b'\'' && three.eq_ignore_ascii_case(b"n't"));
        Token { word, shouts: is_upper(token), negates }
    }
}

/// The text with each emoji in words, parted by a blank from what stands before it, though not from what follows.
pub(super) fn spell_emoji<'a>(text: &'a str, spelled: &'a mut String) -> &'a str {
    let Some(first) = text.char_indices().find(|(_, character)| emoji(*character).is_some()) else { return text };
    let (plain, rest) = text.split_at(first.0);
    spelled.push_str(plain);
    let mut after_blank = plain.is_empty() || plain.ends_with(' ');
    for character in rest.chars() {
        if let Some(description) = emoji(character) {
            if !after_blank {
                spelled.push(' ');
            }
            spelled.push_str(description);
            after_blank = false;
        } else {
            spelled.push(character);
            after_blank = character == ' ';
        }
    }
    spelled
}

fn emoji(character: char) -> Option<&'static str> {
    if character.is_ascii() { None } else { words::emoji(character) }
}

/// Cuts the text at white space. Whether some tokens are in capitals and some are not.
pub(super) fn split(text: &str, tokens: &mut Vec<Token>) -> bool {
    tokens.extend(text.split(is_space).filter(|token| !token.is_empty()).map(|token| Token::new(bare(token))));
    let shouting = tokens.iter().filter(|token| token.shouts).count();
    shouting > 0 && shouting < tokens.len()
}

/// White space as Python's `str.split` sees it: Unicode's, and the four separators of ASCII.
fn is_space(character: char) -> bool {
    character.is_whitespace() || matches!(character, '\u{1c}'..='\u{1f}')
}

/// Without punctuation around it, unless hardly anything is left then: it is an emoticon.
fn bare(token: &str) -> &str {
    let stripped = token.trim_matches(|character: char| character.is_ascii_punctuation());
    if stripped.chars().take(3).count() <= 2 { token } else { stripped }
}

/// As Python's `str.isupper`: at least one capital and no small or title-case letter.
fn is_upper(token: &str) -> bool {
    let mut capital = false;
    for character in token.chars() {
        if character.is_lowercase() || is_title(character) {
            return false;
        }
        capital |= character.is_uppercase();
    }
    capital
}

/// Letters of general category Lt.
fn is_title(character: char) -> bool {
    matches!(
        character,
        '\u{1c5}' | '\u{1c8}' | '\u{1cb}' | '\u{1f2}' | '\u{1f88}'..='\u{1f8f}' | '\u{1f98}'..='\u{1f9f}'
            | '\u{1fa8}'..='\u{1faf}' | '\u{1fbc}' | '\u{1fcc}' | '\u{1ffc}'
    )
}
