//! The valence of one token, given the tokens around it.

use super::{
    token::Token,
    words::{BOOST, Role},
};

/// What capitals among small letters add.
const SHOUT: f64 = 0.733;
/// What a negation makes of a valence.
const NEGATED: f64 = -0.74;
/// What `never so` and the like make of it.
const NEVER_SO: f64 = 1.25;
/// How much of a booster counts, by its distance.
const NEARNESS: [f64; 3] = [1.0, 0.95, 0.9];

/// The valence of the token there; 0 where it has none.
pub(super) fn of(tokens: &[Token], at: usize, mixed_case: bool) -> f64 {
    let token = &tokens[at];
    let is = |back: usize, role: Role| at >= back && tokens[at - back].word.role == role;
    let next = tokens.get(at + 1);
    if token.word.boost != 0.0 || (token.word.role == Role::Kind && next.is_some_and(|next| next.word.role == Role::Of))
    {
        return 0.0;
    }
    let Some(rated) = token.word.valence else { return 0.0 };
    let mut valence = rated;
    // "no" before a rated word negates it and says nothing by itself.
    if token.word.role == Role::No && next.is_some_and(|next| next.word.valence.is_some()) {
        valence = 0.0;
    }
    if is(1, Role::No) || is(2, Role::No) || (is(3, Role::No) && (is(1, Role::Or) || is(1, Role::Nor))) {
        valence = rated * NEGATED;
    }
    if token.shouts && mixed_case {
        valence += if valence > 0.0 { SHOUT } else { -SHOUT };
    }
    for back in 1..=at.min(3) {
        let before = &tokens[at - back];
        if before.word.valence.is_some() {
            continue;
        }
        valence += boost(before, valence, mixed_case) * NEARNESS[back - 1];
        valence = negated(tokens, at, back, valence);
        if back == 3 {
            valence = phrases(tokens, at, valence);
        }
    }
    let least = is(1, Role::Least) && !is(2, Role::At) && !is(2, Role::Very);
    if least { valence * NEGATED } else { valence }
}

/// What a booster before a valence adds.
fn boost(token: &Token, valence: f64, mixed_case: bool) -> f64 {
    let mut boost = token.word.boost;
    if boost == 0.0 {
        return 0.0;
    }
    if valence < 0.0 {
        boost = -boost;
    }
    if token.shouts && mixed_case {
        boost += if valence > 0.0 { SHOUT } else { -SHOUT };
    }
    boost
}

/// The valence after a look at the token `back` places before it.
fn negated(tokens: &[Token], at: usize, back: usize, valence: f64) -> f64 {
    let role = |back: usize| tokens[at - back].word.role;
    let so = |back: usize| matches!(role(back), Role::So | Role::This);
    match back {
        2 if role(2) == Role::Never && so(1) => valence * NEVER_SO,
        2 if role(2) == Role::Without && role(1) == Role::Doubt => valence,
        // As the program has it: "so" or "this" right before counts without any "never".
        3 if (role(3) == Role::Never && so(2)) || so(1) => valence * NEVER_SO,
        3 if role(3) == Role::Without && (role(2) == Role::Doubt || role(1) == Role::Doubt) => valence,
        _ if tokens[at - back].negates => valence * NEGATED,
        _ => valence,
    }
}

/// Phrases around the token at `at`, which has at least three before it. As the program has it: only there.
fn phrases(tokens: &[Token], at: usize, mut valence: f64) -> f64 {
    let role = |at: usize| tokens.get(at).map_or(Role::Plain, |token| token.word.role);
    let two = |at: usize| phrase(&[role(at), role(at + 1)]);
    let three = |at: usize| phrase(&[role(at), role(at + 1), role(at + 2)]);
    let near = two(at - 1).or_else(|| three(at - 2)).or_else(|| two(at - 2));
    if let Some(fixed) = near.or_else(|| three(at - 3)).or_else(|| two(at - 3)) {
        valence = fixed;
    }
    if let Some(fixed) = two(at) {
        valence = fixed;
    }
    if let Some(fixed) = three(at) {
        valence = fixed;
    }
    for start in [at - 3, at - 2] {
        if matches!((role(start), role(start + 1)), (Role::Kind | Role::Sort, Role::Of) | (Role::Just, Role::Enough)) {
            valence -= BOOST;
        }
    }
    valence
}

/// The valence of a phrase, whatever its words' own.
fn phrase(words: &[Role]) -> Option<f64> {
    Some(match words {
        [Role::The, Role::Shit | Role::Bomb] | [Role::To, Role::Die, Role::For] => 3.0,
        [Role::Bad, Role::Ass] => 1.5,
        [Role::Bus, Role::Stop] => 0.0,
        [Role::Yeah, Role::Right] => -2.0,
        [Role::Kiss, Role::Of, Role::Death] => -1.5,
        [Role::Beating, Role::Heart] => 3.5,
        _ => return None,
    })
}
