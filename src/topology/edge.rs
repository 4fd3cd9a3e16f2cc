//! The edge of a topology: triggers, destinations, sinks, feeds.

use std::{sync::Arc, time::Duration};

use super::{
    agents::Build,
    codes,
    decode::Table,
    diagnostic::Findings,
    model::{DestinationKind, DestinationSpec, FeedSpec, SinkSpec, TriggerSpec},
    names,
    raw::RawTrigger,
    raw_edge::{DestinationBody, DestinationKeys, RawDestinations, RawFeeds, RawSinks},
    services,
    site::Sites,
    suggest::did_you_mean,
    tagged::Tagged,
};
use crate::{event::Path, secret::Secret};

const HOUR: Duration = Duration::from_secs(60 * 60);

/// The destinations, in the order of the file.
pub(super) fn destinations(raw: Option<&RawDestinations>, findings: &mut Findings) -> Vec<DestinationSpec> {
    let mut list = Vec::new();
    for (name, destination) in raw.iter().flat_map(|raw| &raw.0.entries) {
        names::check_label(name, "a destination", findings);
        list.push(self::destination(&name.value, destination, findings));
    }
    list
}

fn destination(name: &str, raw: &Tagged<DestinationKeys, DestinationBody>, findings: &mut Findings) -> DestinationSpec {
    let keys = &raw.common;
    let allow_private = keys.allow_private.is_some_and(|flag| flag.value);
    let kind = match &raw.body {
        DestinationBody::CustomerIo => DestinationKind::Later { kind: raw.kind.value.as_str().into() },
        DestinationBody::Webhook(webhook) => {
            let private = services::address(&webhook.url, findings).is_some_and(|url| services::is_private(&url));
            if private && !allow_private {
                let message =
                    format!("\"{}\" is a private address, and deliveries to those are refused", webhook.url.raw);
                let fix = "Use a public address, or write allow_private: true if it is meant";
                findings.warn(codes::HW402, webhook.url.span, message, fix);
            }
            if webhook.secret.is_none() {
                let message = format!("deliveries to \"{name}\" are not signed, so the receiver cannot tell who sends");
                findings.warn(codes::HW304, raw.span, message, "Add secret: \"${HOOK_SECRET}\"");
            }
            DestinationKind::Webhook {
                url: Secret::new(webhook.url.value.clone()),
                secret: webhook.secret.as_ref().map(|secret| Secret::new(secret.value.clone())),
                headers: services::headers(webhook.headers.as_ref()),
            }
        }
    };
    DestinationSpec {
        name: name.into(),
        kind,
        rate_limit: keys.rate_limit.map(|rate| rate.value),
        timeout: keys.timeout.map_or(Duration::from_secs(10), |timeout| timeout.value),
        concurrency: services::at_least_one(keys.concurrency.map(|whole| whole.value), 32) as usize,
        retry_for: keys.retry_for.map_or(HOUR, |time| time.value),
        give_up: keys.give_up.map_or(HOUR * 72, |time| time.value),
        allow_private,
    }
}

/// The triggers, in the order of the file.
pub(super) fn triggers(
    raw: &[RawTrigger],
    destinations: &[DestinationSpec],
    broken_destinations: &[String],
    build: &Build,
    sites: &mut Sites,
    findings: &mut Findings,
) -> Vec<TriggerSpec> {
    let mut list: Vec<TriggerSpec> = Vec::new();
    for trigger in raw {
        let campaign = trigger.campaign.value.as_str();
        names::check_label(&trigger.campaign, "a campaign", findings);
        if raw.iter().take_while(|other| !std::ptr::eq(*other, trigger)).any(|other| other.campaign.value == campaign) {
            let message = format!("there are two campaigns \"{campaign}\"");
            findings.error(codes::HW215, trigger.campaign.span, message, "Give one of them another name");
        }
        let when = sites.compile(
            &trigger.when,
            build.names,
            campaign,
            "the trigger is then unknown and does not fire",
            findings,
        );
        let mut targets = Vec::new();
        for name in &trigger.destination.0 {
            match destinations.iter().position(|destination| *destination.name == *name.value) {
                Some(index) if targets.contains(&index) => {}
                Some(index) => targets.push(index),
                None if broken_destinations.contains(&name.value) => {}
                None => {
                    let message = format!("destination \"{}\" is not defined", name.value);
                    let mut fix = did_you_mean(&name.value, destinations.iter().map(|destination| &*destination.name));
                    if fix.is_empty() {
                        fix = format!("Add destinations.{}: {{ type: webhook, url: … }}", name.value);
                    }
                    findings.error(codes::HW210, name.span, message, fix);
                }
            }
        }
        let mut payload: Vec<(Arc<str>, Path)> = Vec::new();
        for (name, written) in trigger.payload.iter().flat_map(|Table(payload)| payload) {
            match build.path(written, campaign, findings) {
                Some(Path::Map(_)) => {
                    let message = format!("{} is a map, and a payload holds single values", written.value);
                    findings.error(codes::HW212, written.span, message, format!("Write {}.<key>", written.value));
                }
                Some(path) => payload.push((name.value.as_str().into(), path)),
                None => {}
            }
        }
        if let Some(when) = when {
            list.push(TriggerSpec {
                campaign: campaign.into(),
                when,
                consent: trigger.consent.as_ref().map(|purpose| purpose.value.as_str().into()),
                cooldown: trigger.cooldown.map(|time| time.value),
                expires: trigger.expires.map(|time| time.value),
                destinations: targets,
                payload,
            });
        }
    }
    list
}

/// The sinks, in the order of the file.
pub(super) fn sinks(raw: Option<&RawSinks>, findings: &mut Findings) -> Vec<SinkSpec> {
    const FROM: &[&str] = &["enriched", "triggers", "dead-letters"];
    let mut list = Vec::new();
    for (name, sink) in raw.iter().flat_map(|raw| &raw.0.entries) {
        names::check_label(name, "a sink", findings);
        for from in &sink.common.from.0 {
            if !FROM.contains(&from.value.as_str()) {
                let message = format!("a sink cannot store \"{}\"", from.value);
                findings.error(codes::HW112, from.span, message, format!("There are {}", FROM.join(", ")));
            }
        }
        list.push(SinkSpec {
            name: name.value.as_str().into(),
            kind: sink.kind.value.as_str().into(),
            from: sink.common.from.0.iter().map(|from| from.value.as_str().into()).collect(),
        });
    }
    list
}

/// The feeds, in the order of the file.
pub(super) fn feeds(raw: Option<&RawFeeds>, findings: &mut Findings) -> Vec<FeedSpec> {
    let mut list = Vec::new();
    for (name, feed) in raw.iter().flat_map(|raw| &raw.0.entries) {
        names::check_label(name, "a feed", findings);
        list.push(FeedSpec { name: name.value.as_str().into(), kind: feed.kind.value.as_str().into() });
    }
    list
}
