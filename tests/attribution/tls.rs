//! `rediss://`: the server's certificate is checked against the machine's own authorities.

use std::process::{Command, Stdio};

use headwater::event::{Outcome, Reason};

use super::{Site, server::RedisServer};
use crate::support::wait::{say, test_name};

/// Set for the process that does the lookup: which authorities are trusted is a matter of its environment.
const CHILD: &str = "HEADWATER_TEST_REDIS_TLS_URL";

/// Makes an authority and a certificate for 127.0.0.1; false where there is no openssl.
fn certificates(folder: &std::path::Path) -> bool {
    let openssl = |line: &str| {
        let mut command = Command::new("openssl");
        command.args(line.split(' ')).current_dir(folder).stdin(Stdio::null());
        command.output().is_ok_and(|output| output.status.success())
    };
    std::fs::write(folder.join("san.cnf"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    openssl("req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=authority")
        && openssl("req -newkey rsa:2048 -nodes -keyout redis.key -out redis.csr -subj /CN=127.0.0.1")
        && openssl(
            "x509 -req -in redis.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile san.cnf -out redis.crt",
        )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_is_found_over_tls_where_the_authority_is_trusted() {
    if let Ok(url) = std::env::var(CHILD) {
        let mut site = Site::new(&url, "retry: 0,");
        let part = site.visit("gclid=A", "").await;
        assert_eq!(site.show(&part, &["campaign"]), "Locked", "{:?}", part.provenance);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    if !certificates(folder.path()) {
        return say(&format!("SKIPPED on Redis: {}: no openssl that makes certificates", test_name()));
    }
    let Some(redis) = RedisServer::start_with_tls(folder.path()) else { return };
    redis.run(&["SET", "campaign:gclid:A", r#"{"campaign":"Locked"}"#]);
    let url = redis.tls_url();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &test_name()])
        .env(CHILD, &url)
        .env("SSL_CERT_FILE", folder.path().join("ca.crt"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && said.contains("1 passed"), "{said}");

    let mut stranger = Site::new(&url, "retry: 0,");
    let part = stranger.visit("gclid=A", "").await;
    let ended = (part.provenance.outcome, part.provenance.reason);
    assert_eq!(ended, (Outcome::Failed, Some(Reason::Unavailable)), "its authority is nobody's");
}
