//! Questions in SOQL: who has one of these values in that field. Pure.
//!
//! Source: "SOQL and SOSL Reference", quoted string escape sequences, and the limits of "REST API Developer Guide"
//! (an address of 16,384 bytes at most, of which the query's part here stays well below).

use std::collections::HashSet;

use url::form_urlencoded::byte_serialize;

use crate::policy::Key;

/// Most bytes that a query may have once it is encoded for an address.
const MAX_ENCODED: usize = 12_000;
/// No field that can be filtered by holds more characters: such a key exists nowhere, and is not asked for.
const LONGEST_KEY: usize = 255;

/// What is the same in all queries of a service.
pub(super) struct Query {
    /// `SELECT Id,Email FROM Contact WHERE Email IN (`
    head: String,
    head_encoded: usize,
}

/// After the values. Of several records with one value the oldest answers, always the same.
const TAIL: &str = ") ORDER BY Id";

/// One query, and the keys that it asks for, by their index.
#[derive(Debug, PartialEq)]
pub(super) struct Chunk {
    pub soql: String,
    pub keys: Vec<usize>,
}

/// A chunk being filled.
struct Open {
    chunk: Chunk,
    encoded: usize,
    /// Values without regard to case, for Salesforce compares so.
    folded: HashSet<String>,
}

impl Query {
    /// Asks for these fields of the records of an object. All names are identifiers: the topology's check holds them
    /// to it.
    pub fn new(object: &str, key_field: &str, fields: &[String]) -> Self {
        let head = format!("SELECT {} FROM {object} WHERE {key_field} IN (", fields.join(","));
        Query { head_encoded: encoded(&head), head }
    }

    /// As few queries as hold all keys. Keys that differ in case only stand in different ones: the answers of one could
    /// not be told apart. Keys that are too long for any field are left out.
    pub fn chunks(&self, keys: &[Key]) -> Vec<Chunk> {
        let fixed = self.head_encoded + encoded(TAIL);
        let mut open: Vec<Open> = Vec::new();
        for (index, key) in keys.iter().enumerate().filter(|(_, key)| key.chars().count() <= LONGEST_KEY) {
            let (literal, folded) = (literal(key), key.to_lowercase());
            let more = encoded(&literal) + encoded(",");
            let fits = |open: &&mut Open| open.encoded + more <= MAX_ENCODED && !open.folded.contains(&folded);
            let open = match open.iter_mut().find(fits) {
                Some(open) => {
                    open.chunk.soql.push(',');
                    open
                }
                None => {
                    let chunk = Chunk { soql: self.head.clone(), keys: Vec::new() };
                    open.push(Open { chunk, encoded: fixed, folded: HashSet::new() });
                    let last = open.len() - 1;
                    &mut open[last]
                }
            };
            open.chunk.soql.push_str(&literal);
            open.chunk.keys.push(index);
            open.encoded += more;
            open.folded.insert(folded);
        }
        let closed = open.into_iter().map(|mut open| {
            open.chunk.soql.push_str(TAIL);
            open.chunk
        });
        closed.collect()
    }
}

/// A text as a literal of SOQL, in quotes, out of which it cannot break.
pub(super) fn literal(text: &str) -> String {
    let mut literal = String::with_capacity(text.len() + 2);
    literal.push('\'');
    for character in text.chars() {
        match character {
            '\'' | '"' | '\\' => {
                literal.push('\\');
                literal.push(character);
            }
            '\n' => literal.push_str("\\n"),
            '\r' => literal.push_str("\\r"),
            '\t' => literal.push_str("\\t"),
            '\u{8}' => literal.push_str("\\b"),
            '\u{c}' => literal.push_str("\\f"),
            control if control.is_control() => literal.push_str(&format!("\\u{:04X}", u32::from(control))),
            other => literal.push(other),
        }
    }
    literal.push('\'');
    literal
}

