//! Holds the mirror against the source table, item by item.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};

use crate::plain::Plain;
use crate::postgres::MirrorRow;
use crate::table::{Item, PARTITION_KEY, SORT_KEY};

/// Differences that a message lists; more of them say nothing new.
const LISTED_MAX: usize = 5;

/// An error that lists the differences, unless the rows that are not marked deleted are exactly the items: the same keys
/// in the key columns, the same whole item in `document`.
pub fn check(items: &[Item], rows: &[MirrorRow]) -> Result<()> {
    let documents = rows.iter().filter(|row| !row.deleted).map(|row| {
        let document = row.document.clone().with_context(|| format!("{:?} has no document", row.key))?;
        for (column, name) in row.key.iter().zip([PARTITION_KEY, SORT_KEY]) {
            let inside = document.get(name);
            ensure!(inside == Some(column), "column {name} is {column:?}, the document has {inside:?}");
        }
        Ok(document)
    });
    check_documents(items, documents.collect::<Result<_>>()?)
}

/// The same for documents alone, whatever they are stored in.
pub fn check_documents(items: &[Item], documents: Vec<Plain>) -> Result<()> {
    let mut differences = Vec::new();
    let mut actual = BTreeMap::new();
    for document in documents {
        let key = key_of(&document)?;
        ensure!(actual.insert(key.clone(), document).is_none(), "two rows have the key {key:?}");
    }
    for item in items {
        let expected = Plain::of_item(item)?;
        let key = key_of(&expected)?;
        match actual.remove(&key) {
            None => differences.push(format!("{key:?} is missing")),
            Some(document) if document != expected => {
                differences.push(format!("{key:?} is\n    {document:?} and should be\n    {expected:?}"));
            }
            Some(_) => {}
        }
    }
    differences.extend(actual.keys().map(|key| format!("{key:?} is not in the source")));
    if differences.is_empty() {
        return Ok(());
    }
    let (count, items) = (differences.len(), items.len());
    differences.truncate(LISTED_MAX);
    bail!("{count} differences from the {items} items of the source:\n  {}", differences.join("\n  "))
}

fn key_of(document: &Plain) -> Result<[Plain; 2]> {
    let attribute =
        |name: &str| document.get(name).cloned().with_context(|| format!("no key attribute {name} in {document:?}"));
    Ok([attribute(PARTITION_KEY)?, attribute(SORT_KEY)?])
}
