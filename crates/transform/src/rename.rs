//! Renaming attributes by path.

use std::collections::{BTreeMap, BTreeSet};

use tailwater_model::{Attributes, ChangeEvent, Rejected, Transform, Value};
use thiserror::Error;

use crate::path::{AttributePath, PathTree};
use crate::rewrite::{push_name, rewrite_images};

/// Gives attributes another name in the map where they are.
///
/// All renames happen at once: paths mean the names as they were, so two attributes can change places. When a new name
/// meets an attribute that has it already, the record is rejected with the code `transform.name_collision`: nothing is
/// overwritten.
#[derive(Clone, Debug)]
pub struct RenameAttributes {
    paths: PathTree<NewName>,
    renamed: BTreeSet<AttributePath>,
}

#[derive(Clone, Debug)]
struct NewName {
    name: String,
    /// The name as a JSON string body.
    escaped: String,
}

/// Renames that cannot stand together.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RenameFault {
    /// DynamoDB knows no empty attribute name.
    #[error("the new name is empty")]
    EmptyName,
    /// The path already gives two attributes of one map the same name.
    #[error("two attributes of the same map would get the same name")]
    SameName,
}

impl RenameAttributes {
    /// Takes for each path the new name of its last segment.
    pub fn new(renames: BTreeMap<AttributePath, String>) -> Result<Self, RenameFault> {
        let mut given = BTreeSet::new();
        for (path, name) in &renames {
            let parent = path.segments().split_last().map(|(_, parent)| parent);
            if name.is_empty() {
                return Err(RenameFault::EmptyName);
            }
            if !given.insert((parent, name)) {
                return Err(RenameFault::SameName);
            }
        }
        let renamed = renames.keys().cloned().collect();
        let paths = PathTree::of(renames.into_iter().map(|(path, name)| {
            let quoted = serde_json::Value::from(name.as_str()).to_string();
            let escaped = quoted.get(1..quoted.len() - 1).unwrap_or_default().to_owned();
            (path, NewName { name, escaped })
        }));
        Ok(Self { paths, renamed })
    }

    /// The paths that are renamed. Whoever knows the table's key checks that no key attribute is among them.
    pub fn renamed(&self) -> impl Iterator<Item = &AttributePath> {
        self.renamed.iter()
    }
}

impl Transform for RenameAttributes {
    fn apply(&self, mut event: ChangeEvent, out: &mut Vec<ChangeEvent>) -> Result<(), Rejected> {
        rewrite_images(&mut event, |image| {
            let mut after = String::with_capacity(image.typed_json().len());
            let changed = push_renamed(image.attributes(), &self.paths, &mut after)?;
            Ok(changed.then_some(after))
        })?;
        out.push(event);
        Ok(())
    }

    fn follow(&self, path: &mut [String]) -> bool {
        let mut paths = Some(&self.paths);
        for name in path {
            paths = paths.and_then(|paths| paths.inside.get(name));
            if let Some(new) = paths.and_then(|paths| paths.here.as_ref()) {
                name.clone_from(&new.name);
            }
        }
        true
    }
}

