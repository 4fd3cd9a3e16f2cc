//! Whole tests of small topologies.
