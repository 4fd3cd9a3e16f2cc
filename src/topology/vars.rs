//! `${VAR}`, `${VAR:-default}` and `${file:/path}` in string values, replaced after parsing.

use std::{collections::BTreeMap, fmt, io};

/// Where the values of variables come from, and what an unset one means.
#[derive(Clone, Default)]
pub struct Variables {
    values: BTreeMap<String, String>,
    required: bool,
    read_file: Option<fn(&str) -> io::Result<String>>,
}

impl Variables {
    /// No values: what has no default stands as a placeholder. For `check`, which needs no secrets.
    pub fn placeholders() -> Self {
        Variables::default()
    }

    /// These values; whatever else is asked for and has no default is an error (`HW506`). Files are read.
    pub fn required(values: impl IntoIterator<Item = (String, String)>) -> Self {
        Variables {
            values: values.into_iter().collect(),
            required: true,
            read_file: Some(|path| std::fs::read_to_string(path)),
        }
    }

    /// These values, placeholders for the rest. Files are not read.
    pub fn optional(values: impl IntoIterator<Item = (String, String)>) -> Self {
        Variables { values: values.into_iter().collect(), required: false, read_file: None }
    }

    /// Sets one value, over what was there.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.values.insert(name.into(), value.into());
    }

    /// Replaces the variables of one string.
    pub(super) fn resolve(&self, raw: &str) -> Result<Resolved, VariableError> {
        let mut value = String::with_capacity(raw.len());
        let mut placeholder = false;
        let mut rest = raw;
        while let Some(at) = rest.find("${") {
            if let Some(literal) = rest[..at].strip_suffix('$') {
                // `$${` is a literal `${`.
                value.push_str(literal);
                value.push_str("${");
                rest = &rest[at + 2..];
                continue;
            }
            value.push_str(&rest[..at]);
            let body = &rest[at + 2..];
            let end = body.find('}').ok_or(VariableError::NotClosed)?;
            match self.one(&body[..end])? {
                Some(text) => value.push_str(&text),
                None => {
                    placeholder = true;
                    value.push_str(&rest[at..at + 3 + end]);
                }
            }
            rest = &body[end + 1..];
        }
        value.push_str(rest);
        Ok(Resolved { value, placeholder })
    }

    fn one(&self, body: &str) -> Result<Option<String>, VariableError> {
        if let Some(path) = body.strip_prefix("file:") {
            return match self.read_file {
                None => Ok(None),
                Some(read) => match read(path) {
                    Ok(text) => Ok(Some(text.trim_end_matches(['\n', '\r']).to_owned())),
                    Err(error) => Err(VariableError::File(path.to_owned(), error.to_string())),
                },
            };
        }
        let (name, default) = match body.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (body, None),
        };
        let well_formed = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !well_formed {
            return Err(VariableError::Name(name.to_owned()));
        }
        match self.values.get(name).filter(|value| !value.is_empty()).map(String::as_str).or(default) {
            Some(value) => Ok(Some(value.to_owned())),
            None if self.required => Err(VariableError::NotSet(name.to_owned())),
            None => Ok(None),
        }
    }
}

/// Shows names only: values may be secrets.
impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Variables")
            .field("names", &self.values.keys().collect::<Vec<_>>())
            .field("required", &self.required)
            .finish_non_exhaustive()
    }
}

/// A string after replacement.
pub(super) struct Resolved {
    pub value: String,
    /// Some of it is not known here.
    pub placeholder: bool,
}

/// Why a string cannot be resolved. Never holds a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum VariableError {
    NotSet(String),
    NotClosed,
    Name(String),
    File(String, String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(variables: &Variables, raw: &str) -> (String, bool) {
        let Resolved { value, placeholder } = variables.resolve(raw).unwrap();
        (value, placeholder)
    }

    #[test]
    fn values_defaults_and_placeholders() {
        let variables = Variables::optional([("A".to_owned(), "x".to_owned()), ("EMPTY".to_owned(), String::new())]);
        assert_eq!(resolve(&variables, "plain"), ("plain".into(), false));
        assert_eq!(resolve(&variables, "-${A}-${A}-"), ("-x-x-".into(), false));
        assert_eq!(resolve(&variables, "${B:-y}${EMPTY:-z}"), ("yz".into(), false));
        assert_eq!(resolve(&variables, "${B}"), ("${B}".into(), true));
        assert_eq!(resolve(&variables, "$${A}"), ("${A}".into(), false));
        assert_eq!(resolve(&variables, "${file:/nowhere}"), ("${file:/nowhere}".into(), true));
    }

    #[test]
    fn what_is_required_and_not_there_is_an_error_by_name() {
        let variables = Variables::required([]);
        assert_eq!(variables.resolve("${TOKEN}").err(), Some(VariableError::NotSet("TOKEN".into())));
        assert_eq!(variables.resolve("${TOKEN").err(), Some(VariableError::NotClosed));
        assert_eq!(variables.resolve("${a b}").err(), Some(VariableError::Name("a b".into())));
        assert!(matches!(variables.resolve("${file:/no/such/file}"), Err(VariableError::File(..))));
    }

    #[test]
    fn files_lose_their_last_line_break() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "s3cret\n").unwrap();
        let raw = format!("${{file:{}}}", file.path().display());
        assert_eq!(resolve(&Variables::required([]), &raw).0, "s3cret");
    }

    #[test]
    fn debug_shows_no_value() {
        assert!(!format!("{:?}", Variables::required([("T".to_owned(), "s3cret".to_owned())])).contains("s3cret"));
    }
}
