//! An agent's contribution to a record, and how it came about.

use super::Value;

/// What became of an agent's work on one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Outcome {
    /// Not run yet; only on the way, never in `<topology>.enriched`.
    #[default]
    Pending,
    /// Fresh: from the live service or a cache entry within its time to live.
    Ok,
    /// From a cache entry past its time to live, within its stale bound; `age_ms` says how old.
    Stale,
    /// A declared substitute stands in the fields.
    Fallback,
    /// Not called, on purpose; `reason` says why.
    Skipped,
    /// No value and no fallback left; the record is partial.
    Failed,
}

/// Why an outcome is not plainly `ok`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    Timeout,
    RateLimited,
    BreakerOpen,
    NotFound,
    BadResponse,
    /// Could not connect, or the service answered 5xx.
    Unavailable,
    /// The service refused us: 401, 403 and other final 4xx.
    Rejected,
    /// An input that the agent needs is absent.
    MissingInput,
    Condition,
    Consent,
    Overdue,
    NotDeployed,
}

/// Where the fields' values come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    Live,
    Cache,
    Batch,
    State,
    Default,
    Lexicon,
    /// A database file on this machine (places, user agents) or pure arithmetic.
    Local,
}

/// How a part's fields came about.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Provenance {
    pub outcome: Outcome,
    pub reason: Option<Reason>,
    pub source: Option<Source>,
    /// Requests sent for this event, the first included; 0 from a cache.
    pub attempts: u32,
    /// From "inputs are there" to "fields are there", in milliseconds.
    pub latency_ms: u32,
    /// Age of a cached value in milliseconds; `None` when it is not from a cache.
    pub age_ms: Option<i64>,
}

/// One agent's part of a record: its fields in the order of the topology's declaration, provenance last.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Part {
    /// As many as the agent declares, once it is not pending; empty counts as all null.
    pub fields: Vec<Value>,
    pub provenance: Provenance,
}

impl Part {
    /// A part with a value for each field.
    pub fn ok(source: Source, fields: Vec<Value>) -> Self {
        Part { fields, provenance: Provenance { outcome: Outcome::Ok, source: Some(source), ..Default::default() } }
    }

    /// A part without fields: not called, or called in vain.
    pub fn without(outcome: Outcome, reason: Reason) -> Self {
        Part { fields: Vec::new(), provenance: Provenance { outcome, reason: Some(reason), ..Default::default() } }
    }

    /// Whether the agent has yet to run.
    pub fn is_pending(&self) -> bool {
        self.provenance.outcome == Outcome::Pending
    }

    /// The value of one field; null where the part has none.
    pub fn field(&self, index: usize) -> &Value {
        static NULL: Value = Value::Null;
        self.fields.get(index).unwrap_or(&NULL)
    }
}

macro_rules! names {
    ($type:ident { $($variant:ident => $name:literal),+ $(,)? }) => {
        impl $type {
            /// Every variant, in the order of the Avro enum.
            pub const ALL: &'static [$type] = &[$($type::$variant),+];
            /// The name in schemas, metrics and conditions.
            pub const fn name(self) -> &'static str {
                match self { $($type::$variant => $name),+ }
            }
            /// The variant of that name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some($type::$variant),)+ _ => None }
            }
        }
    };
}

names!(Outcome { Pending => "pending", Ok => "ok", Stale => "stale", Fallback => "fallback", Skipped => "skipped", Failed => "failed" });
names!(Reason {
    Timeout => "timeout", RateLimited => "rate_limited", BreakerOpen => "breaker_open", NotFound => "not_found",
    BadResponse => "bad_response", Unavailable => "unavailable", Rejected => "rejected", MissingInput => "missing_input",
    Condition => "condition", Consent => "consent", Overdue => "overdue", NotDeployed => "not_deployed",
});
names!(Source { Live => "live", Cache => "cache", Batch => "batch", State => "state", Default => "default", Lexicon => "lexicon", Local => "local" });
