//! The words of a condition, found without parsing: for bounds that must hold before a parser sees the text, for the
//! names it mentions, and for printing values behind them. Lexical rules: CEL language definition, "Syntax".

use std::ops::Range;

use super::ExprError;

/// Longest condition in bytes.
const MAX_BYTES: usize = 4096;
/// Deepest nesting of brackets.
const MAX_NESTING: usize = 32;
/// Most words (names, numbers, texts).
const MAX_OPERANDS: usize = 256;
/// Most operators, dots and commas included.
const MAX_OPERATORS: usize = 512;
/// Most `!` and `-` in a row: each is a level of recursion.
const MAX_UNARY_RUN: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Name,
    Number,
    Text,
    /// One byte of an operator or bracket.
    Operator(u8),
}

/// One word and where it stands, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    pub kind: Kind,
    pub start: usize,
    pub end: usize,
}

/// Splits a condition into words, holding it to the bounds.
pub(super) fn tokens(source: &str) -> Result<Vec<Token>, ExprError> {
    if source.len() > MAX_BYTES {
        return too_big(format!("a condition has at most {MAX_BYTES} bytes; this one has {}", source.len()));
    }
    let bytes = source.as_bytes();
    let mut tokens = Vec::new();
    let (mut at, mut nesting, mut operands, mut operators, mut unary) = (0, 0usize, 0, 0, 0);
    while let Some(&byte) = bytes.get(at) {
        let start = at;
        let kind = match byte {
            b' ' | b'\t' | b'\n' | b'\r' | 0x0c => {
                at += 1;
                continue;
            }
            b'/' if bytes.get(at + 1) == Some(&b'/') => {
                return Err(ExprError::Syntax {
                    message: "// starts a comment and would cut the condition; leave it out".to_owned(),
                    offset: Some(start),
                });
            }
            b'"' | b'\'' => text_end(bytes, at, false, &mut at)?,
            _ if is_name(byte) && !byte.is_ascii_digit() => {
                while bytes.get(at).is_some_and(|byte| is_name(*byte)) {
                    at += 1;
                }
                let prefix = &source[start..at];
                match bytes.get(at) {
                    Some(b'"' | b'\'') if is_text_prefix(prefix) => {
                        text_end(bytes, at, prefix.contains(['r', 'R']), &mut at)?
                    }
                    _ => Kind::Name,
                }
            }
            _ if byte.is_ascii_digit() => {
                while bytes.get(at).is_some_and(|byte| is_name(*byte)) {
                    at += 1;
                }
                Kind::Number
            }
            _ => {
                // A whole character, so that slices stay on boundaries.
                at += source[at..].chars().next().map_or(1, char::len_utf8);
                Kind::Operator(byte)
            }
        };
        if let Kind::Operator(operator) = kind {
            operators += 1;
            unary = if matches!(operator, b'!' | b'-') { unary + 1 } else { 0 };
            match operator {
                b'(' | b'[' | b'{' => nesting += 1,
                b')' | b']' | b'}' => nesting = nesting.saturating_sub(1),
                _ => {}
            }
        } else {
            operands += 1;
            unary = 0;
        }
        if nesting > MAX_NESTING {
            return too_big(format!("a condition nests at most {MAX_NESTING} brackets"));
        }
        if operands > MAX_OPERANDS || operators > MAX_OPERATORS || unary > MAX_UNARY_RUN {
            return too_big(format!(
                "a condition has at most {MAX_OPERANDS} names and values, {MAX_OPERATORS} operators, {MAX_UNARY_RUN} of ! or - in a row"
            ));
        }
        tokens.push(Token { kind, start, end: at });
    }
    Ok(tokens)
}

fn too_big<T>(message: String) -> Result<T, ExprError> {
    Err(ExprError::TooBig { message })
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn is_text_prefix(word: &str) -> bool {
    word.len() <= 2 && word.bytes().all(|byte| matches!(byte, b'r' | b'R' | b'b' | b'B'))
}

/// Steps over the text that opens at `open`.
fn text_end(bytes: &[u8], open: usize, raw: bool, at: &mut usize) -> Result<Kind, ExprError> {
    let quote = bytes[open];
    let triple = bytes[open..].starts_with(&[quote; 3]);
    let close: &[u8] = if triple { &[quote; 3] } else { &[quote] };
    let mut here = open + close.len();
    while here < bytes.len() {
        if bytes[here] == b'\\' && !raw {
            here += 2;
        } else if bytes[here..].starts_with(close) {
            *at = here + close.len();
            return Ok(Kind::Text);
        } else {
            here += 1;
        }
    }
    Err(ExprError::Syntax {
        message: format!("the text that opens with {} is not closed", char::from(quote)),
        offset: Some(open),
    })
}

/// The dotted names a text mentions (`geo.country`), whether or not they exist: enough to see who depends on whom.
/// A method (`event.url.contains(`) is not part of the name.
pub fn names(source: &str) -> Vec<String> {
    let Ok(tokens) = tokens(source) else { return Vec::new() };
    chains(source, &tokens).into_iter().map(|chain| chain.dotted).collect()
}

/// Whether quotes are closed and brackets pair up: a condition that YAML cut short fails this.
pub fn is_whole(source: &str) -> bool {
    let Ok(tokens) = tokens(source) else { return false };
    let mut open = Vec::new();
    for token in tokens {
        match token.kind {
            Kind::Operator(byte @ (b'(' | b'[' | b'{')) => open.push(byte),
            Kind::Operator(byte @ (b')' | b']' | b'}')) => {
                let opening = if byte == b')' { b'(' } else { byte - 2 };
                if open.pop() != Some(opening) {
                    return false;
                }
            }
            _ => {}
        }
    }
    open.is_empty()
}

/// A dotted name in the text.
pub(super) struct Chain {
    pub dotted: String,
    pub place: Range<usize>,
}

pub(super) fn chains(source: &str, tokens: &[Token]) -> Vec<Chain> {
    let mut chains = Vec::new();
    let operator = |index: usize, byte: u8| tokens.get(index).is_some_and(|token| token.kind == Kind::Operator(byte));
    let name = |index: usize| tokens.get(index).filter(|token| token.kind == Kind::Name);
    let mut index = 0;
    while index < tokens.len() {
        let Some(first) = name(index) else {
            index += 1;
            continue;
        };
        let mut links = vec![*first];
        index += 1;
        loop {
            if operator(index, b'.')
                && let Some(next) = name(index + 1)
            {
                links.push(*next);
                index += 2;
            } else {
                break;
            }
        }
        if operator(index, b'(') {
            links.pop();
        }
        let (Some(first), Some(last)) = (links.first(), links.last()) else { continue };
        let mut dotted = links.iter().map(|link| &source[link.start..link.end]).collect::<Vec<_>>().join(".");
        let mut end = last.end;
        // event.properties["plan"] is event.properties.plan, for keys that are no names.
        if operator(index, b'[')
            && operator(index + 2, b']')
            && let Some(key) = tokens.get(index + 1).filter(|token| token.kind == Kind::Text)
        {
            let quoted = &source[key.start..key.end];
            if let Some(key) = quoted.get(1..quoted.len() - 1).filter(|key| !key.contains('\\')) {
                dotted = format!("{dotted}.{key}");
                end = tokens[index + 2].end;
            }
            index += 3;
        }
        let word = dotted.as_str();
        if !matches!(word, "true" | "false" | "null" | "in") {
            chains.push(Chain { dotted, place: first.start..end });
        }
    }
    chains
}
