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
    ($($id:ident $title:literal)*) => {
        $(#[doc = $title] pub const $id: &str = stringify!($id);)*
        /// Every code, ascending.
        pub const ALL: &[Code] = &[$(Code {
            id: stringify!($id),
            title: $title,
            explain: include_str!(concat!("explain/", stringify!($id), ".md")),
        }),*];
    };
}

codes! {
    HW101 "unknown key"
    HW102 "not YAML"
    HW103 "YAML would change this condition silently"
    HW104 "not a duration"
    HW105 "a key is missing"
    HW106 "a key stands twice"
    HW107 "not what belongs here"
    HW108 "not a rate"
    HW109 "not a usable name"
    HW110 "condition cannot be read"
    HW111 "not a variable"
    HW112 "no such word"
    HW113 "not an address"
    HW201 "dependency cycle"
    HW202 "agent does not exist"
    HW203 "agent has no such field"
    HW204 "function is bound to no service"
    HW205 "stage is not contiguous"
    HW206 "event has no such field"
    HW207 "deadline cannot hold its attempts"
    HW208 "type error in a condition"
    HW209 "fallback to a cache that is off"
    HW210 "destination does not exist"
    HW211 "service does not exist"
    HW212 "input does not fit"
    HW213 "template asks for an input that is not there"
    HW214 "fallback does not fit"
    HW215 "two things have one name"
    HW216 "stages do not hold every agent once"
    HW301 "service is not used"
    HW303 "a field may be absent"
    HW304 "deliveries are not signed"
    HW401 "personal data in a URL"
    HW402 "webhook to a private address"
    HW501 "Kafka cannot be reached"
    HW502 "a partition has no committed offset"
    HW503 "the chain is not the deployed one"
    HW504 "a topic is missing or has the wrong partition count"
    HW505 "not in this version"
    HW506 "a variable is not set"
    HW507 "the schema registry cannot be used"
    HW508 "the local store cannot be used"
    HW601 "record cannot be decoded"
    HW602 "record breaks the schema's rules"
    HW603 "record has no key"
    HW604 "record is too large"
    HW605 "record lies in the wrong partition"
    HW606 "record killed its worker again and again"
    HW607 "broker refuses the record"
    HW610 "agent panicked"
    HW611 "agent failed and asked for a copy"
    HW620 "destination refuses the trigger"
    HW621 "trigger expired before it could be delivered"
    HW622 "gave up on a destination that is down"
    HW623 "destination is gone (410) and suspended"
}

/// The code of that id (case does not matter).
pub fn find(id: &str) -> Option<&'static Code> {
    ALL.iter().find(|code| code.id.eq_ignore_ascii_case(id))
}
