//! `tailwater version`.

use serde_json::json;

use crate::arguments::VersionArguments;
use crate::output::{self, CommandFailure};

/// Prints the version.
pub fn run(arguments: &VersionArguments) -> Result<(), CommandFailure> {
    let version = env!("CARGO_PKG_VERSION");
    if arguments.json {
        output::answer_json("version", true, format!("tailwater {version}"), &json!({ "version": version }));
    } else {
        output::answer(&format!("tailwater {version}"));
    }
    Ok(())
}
