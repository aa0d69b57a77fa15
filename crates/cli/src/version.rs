//! `tailwater version`.

use serde_json::json;

use crate::arguments::VersionArguments;
use crate::output::{self, CommandFailure};

/// Prints the version.
pub fn run(arguments: &VersionArguments) -> Result<(), CommandFailure> {
    let version = env!("CARGO_PKG_VERSION");
    let text = format!("tailwater {version}");
    let told = if arguments.json {
        output::answer_json("version", true, text, &json!({ "version": version }))
    } else {
        output::answer(&text)
    };
    told.map_err(CommandFailure::from)
}
