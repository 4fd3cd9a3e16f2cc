//! "But": what stands before it counts half, what follows one and a half times.

use std::collections::BTreeSet;

use super::{token::Token, words::Role};

/// Shifts the valences around the first "but".
///
/// As the program has it: walking through the list it changes the *first* valence that equals the current one, which
/// may be another, changed before. Found here through a set of (value, place), so that a long text costs no square.
pub(super) fn shift(tokens: &[Token], valences: &mut [f64]) {
    let Some(but) = tokens.iter().position(|token| token.word.role == Role::But) else { return };
    // Zeros stay zeros and equal nothing else.
    let places = valences.iter().enumerate().filter(|(_, valence)| **valence != 0.0);
    let mut first: BTreeSet<(u64, usize)> = places.map(|(place, valence)| (valence.to_bits(), place)).collect();
    for current in 0..valences.len() {
        let valence = valences[current];
        if valence == 0.0 {
            continue;
        }
        let bits = valence.to_bits();
        let Some(&(_, place)) = first.range((bits, 0)..=(bits, current)).next() else { continue };
        let factor = match place {
            place if place < but => 0.5,
            place if place > but => 1.5,
            _ => continue,
        };
        first.remove(&(bits, place));
        valences[place] = valence * factor;
        first.insert((valences[place].to_bits(), place));
    }
}
