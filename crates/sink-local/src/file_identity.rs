//! Which file a path leads to. A file that was moved or deleted under us still takes our writes, and nobody would ever
//! see them: so the path is looked at again after each commit (I8).

use std::fs::Metadata;
use std::io;
use std::path::Path;

/// Device and inode of a file. Where the system has none, all that exists is equal and only absence is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileIdentity(u64, u64);

impl FileIdentity {
    pub(crate) fn of_path(path: &Path) -> io::Result<Self> {
        std::fs::metadata(path).map(|metadata| Self::of(&metadata))
    }

    #[cfg(unix)]
    pub(crate) fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self(metadata.dev(), metadata.ino())
    }

    #[cfg(not(unix))]
    pub(crate) fn of(_metadata: &Metadata) -> Self {
        Self(0, 0)
    }
}

/// Makes the names in a file's directory durable: a file whose directory entry was lost in a power failure is lost.
pub(crate) fn sync_parent_directory(path: &Path) -> io::Result<()> {
    // Elsewhere directories cannot be opened as files.
    if cfg!(unix) {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::File::open(parent)?.sync_all()?;
    }
    Ok(())
}
