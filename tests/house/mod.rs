//! The house rules, held by reading the source tree. What the compiler and clippy can hold is theirs.
//!
//! # Layout
//!
//! - [`source`]: the files, and their code without comments, literals and tests.
//! - [`arrows`]: who may import whom. [`files`]: length, charter, what must not stand in code.
//! - [`codes`]: every error code is explained, every code that is used exists.
//! - [`paper`]: README, CHANGELOG and Makefile say what is so.
//!
//! Each rule is a function from text to complaints, tried on a text that breaks it: a check that cannot fail is none.

mod arrows;
mod codes;
mod files;
mod paper;
mod source;

/// Fails with every complaint at once.
fn assert_none(rule: &str, complaints: Vec<String>) {
    assert!(complaints.is_empty(), "{rule}\n  {}", complaints.join("\n  "));
}
