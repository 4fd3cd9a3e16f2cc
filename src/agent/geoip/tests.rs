//! On MaxMind's own test databases.

use crate::{
    agent::tests::{run, spec_with},
    event::Type,
    topology::{AgentKind, Fallback},
};

use super::*;

fn fixture(name: &str) -> PathBuf {
    FilePath::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/geoip").join(name)
}

fn spec(path: &FilePath, fields: &[&str]) -> AgentSpec {
    let fields: Vec<_> = fields.iter().map(|field| (*field, Type::Text)).collect();
    let mut spec = spec_with(AgentKind::GeoIp { database: path.to_owned() }, &fields);
    spec.input = vec![("ip".into(), Path::Event(crate::event::EventField::Ip))];
    spec
}

fn agent(path: &FilePath, fields: &[&str]) -> GeoIp {
    GeoIp::new(&spec(path, fields), path, &mut Databases::new()).unwrap()
}

fn locate(agent: &GeoIp, ip: &str) -> Part {
    let mut record = Record::default();
    record.event.ip = Some(ip.into());
    run(agent, &record)
}

fn shown(part: &Part) -> Vec<String> {
    part.fields.iter().map(ToString::to_string).collect()
}

#[test]
fn a_city_is_found_with_everything_about_it() {
    let agent = agent(
        &fixture("GeoIP2-City-Test.mmdb"),
        &["country", "city", "region", "time_zone", "latitude", "longitude", "continent", "is_eu", "no_such_field"],
    );
    let part = locate(&agent, "81.2.69.142");
    assert_eq!(part.provenance.outcome, Outcome::Ok);
    assert_eq!(part.provenance.source, Some(Source::Local));
    let london = ["GB", "London", "ENG", "Europe/London", "51.5142", "-0.0931", "EU", "false", ""];
    assert_eq!(shown(&part), london);
    assert_eq!(shown(&locate(&agent, "::ffff:81.2.69.142")), london, "an IPv4 address in an IPv6 one");
    let part = locate(&agent, "89.160.20.112");
    assert_eq!(shown(&part)[..2], ["SE", "Linköping"]);
    assert_eq!(part.field(7), &Value::Bool(true));
    assert_eq!(shown(&locate(&agent, "2001:218::1"))[0], "JP");
}

#[test]
fn a_provider_is_found_in_an_asn_database() {
    let agent = agent(&fixture("GeoLite2-ASN-Test.mmdb"), &["asn", "as_org", "city"]);
    let part = locate(&agent, "1.128.0.1");
    assert_eq!(part.fields, [Value::Int(1221), Value::text("Telstra Pty Ltd"), Value::Null]);
}

#[test]
fn what_has_no_place_says_why() {
    let path = fixture("GeoIP2-City-Test.mmdb");
    let agent = agent(&path, &["country"]);
    let says = |part: Part| (part.provenance.outcome, part.provenance.reason);
    for private in ["10.0.0.1", "192.168.1.1", "127.0.0.1", "::1", "fe80::1"] {
        assert_eq!(says(locate(&agent, private)), (Outcome::Ok, Some(Reason::NotFound)), "{private}");
    }
    for no_address in ["", "localhost", "1.2.3", "81.2.69.142, 10.0.0.1"] {
        assert_eq!(says(locate(&agent, no_address)), (Outcome::Skipped, Some(Reason::MissingInput)), "{no_address}");
    }
    assert_eq!(says(run(&agent, &Record::default())), (Outcome::Skipped, Some(Reason::MissingInput)));

    let mut with_values = spec(&path, &["country"]);
    with_values.fallback = vec![Fallback::Values(vec![(0, Value::text("XX"))])];
    let agent = GeoIp::new(&with_values, &path, &mut Databases::new()).unwrap();
    let part = locate(&agent, "10.0.0.1");
    assert_eq!((part.provenance.outcome, part.field(0)), (Outcome::Fallback, &Value::text("XX")));
}