/// Bytes in an address.
fn encoded(text: &str) -> usize {
    byte_serialize(text.as_bytes()).map(str::len).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(keys: &[&str]) -> Vec<Key> {
        keys.iter().map(|key| Key::from(*key)).collect()
    }

    fn query() -> Query {
        Query::new("Contact", "Email", &["Id".to_owned(), "Email".to_owned(), "Account.Name".to_owned()])
    }

    /// Reads a literal back, as Salesforce documents it; `None` where it does not end at the end.
    fn read(literal: &str) -> Option<String> {
        let mut characters = literal.strip_prefix('\'')?.chars();
        let mut text = String::new();
        loop {
            text.push(match characters.next()? {
                '\'' => return characters.next().is_none().then_some(text),
                '\\' => match characters.next()? {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    'u' => {
                        let code: String = characters.by_ref().take(4).collect();
                        char::from_u32(u32::from_str_radix(&code, 16).ok()?)?
                    }
                    quoted @ ('\'' | '"' | '\\') => quoted,
                    _ => return None,
                },
                '\n' | '\r' => return None,
                other => other,
            });
        }
    }

    #[test]
    fn values_are_quoted_and_escaped() {
        let chunks = query().chunks(&keys(&["ada@acme.example", "o'hara@acme.example"]));
        let soql = "SELECT Id,Email,Account.Name FROM Contact WHERE Email IN ('ada@acme.example','o\\'hara@acme.example') \
                    ORDER BY Id";
        assert_eq!(chunks, [Chunk { soql: soql.to_owned(), keys: vec![0, 1] }]);
    }

    #[test]
    fn an_injection_stays_a_value() {
        for attempt in [
            "x') OR Id != null OR Email IN ('",
            "x\\') OR (Name LIKE '%",
            "\\",
            "\\\\'",
            "x'/*",
            "x\u{0}'--",
            "x\n' OR 'a' = 'a",
            "\u{2019}') OR Name IN (\u{2019}",
            "😀') OR Id != null --",
            "x\u{85}'\u{2028}'",
        ] {
            assert_eq!(read(&literal(attempt)).as_deref(), Some(attempt));
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_out_of_its_quotes(text in any::<String>()) {
            prop_assert_eq!(read(&literal(&text)), Some(text));
        }

        #[test]
        fn no_text_of_quotes_and_backslashes_breaks_out(text in "['\"\\\\nru0 ,()a]{0,40}") {
            prop_assert_eq!(read(&literal(&text)), Some(text));
        }

        #[test]
        fn every_key_is_asked_for_once_in_queries_that_fit_into_an_address(
            texts in proptest::collection::vec("[aA'é😀]{1,60}", 0..150)
        ) {
            let keys: Vec<Key> = texts.iter().map(|text| Key::from(text.as_str())).collect();
            let chunks = query().chunks(&keys);
            let mut asked: Vec<usize> = chunks.iter().flat_map(|chunk| chunk.keys.clone()).collect();
            asked.sort_unstable();
            prop_assert_eq!(asked, (0..keys.len()).collect::<Vec<_>>());
            for chunk in &chunks {
                prop_assert!(encoded(&chunk.soql) <= MAX_ENCODED);
                let mut folded: Vec<String> = chunk.keys.iter().map(|key| keys[*key].to_lowercase()).collect();
                folded.sort();
                folded.dedup();
                prop_assert_eq!(folded.len(), chunk.keys.len(), "equal but for case, in one query");
            }
        }
    }

    #[test]
    fn a_key_that_no_field_can_hold_is_not_asked_for() {
        let long = "é".repeat(LONGEST_KEY + 1);
        assert_eq!(query().chunks(&keys(&[&long])), []);
        assert_eq!(query().chunks(&keys(&[&long, "a"]))[0].keys, [1]);
    }

    #[test]
    fn usual_keys_need_one_query_for_a_whole_batch() {
        let mails: Vec<Key> = (0..200).map(|n| format!("somebody.{n}@company.example").into()).collect();
        assert_eq!(query().chunks(&mails).len(), 1);
    }
}
