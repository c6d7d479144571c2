//! The repository's Rust sources, as text.

use std::fs;
use std::path::{Path, PathBuf};

/// A source file, by its path from the top of the repository.
pub struct Source {
    pub path: String,
    pub text: String,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.into(),
            text: text.into(),
        }
    }

    /// Lines of code with their numbers: no comments, and nothing from the first `#[cfg(test)]` on, which stands last.
    pub fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self
            .text
            .lines()
            .take_while(|line| !line.trim_start().starts_with("#[cfg(test)]"));
        (1..)
            .zip(lines)
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// Whether this is test code from its first line on.
    pub fn is_test(&self) -> bool {
        ["/tests/", "/tests.rs", "/testkit", "/benches/"]
            .iter()
            .any(|part| self.path.contains(part))
    }
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every Rust file of the four crates.
pub fn all() -> Vec<Source> {
    let mut found = Vec::new();
    for member in ["actors", "cluster", "loadtest", "node"] {
        collect(&root().join(member), member, &mut found);
    }
    assert!(found.len() > 40, "only {} sources were found", found.len());
    found
}

fn collect(directory: &Path, path: &str, found: &mut Vec<Source>) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{path}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            collect(&entry.path(), &path, found);
        } else if path.ends_with(".rs") {
            found.push(Source::new(&path, &fs::read_to_string(entry.path()).unwrap()));
        }
    }
}
