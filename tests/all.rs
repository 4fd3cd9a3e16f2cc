//! Every integration test, linked once. One module per subject.

mod deliver;
mod stubs;
