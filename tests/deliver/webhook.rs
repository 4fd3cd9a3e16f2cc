use std::time::Duration;

use headwater::{
    deliver::{DeliverError, Destination, Verdict},
    dev::receiver::Reply,
    topology::{DestinationKind, Rate},
};
use serde_json::Value as Json;

use super::*;

#[tokio::test]
async fn a_trigger_arrives_signed_with_its_id_its_numbers_and_the_destination_s_headers() {
    let receiver = receiver().await;
    let destination = destination(&spec(&receiver.url()));
    let verdict = destination.deliver(trigger("win-back:ops-hook:e1")).await;
    assert!(matches!(verdict, Verdict::Delivered { attempts: 1, .. }), "{verdict:?}");
    let counts = receiver.counts();
    assert_eq!((counts.delivered, counts.distinct, counts.bad_signature), (1, 1, 0));
    let headers = receiver.last_headers();
    assert_eq!(headers["webhook-id"], "win-back:ops-hook:e1");
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(headers["user-agent"], concat!("headwater/", env!("CARGO_PKG_VERSION")));
    assert_eq!(headers["x-api-key"], "key-never-shown");
    let body: Json = serde_json::from_slice(&receiver.received()[0].body).unwrap();
    assert_eq!((&body["type"], &body["payload"]["score"]), (&"trigger".into(), &72.0.into()));
}

#[tokio::test]
async fn the_id_and_the_body_stay_the_same_over_every_kind_of_retry() {
    let receiver = receiver().await;
    receiver.answer(
        [
            Reply::Status(503),
            Reply::CloseHalfWay,
            Reply::Status(500),
            Reply::LoseAnswer,
            Reply::Status(429),
            Reply::LoseAnswer,
        ],
        Reply::Status(200),
    );
    let destination = destination(&spec(&receiver.url()));
    let verdict = destination.deliver(trigger("t1")).await;
    assert!(matches!(verdict, Verdict::Delivered { attempts: 7, .. }), "{verdict:?}");
    let counts = receiver.counts();
    assert_eq!((counts.requests, counts.delivered, counts.distinct, counts.repeats), (7, 3, 1, 2));
    let received = receiver.received();
    assert!(received.iter().all(|message| message.id == "t1" && message.body == received[0].body));
    assert_eq!(receiver.arrival("t1").unwrap().times, 3);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (receiver, elsewhere) = (receiver().await, receiver().await);
    receiver.answer([], Reply::Redirect(elsewhere.url()));
    let destination = destination(&DestinationSpec { retry_for: Duration::ZERO, ..spec(&receiver.url()) });
    let (code, message) = dead(destination.deliver(trigger("t1")).await);
    assert_eq!(code, "HW620");
    assert!(message.contains("307") && message.contains("redirects are not followed"), "{message}");
    assert_eq!((receiver.counts().requests, elsewhere.counts().requests), (1, 0));
}

#[tokio::test]
async fn another_secret_s_signature_is_refused_and_that_is_a_dead_letter() {
    let receiver = Receiver::start(None, &"another secret".into()).await.unwrap();
    let (code, message) = dead(destination(&spec(&receiver.url())).deliver(trigger("t1")).await);
    assert_eq!(code, "HW620");
    assert!(message.contains("401 no signature in webhook-signature fits"), "{message}");
    assert_eq!((receiver.counts().bad_signature, receiver.counts().delivered), (1, 0));
}

#[tokio::test]
async fn a_silent_destination_is_a_time_out() {
    let receiver = receiver().await;
    receiver.set_latency(Duration::from_secs(3_600));
    let spec =
        DestinationSpec { timeout: Duration::from_millis(50), retry_for: Duration::ZERO, ..spec(&receiver.url()) };
    let (code, message) = dead(destination(&spec).deliver(trigger("t1")).await);
    assert_eq!(code, "HW620");
    assert!(message.contains("no answer in time"), "{message}");
}

