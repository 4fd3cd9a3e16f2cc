//! The keys of agents that keep state per person: session, funnel, and the score with its decay.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{
    codes,
    decode::{Condition, Cx, Decode, Flag, For, Name, Number, OneOrMany, raw},
    yaml::{Node, Shape},
};

raw! {
    /// Visits.
    "" struct SessionKeys {
        /// A session ends after so long without an event, in event time. Default 30m.
        gap: Option<For>,
        /// How much older than the person's latest event one may be and still count: it joins the session it belongs to, moves its beginning, or makes two sessions one (which keeps the earlier one's id; `absorbed_id` names the other). What is older still changes nothing and is `skipped: overdue`. The person's last 8 sessions at most stay open to late events. Default: as long as `gap`.
        lateness: Option<For>,
        /// What else ends it: `midnight` (UTC), `campaign` (an event with other UTM parameters or another click id than the session has).
        split: Option<OneOrMany<Name>>,
    }

    /// Steps towards a goal.
    "" struct FunnelKeys {
        /// In order, at most 32: step → condition. A person stands at the furthest step whose condition ever held: steps may be skipped, and going back loses nothing. For each there is a field `<step>_at`: when it was first reached.
        steps: Vec<RawStep>,
        /// So long after its first step the funnel is over, in event time; the next step reached begins it anew. Default: never.
        within: Option<For>,
        /// After the last step, the next event at an earlier one begins the funnel anew, as for orders. Default false: completed once is completed.
        restart: Option<Flag>,
    }

    /// A sum of rules.
    "" struct LeadScoreKeys {
        /// Each adds its number where its condition is true.
        rules: Vec<RawRule>,
        /// Keeps the score per person and lets it fade. A rule then counts once, in full when its condition was last true, and fades from then in event time; `each` makes it add every time.
        decay: Option<RawDecay>,
        /// The score is never shown below; what is kept goes on.
        floor: Option<Number>,
        /// The score is never shown above; what is kept goes on.
        cap: Option<Number>,
    }

    /// One rule of a score.
    "rule" struct RawRule {
        /// What it adds; negative takes away.
        add: Number,
        /// Where it counts.
        when: Condition,
        /// With `decay`: every event for which it is true adds, and what each added fades by itself. For what happens, such as a download; not for what lasts, such as `session.page_views >= 5`, which is true for every further event. Default false.
        each: Option<Flag>,
        /// With `each`: the rule never adds more than this in all, nor takes away more.
        at_most: Option<Number>,
    }

    /// How a score fades.
    "decay" struct RawDecay {
        /// Half of it is gone after so long, in event time.
        half_life: For,
    }
}

/// A step of a funnel: `pricing: 'event.url.contains("/pricing")'`.
#[derive(Debug, Clone)]
pub(super) struct RawStep {
    pub name: Name,
    pub when: Condition,
}

impl Decode for RawStep {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        if let Shape::Map(entries) = &node.shape
            && let [(name, when)] = entries.as_slice()
        {
            return Some(RawStep { name: Name::decode(name, cx)?, when: Condition::decode(when, cx)? });
        }
        let message = format!("a step of {} is one name and its condition", cx.what);
        cx.findings.error(codes::HW107, node.span, message, "Write - pricing: 'event.url.contains(\"/pricing\")'");
        None
    }
}

impl JsonSchema for RawStep {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "RawStep".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let when = generator.subschema_for::<Condition>();
        json_schema!({ "type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": when })
    }
}
