//! Wall clocks of nodes that can be made to jump: a small library (`clock.c`), loaded into each node, adds to what is read of it. The
//! monotonic clock stays what it is.
//!
//! The library is compiled when it is needed and tried on the server before anything is started: not every machine has a C
//! compiler, and not every server takes a library that `LD_PRELOAD` names.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;

const SOURCE: &str = include_str!("clock.c");
const COMPILER: &str = "cc";
/// Where the library tells in a clock's file that it was loaded.
const LOADED_AT: u64 = size_of::<i64>() as u64;

/// The clocks of all nodes that are started: the library, and a file for each with what it is off by.
#[derive(Debug)]
pub struct Clocks(TempDir);

impl Clocks {
    /// Compiles the library and tries it on that server, with the environment that the user set for it.
    ///
    /// # Errors
    ///
    /// When that cannot be done here, with what would help.
    pub fn make(server: &Path, environment: &[(String, String)]) -> anyhow::Result<Self> {
        let clocks = Self::compiled_by(COMPILER)?;
        let tried = clocks.surroundings("trial")?;
        let output = Command::new(server)
            .arg("--version")
            .envs(tried)
            .envs(environment.iter().cloned())
            .output()
            .with_context(|| format!("starting {}", server.display()))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success() && clocks.was_loaded("trial")?,
            "a clock that jumps is a library that {} does not take by LD_PRELOAD {}: build the server for a shared libc and leave \
             LD_PRELOAD alone",
            server.display(),
            if said.trim().is_empty() {
                "(it ignores it)".into()
            } else {
                format!("({})", said.trim())
            },
        );
        Ok(clocks)
    }

    fn compiled_by(compiler: &str) -> anyhow::Result<Self> {
        let clocks = Self(tempfile::Builder::new().prefix("rookery-load-clock-").tempdir()?);
        let source = clocks.0.path().join("clock.c");
        std::fs::write(&source, SOURCE)?;
        let output = Command::new(compiler)
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([&clocks.library(), &source])
            .arg("-ldl")
            .output();
        match output {
            Ok(output) if output.status.success() => Ok(clocks),
            Ok(output) => bail!(
                "a clock that jumps is a library that {compiler} did not compile: install a C compiler with the headers of libc (apt \
                 install gcc libc6-dev); it said: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            ),
            Err(error) => bail!(
                "a clock that jumps is a library that has to be compiled, and {compiler} cannot be started ({error}): install a C \
                 compiler (apt install gcc libc6-dev)"
            ),
        }
    }

    /// What the node of that name is started with; its clock is right.
    pub fn surroundings(&self, name: &str) -> io::Result<[(String, String); 2]> {
        self.set_off_by(name, 0)?;
        let variables = [("LD_PRELOAD", self.library()), ("WALL_CLOCK_OFFSET", self.file(name))];
        Ok(variables.map(|(key, path)| (key.to_owned(), path.display().to_string())))
    }

    /// From now on that node's clock shows so many seconds more than it should.
    pub fn set_off_by(&self, name: &str, seconds: i64) -> io::Result<()> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.file(name))?;
        // In its place and in one step, as the node has it in its memory.
        file.write_all_at(&seconds.to_ne_bytes(), 0)
    }

    fn was_loaded(&self, name: &str) -> io::Result<bool> {
        let file = File::open(self.file(name))?;
        Ok(file.read_at(&mut [0], LOADED_AT)? > 0)
    }

    fn library(&self) -> PathBuf {
        self.0.path().join("clock.so")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use rookery_actors::time::Timestamp;

    use super::{COMPILER, Clocks};

    /// The program of a machine that shows its time, in the place of a server.
    const DATE: &str = "/bin/date";

    /// By how many seconds that node's time differs from ours.
    fn offset(clocks: &Clocks, name: &str, seconds: i64) -> i64 {
        let surroundings = clocks.surroundings(name).unwrap();
        clocks.set_off_by(name, seconds).unwrap();
        let shown = Command::new(DATE).arg("+%s").envs(surroundings).output().unwrap();
        let shown: i64 = String::from_utf8(shown.stdout).unwrap().trim().parse().unwrap();
        shown - Timestamp::now().0 / 1000
    }

    #[test]
    fn each_node_has_a_clock_of_its_own_that_is_off_by_what_it_is_told() {
        let clocks = Clocks::make(Path::new(DATE), &[]).unwrap();
        for (name, seconds) in [("node1", 7200), ("node2", -600), ("node1", 0)] {
            let seen = offset(&clocks, name, seconds);
            assert!(
                (seen - seconds).abs() <= 5,
                "{name} is off by {seen} s and not by {seconds}"
            );
        }
    }

    #[test]
    fn a_server_that_does_not_load_it_is_told_of_beforehand() {
        let alone = [("LD_PRELOAD".to_owned(), String::new())];
        let error = Clocks::make(Path::new(DATE), &alone).unwrap_err().to_string();
        assert!(error.contains("LD_PRELOAD (it ignores it)"), "{error}");
    }

    #[test]
    fn without_a_compiler_it_is_said_what_to_do() {
        let error = Clocks::compiled_by("a-compiler-that-is-not-there")
            .unwrap_err()
            .to_string();
        assert!(error.contains("apt install gcc"), "{error}");
        assert!(Clocks::compiled_by(COMPILER).is_ok());
    }
}
