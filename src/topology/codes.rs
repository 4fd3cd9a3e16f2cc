//! Every error code, once: from this table come `headwater explain`, the reference in README and a test that each is explained.

/// One coded error.
#[derive(Debug, Clone, Copy)]
pub struct Code {
    /// `HW207`.
    pub id: &'static str,
    /// One line: what is wrong.
    pub title: &'static str,
    /// The long text of `headwater explain`: what it means, why it matters, what to do, an example.
    pub explain: &'static str,
}

macro_rules! codes {
    ($($id:ident $title:literal $explain:literal)*) => {
        $(#[doc = $title] pub const $id: &str = stringify!($id);)*
        /// Every code, ascending.
        pub const ALL: &[Code] = &[$(Code { id: stringify!($id), title: $title, explain: $explain }),*];
    };
}

codes! {
    HW101 "unknown key" "TODO(topology)"
    HW102 "not YAML" "TODO(topology)"
    HW103 "YAML would change this condition silently" "TODO(topology)"
    HW104 "not a duration" "TODO(topology)"
    HW201 "dependency cycle" "TODO(topology)"
    HW202 "agent does not exist" "TODO(topology)"
    HW203 "agent has no such field" "TODO(topology)"
    HW204 "function is bound to no service" "TODO(topology)"
    HW205 "stage is not contiguous" "TODO(topology)"
    HW206 "event has no such field" "TODO(topology)"
    HW207 "deadline cannot hold its attempts" "TODO(topology)"
    HW208 "type error in a condition" "TODO(topology)"
    HW209 "fallback to a cache that is off" "TODO(topology)"
    HW210 "destination does not exist" "TODO(topology)"
    HW303 "a field may be absent" "TODO(topology)"
    HW401 "personal data in a URL" "TODO(topology)"
    HW402 "webhook to a private address" "TODO(topology)"
    HW501 "Kafka cannot be reached" "TODO(run)"
    HW502 "a partition has no committed offset" "TODO(run)"
    HW503 "the chain is not the deployed one" "TODO(run)"
    HW504 "a topic is missing or has the wrong partition count" "TODO(run)"
    HW505 "not in this version" "TODO(run)"
    HW506 "a variable is not set" "TODO(run)"
    HW507 "the schema registry cannot be used" "TODO(run)"
    HW601 "record cannot be decoded" "TODO(dead letters)"
    HW602 "record breaks the schema's rules" "TODO(dead letters)"
    HW603 "record has no key" "TODO(dead letters)"
    HW604 "record is too large" "TODO(dead letters)"
    HW605 "record lies in the wrong partition" "TODO(dead letters)"
    HW606 "record killed its worker again and again" "TODO(dead letters)"
    HW607 "broker refuses the record" "TODO(dead letters)"
    HW610 "agent panicked" "TODO(dead letters)"
    HW611 "agent failed and asked for a copy" "TODO(dead letters)"
    HW620 "destination refuses the trigger" "TODO(dead letters)"
    HW621 "trigger expired before it could be delivered" "TODO(dead letters)"
    HW622 "gave up on a destination that is down" "TODO(dead letters)"
    HW623 "destination is gone (410) and suspended" "TODO(dead letters)"
}

/// The code of that id (case does not matter).
pub fn find(id: &str) -> Option<&'static Code> {
    ALL.iter().find(|code| code.id.eq_ignore_ascii_case(id))
}
