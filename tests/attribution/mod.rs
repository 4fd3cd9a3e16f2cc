//! Attribution with campaigns in a real Redis, from topology to part.

mod lookup;
mod server;
mod tls;
mod trouble;

use std::sync::Arc;

use headwater::{
    agent::{self, Agent, Decoded, Ran, Step},
    event::{Origin, Part, Record},
    service::Services,
    topology::{LoadOptions, load},
};

/// An attribution agent, its services, and one person.
pub struct Site {
    services: Arc<Services>,
    agent: Arc<dyn Agent>,
    names: Vec<Arc<str>>,
    state: Decoded,
    offset: i64,
}

impl Site {
    /// An agent that looks campaigns up at that URL; `keys` are further keys of it, each with its comma. A busy machine
    /// is given time to answer.
    pub fn new(url: &str, keys: &str) -> Site {
        let patience = if keys.contains("timeout:") { "" } else { "timeout: 20s, deadline: 90s," };
        let agent = format!(
            "{{ name: attribution, type: attribution, campaigns: \"{url}\", {patience} {keys} \
             input: {{ country: event.properties.country }} }}"
        );
        let text = format!("name: campaign\nsource: {{ topic: events.raw }}\nagents:\n  - {agent}\n");
        let topology =
            load("t.yaml", &text, &LoadOptions::default()).unwrap_or_else(|error| panic!("{error:?}")).topology;
        let services = Services::build(&topology).unwrap();
        let agent = agent::build(&topology, &services).unwrap().remove(0);
        let names = topology.agents[0].output.iter().map(|field| field.name.clone()).collect();
        let state = agent.ordered().unwrap().decode(None);
        Site { services, agent, names, state, offset: 0 }
    }

    /// The next event of the person.
    pub fn record(&mut self, query: &str, country: &str) -> Record {
        self.offset += 1;
        let mut record = Record { received_at_ms: i64::MAX, ..Record::default() };
        record.origin = Origin { events_offset: self.offset, events_tag: 1, ..Origin::default() };
        record.event.occurred_at_ms = self.offset;
        record.event.url = Some(format!("https://acme.example/?{query}").into());
        record.event.properties.insert("country".into(), country.into());
        record
    }

    /// The lookup's answer.
    pub async fn ask(&self, record: &Record) -> Part {
        match self.agent.start(record) {
            Step::Pending(part) => part.await,
            Step::Ordered(part) | Step::Done(part) => part,
        }
    }

    /// One event from lookup to part.
    pub async fn visit(&mut self, query: &str, country: &str) -> Part {
        let record = self.record(query, country);
        let asked = self.ask(&record).await;
        self.count(&record, asked).part
    }

    /// Counts an event whose lookup has been answered.
    pub fn count(&mut self, record: &Record, asked: Part) -> Ran {
        self.agent.ordered().unwrap().run(record, asked, &mut self.state, &mut Vec::new())
    }

    /// Fields of a part by name, with blanks between.
    pub fn show(&self, part: &Part, names: &[&str]) -> String {
        let field =
            |name: &&str| part.field(self.names.iter().position(|known| **known == **name).unwrap()).to_string();
        names.iter().map(field).collect::<Vec<_>>().join(" ")
    }

    /// Requests answered, and failed.
    pub fn requests(&self) -> (u64, u64) {
        let attempts = self.services.snapshot()[0].1.attempts;
        let all = attempts.ok + attempts.timeout + attempts.limited + attempts.transient + attempts.permanent;
        (attempts.ok, all - attempts.ok)
    }
}
