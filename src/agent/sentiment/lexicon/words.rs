//! The word lists: what is known of a word or an emoji, looked up without allocating.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    sync::LazyLock,
};

/// How much a booster adds, a dampener takes away.
pub(super) const BOOST: f64 = 0.293;

/// What is known of a word; the default is nothing.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Word {
    /// The mean of the ratings, from -4 to 4; `None` where the word is not rated.
    pub valence: Option<f64>,
    /// What a booster (positive) or dampener (negative) does to a rated word after it; 0 for other words.
    pub boost: f64,
    /// Turns a rated word after it round.
    pub negates: bool,
    pub role: Role,
}

/// Words that rules and phrases name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[rustfmt::skip]
pub(super) enum Role {
    #[default]
    Plain,
    Ass, At, Bad, Beating, Bomb, Bus, But, Death, Die, Doubt, Enough, For, Heart, Just, Kind, Kiss, Least, Never, No, Nor,
    Of, Or, Right, Shit, So, Sort, Stop, The, This, To, Very, Without, Yeah,
}

const ROLES: &[(&str, Role)] = &[
    ("ass", Role::Ass),
    ("at", Role::At),
    ("bad", Role::Bad),
    ("beating", Role::Beating),
    ("bomb", Role::Bomb),
    ("bus", Role::Bus),
    ("but", Role::But),
    ("death", Role::Death),
    ("die", Role::Die),
    ("doubt", Role::Doubt),
    ("enough", Role::Enough),
    ("for", Role::For),
    ("heart", Role::Heart),
    ("just", Role::Just),
    ("kind", Role::Kind),
    ("kiss", Role::Kiss),
    ("least", Role::Least),
    ("never", Role::Never),
    ("no", Role::No),
    ("nor", Role::Nor),
    ("of", Role::Of),
    ("or", Role::Or),
    ("right", Role::Right),
    ("shit", Role::Shit),
    ("so", Role::So),
    ("sort", Role::Sort),
    ("stop", Role::Stop),
    ("the", Role::The),
    ("this", Role::This),
    ("to", Role::To),
    ("very", Role::Very),
    ("without", Role::Without),
    ("yeah", Role::Yeah),
];

/// Negations beside every word that holds `n't`.
const NEGATIONS: &str = "aint arent cannot cant couldnt darent didnt doesnt dont hadnt hasnt havent isnt mightnt \
     mustnt neither neednt never none nope nor not nothing nowhere oughtnt shant shouldnt uhuh wasnt werent uh-uh \
     without wont wouldnt rarely seldom despite";

const BOOSTERS: &str = "absolutely amazingly awfully completely considerable considerably decidedly deeply effing \
     enormous enormously entirely especially exceptional exceptionally extreme extremely fabulously flipping flippin \
     frackin fracking fricking frickin frigging friggin fully fuckin fucking fuggin fugging greatly hella highly \
     hugely incredible incredibly intensely major majorly more most particularly purely quite really remarkably so \
     substantially thoroughly total totally tremendous tremendously uber unbelievably unusually utter utterly very";

const DAMPENERS: &str = "almost barely hardly kinda kindof kind-of less little marginal marginally occasional \
     occasionally partly scarce scarcely slight slightly somewhat sorta sortof sort-of";

/// FNV-1a, 64 bits (draft-eastlake-fnv). The keys are ours: nobody can choose them to collide.
pub(super) struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

type Table<K, V> = HashMap<K, V, BuildHasherDefault<Fnv>>;

/// The longest word of the lists, in bytes.
const LONGEST: usize = 32;

static WORDS: LazyLock<Table<&'static [u8], Word>> = LazyLock::new(|| {
    let mut words: Table<&'static [u8], Word> = Table::default();
    for line in include_str!("words.tsv").lines() {
        if let Some((word, valence)) = line.split_once('\t') {
            words.entry(word.as_bytes()).or_default().valence = valence.parse().ok();
        }
    }
    for word in NEGATIONS.split_ascii_whitespace() {
        words.entry(word.as_bytes()).or_default().negates = true;
    }
    for word in BOOSTERS.split_ascii_whitespace() {
        words.entry(word.as_bytes()).or_default().boost = BOOST;
    }
    for word in DAMPENERS.split_ascii_whitespace() {
        words.entry(word.as_bytes()).or_default().boost = -BOOST;
    }
    for (word, role) in ROLES {
        words.entry(word.as_bytes()).or_default().role = *role;
    }
    words
});

static EMOJI: LazyLock<Table<char, &'static str>> = LazyLock::new(|| {
    let lines = include_str!("emoji.tsv").lines().filter_map(|line| line.split_once('\t'));
    lines.filter_map(|(emoji, text)| Some((emoji.chars().next()?, text))).collect()
});

/// What is known of a token, whatever its case.
pub(super) fn find(token: &str) -> Word {
    let mut lower = [0_u8; LONGEST];
    let mut length = 0;
    if token.is_ascii() {
        let Some(lower) = lower.get_mut(..token.len()) else { return Word::default() };
        lower.copy_from_slice(token.as_bytes());
        lower.make_ascii_lowercase();
        length = token.len();
    } else {
        // Some letters beyond ASCII have small forms within (the Kelvin sign), so none is left out.
        for small in token.chars().flat_map(char::to_lowercase) {
            let Some(room) = lower.get_mut(length..length + small.len_utf8()) else { return Word::default() };
            length += small.encode_utf8(room).len();
        }
    }
    WORDS.get(lower.get(..length).unwrap_or_default()).copied().unwrap_or_default()
}

/// An emoji in words.
pub(super) fn emoji(character: char) -> Option<&'static str> {
    EMOJI.get(&character).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_fits_the_buffer_and_has_its_number() {
        assert!(WORDS.keys().all(|word| word.len() <= LONGEST));
        assert_eq!(WORDS.values().filter(|word| word.valence.is_some()).count(), 7506);
        assert_eq!(EMOJI.len(), 1212);
    }

    #[test]
    fn a_word_is_found_in_any_case() {
        assert_eq!(find("GREAT").valence, Some(3.1));
        assert_eq!(find("\u{212a}ind").role, Role::Kind, "the Kelvin sign is a capital k");
        assert!(find(&"é".repeat(400)).valence.is_none());
        assert!(find("").valence.is_none());
    }
}
