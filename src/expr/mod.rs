//! Conditions in CEL: bounded before compiling, typed against a scope; unknown is not true. Pure.
//!
//! # Layout
//!
//! [`Condition`] is compiled once and evaluated per record. `lex` bounds the text, `compile` turns names into places of
//! the record, `types` finds comparisons that can never hold, `functions` is the short list of what may be called.

mod compile;
mod condition;
mod functions;
mod lex;
#[cfg(test)]
mod tests;
mod types;

pub use condition::{Condition, ExprError, Scope, Truth};
pub use lex::{is_whole, names};
