//! The data file itself: opened, locked, checked against the recorded length, cut and appended to. Blocking.

use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use tailwater_model::{Failure, TargetState, Trouble, TroubleKind};

use super::recorded::Recorded;
use crate::database::may_be_made;
use crate::file_identity::{FileIdentity, sync_parent_directory};
use crate::private_file::private_options;

/// Names of what a process has open. They may lead to a file, beside which no progress can be kept.
const DESCRIPTORS: [&str; 5] = ["/dev/fd", "/dev/stderr", "/dev/stdin", "/dev/stdout", "/proc"];

/// A data file beside what is recorded of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct DataLook {
    pub(super) state: TargetState,
    pub(super) length: u64,
    /// It is shorter than what was durable, or no line ends there.
    pub(super) has_lost: bool,
    /// It is longer than any commit could have made it.
    pub(super) is_ahead: bool,
    /// Its last line does not end.
    pub(super) is_torn: bool,
}

/// A file of lines. A lock is held as long as the file is open.
pub(super) struct DataFile {
    path: PathBuf,
    file: Option<File>,
}

impl DataFile {
    pub(super) fn unopened(path: &Path) -> Self {
        Self { path: path.to_owned(), file: None }
    }

    /// Opens the file, and makes it where it is missing, if it may. Answers whether it is there.
    pub(super) fn open(&mut self, may_make: bool) -> Result<bool, Trouble> {
        self.check_kind()?;
        let mut options = private_options();
        options.read(true).write(true).create(may_make).truncate(false);
        match options.open(&self.path) {
            Ok(file) => self.file = Some(file),
            Err(error) if error.kind() == ErrorKind::NotFound && may_be_made(&self.path) => return Ok(false),
            Err(error) => return Err(self.io_trouble("opening", &error)),
        }
        Ok(true)
    }

    /// What is no file cannot be cut back to the last commit: a pipe, a device, a folder.
    fn check_kind(&self) -> Result<(), Trouble> {
        let is_other = std::fs::metadata(&self.path).is_ok_and(|found| !found.is_file());
        if !is_other && !DESCRIPTORS.iter().any(|name| self.path.starts_with(name)) {
            return Ok(());
        }
        let message =
            format!("{} is no ordinary file: what a commit wrote must be read and cut again", self.path.display());
        Err(Trouble::new(TroubleKind::Config, "sink.file.no_file", message)
            .advise("name an ordinary file; into a pipe or the standard output goes what `[sink.stdout]` writes"))
    }

