//! Every integration test, linked once. One module per subject.

mod agents;
