//! Every integration test, linked once. One module per subject.

mod deliver;
mod python;
mod stubs;
