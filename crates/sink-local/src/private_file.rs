//! Files that hold items: nobody but this user may read those that we make. One that is there keeps the rights that it has.

use std::fs::OpenOptions;
use std::path::Path;

/// How such a file is opened. Where the system has no rights of this kind, it is made as every file.
pub(crate) fn private_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Makes a file that is missing, before a library makes it with other rights; why that fails is found by whoever opens it next.
/// One that is there is not opened: closing it would end the locks that SQLite has on it in this process
/// (<https://www.sqlite.org/howtocorrupt.html>, "Posix advisory locks canceled").
pub(crate) fn make_private(path: &Path) {
    let _made = private_options().write(true).create_new(true).open(path);
}
