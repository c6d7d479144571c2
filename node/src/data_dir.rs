//! The data directory: everything one node keeps, for its owner's eyes only, used by one process at a time.
//!
//! ```text
//! LOCK      held (flock) as long as a process uses the directory; names it
//! VERSION   the layout's version; an unknown one is refused, never guessed at
//! log.db    the event log
//! store.db  accounts, conversations, messages, cursors, files' records
//! blobs/    attachments
//! keys/     signing keys
//! node      the node's name, where none was configured
//! admin-token  what `/admin` wants to be told, where none was configured
//! ```
//!
//! Directories are 0700 and files 0600 whatever the umask. What a crash leaves behind half made (`*.tmp`) is written anew.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The layout this program reads and writes.
const VERSION: &str = "1";
/// What a fresh directory may hold besides ours: the mark of a mounted file system's root.
const FOREIGN: [&str; 1] = ["lost+found"];

/// Why a data directory cannot be used. Each is one sentence for the operator.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    #[error("the data directory {} is in use by process {pid}; stop it or choose another directory", dir.display())]
    InUse { dir: PathBuf, pid: String },
    #[error(
        "the data directory {} has layout version {found:?} and this program reads {VERSION:?}; \
         run the program that wrote it", dir.display()
    )]
    Version { dir: PathBuf, found: String },
    #[error("{} is not empty and is no data directory of ours; choose an empty one", dir.display())]
    Foreign { dir: PathBuf },
    #[error("{} cannot be used as the data directory: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
}

/// An open data directory; the lock is held until it is dropped.
#[derive(Debug)]
pub struct DataDir {
    root: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the directory if it is missing, locks it, checks its version.
    pub fn open(root: &Path) -> Result<Self, DataDirError> {
        private_dir(root).map_err(at(root))?;
        let lock = lock(root)?;
        check_version(root)?;
        let dir = Self {
            root: root.into(),
            _lock: lock,
        };
        for sub in [dir.blobs(), dir.keys()] {
            private_dir(&sub).map_err(at(&sub))?;
        }
        Ok(dir)
    }

    /// Whether there is nothing yet that a start would have to read. Changes nothing.
    pub fn is_new(root: &Path) -> Result<bool, DataDirError> {
        if !root.exists() {
            return Ok(true);
        }
        if root.join("VERSION").exists() {
            return Ok(false);
        }
        match is_fresh(root).map_err(at(root))? {
            true => Ok(true),
            false => Err(DataDirError::Foreign { dir: root.into() }),
        }
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The event log's database.
    pub fn log(&self) -> PathBuf {
        self.root.join("log.db")
    }

    /// The store's database.
    pub fn store(&self) -> PathBuf {
        self.root.join("store.db")
    }

    /// The directory of attachments.
    pub fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    /// The directory of signing keys.
    pub fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }
}

/// Makes a directory (and what is above it) if it is missing; it ends up 0700.
pub fn private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    restrict(path, 0o700)
}

/// Makes a file if it is missing, empty; it ends up 0600. SQLite gives a database's companions the modes of the database.
pub fn private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    restrict(path, 0o600)?;
    Ok(file)
}

/// Replaces a file's content at once, durably: a crash leaves the old or the new one.
pub fn replace_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = private_file(&temporary)?;
    file.set_len(0)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}

fn restrict(path: &Path, mode: u32) -> io::Result<()> {
    let now = fs::metadata(path)?.permissions().mode() & 0o777;
    if now != mode {
        fs::set_permissions(path, Permissions::from_mode(mode))?;
    }
    Ok(())
}

fn lock(root: &Path) -> Result<File, DataDirError> {
    let path = root.join("LOCK");
    let mut file = private_file(&path).map_err(at(&path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(in_use(root, &mut file)),
        Err(TryLockError::Error(error)) => return Err(at(&path)(error)),
    }
    let name = |file: &mut File| {
        file.set_len(0)?;
        write!(file, "{}", std::process::id())
    };
    name(&mut file).map_err(at(&path))?;
    Ok(file)
}

fn in_use(root: &Path, file: &mut File) -> DataDirError {
    let mut pid = String::new();
    file.take(20).read_to_string(&mut pid).ok();
    if pid.is_empty() {
        pid.push_str("unknown");
    }
    DataDirError::InUse { dir: root.into(), pid }
}

fn check_version(root: &Path) -> Result<(), DataDirError> {
    let path = root.join("VERSION");
    match fs::read_to_string(&path) {
        Ok(text) if text.trim() == VERSION => Ok(()),
        Ok(text) => Err(DataDirError::Version {
            dir: root.into(),
            found: text.trim().chars().take(40).collect(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if is_fresh(root).map_err(at(root))? {
                replace_file(&path, format!("{VERSION}\n").as_bytes()).map_err(at(&path))
            } else {
                Err(DataDirError::Foreign { dir: root.into() })
            }
        }
        Err(error) => Err(at(&path)(error)),
    }
}

/// Nothing but what a first start that was cut short may have left.
fn is_fresh(root: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(root)? {
        let name = entry?.file_name();
        if name != "LOCK" && name != "VERSION.tmp" && !FOREIGN.iter().any(|foreign| name == *foreign) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> DataDirError + use<> {
    let path = path.to_path_buf();
    move |error| DataDirError::Io { path, error }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn it_is_made_for_its_owner_alone_and_opens_again() {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("a/data");
        let dir = DataDir::open(&root).unwrap();
        assert_eq!(mode(&root), 0o700);
        assert_eq!(mode(&dir.blobs()), 0o700);
        assert_eq!(mode(&dir.keys()), 0o700);
        assert_eq!(mode(&root.join("VERSION")), 0o600);
        assert_eq!(mode(&root.join("LOCK")), 0o600);
        drop(dir);
        DataDir::open(&root).unwrap();
    }

    #[test]
    fn loose_permissions_are_tightened() {
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), Permissions::from_mode(0o755)).unwrap();
        DataDir::open(root.path()).unwrap();
        assert_eq!(mode(root.path()), 0o700);
    }

    #[test]
    fn a_second_user_is_told_who_has_it() {
        let root = tempfile::tempdir().unwrap();
        let _held = DataDir::open(root.path()).unwrap();
        // flock binds to the open file, so a second open in this process is refused as another process would be.
        let error = DataDir::open(root.path()).unwrap_err().to_string();
        assert!(error.contains(&std::process::id().to_string()), "{error}");
        assert!(error.contains(root.path().to_str().unwrap()), "{error}");
    }

    #[test]
    fn an_unknown_version_is_refused_and_left_alone() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("VERSION"), "2\n").unwrap();
        let error = DataDir::open(root.path()).unwrap_err();
        assert!(
            matches!(&error, DataDirError::Version { found, .. } if found == "2"),
            "{error}"
        );
        assert!(!root.path().join("blobs").exists());
    }

    #[test]
    fn a_directory_of_somebody_else_is_refused() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("thesis.tex"), "").unwrap();
        assert!(matches!(DataDir::open(root.path()), Err(DataDirError::Foreign { .. })));
    }

    #[test]
    fn what_a_crash_left_is_harmless() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("lost+found")).unwrap();
        fs::write(root.path().join("LOCK"), "4194304999").unwrap();
        fs::write(root.path().join("VERSION.tmp"), "half").unwrap();
        DataDir::open(root.path()).unwrap();
        assert_eq!(fs::read_to_string(root.path().join("VERSION")).unwrap(), "1\n");
    }
}
