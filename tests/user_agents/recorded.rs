//! The floors on a recorded sample, everywhere.

use super::{Person, fixture, hold, hold_recall};

#[test]
fn we_agree_with_another_parser_on_recorded_browsers() {
    let text = std::fs::read_to_string(fixture("browsers.tsv")).unwrap();
    let people: Vec<Person> = text.lines().filter(|line| !line.starts_with('#')).map(person).collect();
    assert!(people.len() >= 200, "{}", people.len());
    hold(&people);
}

#[test]
fn recorded_crawlers_are_told_from_people() {
    let text = std::fs::read_to_string(fixture("crawlers.txt")).unwrap();
    let crawlers: Vec<String> = text.lines().map(str::to_owned).collect();
    assert!(crawlers.len() >= 400, "{}", crawlers.len());
    hold_recall(&crawlers);
}

fn person(line: &str) -> Person {
    let columns: Vec<&str> = line.split('\t').collect();
    let [weight, browser, major, os, device, user_agent] = columns[..] else { panic!("{line}") };
    Person {
        user_agent: user_agent.into(),
        weight: weight.parse().unwrap(),
        browser: browser.into(),
        major: major.into(),
        os: os.into(),
        device: device.into(),
    }
}
