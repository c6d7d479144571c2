//! Where things lie under the root, and how directories and files are made: owner-only, and synced.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use rookery_actors::id::FileId;
use rookery_actors::ports::blobs::UploadId;
use rookery_actors::time::Timestamp;
use uuid::Uuid;

const TEMPORARY: &str = "tmp";
const UPLOADS: &str = "uploads";

/// The paths under one root.
pub(super) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(super) fn create(root: &Path) -> io::Result<Self> {
        for dir in [root.to_path_buf(), root.join(TEMPORARY), root.join(UPLOADS)] {
            private_dir(&dir)?;
            std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o700))?;
        }
        sync_dir(root)?;
        Ok(Self { root: root.into() })
    }

    /// Where the content of a key lies. The last digits name the shelves: the first ones are a time and would fill one shelf
    /// at a time.
    pub(super) fn content(&self, key: FileId) -> PathBuf {
        self.shelf(key).join(key.to_string())
    }

    fn shelf(&self, key: FileId) -> PathBuf {
        let name = key.to_string();
        self.root.join(&name[32..34]).join(&name[34..36])
    }

    /// Makes the directory of a key's content.
    pub(super) fn shelve(&self, key: FileId) -> io::Result<()> {
        private_dir(&self.shelf(key))
    }

    /// Makes a new entry of a shelf durable, and the shelf itself.
    pub(super) fn sync_shelf(&self, key: FileId) -> io::Result<()> {
        let shelf = self.shelf(key);
        sync_dir(&shelf)?;
        shelf.parent().map_or(Ok(()), sync_dir)?;
        sync_dir(&self.root)
    }

    /// A fresh name for a file that is being written.
    pub(super) fn temporary(&self) -> PathBuf {
        self.root.join(TEMPORARY).join(Uuid::now_v7().simple().to_string())
    }

    /// The directory of an upload's parts; `None` when the upload's name was not made here.
    pub(super) fn upload(&self, key: FileId, upload: &UploadId) -> Option<PathBuf> {
        let upload = Uuid::try_parse(&upload.0).ok()?;
        let name = format!("{key}.{}", upload.simple());
        Some(self.root.join(UPLOADS).join(name))
    }

    /// Makes an upload with no parts.
    pub(super) fn begin(&self, key: FileId) -> io::Result<UploadId> {
        let upload = UploadId(Uuid::now_v7().simple().to_string());
        let dir = self
            .upload(key, &upload)
            .ok_or_else(|| io::Error::other("an upload's own name is malformed"))?;
        private_dir(&dir)?;
        sync_dir(&self.root.join(UPLOADS))?;
        Ok(upload)
    }

    /// Removes temporary files and uploads untouched since that time; says how many.
    pub(super) fn sweep(&self, before: Timestamp, most: usize) -> io::Result<usize> {
        let before = UNIX_EPOCH + Duration::from_millis(before.0.max(0) as u64);
        let mut swept = 0;
        for dir in [TEMPORARY, UPLOADS] {
            for entry in std::fs::read_dir(self.root.join(dir))?.take(most) {
                let entry = entry?;
                // An upload that ended meanwhile is no error.
                let Some(metadata) = super::found(entry.metadata())? else {
                    continue;
                };
                if metadata.modified()? >= before {
                    continue;
                }
                let removed = if metadata.is_dir() {
                    std::fs::remove_dir_all(entry.path())
                } else {
                    std::fs::remove_file(entry.path())
                };
                swept += usize::from(super::found(removed)?.is_some());
            }
        }
        Ok(swept)
    }
}

/// Names what a file holds: a content is never written twice, so when and where it was written tells it from every other.
pub(super) fn etag(metadata: &Metadata) -> String {
    let written = metadata.mtime() as i128 * 1_000_000_000 + i128::from(metadata.mtime_nsec());
    format!("{written:x}-{:x}-{:x}", metadata.ino(), metadata.len())
}

/// Makes a directory, and those above it, for its owner alone.
pub(super) fn private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes a new file for its owner alone.
pub(super) fn create_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Makes the entries of a directory durable.
pub(super) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
