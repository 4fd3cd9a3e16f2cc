//! What each type of agent yields and reads: the visible table from which outputs, checks and schemas come.

use super::raw_agent::AgentBody;
use crate::event::Type::{self, Bool, Float, Int, Text, TextList, Timestamp};

/// What a type of agent yields and reads.
#[derive(Debug)]
pub(super) struct Shape {
    /// Fields in the order of the part. Empty: whatever `output` asks for (a service knows).
    pub fields: &'static [(&'static str, Type)],
    /// Inputs: name, what it reads when not written, whether it is needed.
    pub inputs: &'static [(&'static str, Option<&'static str>)],
    /// Whether it takes inputs of any name.
    pub any_input: bool,
}

const fn shape(
    fields: &'static [(&'static str, Type)],
    inputs: &'static [(&'static str, Option<&'static str>)],
) -> Shape {
    Shape { fields, inputs, any_input: false }
}

static GEO_IP: Shape = shape(
    &[
        ("country", Text),   // ISO 3166-1 alpha-2
        ("city", Text),      // English name
        ("region", Text),    // ISO 3166-2 subdivision, without the country
        ("time_zone", Text), // IANA name
        ("latitude", Float),
        ("longitude", Float),
        ("continent", Text), // two letters
        ("postal_code", Text),
        ("is_eu", Bool),
        ("asn", Int),
        ("as_org", Text),
    ],
    &[("ip", Some("event.ip"))],
);

static USER_AGENT: Shape = shape(
    &[
        ("browser", Text),
        ("browser_version", Text),
        ("os", Text),
        ("os_version", Text),
        ("device", Text), // desktop, mobile, tablet, tv, console, bot
        ("vendor", Text),
        ("bot", Bool),
        ("bot_reason", Text), // class and name: "ai_crawler: GPTBot"
        ("model", Text),      // from client hints
    ],
    &[("user_agent", Some("event.user_agent")), ("hints", Some("event.client_hints"))],
);

static LEAD_SCORE: Shape = shape(&[("value", Float), ("reasons", TextList)], &[]);

static LOCAL_LLM: Shape = shape(&[("label", Text), ("score", Float)], &[("text", Some("event.description"))]);

static SESSION: Shape = shape(
    &[
        ("id", Text),
        ("started_at", Timestamp),
        ("page_views", Int), // pages and screens
        ("events", Int),
        ("duration_ms", Int),
        ("number", Int),       // the person's how many-th
        ("is_new", Bool),      // this event began it
        ("entry_url", Text),   // of the earliest event with a URL
        ("exit_url", Text),    // of the latest so far
        ("away_ms", Int),      // since the end of the session before; null for the first
        ("absorbed_id", Text), // of the session that a late event made part of this one
    ],
    &[],
);

/// Beside these, `<step>_at` for each step.
pub(super) static FUNNEL: Shape = shape(
    &[
        ("step", Text),            // the furthest reached
        ("step_number", Int),      // from 1; 0 before the first
        ("entered_at", Timestamp), // when the furthest was reached
        ("time_in_step_ms", Int),
        ("completed", Bool),
        ("entered", Bool),         // any step was reached
        ("advanced", Bool),        // by this event, further than before
        ("started_at", Timestamp), // when the first of the steps was reached
        ("run", Int),              // how many-th time through the funnel
    ],
    &[],
);

static ATTRIBUTION: Shape = shape(
    &[
        ("campaign", Text), // of the touch with the most credit, as those below
        ("campaign_id", Text),
        ("channel", Text), // paid, search, social, email, referral, direct, other; or what Redis says
        ("utm_source", Text),
        ("utm_medium", Text),
        ("utm_term", Text),
        ("utm_content", Text),
        ("click_id", Text),
        ("click_id_type", Text), // gclid, fbclid, …
        ("referrer", Text),      // host
        ("cost", Float),
        ("touches", Int), // within the window
        ("first_touch_at", Timestamp),
        ("last_touch_at", Timestamp),
        ("credit", TextList), // source/medium/campaign:share
    ],
    &[("url", Some("event.url")), ("referrer", Some("event.referrer")), ("country", None)],
);

static FUNCTION: Shape = Shape { fields: &[], inputs: &[], any_input: true };

/// The row of a type.
pub(super) fn shape_of(body: &AgentBody) -> &'static Shape {
    match body {
        AgentBody::GeoIp(_) => &GEO_IP,
        AgentBody::UserAgent(_) => &USER_AGENT,
        AgentBody::Function(..) | AgentBody::Private(..) => &FUNCTION,
        AgentBody::LocalLlm(..) => &LOCAL_LLM,
        AgentBody::Session(_) => &SESSION,
        AgentBody::Funnel(_) => &FUNNEL,
        AgentBody::Attribution(..) => &ATTRIBUTION,
        AgentBody::LeadScore(_) => &LEAD_SCORE,
    }
}

/// Names of field types in `types:`.
pub(super) const TYPE_NAMES: &[(&str, Type)] =
    &[("text", Text), ("int", Int), ("float", Float), ("bool", Bool), ("list", TextList), ("timestamp", Timestamp)];

/// A type as messages call it.
pub(super) fn noun(ty: Type) -> &'static str {
    match ty {
        Bool => "true or false",
        Int => "a whole number",
        Float => "a number",
        Text => "text",
        TextList => "a list",
        Timestamp => "a time in milliseconds",
    }
}
