//! Browsers and bots as other parsers see them, and the agent from topology to part.

mod judges;
mod recorded;

use std::{path::Path, sync::Arc};

use headwater::{
    agent::{self, Agent, AgentError, Step},
    event::{Outcome, Record, Value},
    service::Services,
    topology::{self, LoadOptions},
};

const FIELDS: [&str; 6] = ["browser", "browser_version", "os", "os_version", "device", "bot_reason"];

/// The agent of a topology with nothing else in it. `keys` are further ones of the agent.
fn agent(keys: &str) -> Result<Arc<dyn Agent>, AgentError> {
    let output: Vec<_> = FIELDS.iter().map(|field| format!("{field}: {field}")).collect();
    let yaml = format!(
        "name: t\nsource: {{ topic: raw }}\nagents:\n  - {{ name: device, type: user_agent, output: {{ {} }}{keys} }}\n",
        output.join(", ")
    );
    let loaded = topology::load("t.yaml", &yaml, &LoadOptions::default()).unwrap();
    let services = Services::build(&loaded.topology).unwrap();
    agent::build(&loaded.topology, &services).map(|mut agents| agents.remove(0))
}

/// What the agent says of a user agent, in the order of [`FIELDS`]; empty is not known.
fn seen(agent: &dyn Agent, user_agent: &str) -> [String; 6] {
    let mut record = Record::default();
    record.event.user_agent = Some(user_agent.into());
    let Step::Done(part) = agent.start(&record) else { panic!("not at once") };
    assert_eq!(part.provenance.outcome, Outcome::Ok);
    std::array::from_fn(|field| part.field(field).to_string())
}

/// A browser as another parser calls it; what it says of the device is empty where it says nothing.
#[derive(Debug, Clone)]
struct Person {
    user_agent: String,
    /// Share among people.
    weight: f64,
    browser: String,
    major: String,
    os: String,
    device: String,
}

/// How far we agree with the other parser, each as a share of distinct user agents.
#[derive(Debug)]
struct Agreement {
    browser: f64,
    /// Of people rather than of distinct user agents.
    browser_weighted: f64,
    /// Of the major version, where both know one and agree on the browser.
    version: f64,
    os: f64,
    device: f64,
    /// People taken for bots, with the reason.
    bots: Vec<String>,
    differences: Vec<String>,
}

/// Another parser's names in ours: it tells a browser's telephone edition apart, and we do by the fields beside it.
fn our_name(theirs: &str) -> &str {
    match theirs {
        "Chrome Mobile" | "Chrome Mobile iOS" => "Chrome",
        "Mobile Safari" => "Safari",
        "Google" => "Google app",
        "Edge Mobile" => "Edge",
        "Firefox Mobile" | "Firefox iOS" => "Firefox",
        "Opera Touch" | "Opera Mobile" => "Opera",
        "DuckDuckGo Mobile" => "DuckDuckGo",
        "Ecosia Android" | "Ecosia iOS" => "Ecosia",
        "Chrome Mobile WebView" => "Android WebView",
        "Mobile Safari UI/WKWebView" => "iOS WebView",
        "Mac OS X" => "macOS",
        "Chrome OS" => "ChromeOS",
        "Ubuntu" => "Linux",
        other => other,
    }
}

fn compare(people: &[Person]) -> Agreement {
    let agent = agent("").unwrap();
    let share = |count: usize, of: usize| count as f64 / of.max(1) as f64;
    let (mut browser, mut weighted, mut versions, mut version, mut os, mut device) = (0, 0.0, 0, 0, 0, 0);
    let (mut bots, mut differences) = (Vec::new(), Vec::new());
    for person in people {
        let [ours, our_version, our_os, _, our_device, bot] = seen(&*agent, &person.user_agent);
        if ours == our_name(&person.browser) {
            browser += 1;
            weighted += person.weight;
            if !our_version.is_empty() && !person.major.is_empty() {
                versions += 1;
                version += usize::from(our_version.split('.').next() == Some(&*person.major));
            }
        } else {
            differences.push(format!("{ours} is {} in {}", person.browser, person.user_agent));
        }
        os += usize::from(our_os == our_name(&person.os));
        device += usize::from(person.device.is_empty() || our_device == person.device);
        if !bot.is_empty() {
            bots.push(format!("{bot}: {}", person.user_agent));
        }
    }
    Agreement {
        browser: share(browser, people.len()),
        browser_weighted: weighted / people.iter().map(|person| person.weight).sum::<f64>(),
        version: share(version, versions),
        os: share(os, people.len()),
        device: share(device, people.len()),
        bots,
        differences,
    }
}

/// The floors that hold wherever people come from.
fn hold(people: &[Person]) {
    let found = compare(people);
    eprintln!(
        "{} browsers: {:.2} % of browsers agree ({:.2} % of people), {:.2} % of versions, {:.2} % of systems, {:.2} % of devices",
        people.len(),
        100.0 * found.browser,
        100.0 * found.browser_weighted,
        100.0 * found.version,
        100.0 * found.os,
        100.0 * found.device,
    );
    assert_eq!(found.bots, [""; 0], "people taken for bots");
    let differences = found.differences.join("\n");
    assert!(found.browser >= 0.97 && found.browser_weighted >= 0.99, "browsers: {differences}");
    assert!(found.version >= 0.99, "versions: {}", found.version);
    assert!(found.os >= 0.99, "systems: {}", found.os);
    assert!(found.device >= 0.99, "devices: {}", found.device);
}

/// The share of crawlers that is told from people. The list of bots that we ship names them by our own knowledge, and
/// some that others list we leave out on purpose: apps' libraries, browsers within apps, editors.
fn hold_recall(crawlers: &[String]) {
    let agent = agent("").unwrap();
    let missed: Vec<_> = crawlers.iter().filter(|crawler| seen(&*agent, crawler)[5].is_empty()).collect();
    let recall = 1.0 - missed.len() as f64 / crawlers.len() as f64;
    eprintln!("{} crawlers: {:.2} % are told from people", crawlers.len(), 100.0 * recall);
    assert!(recall >= 0.95, "{recall}: {missed:#?}");
}

#[test]
fn an_operator_s_list_is_read_and_a_faulty_one_refused_by_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        format!(", bots: {:?}", path.display().to_string())
    };
    let own = agent(&write("own.tsv", "AcmeProbe\tinternal\tour own probe\n@shipped\n")).unwrap();
    assert_eq!(seen(&*own, "acmeprobe/1.0")[5], "internal: our own probe");
    assert_eq!(seen(&*own, "curl/8.5.0")[5], "library: curl");
    let error = agent(&write("faulty.tsv", "a mark\tok\n\nanother mark, no tab\n")).err().unwrap().to_string();
    assert!(error.starts_with("agent \"device\": list of bots ") && error.contains("faulty.tsv, line 3: "), "{error}");
    let missing = folder.path().join("none.tsv");
    let error = agent(&format!(", bots: {:?}", missing.display().to_string())).err().unwrap().to_string();
    assert!(error.contains("none.tsv: "), "{error}");
}

#[test]
fn without_the_field_the_part_is_skipped_and_an_empty_one_is_a_bot() {
    let agent = agent("").unwrap();
    let Step::Done(part) = agent.start(&Record::default()) else { panic!("not at once") };
    assert_eq!(part.provenance.outcome, Outcome::Skipped);
    assert_eq!(part.field(5), &Value::Null);
    assert_eq!(seen(&*agent, " ")[5], "empty user agent");
}

fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/user_agents").join(name)
}
