//! Names in databases.

use crate::configuration::report::Report;
use crate::configuration::section::{Section, Text};
use crate::configuration::sink::Given;

/// Longest identifier that PostgreSQL keeps whole, in bytes (`NAMEDATALEN` - 1).
const IDENTIFIER_BYTES_MAX: usize = 63;

/// `table`, or the source table's name.
pub fn read(section: &mut Section<'_>, given: &Given<'_>, report: &mut Report<'_>) -> Option<String> {
    if let Some(table) = section.text("table", report) {
        return check_identifier(&table, report).then_some(table.value.text);
    }
    let table = given.source_table?;
    if table.len() > IDENTIFIER_BYTES_MAX {
        let message = "the name of the source table is too long for the target: 63 bytes at most";
        report.fault(&section.absent("table"), "config.missing_key", message, Some("give a shorter `table`".into()));
        return None;
    }
    Some(table.to_owned())
}

/// Whether a database can have something of this name.
pub fn check_identifier(name: &Text, report: &mut Report<'_>) -> bool {
    let text = &name.value.text;
    let fine = (1..=IDENTIFIER_BYTES_MAX).contains(&text.len()) && !text.contains('\0');
    if !fine {
        report.fault(&name.place, "config.bad_value", "a name has 1 to 63 bytes and no U+0000", None);
    }
    fine
}
