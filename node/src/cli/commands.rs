//! What the subcommands do that need no running server.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use super::{Failure, Page, Status, reference};
use crate::config::{Config, Loaded};
use crate::data_dir::{DataDir, DataDirError};
use crate::gateway::tls::Tls;
use crate::{telemetry, wiring};

/// Writes to standard output; a reader that went away is not a failure.
pub fn print(text: &str) -> Result<ExitCode, Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).ok();
    Ok(ExitCode::SUCCESS)
}

/// The configuration was loaded; what is left are the files it names: the certificate, and the data directory, which is looked
/// at and not made.
pub fn check(loaded: &Loaded) -> Result<ExitCode, Failure> {
    for warning in &loaded.warnings {
        eprintln!("rookery: warning: {warning}");
    }
    Tls::of(&loaded.config.gateway).map_err(|error| Failure::new(Status::Configuration, error))?;
    let from = loaded
        .file
        .as_ref()
        .map_or("no file".into(), |file| file.display().to_string());
    let dir = &loaded.config.process.data_dir;
    let found = usable(dir).map_err(|error| wiring::data_dir_failure(&error))?;
    print(&format!(
        "configuration ({from}): valid\ndata directory {}: {found}\n",
        dir.display()
    ))
}

fn usable(dir: &Path) -> Result<String, DataDirError> {
    if DataDir::is_new(dir)? {
        return Ok("will be made".to_owned());
    }
    match DataDir::open(dir) {
        Ok(_) => Ok("usable".to_owned()),
        Err(DataDirError::InUse { pid, .. }) => Ok(format!("in use by process {pid}")),
        Err(error) => Err(error),
    }
}

/// Makes a key that signs from now on; the old ones verify until the tokens they signed have expired.
pub fn rotate_key(config: &Config) -> Result<ExitCode, Failure> {
    let key = wiring::rotate_key(config)?;
    print(&format!(
        "new key {key}: a running server signs with it within seconds, or at once on SIGHUP\n"
    ))
}

pub fn docs(page: Page) -> Result<ExitCode, Failure> {
    print(&match page {
        Page::Metrics => telemetry::table(),
        Page::Errors => reference::errors(),
    })
}
