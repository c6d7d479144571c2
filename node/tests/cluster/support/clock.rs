//! The wall clock of one node, which can be set while the node runs, as a time server or the end of a machine's pause sets it: a
//! small library that is loaded into the process adds to what is read of it. The monotonic clock stays what it is. The load
//! harness has the same fault, and the library's source.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

pub struct Clock(TempDir);

impl Clock {
    /// A clock that is right.
    pub fn new() -> Self {
        let clock = Self(tempfile::tempdir().unwrap());
        clock.set_off_by(0);
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../loadtest/src/cluster/clock.c");
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
            .arg(clock.library())
            .arg(source)
            .arg("-ldl");
        let done = cc.status().expect("the C compiler that the build needs is there");
        assert!(done.success(), "{cc:?}");
        clock
    }

    /// What a process is started with that goes by this clock.
    pub fn surroundings(&self) -> Vec<(String, String)> {
        let variables = [("LD_PRELOAD", self.library()), ("WALL_CLOCK_OFFSET", self.offset())];
        variables
            .map(|(name, path)| (name.to_owned(), path.display().to_string()))
            .into()
    }

    /// From now on it shows so many seconds more than it should.
    pub fn set_off_by(&self, seconds: i64) {
        let file = std::fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.offset());
        // In its place and in one step, as the process has it in its memory.
        file.unwrap().write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
    }

    fn library(&self) -> PathBuf {
        self.0.path().join("clock.so")
    }

    fn offset(&self) -> PathBuf {
        self.0.path().join("offset")
    }
}
