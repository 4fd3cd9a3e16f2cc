//! The keys of a test file, as written. Doc comments here say what each means.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::event::RawEvent;
use crate::topology::{
    codes,
    decode::{Cx, Decode, For, Name, raw},
    yaml::Node,
};

/// A value that is read later, once the topology's names are at hand.
#[derive(Debug, Clone)]
pub(in crate::topology) struct Later(pub Node);

impl Decode for Later {
    fn decode(node: &Node, _: &mut Cx) -> Option<Self> {
        Some(Later(node.clone()))
    }
}

impl JsonSchema for Later {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Later".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object" })
    }
}

raw! {
    /// One test of a topology: what comes in, what services answer, what must come out.
    "test" struct RawCase {
        /// What it shows, as a sentence.
        name: Name,
        /// The event. What is not written has a default: `type: track`, `user_id: u1`, noon of 15 January 2026.
        event: Option<RawEvent>,
        /// Several events instead, of which each builds on those before it.
        events: Option<Vec<RawStep>>,
        /// By agent: what it answers instead of running. Whatever would leave the process must be named here.
        given: Option<Later>,
        /// Path → value at the (last) event, and `triggers: [campaign]`, `status: partial`, `incomplete: [agent]`.
        expect: Option<Later>,
    }

    /// One of several events.
    "event" struct RawStep {
        /// So long after the one before it. Default 1s.
        after: Option<For>,
        /// The event.
        event: RawEvent,
        /// What agents answer for this event, before what the test says for all.
        given: Option<Later>,
        /// What must come out of this event.
        expect: Option<Later>,
    }
}

/// One event with what belongs to it.
pub(super) struct Step<'r> {
    pub after: Option<For>,
    pub event: &'r RawEvent,
    pub given: Option<&'r Later>,
    pub expect: Option<&'r Later>,
}

impl RawCase {
    /// The events in order, at least one. `None` was reported.
    pub(super) fn steps(&self, cx: &mut Cx) -> Option<Vec<Step<'_>>> {
        match (&self.event, self.events.as_deref()) {
            (Some(event), None) => Some(vec![Step { after: None, event, given: None, expect: None }]),
            (None, Some(steps @ [_, ..])) => Some(
                steps
                    .iter()
                    .map(|step| Step {
                        after: step.after,
                        event: &step.event,
                        given: step.given.as_ref(),
                        expect: step.expect.as_ref(),
                    })
                    .collect(),
            ),
            (Some(_), Some(_)) => {
                let message = format!("{} has event and events", cx.what);
                cx.findings.error(codes::HW107, self.name.span, message, "Keep one of them");
                None
            }
            (None, events) => {
                // Events with faults were reported, and are left out.
                if events.is_none() || !cx.findings.has_errors() {
                    let message = format!("{} has no event", cx.what);
                    cx.findings.error(codes::HW105, self.name.span, message, "Write event: { type: page, url: … }");
                }
                None
            }
        }
    }
}