#[test]
fn a_new_file_is_taken_up_and_a_broken_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("places.mmdb");
    let replace = |bytes: &[u8]| {
        let new = folder.path().join("new");
        std::fs::write(&new, bytes).unwrap();
        std::fs::rename(&new, &path).unwrap();
    };
    let city = std::fs::read(fixture("GeoIP2-City-Test.mmdb")).unwrap();
    replace(&city);
    let agent = agent(&path, &["city", "asn"]);
    assert_eq!(shown(&locate(&agent, "81.2.69.142")), ["London", ""]);
    let refresh = || {
        // Once to see it, once to see that it stays so.
        agent.database.refresh();
        agent.database.refresh();
    };

    replace(&city[..city.len() / 2]);
    refresh();
    assert_eq!(shown(&locate(&agent, "81.2.69.142")), ["London", ""], "cut short: the old one stays");
    std::fs::remove_file(&path).unwrap();
    refresh();
    assert_eq!(shown(&locate(&agent, "81.2.69.142")), ["London", ""], "gone: the old one stays");

    replace(&std::fs::read(fixture("GeoLite2-ASN-Test.mmdb")).unwrap());
    refresh();
    assert_eq!(shown(&locate(&agent, "1.128.0.1")), ["", "1221"]);
}

#[test]
fn a_missing_or_broken_file_is_refused_by_name_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("places.mmdb");
    let open = || GeoIp::new(&spec(&path, &["city"]), &path, &mut Databases::new()).err().unwrap().to_string();
    assert!(open().contains("places.mmdb"), "{}", open());
    std::fs::write(&path, "<html>Please log in</html>").unwrap();
    assert!(open().contains("places.mmdb"), "{}", open());
}

#[test]
fn agents_with_the_same_file_share_it_and_tell_its_age() {
    let path = fixture("GeoIP2-City-Test.mmdb");
    let mut databases = Databases::new();
    let first = GeoIp::new(&spec(&path, &["city"]), &path, &mut databases).unwrap();
    let second = GeoIp::new(&spec(&path, &["country"]), &path, &mut databases).unwrap();
    assert!(Arc::ptr_eq(&first.database, &second.database));
    assert!(first.vitals().database_built_at_s.is_some_and(|at| at > 1_300_000_000));
}

#[test]
fn what_is_no_address_is_no_input_however_odd() {
    let agent = agent(&fixture("GeoIP2-City-Test.mmdb"), &["country"]);
    let long = "1.".repeat(50_000);
    for ip in [
        "",
        " ",
        "-",
        "unknown",
        "81.2.69",
        "81.2.69.142.1",
        "81.2.69.256",
        "081.2.69.142",
        "81.2.69.142:443",
        "81.2.69.142, 10.0.0.1",
        "81.2.69.142\0",
        "\0",
        "fe80::1%eth0",
        "[2001:218::1]",
        "::g",
        "🦊",
        "\u{202e}241.96.2.18",
        "٨١.٢.٦٩.١٤٢",
        &long,
    ] {
        let part = locate(&agent, ip);
        let said = (part.provenance.outcome, part.provenance.reason);
        assert_eq!(said, (Outcome::Skipped, Some(Reason::MissingInput)), "{:.40}", ip);
    }
    assert_eq!(shown(&locate(&agent, " 81.2.69.142\n")), ["GB"], "spaces around it do no harm");
}

#[test]
fn a_damaged_database_is_refused_or_its_damage_is_a_result() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.mmdb");
    let whole = std::fs::read(fixture("GeoIP2-City-Test.mmdb")).unwrap();
    let mut dice = fastrand::Rng::with_seed(4);
    let (mut refused, mut asked) = (0, 0);
    for round in 0..150 {
        let mut bytes = whole.clone();
        if round % 3 == 0 {
            bytes.truncate(dice.usize(..whole.len()));
        } else {
            // From a few flipped bytes to a tenth of the file.
            for _ in 0..1 << dice.u32(0..11) {
                let at = dice.usize(..bytes.len());
                bytes[at] = dice.u8(..);
            }
        }
        std::fs::write(&path, &bytes).unwrap();
        let spec = spec(&path, &["country", "city", "latitude", "time_zone"]);
        match GeoIp::new(&spec, &path, &mut Databases::new()) {
            Err(error) => {
                assert!(error.to_string().contains("damaged.mmdb"), "{error}");
                refused += 1;
            }
            Ok(agent) => {
                for ip in ["81.2.69.142", "89.160.20.112", "2001:218::1", "1.2.3.4", "255.255.255.255", "::"] {
                    let outcome = locate(&agent, ip).provenance.outcome;
                    assert!(matches!(outcome, Outcome::Ok | Outcome::Failed), "{ip}: {outcome:?}");
                }
                asked += 1;
            }
        }
    }
    assert!(refused > 0 && asked > 0, "{refused} refused, {asked} asked");
}
