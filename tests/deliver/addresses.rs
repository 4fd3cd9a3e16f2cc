use std::time::Duration;

use headwater::deliver::{DeliverError, Destination, Verdict};

use super::*;

fn public_only(url: &str) -> DestinationSpec {
    DestinationSpec { allow_private: false, retry_for: Duration::ZERO, ..spec(url) }
}

#[test]
fn a_url_with_an_address_of_one_s_own_network_is_refused_however_it_is_written() {
    for host in [
        "127.0.0.1",
        "127.0.0.1.",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "%31%32%37.0.0.1",
        "127。0。0。1",
        "public.example@127.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "10.1.2.3",
        "192.168.0.10",
        "172.20.0.1",
        "100.64.0.1",
        "[fd00::1]",
        "[64:ff9b::a00:1]",
        "[2002:a00:1::]",
    ] {
        let url = format!("http://{host}:8080/hook");
        let error = Destination::new(&public_only(&url), always()).err().expect(host);
        assert!(matches!(error, DeliverError::Address { .. }), "{host}: {error}");
        assert!(Destination::new(&spec(&url), always()).is_ok(), "{host} where it is allowed");
    }
}

#[test]
fn metadata_services_and_their_like_are_refused_even_where_private_is_allowed() {
    for host in
        ["169.254.169.254", "[fe80::1]", "0.0.0.0", "[::]", "224.0.0.1", "255.255.255.255", "[::ffff:a9fe:a9fe]"]
    {
        let error = Destination::new(&spec(&format!("http://{host}/latest")), always()).err().expect(host);
        assert!(matches!(error, DeliverError::Address { .. }), "{host}: {error}");
    }
}

#[tokio::test]
async fn a_name_that_leads_to_this_machine_is_refused_before_a_connection_is_made() {
    let receiver = receiver().await;
    let port = receiver.stub().address().port();
    for name in ["localhost", "LOCALHOST"] {
        let url = format!("http://{name}:{port}/");
        let (code, message) = dead(destination(&public_only(&url)).deliver(trigger("t1")).await);
        assert_eq!(code, "HW620");
        assert!(message.contains("a loopback address, which is not called"), "{name}: {message}");
    }
    assert_eq!((receiver.counts().requests, receiver.stub().connections()), (0, 0));
    let allowed = destination(&spec(&format!("http://localhost:{port}/")));
    assert!(matches!(allowed.deliver(trigger("t1")).await, Verdict::Delivered { .. }));
}
