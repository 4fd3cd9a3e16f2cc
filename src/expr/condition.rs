//! A compiled condition.

use std::{
    fmt::{self, Write as _},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use cel::{
    Context, Env,
    common::{
        types::{CelBool, CelDouble, CelInt, CelString},
        value::{CowVal, Val},
    },
    context::VariableResolver,
};

use super::{
    compile::{self, Compiled, Slot},
    functions, lex,
};
use crate::event::{Path, Record, Type, Value};

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
    /// For a whole map (`event.properties`) the type is that of its values.
    fn resolve(&self, dotted: &str) -> Option<(Path, Type)>;
}

/// Why a condition was refused. Each message says what to write instead where that is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExprError {
    /// Not CEL. `offset` is the byte where it went wrong.
    #[error("{message}")]
    Syntax { message: String, offset: Option<usize> },
    /// Over a bound that keeps compiling and evaluating safe. Split it into several rules.
    #[error("{message}")]
    TooBig { message: String },
    /// Names that the scope does not have, as written.
    #[error("{} is not defined", .names.join(", "))]
    Undefined { names: Vec<String> },
    /// It can be read but never hold: number against text, and the like.
    #[error("type error: {message}")]
    Type { message: String },
}

/// A compiled condition, with the paths it reads. Cheap to clone.
#[derive(Clone)]
pub struct Condition {
    source: Arc<str>,
    reads: Arc<[(Arc<str>, Path)]>,
    compiled: Arc<Compiled>,
}

impl Condition {
    /// Bounds, compiles and resolves a condition.
    pub fn compile(source: &str, scope: &dyn Scope) -> Result<Self, ExprError> {
        let (compiled, reads) = compile::compile(source, scope, env())?;
        Ok(Condition { source: source.into(), reads: reads.into(), compiled: Arc::new(compiled) })
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
    pub fn eval(&self, record: &Record) -> Truth {
        let values: Vec<Value> = self.reads.iter().map(|(_, path)| path.get(record)).collect();
        let resolver = Reads { compiled: &self.compiled, values: &values, missing: AtomicUsize::new(usize::MAX) };
        let mut context = Context::with_env(env().clone());
        if !self.compiled.regexes.is_empty() {
            functions::add_matches(&mut context, &self.compiled.regexes);
        }
        context.set_variable_resolver(&resolver);
        let why = match cel::Value::resolve_val(&self.compiled.expression, &context) {
            Ok(value) => match value.downcast_ref::<CelBool>() {
                Some(truth) if *truth.inner() => return Truth::True,
                Some(_) => return Truth::False,
                None => Arc::from("not a yes or no"),
            },
            Err(error) => match self.reads.get(resolver.missing.load(Ordering::Relaxed)) {
                Some((name, _)) => name.clone(),
                None => error.to_string().into(),
            },
        };
        Truth::Unknown(why)
    }

    /// The condition with the values it met, for `Trigger::because`: `score.value (72) >= 60 && geo.country ("GB") in [...]`.
    pub fn explain(&self, record: &Record) -> String {
        let mut text = String::with_capacity(self.source.len() * 2);
        let mut done = 0;
        let tokens = lex::tokens(&self.source).unwrap_or_default();
        for chain in lex::chains(&self.source, &tokens) {
            let Some((_, path)) = self.reads.iter().find(|(name, _)| **name == *chain.dotted) else { continue };
            text.push_str(&self.source[done..chain.place.end]);
            let _ = match path.get(record) {
                Value::Null => write!(text, " (absent)"),
                Value::Text(value) => write!(text, " ({:?}{})", shortened(&value), ellipsis(&value)),
                value => write!(text, " ({value})"),
            };
            done = chain.place.end;
        }
        text.push_str(&self.source[done..]);
        text
    }
}

/// Most bytes of one text value in an explanation.
const EXPLAINED_BYTES: usize = 160;

fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(EXPLAINED_BYTES)]
}

fn ellipsis(text: &str) -> &'static str {
    if text.len() > EXPLAINED_BYTES { "…" } else { "" }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condition").field("source", &self.source).field("reads", &self.reads).finish()
    }
}

/// The functions and types of every condition, made once.
fn env() -> &'static Arc<Env> {
    static ENV: OnceLock<Arc<Env>> = OnceLock::new();
    ENV.get_or_init(|| Arc::new(functions::env()))
}

/// Gives the evaluator what a compiled name stands for, and remembers the first that was absent.
struct Reads<'r> {
    compiled: &'r Compiled,
    values: &'r [Value],
    missing: AtomicUsize,
}

impl VariableResolver for Reads<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        match Slot::parse(variable)? {
            Slot::Read(index) => {
                let value = to_cel(self.values.get(index)?);
                if value.is_none() {
                    let _ = self.missing.compare_exchange(usize::MAX, index, Ordering::Relaxed, Ordering::Relaxed);
                }
                value
            }
            Slot::Has(index) => Some(CowVal::owned(CelBool::from(!self.values.get(index)?.is_null()))),
            Slot::List(index) => self.compiled.lists.get(index).map(|list| CowVal::Borrowed(list)),
        }
    }
}

/// A value as the evaluator wants it, borrowing text; null is absent.
fn to_cel(value: &Value) -> Option<CowVal<'_, '_>> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(value) => CowVal::owned(CelBool::from(*value)),
        Value::Int(value) => CowVal::owned(CelInt::from(*value)),
        Value::Float(value) => CowVal::owned(CelDouble::from(*value)),
        Value::Text(text) => CowVal::owned(CelString::from(&**text)),
        Value::List(_) | Value::Map(_) => {
            let boxed: Box<dyn Val> = to_cel_value(value).try_into().ok()?;
            CowVal::Owned(boxed)
        }
    })
}

fn to_cel_value(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(value) => cel::Value::Bool(*value),
        Value::Int(value) => cel::Value::Int(*value),
        Value::Float(value) => cel::Value::Float(*value),
        Value::Text(text) => cel::Value::from(&**text),
        Value::List(values) => cel::Value::List(Arc::new(values.iter().map(to_cel_value).collect())),
        Value::Map(values) => cel::Value::from(
            values
                .iter()
                .map(|(key, value)| (key.to_string(), to_cel_value(value)))
                .collect::<std::collections::HashMap<_, _>>(),
        ),
    }
}
