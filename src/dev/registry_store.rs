//! What the development registry holds, and its rules.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::codec::compatibility::cannot_read;

/// It is for development; a client that registers without end is stopped here.
const MAX_SCHEMAS: usize = 10_000;
const LEVELS: [&str; 7] =
    ["NONE", "BACKWARD", "BACKWARD_TRANSITIVE", "FORWARD", "FORWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE"];

/// An error as Confluent's registry answers it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub status: u16,
    pub code: u32,
    pub message: String,
}

impl Refusal {
    pub fn new(status: u16, code: u32, message: &str) -> Self {
        Refusal { status, code, message: message.to_owned() }
    }
}

/// One version of a subject.
pub(super) struct Found {
    pub subject: String,
    pub version: usize,
    pub id: u32,
    pub schema: Arc<str>,
}

/// Schemas by id (from 1) and subjects, whose versions count from 1.
#[derive(Default)]
pub(super) struct Store {
    schemas: Vec<Arc<str>>,
    /// By the schema's JSON without its spaces: the same schema has one id whatever its subject.
    ids: HashMap<String, u32>,
    subjects: BTreeMap<String, Vec<u32>>,
    levels: HashMap<String, String>,
    global: Option<String>,
}

impl Store {
    pub fn schema(&self, id: u32) -> Result<Arc<str>, Refusal> {
        let found = (id as usize).checked_sub(1).and_then(|index| self.schemas.get(index));
        found.cloned().ok_or_else(|| Refusal::new(404, 40_403, &format!("Schema {id} not found")))
    }

    pub fn subjects(&self) -> Vec<String> {
        self.subjects.keys().cloned().collect()
    }

    pub fn versions(&self, subject: &str) -> Result<Vec<usize>, Refusal> {
        self.subject(subject).map(|ids| (1..=ids.len()).collect())
    }

    fn subject(&self, subject: &str) -> Result<&[u32], Refusal> {
        let found = self.subjects.get(subject).map(Vec::as_slice);
        found.ok_or_else(|| Refusal::new(404, 40_401, &format!("Subject '{subject}' not found.")))
    }

    /// A version by number, or `latest`.
    pub fn version(&self, subject: &str, version: &str) -> Result<Found, Refusal> {
        let ids = self.subject(subject)?;
        let number = match version {
            "latest" | "-1" => ids.len(),
            number => number.parse().ok().filter(|number| *number > 0).ok_or_else(|| {
                let message = format!("The specified version '{number}' is not a valid version id.");
                Refusal::new(422, 42_202, &message)
            })?,
        };
        match ids.get(number - 1) {
            Some(id) => Ok(self.found(subject, number, *id)),
            None => Err(Refusal::new(404, 40_402, &format!("Version {number} not found."))),
        }
    }

    fn found(&self, subject: &str, version: usize, id: u32) -> Found {
        let schema = self.schemas.get(id as usize - 1).cloned().unwrap_or_default();
        Found { subject: subject.to_owned(), version, id, schema }
    }

    /// Where the subject holds exactly this schema.
    pub fn find(&self, subject: &str, schema: &str) -> Result<Found, Refusal> {
        let ids = self.subject(subject)?;
        let id = self.ids.get(&canonical(schema)?);
        match ids.iter().position(|held| Some(held) == id) {
            Some(index) => Ok(self.found(subject, index + 1, ids[index])),
            None => Err(Refusal::new(404, 40_403, "Schema not found")),
        }
    }

    /// The id of a schema under a subject, new or not.
    pub fn register(&mut self, subject: &str, schema: &str) -> Result<u32, Refusal> {
        match self.find(subject, schema) {
            Ok(found) => return Ok(found.id),
            Err(refusal) if refusal.status == 422 => return Err(refusal),
            Err(_) => {}
        }
        let messages = match self.incompatibilities(subject, None, schema) {
            Err(refusal) if refusal.code == 40_401 => Vec::new(),
            other => other?,
        };
        if !messages.is_empty() {
            let message = format!(
                "Schema being registered is incompatible with an earlier schema for subject \"{subject}\", details: [{}]",
                messages.join("; ")
            );
            return Err(Refusal::new(409, 409, &message));
        }
        let canonical = canonical(schema)?;
        let id = match self.ids.get(&canonical) {
            Some(id) => *id,
            None if self.schemas.len() >= MAX_SCHEMAS => {
                return Err(Refusal::new(500, 50_001, "the development registry is full: restart it"));
            }
            None => {
                self.schemas.push(schema.into());
                let id = self.schemas.len() as u32;
                self.ids.insert(canonical, id);
                id
            }
        };
        self.subjects.entry(subject.to_owned()).or_default().push(id);
        Ok(id)
    }

    /// Why the schema does not go with the subject's versions, or with one of them, under its level.
    pub fn incompatibilities(
        &self,
        subject: &str,
        version: Option<&str>,
        schema: &str,
    ) -> Result<Vec<String>, Refusal> {
        canonical(schema)?;
        let ids = self.subject(subject)?;
        let level = self.level(Some(subject));
        let one = version.map(|version| self.version(subject, version).map(|found| found.id)).transpose()?;
        let against: &[u32] = match &one {
            Some(id) => std::slice::from_ref(id),
            None if level.ends_with("_TRANSITIVE") => ids,
            None => ids.last().map(std::slice::from_ref).unwrap_or_default(),
        };
        let mut messages = Vec::new();
        for id in against {
            let old = self.schema(*id)?;
            if level.starts_with("BACKWARD") || level.starts_with("FULL") {
                messages.extend(
                    cannot_read(schema, &old).map(|why| format!("the new schema cannot read schema {id}: {why}")),
                );
            }
            if level.starts_with("FORWARD") || level.starts_with("FULL") {
                messages.extend(
                    cannot_read(&old, schema).map(|why| format!("schema {id} cannot read the new schema: {why}")),
                );
            }
        }
        Ok(messages)
    }

    pub fn own_level(&self, subject: &str) -> Option<&str> {
        self.levels.get(subject).map(String::as_str)
    }

    /// The level that holds for a subject, or for all others.
    pub fn level(&self, subject: Option<&str>) -> &str {
        let own = subject.and_then(|subject| self.own_level(subject));
        own.or(self.global.as_deref()).unwrap_or("BACKWARD")
    }

    pub fn set_level(&mut self, subject: Option<&str>, level: &str) -> Result<(), Refusal> {
        if !LEVELS.contains(&level) {
            let message = format!("Invalid compatibility level {level}. Valid values are {}", LEVELS.join(", "));
            return Err(Refusal::new(422, 42_203, &message));
        }
        match subject {
            Some(subject) => drop(self.levels.insert(subject.to_owned(), level.to_owned())),
            None => self.global = Some(level.to_owned()),
        }
        Ok(())
    }
}

/// The schema's JSON without spaces, if it is an Avro schema.
fn canonical(schema: &str) -> Result<String, Refusal> {
    let invalid = |why: String| Refusal::new(422, 42_201, &format!("Invalid schema: {why}"));
    apache_avro::Schema::parse_str(schema).map_err(|error| invalid(error.to_string()))?;
    let json: serde_json::Value = serde_json::from_str(schema).map_err(|error| invalid(error.to_string()))?;
    Ok(json.to_string())
}
