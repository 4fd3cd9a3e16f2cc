//! Every integration test, linked once. One module per subject.

mod plan;
mod registry;
