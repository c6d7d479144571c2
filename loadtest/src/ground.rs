//! The directory in which everything that is started for a run has its files: nodes and services, each in one of its own.

use std::io;
use std::path::{Path, PathBuf};

/// Goes away when it is dropped, unless something in it was to stay.
pub struct Ground {
    path: PathBuf,
}

impl Ground {
    pub fn new(name: &str) -> io::Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix(&format!("rookery-load-{name}"))
            .tempdir()?;
        Ok(Self { path: directory.keep() })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        // What was to stay makes this fail.
        drop(std::fs::remove_dir(&self.path));
    }
}

#[cfg(test)]
mod tests {
    use super::Ground;

    #[test]
    fn what_is_to_stay_keeps_its_ground() {
        let ground = Ground::new("test-").unwrap();
        let path = ground.path().to_path_buf();
        std::fs::write(path.join("log"), "").unwrap();
        drop(ground);
        assert!(path.join("log").exists());
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn nothing_is_left_where_nothing_is_to_stay() {
        let ground = Ground::new("test-").unwrap();
        let path = ground.path().to_path_buf();
        drop(ground);
        assert!(!path.exists());
    }
}