#[tokio::test]
async fn nothing_secret_appears_in_what_is_said_of_a_failure() {
    let receiver = receiver().await;
    let url = format!("{}/tenant-token-8812?key=query-token-17", receiver.url());
    let text = format!("no: key-never-shown {SECRET} {url} tenant-token-8812?key=query-token-17\n\n\tat line 1");
    receiver.answer([Reply::Text(400, text)], Reply::Status(200));
    let (_, refused) = dead(destination(&spec(&url)).deliver(trigger("t1")).await);
    receiver.stub().set_alive(false);
    let once = DestinationSpec { retry_for: Duration::ZERO, ..spec(&url) };
    let reset = destination(&once);
    let (_, unreachable) = dead(reset.deliver(trigger("t2")).await);
    let said = format!("{refused} {unreachable} {:?}", reset.snapshot());
    for secret in ["key-never-shown", "MfKQ9r8", "tenant-token", "query-token"] {
        assert!(!said.contains(secret), "{said}");
    }
    assert!(refused.contains("400 no: *** *** ***"), "{refused}");
    assert!(refused.ends_with("at line 1"), "one line: {refused}");
    assert!(unreachable.contains("after 1 attempt; last answer: "), "{unreachable}");
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_said_so() {
    let url = {
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}/", gone.local_addr().unwrap())
    };
    let once = DestinationSpec { retry_for: Duration::ZERO, ..spec(&url) };
    let (code, message) = dead(destination(&once).deliver(trigger("t1")).await);
    assert_eq!(code, "HW620");
    assert!(message.contains("connection refused"), "{message}");
}

#[tokio::test]
async fn an_endless_answer_is_cut_short_and_still_counts() {
    let receiver = receiver().await;
    receiver.answer([Reply::Text(200, "x".repeat(8 << 20))], Reply::Status(200));
    let verdict = destination(&spec(&receiver.url())).deliver(trigger("t1")).await;
    assert!(matches!(verdict, Verdict::Delivered { attempts: 1, .. }), "{verdict:?}");
}

#[tokio::test]
async fn calls_stay_within_the_concurrency_and_share_their_connections() {
    let receiver = receiver().await;
    receiver.set_latency(Duration::from_millis(2));
    let destination = destination(&DestinationSpec { concurrency: 3, ..spec(&receiver.url()) });
    let all = (0..60).map(|n| tokio::spawn(destination.deliver(trigger(&format!("t{n}")))));
    for verdict in futures::future::join_all(all).await {
        assert!(matches!(verdict.unwrap(), Verdict::Delivered { attempts: 1, .. }));
    }
    let counts = receiver.counts();
    assert_eq!((counts.delivered, counts.distinct), (60, 60));
    assert_eq!(counts.at_once, 3);
    assert!(receiver.stub().connections() <= 6, "{} connections", receiver.stub().connections());
}

#[tokio::test]
async fn the_rate_is_kept_on_the_wire() {
    let receiver = receiver().await;
    let rate = Rate { count: 5, per: Duration::from_millis(200) };
    let destination = destination(&DestinationSpec { rate_limit: Some(rate), ..spec(&receiver.url()) });
    let all = (0..15).map(|n| tokio::spawn(destination.deliver(trigger(&format!("t{n}")))));
    let start_ms = headwater::clock::unix_ms();
    futures::future::join_all(all).await;
    // Fifteen calls at five per window take at least two windows; how much longer is the machine's affair.
    assert!(headwater::clock::unix_ms() - start_ms >= 400);
    assert_eq!(receiver.counts().distinct, 15);
}

#[test]
fn what_cannot_be_called_is_refused_when_it_is_built() {
    let error = |change: &dyn Fn(&mut DestinationSpec)| {
        let mut spec = spec("https://hooks.example/");
        change(&mut spec);
        Destination::new(&spec, always()).err().expect("it was built")
    };
    let webhook = |url: &str, secret: &str, header: (&str, &str)| {
        let kind = DestinationKind::Webhook {
            url: url.into(),
            secret: Some(secret.into()),
            headers: vec![(header.0.into(), header.1.into())],
        };
        error(&move |spec| spec.kind = kind.clone())
    };
    let (good, header) = ("https://hooks.example/", ("x-a", "b"));
    for url in ["", "hooks.example", "ftp://hooks.example/", "http://", "file:///etc/passwd"] {
        assert!(matches!(webhook(url, "s", header), DeliverError::Url { .. }), "{url}");
    }
    assert!(matches!(webhook(good, "", header), DeliverError::Secret { .. }));
    assert!(matches!(webhook(good, "whsec_%%", header), DeliverError::Secret { .. }));
    for (name, value) in [("a b", "c"), ("Webhook-Id", "x"), ("Host", "x"), ("x-a", "b\r\nc: d")] {
        assert!(matches!(webhook(good, "s", (name, value)), DeliverError::Header { .. }), "{name}");
    }
    let later = error(&|spec| spec.kind = DestinationKind::Later { kind: "customerio".into() });
    assert_eq!(later.to_string(), "HW505 destination \"ops-hook\": type customerio is not in this version");
}
