//! MaxMind's own test data as a file, for where no database of places is there.

use std::{
    io,
    path::{Path, PathBuf},
};

/// MaxMind's own test data: a few networks that exist on no real globe's map but theirs.
pub const TEST_PLACES: &[u8] = include_bytes!("../../tests/fixtures/geoip/GeoIP2-City-Test.mmdb");

/// The test data as a file in the system's temporary folder; it goes with its owner.
#[derive(Debug)]
pub(super) struct TestPlaces {
    file: PathBuf,
}

impl TestPlaces {
    /// Writes the file.
    pub fn lay_out() -> io::Result<Self> {
        let name = format!("headwater-{}-{:x}-places.mmdb", std::process::id(), fastrand::u64(..));
        let file = std::env::temp_dir().join(name);
        std::fs::write(&file, TEST_PLACES)?;
        Ok(TestPlaces { file })
    }

    /// Where it is.
    pub fn file(&self) -> &Path {
        &self.file
    }
}

impl Drop for TestPlaces {
    fn drop(&mut self) {
        // The system clears its temporary folder where this fails.
        let _ = std::fs::remove_file(&self.file);
    }
}
