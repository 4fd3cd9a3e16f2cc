//! Texts of touches: bounded, clean, shared with the records that show them.

use std::{ops::Deref, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::event::Value;

/// Longest text of a touch, in bytes; more is cut.
pub(super) const MAX_WORD: usize = 200;

/// A text of a touch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::agent) struct Word(Arc<str>);

impl Word {
    /// The text without control characters and blanks around it, at most [`MAX_WORD`] bytes; `None` if nothing is left.
    pub fn new(text: &str) -> Option<Word> {
        let text = text.trim();
        if text.is_empty() {
            return None;
        }
        let cut = cut(text, MAX_WORD);
        if !cut.contains(char::is_control) {
            return Some(Word(cut.into()));
        }
        let clean: String = cut.chars().filter(|letter| !letter.is_control()).collect();
        let clean = clean.trim();
        (!clean.is_empty()).then(|| Word(clean.into()))
    }

    /// The same for an id, of which a piece would be worth nothing: `None` where it is longer than `max` bytes or holds
    /// what no id holds.
    pub fn id(text: &str, max: usize) -> Option<Word> {
        let text = text.trim();
        let is_id = !text.is_empty()
            && text.len() <= max
            && !text.contains(|letter: char| letter.is_control() || letter.is_whitespace());
        is_id.then(|| Word(text.into()))
    }

    /// The value in a record: copies a pointer.
    pub fn value(&self) -> Value {
        Value::Text(self.0.clone())
    }
}

/// The first `max` bytes, less where that would split a letter.
pub(super) fn cut(text: &str, max: usize) -> &str {
    let mut end = max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

impl Deref for Word {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Word {
    fn from(text: &str) -> Self {
        Word(text.into())
    }
}

impl Serialize for Word {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Word(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cleaned_and_cut_between_letters() {
        let text = |text: &str| Word::new(text).map(|word| word.to_string());
        assert_eq!(text("  Spring \u{0}Sale\n"), Some("Spring Sale".to_owned()));
        assert_eq!(text(" \u{1} "), None);
        assert_eq!(text(&"ü".repeat(150)).unwrap().len(), 200);
        assert_eq!(text(&format!("a{}", "ü".repeat(150))).unwrap().len(), 199);
    }

    #[test]
    fn an_id_is_whole_or_nothing() {
        assert_eq!(Word::id("Cj0KCQ_a-b.C", 20).as_deref(), Some("Cj0KCQ_a-b.C"));
        assert_eq!(Word::id(&"x".repeat(21), 20), None);
        assert_eq!(Word::id("a\nb", 20), None);
        assert_eq!(Word::id("", 20), None);
    }
}
