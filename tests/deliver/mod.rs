//! Delivery against a real receiver on a real port: what the network does to a webhook, and what must come of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

mod addresses;
mod breaker;
mod judges;
mod webhook;

use std::{sync::Arc, time::Duration};

use headwater::{
    deliver::{Destination, MayCall, Pace, Verdict},
    dev::receiver::Receiver,
    event::{Trigger, Value},
    secret::Secret,
    topology::{DestinationKind, DestinationSpec},
};

pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

pub fn spec(url: &str) -> DestinationSpec {
    DestinationSpec {
        name: "ops-hook".into(),
        kind: DestinationKind::Webhook {
            url: url.into(),
            secret: Some(SECRET.into()),
            headers: vec![("x-api-key".into(), Secret::new("key-never-shown"))],
        },
        rate_limit: None,
        timeout: Duration::from_secs(20),
        concurrency: 8,
        retry_for: Duration::from_secs(600),
        give_up: Duration::from_secs(86_400),
        allow_private: true,
    }
}

/// Milliseconds where production has minutes.
pub fn pace() -> Pace {
    let ms = Duration::from_millis;
    Pace {
        retry_first: ms(2),
        retry_longest: ms(10),
        probe_first: ms(5),
        probe_longest: ms(20),
        grace: ms(2),
        ask_again: ms(1),
        ..Pace::default()
    }
}

pub fn always() -> MayCall {
    Arc::new(|| true)
}

pub fn destination(spec: &DestinationSpec) -> Arc<Destination> {
    Destination::with_pace(spec, always(), pace()).unwrap()
}

pub fn trigger(id: &str) -> Trigger {
    Trigger {
        id: id.into(),
        campaign: "win-back".into(),
        destination: "ops-hook".into(),
        user_id: Some("u_0042".into()),
        event_id: "e1".into(),
        fired_at_ms: headwater::clock::unix_ms(),
        because: "score.value (72) >= 60".into(),
        payload: [("score".into(), Value::Float(72.0))].into(),
        ..Trigger::default()
    }
}

pub async fn receiver() -> Receiver {
    Receiver::start(None, &SECRET.into()).await.unwrap()
}

/// The dead letter's code and message.
pub fn dead(verdict: Verdict) -> (&'static str, String) {
    match verdict {
        Verdict::DeadLetter { code, message, .. } => (code, message),
        Verdict::Delivered { .. } => panic!("delivered"),
    }
}

/// Waits until it holds; a test's own time-out ends what never does.
pub async fn until(condition: impl Fn() -> bool) {
    tokio::time::timeout(Duration::from_secs(60), async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .expect("it never came true");
}