/// Answers whether any name was changed.
fn push_renamed(attributes: Attributes<'_>, paths: &PathTree<NewName>, out: &mut String) -> Result<bool, Rejected> {
    let mut changed_inside = false;
    let mut given = Vec::new();
    let mut standing = Vec::new();
    out.push('{');
    for attribute in attributes {
        let name = attribute.name.unescaped();
        let path = paths.inside.get(&*name);
        match path.and_then(|path| path.here.as_ref()) {
            Some(new) => {
                push_name(&new.escaped, out);
                given.push(new.name.as_str());
            }
            None => {
                push_name(attribute.name.escaped(), out);
                if paths.inside.values().any(|path| path.here.as_ref().is_some_and(|new| new.name == *name)) {
                    standing.push(name);
                }
            }
        }
        // Looking into a value is for the few that a path leads into.
        match path.filter(|path| !path.inside.is_empty()).map(|path| (path, attribute.value())) {
            Some((path, Value::M(inside))) => {
                out.push_str("{\"M\":");
                changed_inside |= push_renamed(inside, path, out)?;
                out.push('}');
            }
            _ => out.push_str(attribute.typed_json()),
        }
    }
    out.push('}');
    match given.iter().find(|new| standing.iter().any(|name| name == *new)) {
        Some(new) => Err(Rejected {
            code: "transform.name_collision",
            message: format!("a rename gives the name {new:?}, which another attribute of the same map has already"),
        }),
        None => Ok(changed_inside || !given.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rewrite::sample::{image_after, item, items, names, path, paths};

    fn rename(renames: &[(&str, &str)]) -> Result<RenameAttributes, RenameFault> {
        RenameAttributes::new(renames.iter().map(|(from, to)| (path(from), (*to).to_owned())).collect())
    }

    #[test]
    fn names_change_where_they_stand() {
        let json = r#"{"a":{"S":"1"},"m":{"M":{"a":{"S":"2"},"b":{"M":{"a":{"S":"3"}}}}},"caf\u00e9":{"N":"4"}}"#;
        for (renames, expected) in [
            (vec![("x", "y")], json),
            (
                vec![("a", "z")],
                r#"{"z":{"S":"1"},"m":{"M":{"a":{"S":"2"},"b":{"M":{"a":{"S":"3"}}}}},"caf\u00e9":{"N":"4"}}"#,
            ),
            (
                vec![("m", "n"), ("m.b.a", "a\"\n"), ("café", "tea")],
                r#"{"a":{"S":"1"},"n":{"M":{"a":{"S":"2"},"b":{"M":{"a\"\n":{"S":"3"}}}}},"tea":{"N":"4"}}"#,
            ),
            (
                vec![("m.a", "b"), ("m.b", "a")],
                r#"{"a":{"S":"1"},"m":{"M":{"b":{"S":"2"},"a":{"M":{"a":{"S":"3"}}}}},"caf\u00e9":{"N":"4"}}"#,
            ),
            (vec![("a", "a"), ("a.deeper", "z")], json),
        ] {
            let rename = rename(&renames).expect("renames");
            assert_eq!(image_after(&rename, &item(json)).map(|item| item.typed_json().to_owned()), Ok(expected.into()));
        }
    }

    #[test]
    fn a_name_that_is_taken_rejects_the_record() {
        for (json, renames) in [
            (r#"{"a":{"S":""},"b":{"S":""}}"#, ("a", "b")),
            (r#"{"a":{"S":""},"caf\u00e9":{"S":""}}"#, ("a", "café")),
            (r#"{"m":{"M":{"b":{"S":""},"a":{"S":""}}}}"#, ("m.a", "b")),
        ] {
            let rejected = image_after(&rename(&[renames]).expect("renames"), &item(json)).expect_err(json);
            assert_eq!(rejected.code, "transform.name_collision");
        }
        let free = r#"{"b":{"S":""},"m":{"M":{"a":{"S":""}}}}"#;
        let rename = rename(&[("a", "b"), ("m.a", "b")]).expect("renames");
        assert!(
            image_after(&rename, &item(free)).is_ok(),
            "only the same map counts, and only when the path names something"
        );
    }

    #[test]
    fn renames_that_cannot_stand_together_are_refused() {
        assert_eq!(rename(&[("a", "x"), ("b", "x")]).err(), Some(RenameFault::SameName));
        assert_eq!(rename(&[("m.a", "x"), ("m.b", "x")]).err(), Some(RenameFault::SameName));
        assert_eq!(rename(&[("a", "")]).err(), Some(RenameFault::EmptyName));
        assert!(rename(&[("a", "x"), ("m.a", "x")]).is_ok());
    }

    /// Every name on its way inwards, in order, with the value where it is not a map.
    fn renamed_by_hand(
        attributes: Attributes<'_>,
        at: &[String],
        renames: &BTreeMap<AttributePath, String>,
        out: &mut Vec<String>,
    ) {
        for attribute in attributes {
            let mut here = at.to_vec();
            here.push(attribute.name.unescaped().into_owned());
            let new = renames.iter().find(|(path, _)| path.segments() == here).map(|(_, name)| name);
            out.push(new.cloned().unwrap_or_else(|| attribute.name.unescaped().into_owned()));
            match attribute.value() {
                Value::M(inside) => {
                    renamed_by_hand(inside, &here, renames, out);
                    out.push("}".into());
                }
                _ => out.push(attribute.typed_json().to_owned()),
            }
        }
    }

    proptest! {
        #[test]
        fn only_the_listed_names_change(item in items(), paths in paths(), new in prop::collection::vec(names(), 6)) {
            let renames: BTreeMap<_, _> = paths.into_iter().zip(new).collect();
            let Ok(rename) = RenameAttributes::new(renames.clone()) else { return Ok(()) };
            let (mut expected, mut found) = (Vec::new(), Vec::new());
            match image_after(&rename, &item) {
                Ok(after) => {
                    renamed_by_hand(item.attributes(), &[], &renames, &mut expected);
                    renamed_by_hand(after.attributes(), &[], &BTreeMap::new(), &mut found);
                    prop_assert_eq!(found, expected);
                }
                Err(rejected) => prop_assert_eq!(rejected.code, "transform.name_collision"),
            }
        }
    }
}