    /// Locks the open file. False when another process has it.
    pub(super) fn try_lock(&mut self) -> Result<bool, Trouble> {
        match self.opened()?.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(self.io_trouble("locking", &error)),
        }
    }

    pub(super) fn locked_trouble(&self) -> Trouble {
        let message = format!("another process has locked {} and does not let it go", self.path.display());
        Trouble::new(TroubleKind::Environment, "sink.file.locked", message)
            .advise("end that process: it stands still, or is no Tailwater; or give this pipeline a file of its own")
    }

    /// Holds the file, as far as it is there, to what is recorded of it. It had this length before that was read.
    pub(super) fn look(&mut self, recorded: Option<Recorded>, length_before: u64) -> Result<DataLook, Trouble> {
        if self.file.is_none() {
            let state = TargetState::Missing;
            return Ok(DataLook { state, length: 0, has_lost: false, is_ahead: false, is_torn: false });
        }
        let length = self.length()?;
        let ends_line =
            |at: u64| -> Result<bool, Trouble> { Ok(at == 0 || (at <= length && self.byte_at(at - 1)? == b'\n')) };
        let durable = recorded.map_or(0, |recorded| recorded.length);
        Ok(DataLook {
            state: if length > 0 { TargetState::Filled } else { TargetState::Empty },
            length,
            has_lost: !ends_line(durable)?,
            is_ahead: recorded.is_some_and(|recorded| length.min(length_before) > recorded.length_max),
            is_torn: !ends_line(length)?,
        })
    }

    /// Cuts off what a commit has left behind the recorded length, and makes that durable.
    pub(super) fn cut(&mut self, Recorded { length: recorded, length_max }: Recorded) -> Result<(), Failure> {
        self.check_identity()?;
        let length = self.check_length(recorded).map_err(Failure::Halt)?;
        if length > length_max {
            let what = format!("has {length} bytes, and no commit wrote more than {length_max}: somebody else writes");
            return Err(Failure::Halt(self.at_risk(&what)));
        }
        if length > recorded {
            let (path, bytes) = (self.path.display(), length - recorded);
            tracing::info!(%path, bytes, "cutting off lines of a commit that did not become durable");
            let file = self.opened().map_err(Failure::Halt)?;
            file.set_len(recorded)
                .and_then(|()| file.sync_all())
                .map_err(|error| self.io_failure("cutting", &error))?;
        }
        Ok(())
    }

    /// Writes the lines at the end and makes them durable. `sync_data` includes the length: without it the data could
    /// not be read back (POSIX, `fdatasync`). A file that others cut is not filled up with zeros, and what others wrote stays.
    pub(super) fn append(&mut self, at: u64, lines: &str) -> Result<(), Failure> {
        self.check_identity()?;
        let length = self.check_length(at).map_err(Failure::Halt)?;
        if length > at {
            let what = format!("has {length} bytes, and {at} were written to it: somebody else writes");
            return Err(Failure::Halt(self.at_risk(&what)));
        }
        let mut file = self.opened().map_err(Failure::Halt)?;
        file.seek(SeekFrom::Start(at))
            .and_then(|_| file.write_all(lines.as_bytes()))
            .and_then(|()| file.sync_data())
            .map_err(|error| self.io_failure("writing to", &error))
    }

    pub(super) fn sync_directory(&mut self) -> Result<(), Trouble> {
        sync_parent_directory(&self.path).map_err(|error| self.io_trouble("syncing the directory of", &error))
    }

    fn opened(&self) -> Result<&File, Trouble> {
        self.file.as_ref().ok_or_else(|| self.io_trouble("using", &ErrorKind::NotConnected.into()))
    }

    pub(super) fn length(&self) -> Result<u64, Trouble> {
        self.opened()?.metadata().map(|metadata| metadata.len()).map_err(|error| self.io_trouble("measuring", &error))
    }

    /// Answers the length. I8: a file that lost lines is never filled up in silence.
    fn check_length(&self, recorded: u64) -> Result<u64, Trouble> {
        let length = self.length()?;
        if length < recorded {
            return Err(self.at_risk(&format!("has {length} bytes, but {recorded} bytes were durable")));
        }
        if recorded > 0 && self.byte_at(recorded - 1)? != b'\n' {
            return Err(
                self.at_risk(&format!("was changed: no line ends at byte {recorded}, where the last commit ended"))
            );
        }
        Ok(length)
    }

    fn byte_at(&self, at: u64) -> Result<u8, Trouble> {
        let mut byte = [0];
        let mut file = self.opened()?;
        file.seek(SeekFrom::Start(at))
            .and_then(|_| file.read_exact(&mut byte))
            .map_err(|error| self.io_trouble("reading", &error))?;
        Ok(byte[0])
    }

    /// I8: lines written to a file that was moved or deleted would not be found where the user looks for them.
    fn check_identity(&self) -> Result<(), Failure> {
        let metadata = self.opened().map_err(Failure::Halt)?.metadata();
        let ours = metadata.map_err(|error| self.io_failure("looking at", &error))?;
        if FileIdentity::of_path(&self.path).ok() == Some(FileIdentity::of(&ours)) {
            return Ok(());
        }
        Err(Failure::Halt(self.at_risk("was moved, deleted or replaced while the pipeline ran")))
    }

    fn at_risk(&self, what: &str) -> Trouble {
        let message = format!("the data file {} {what}", self.path.display());
        Trouble::new(TroubleKind::DataAtRisk, "sink.file.data_missing", message)
            .advise("put the file back as it was; another start says how to go on, with it or without it")
    }

    /// Somebody makes room on a full disk, perhaps hours later. What else the system refuses needs a person.
    fn io_failure(&self, doing: &str, error: &io::Error) -> Failure {
        let trouble = self.io_trouble(doing, error);
        match error.kind() {
            ErrorKind::QuotaExceeded | ErrorKind::StorageFull | ErrorKind::TimedOut => Failure::Reopen(trouble),
            _ => Failure::Halt(trouble),
        }
    }

    fn io_trouble(&self, doing: &str, error: &io::Error) -> Trouble {
        let message = format!("{doing} the data file {} failed: {error}", self.path.display());
        let trouble = Trouble::new(TroubleKind::Environment, "sink.file.io", message);
        trouble.advise("see that the directory exists, that this user may write there, and that the disk has room")
    }
}
