//! The part of SOQL that the stub Salesforce answers: a list of fields, one condition on one field, an order, a limit.

/// A query, read.
#[derive(Debug, PartialEq)]
pub(super) struct Query {
    pub fields: Vec<String>,
    pub object: String,
    pub field: String,
    pub values: Vec<String>,
    /// Descending, where an order is given at all: always by Id.
    pub descending: bool,
    pub limit: Option<usize>,
}

#[derive(Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Sign(char),
}

/// Reads a query. `None` is one that this stub, or Salesforce itself, does not understand.
pub(super) fn parse(soql: &str) -> Option<Query> {
    let mut tokens = tokens(soql)?.into_iter().peekable();
    let mut next = move || tokens.next();
    keyword(next()?, "SELECT")?;
    let mut fields = Vec::new();
    loop {
        fields.push(word(next()?)?);
        match next()? {
            Token::Sign(',') => {}
            from => break keyword(from, "FROM")?,
        }
    }
    let object = word(next()?)?;
    keyword(next()?, "WHERE")?;
    let field = word(next()?)?;
    let mut values = Vec::new();
    match next()? {
        Token::Sign('=') => values.push(text(next()?)?),
        within => {
            keyword(within, "IN")?;
            if next()? != Token::Sign('(') {
                return None;
            }
            loop {
                values.push(text(next()?)?);
                match next()? {
                    Token::Sign(',') => {}
                    Token::Sign(')') => break,
                    _ => return None,
                }
            }
        }
    }
    let mut query = Query { fields, object, field, values, descending: false, limit: None };
    let mut token = next();
    if matches!(&token, Some(Token::Word(word)) if word.eq_ignore_ascii_case("ORDER")) {
        keyword(next()?, "BY")?;
        keyword(next()?, "Id")?;
        token = next();
        if let Some(Token::Word(word)) = &token {
            query.descending = word.eq_ignore_ascii_case("DESC");
            if query.descending || word.eq_ignore_ascii_case("ASC") {
                token = next();
            }
        }
    }
    if let Some(limit) = token {
        keyword(limit, "LIMIT")?;
        query.limit = Some(word(next()?)?.parse().ok()?);
        token = next();
        return token.is_none().then_some(query);
    }
    Some(query)
}

fn keyword(token: Token, wanted: &str) -> Option<()> {
    word(token)?.eq_ignore_ascii_case(wanted).then_some(())
}

fn word(token: Token) -> Option<String> {
    match token {
        Token::Word(word) => Some(word),
        _ => None,
    }
}

fn text(token: Token) -> Option<String> {
    match token {
        Token::Text(text) => Some(text),
        _ => None,
    }
}

fn tokens(soql: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut characters = soql.chars().peekable();
    while let Some(character) = characters.next() {
        tokens.push(match character {
            space if space.is_ascii_whitespace() => continue,
            ',' | '(' | ')' | '=' => Token::Sign(character),
            '\'' => Token::Text(quoted(&mut characters)?),
            first if first.is_ascii_alphanumeric() => {
                let mut word = String::from(first);
                while let Some(more) = characters.next_if(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.')) {
                    word.push(more);
                }
                Token::Word(word)
            }
            _ => return None,
        });
    }
    Some(tokens)
}

/// The rest of a text in quotes, after the first of them.
fn quoted(characters: &mut impl Iterator<Item = char>) -> Option<String> {
    let mut text = String::new();
    loop {
        text.push(match characters.next()? {
            '\'' => return Some(text),
            '\\' => match characters.next()? {
                'n' | 'N' => '\n',
                'r' | 'R' => '\r',
                't' | 'T' => '\t',
                'b' | 'B' => '\u{8}',
                'f' | 'F' => '\u{c}',
                'u' => {
                    let code: String = characters.by_ref().take(4).collect();
                    char::from_u32(u32::from_str_radix(&code, 16).ok()?)?
                }
                itself @ ('\'' | '"' | '\\' | '_' | '%') => itself,
                _ => return None,
            },
            '\n' | '\r' => return None,
            other => other,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_as_ours_are_read() {
        let query =
            parse("SELECT Id,Account.Name FROM Contact WHERE Email IN ('a@b.example','o\\'hara') ORDER BY Id").unwrap();
        assert_eq!(query.fields, ["Id", "Account.Name"]);
        assert_eq!((&*query.object, &*query.field), ("Contact", "Email"));
        assert_eq!(query.values, ["a@b.example", "o'hara"]);
        let query = parse("select Id from Contact where Email = 'x' order by Id desc limit 3").unwrap();
        assert!(query.descending && query.limit == Some(3));
    }

    #[test]
    fn what_is_not_understood_is_no_query() {
        for soql in [
            "",
            "SELECT Id FROM Contact",
            "SELECT Id FROM Contact WHERE Email = 'x' OR Id != null",
            "SELECT Id FROM Contact WHERE Email = 'x",
            "SELECT Id FROM Contact WHERE Email = 'x\\q'",
            "SELECT Id FROM Contact WHERE Email IN ()",
            "SELECT Id FROM Contact WHERE Email = 'x' LIMIT 3 OFFSET 1",
        ] {
            assert_eq!(parse(soql), None, "{soql}");
        }
    }
}
