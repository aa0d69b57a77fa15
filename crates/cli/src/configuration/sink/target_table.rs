//! Names in databases.

use crate::configuration::report::Report;
use crate::configuration::section::Section;
use crate::configuration::sink::Given;

/// `table`, or the source table's name.
pub fn read(section: &mut Section<'_>, given: &Given<'_>, report: &mut Report<'_>) -> Option<String> {
    if section.is_absent("table") {
        section.text("table", report);
        return given.source_table.map(str::to_owned);
    }
    let table = section.text("table", report)?;
    let fine = !table.value.text.is_empty() && !table.value.text.contains('\0');
    if !fine {
        report.fault(&table.place, "config.bad_value", "a name is not empty and has no U+0000", None);
    }
    fine.then_some(table.value.text)
}
