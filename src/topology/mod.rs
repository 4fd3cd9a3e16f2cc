//! YAML → checked [`Topology`]: parse, resolve, check, place. Pure.
//!
//! # Layout
//!
//! - parse: `yaml` (tree with places, refuses what YAML would change), `decode`, `leaf` and the `raw*` files (the grammar, from
//!   which the JSON schema is made), `vars`, `units`
//! - resolve: `load` (the way), `services`, `salesforce`, `order` (dependencies), `agents`, `edge`, `scope` (names), `fields` (what
//!   each type of agent yields)
//! - check: `calls`, `site` (conditions), `names`, `suggest`; findings are `diagnostic`s with `codes`
//! - place: `place`
//! - `refuse`: what this version checks but does not run
//! - `cases`: the tests beside a topology

mod agents;
mod calls;
mod cases;
pub mod codes;
mod credentials;
mod decode;
mod diagnostic;
mod edge;
mod fields;
mod keyed;
mod leaf;
mod load;
mod model;
mod model_service;
mod names;
mod order;
mod place;
mod raw;
mod raw_agent;
mod raw_edge;
mod raw_keyed;
mod raw_service;
mod refuse;
mod salesforce;
mod schema;
mod scope;
mod services;
mod site;
mod suggest;
mod tagged;
#[cfg(test)]
mod tests;
mod units;
mod vars;
mod yaml;

pub use cases::{Case, CaseStep, Expect, Expected, Given, load_cases, test_json_schema};
pub use credentials::{OAuthSpec, SalesforceGrant, SalesforceSpec, SecretSource};
pub use diagnostic::{Diagnostic, Severity, render};
pub use load::{LoadOptions, Loaded, load};
pub use model::*;
pub use place::Placement;
pub use refuse::plan_refusals;
pub use schema::json_schema;
pub use vars::Variables;
