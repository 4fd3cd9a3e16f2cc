//! The place of an IP address, from a database on this machine.

mod database;
mod place;

use std::{
    collections::HashMap,
    net::IpAddr,
    path::{Path as FilePath, PathBuf},
    sync::Arc,
};

use database::Database;
use place::Field;

use crate::{
    event::{Outcome, Part, Path, Reason, Record, Source, Value},
    policy::Fallbacks,
    topology::AgentSpec,
};

use super::{Agent, AgentError, Step, Vitals, fields, input};

/// The databases of a topology: agents with the same file share it.
pub(super) type Databases = HashMap<PathBuf, Arc<Database>>;

/// An agent of type `geoip`.
pub(super) struct GeoIp {
    ip: Option<Path>,
    database: Arc<Database>,
    fields: Box<[Option<Field>]>,
    fallbacks: Fallbacks,
}

impl GeoIp {
    /// Opens the database, unless another agent has.
    pub fn new(spec: &AgentSpec, path: &FilePath, databases: &mut Databases) -> Result<Self, AgentError> {
        let database = match databases.get(path) {
            Some(database) => database.clone(),
            None => {
                let database = Database::open(path).map_err(|message| AgentError::Database {
                    agent: spec.name.clone(),
                    path: path.to_owned(),
                    message,
                })?;
                databases.insert(path.to_owned(), database.clone());
                database
            }
        };
        Ok(GeoIp {
            ip: input(spec, "ip").cloned(),
            database,
            fields: fields(&spec.output, Field::from_name),
            fallbacks: Fallbacks::new(spec),
        })
    }

    /// The part for an address. An address that the database does not know (private ones among them) is an
    /// answer, not a failure: `ok`, reason `not_found`, unless values are declared for it. What is no address is
    /// no input.
    fn locate(&self, ip: &str) -> Part {
        let Ok(ip) = ip.trim().parse::<IpAddr>() else {
            return Part::without(Outcome::Skipped, Reason::MissingInput);
        };
        match self.database.lookup(ip.to_canonical(), |place| place.values(&self.fields)) {
            Ok(Some(values)) => Part::ok(Source::Local, values),
            Ok(None) => self.fallbacks.not_found(Source::Local),
            Err(_damaged) => self.fallbacks.failed(Reason::BadResponse, || None),
        }
    }
}

impl Agent for GeoIp {
    fn start(&self, record: &Record) -> Step {
        Step::Done(match self.ip.as_ref().map(|path| path.get(record)) {
            Some(Value::Text(ip)) => self.locate(&ip),
            _ => Part::without(Outcome::Skipped, Reason::MissingInput),
        })
    }

    fn vitals(&self) -> Vitals {
        Vitals { database_built_at_s: Some(self.database.built_at_s()), ..Vitals::default() }
    }
}

#[cfg(test)]
mod tests;
