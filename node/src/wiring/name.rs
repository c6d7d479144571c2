//! The node's name: chosen, or made at first start and kept.

use std::path::Path;

use rookery_cluster::id::NodeId;

use crate::cli::{Failure, Status};
use crate::data_dir::replace_file;

/// The file of a name that was made.
const FILE: &str = "node";

/// The chosen name, or the one in the data directory, made if there is none.
pub fn of(chosen: &str, data_dir: &Path) -> Result<NodeId, Failure> {
    if !chosen.is_empty() {
        return Ok(NodeId(chosen.into()));
    }
    let path = data_dir.join(FILE);
    let failed = |error| {
        Failure::new(
            Status::DataDirectory,
            format!("keep the node's name in {}: {error}", path.display()),
        )
    };
    if path.exists() {
        let kept = std::fs::read_to_string(&path).map_err(failed)?;
        return Ok(NodeId(kept.trim().into()));
    }
    let random = uuid::Uuid::now_v7().simple().to_string();
    // The last characters of a version 7 UUID are its random ones.
    let name = format!("node-{}", &random[random.len() - 8..]);
    replace_file(&path, format!("{name}\n").as_bytes()).map_err(failed)?;
    Ok(NodeId(name.as_str().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_made_once_and_a_chosen_one_wins() {
        let dir = tempfile::tempdir().expect("a directory");
        let made = of("", dir.path()).expect("made");
        assert!(made.0.starts_with("node-"));
        assert_eq!(of("", dir.path()).expect("kept"), made);
        assert_eq!(&*of("mine", dir.path()).expect("chosen").0, "mine");
    }
}
