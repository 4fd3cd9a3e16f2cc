//! What a condition may call. Few on purpose: CEL's own, `matches` with its pattern compiled once, and `number`.

use std::sync::Arc;

use cel::{
    Context, Env, ExecutionError,
    common::types::{CelDouble, CelString},
};
use regex::Regex;

/// Every function and method by name, with how it is called: for the checker's help.
pub(super) const KNOWN: &[&str] =
    &["contains", "startsWith", "endsWith", "matches", "size", "number", "int", "double", "string"];

/// The name under which a `matches` with its pattern compiled is called.
pub(super) const MATCHES: &str = "@matches";

/// Largest compiled pattern, in bytes.
pub(super) const REGEX_BYTES: usize = 1 << 20;

/// The standard environment and `number(text)`.
pub(super) fn env() -> Env {
    let mut env = Env::stdlib();
    // Adding fails only for a name that is taken; a test calls each.
    let _ = cel::add_overload!(env, fn number: (CelString) -> Result<CelDouble>, id = "number_text");
    env
}

/// `number("12.50")` is 12.5: properties are text. Text that is no number is an error, hence unknown.
fn number(text: &CelString<'_>) -> Result<CelDouble, ExecutionError> {
    match text.inner().trim().parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(CelDouble::from(number)),
        _ => Err(ExecutionError::function_error("number", "not a number")),
    }
}

/// Makes `@matches(text, index)` known, which asks a compiled pattern.
pub(super) fn add_matches(context: &mut Context<'_, '_>, regexes: &Arc<[Regex]>) {
    let regexes = regexes.clone();
    let _ = context.add_function(MATCHES, move |text: Arc<String>, index: i64| {
        usize::try_from(index)
            .ok()
            .and_then(|index| regexes.get(index))
            .map(|regex| regex.is_match(&text))
            .ok_or_else(|| ExecutionError::function_error("matches", "no such pattern"))
            .map(cel::Value::Bool)
    });
}
