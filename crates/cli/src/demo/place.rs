//! Where the demo keeps its file: a directory of its own that goes away with it, or one that the user named.

use std::path::{Path, PathBuf};

use tailwater_model::{Trouble, TroubleKind};
use tempfile::TempDir;

/// Name of the SQLite database.
const MIRROR_FILE: &str = "shop.sqlite";

/// The directory of the demo's file.
pub enum Place {
    /// Removed when this value goes.
    Passing(TempDir),
    /// The user's.
    Kept(PathBuf),
}

impl Place {
    /// Makes the directory. One that holds the mirror of an earlier demo is refused: its table lives no more, and a
    /// mirror belongs to one table.
    pub fn make(keep: Option<&Path>) -> Result<Self, Trouble> {
        let refused = |path: &Path, fault: std::io::Error| {
            let message = format!("cannot make the directory {}: {fault}", path.display());
            Trouble::new(TroubleKind::Environment, "demo.directory", message)
                .advise("name a directory that you may write to with --keep")
        };
        let Some(directory) = keep else {
            let made = tempfile::Builder::new().prefix("tailwater-demo-").tempdir();
            return made.map(Self::Passing).map_err(|fault| refused(&std::env::temp_dir(), fault));
        };
        std::fs::create_dir_all(directory).map_err(|fault| refused(directory, fault))?;
        let place = Self::Kept(directory.to_owned());
        if place.mirror().exists() {
            let message = format!("{} is there already, from an earlier demo", place.mirror().display());
            return Err(Trouble::new(TroubleKind::Config, "demo.kept", message)
                .advise("remove it, or name another directory with --keep"));
        }
        Ok(place)
    }

    /// The SQLite database.
    pub fn mirror(&self) -> PathBuf {
        match self {
            Self::Passing(directory) => directory.path().join(MIRROR_FILE),
            Self::Kept(directory) => directory.join(MIRROR_FILE),
        }
    }

    /// What becomes of the file, in words.
    pub fn fate(&self) -> String {
        match self {
            Self::Passing(_) => "removed with its directory; --keep DIR keeps it".into(),
            Self::Kept(_) => format!("kept in {}", self.mirror().display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passing_place_goes_and_a_kept_one_is_used_once() {
        let passing = Place::make(None).expect("a directory");
        let mirror = passing.mirror();
        std::fs::write(&mirror, "x").expect("may write");
        drop(passing);
        assert!(!mirror.exists());

        let directory = tempfile::tempdir().expect("a directory");
        let inside = directory.path().join("a/b");
        let kept = Place::make(Some(&inside)).expect("made");
        std::fs::write(kept.mirror(), "x").expect("may write");
        drop(kept);
        let again = Place::make(Some(&inside)).map(drop).expect_err("refused");
        assert_eq!((again.kind, again.code), (TroubleKind::Config, "demo.kept"));
    }
}
