//! Including or excluding attributes by path.

use tailwater_model::{Attributes, ChangeEvent, Rejected, Transform, Value};

use crate::path::{AttributePath, PathTree};
use crate::rewrite::{push_name, rewrite_images};

/// Leaves only some attributes in the images.
///
/// A path stands for the whole subtree below it. A path that leads through something that is not a map names nothing.
/// The key of the event stays whole whatever is selected.
#[derive(Clone, Debug)]
pub struct SelectAttributes {
    paths: PathTree<()>,
    listed: Listed,
}

#[derive(Clone, Copy, Debug)]
enum Listed {
    Stays,
    Goes,
}

impl SelectAttributes {
    /// Leaves the listed attributes and nothing else. A map in which no path names anything goes too.
    pub fn include(paths: impl IntoIterator<Item = AttributePath>) -> Self {
        Self { paths: tree(paths), listed: Listed::Stays }
    }

    /// Leaves everything but the listed attributes. A map that becomes empty stays, as an empty map.
    pub fn exclude(paths: impl IntoIterator<Item = AttributePath>) -> Self {
        Self { paths: tree(paths), listed: Listed::Goes }
    }
}

fn tree(paths: impl IntoIterator<Item = AttributePath>) -> PathTree<()> {
    PathTree::of(paths.into_iter().map(|path| (path, ())))
}

impl Transform for SelectAttributes {
    fn apply(&self, mut event: ChangeEvent, out: &mut Vec<ChangeEvent>) -> Result<(), Rejected> {
        rewrite_images(&mut event, |image| {
            let before = image.typed_json();
            let mut after = String::with_capacity(before.len());
            match self.listed {
                Listed::Stays => push_included(image.attributes(), &self.paths, &mut after),
                Listed::Goes => push_excluded(image.attributes(), &self.paths, &mut after),
            }
            // Selecting only ever takes away: equal length means that nothing was, and the slice of the page stays.
            Ok((after.len() != before.len()).then_some(after))
        })?;
        out.push(event);
        Ok(())
    }

    fn follow(&self, path: &mut [String]) -> bool {
        matches!((self.listed, self.paths.covers(path)), (Listed::Stays, true) | (Listed::Goes, false))
    }
}

fn push_included(attributes: Attributes<'_>, paths: &PathTree<()>, out: &mut String) {
    out.push('{');
    for attribute in attributes {
        let Some(path) = paths.inside.get(&*attribute.name.unescaped()) else { continue };
        let mark = out.len();
        push_name(attribute.name.escaped(), out);
        if path.here.is_some() {
            out.push_str(attribute.typed_json());
        } else if let Value::M(inside) = attribute.value() {
            out.push_str("{\"M\":");
            let start = out.len();
            push_included(inside, path, out);
            if out.len() == start + "{}".len() {
                out.truncate(mark);
            } else {
                out.push('}');
            }
        } else {
            out.truncate(mark);
        }
    }
    out.push('}');
}

fn push_excluded(attributes: Attributes<'_>, paths: &PathTree<()>, out: &mut String) {
    out.push('{');
    for attribute in attributes {
        let path = paths.inside.get(&*attribute.name.unescaped());
        if path.is_some_and(|path| path.here.is_some()) {
            continue;
        }
        push_name(attribute.name.escaped(), out);
        // Looking into a value is for the few that a path leads into.
        match path.map(|path| (path, attribute.value())) {
            Some((path, Value::M(inside))) => {
                out.push_str("{\"M\":");
                push_excluded(inside, path, out);
                out.push('}');
            }
            _ => out.push_str(attribute.typed_json()),
        }
    }
    out.push('}');
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use allocation_counter::measure;
    use proptest::prelude::*;
    use tailwater_model::{Change, Item, conceal_event};

    use super::*;
    use crate::RenameAttributes;
    use crate::rewrite::sample::{apply, event_of, image_after, item, items, names, path, paths};

    const ORDER: &str = r#"{"id":{"S":"7"},"who":{"M":{"name":{"S":"Ann"},"at":{"M":{"city":{"S":"Ulm"},"zip":{"N":"89073"}}}}},"x.y":{"L":[]},"caf\u00e9":{"N":"1"}}"#;

    #[test]
    fn include_leaves_what_is_listed() {
        for (listed, expected) in [
            (vec!["id"], r#"{"id":{"S":"7"}}"#),
            (vec!["who.at.city"], r#"{"who":{"M":{"at":{"M":{"city":{"S":"Ulm"}}}}}}"#),
            (vec!["who.at", "who.at.city"], r#"{"who":{"M":{"at":{"M":{"city":{"S":"Ulm"},"zip":{"N":"89073"}}}}}}"#),
            (vec!["\"x.y\"", "café"], r#"{"x.y":{"L":[]},"caf\u00e9":{"N":"1"}}"#),
            (vec!["x.y", "id.inside", "who.at.street", "nothing"], "{}"),
            (vec!["café", "id"], r#"{"id":{"S":"7"},"caf\u00e9":{"N":"1"}}"#),
        ] {
            let select = SelectAttributes::include(listed.iter().map(|text| path(text)));
            assert_eq!(
                image_after(&select, &item(ORDER)).map(|item| item.typed_json().to_owned()),
                Ok(expected.into())
            );
        }
    }

    #[test]
    fn exclude_takes_away_what_is_listed() {
        for (json, listed, expected) in [
            (ORDER, vec!["who", "\"x.y\"", "café"], r#"{"id":{"S":"7"}}"#),
            (r#"{"m":{"M":{"a":{"S":""}}}}"#, vec!["m.a"], r#"{"m":{"M":{}}}"#),
            (r#"{"m":{"M":{"a":{"S":""},"b":{"S":""}}}}"#, vec!["m.a", "m.a.b"], r#"{"m":{"M":{"b":{"S":""}}}}"#),
            (r#"{"m":{"L":[{"M":{"a":{"S":""}}}]}}"#, vec!["m.a"], r#"{"m":{"L":[{"M":{"a":{"S":""}}}]}}"#),
        ] {
            let select = SelectAttributes::exclude(listed.iter().map(|text| path(text)));
            assert_eq!(image_after(&select, &item(json)).map(|item| item.typed_json().to_owned()), Ok(expected.into()));
        }
    }

    /// All leaves with their paths; an empty map is a leaf.
    fn leaves(item: &Item) -> BTreeSet<(Vec<String>, String)> {
        fn walk(attributes: Attributes<'_>, at: &[String], out: &mut BTreeSet<(Vec<String>, String)>) {
            for attribute in attributes {
                let mut at = at.to_vec();
                at.push(attribute.name.unescaped().into_owned());
                match attribute.value() {
                    Value::M(inside) if attribute.typed_json() != r#"{"M":{}}"# => walk(inside, &at, out),
                    _ => drop(out.insert((at, attribute.typed_json().to_owned()))),
                }
            }
        }
        let mut out = BTreeSet::new();
        walk(item.attributes(), &[], &mut out);
        out
    }

    fn is_listed(leaf: &[String], paths: &[AttributePath]) -> bool {
        paths.iter().any(|path| leaf.starts_with(path.segments()))
    }

    #[test]
    fn the_deepest_item_that_is_accepted_loses_only_what_is_listed() {
        let nested = |wraps: usize| format!("{}{}{}", r#"{"M":{"m":"#.repeat(wraps), r#"{"S":""}"#, "}}".repeat(wraps));
        let deepest = (0..100).map(|wraps| format!(r#"{{"deep":{},"a":{{"S":""}},"last":{{"S":""}}}}"#, nested(wraps)));
        let deepest = deepest.filter_map(|json| Item::parse(json.into()).ok()).next_back().expect("some are accepted");
        let expected = deepest.typed_json().replace(r#","a":{"S":""}"#, "");
        let after = image_after(&SelectAttributes::exclude([path("a")]), &deepest).expect("excludes");
        assert_eq!(after.typed_json(), expected);
        let rename = RenameAttributes::new(BTreeMap::from([(path("deep.m.m"), "m".into())])).expect("a rename");
        assert_eq!(image_after(&rename, &deepest).expect("renames"), deepest);
    }

    #[test]
    fn what_is_left_of_an_image_holds_no_more_than_its_length() {
        let long = item(&format!(r#"{{"a":{{"S":"short"}},"b":{{"S":"{}"}}}}"#, "x".repeat(100_000)));
        for select in [SelectAttributes::include([path("a")]), SelectAttributes::exclude([path("b")])] {
            let mut left = None;
            let held = measure(|| left = Some(image_after(&select, &long))).bytes_current;
            assert_eq!(left.expect("measured").expect("selects").typed_json(), r#"{"a":{"S":"short"}}"#);
            assert!(held < 200, "{held} bytes");
        }
    }

    fn hides(name: &str) -> Box<dyn Transform> {
        Box::new(SelectAttributes::exclude([path(name)]))
    }

    #[test]
    fn a_record_refused_by_a_rename_hides_what_a_later_rule_hides() {
        let json =
            r#"{"id":{"S":"7"},"old":{"S":"secret 1"},"hash":{"S":"secret 2"},"m":{"M":{"x":{"S":"secret 3"}}}}"#;
        let rename = RenameAttributes::new(BTreeMap::from([
            (path("old"), "hash".into()),
            (path("m"), "n".into()),
            (path("m.x"), "y".into()),
        ]));
        let rename = rename.expect("renames");
        let mut event = event_of(Change::Insert { new: Some(item(json)) });
        assert!(apply(&rename, event.clone()).is_err(), "the names collide");
        conceal_event(&mut event, &[Box::new(rename), hides("hash"), hides("n.y")]);
        assert_eq!(event.change.new_image(), Some(&item(r#"{"id":{"S":"7"}}"#)));
    }

    proptest! {
        #[test]
        fn what_is_concealed_is_what_is_taken_away(
            item in items(),
            selected in paths(),
            renamed in paths(),
            new in prop::collection::vec(names(), 6),
            including in any::<bool>(),
        ) {
            let Ok(rename) = RenameAttributes::new(renamed.into_iter().zip(new).collect()) else { return Ok(()) };
            let select = if including { SelectAttributes::include(selected) } else { SelectAttributes::exclude(selected) };
            let Ok(carried) = image_after(&rename, &item) else { return Ok(()) };
            let carried = image_after(&select, &carried).expect("selects");
            let mut concealed = event_of(Change::Insert { new: Some(item.clone()) });
            conceal_event(&mut concealed, &[Box::new(rename.clone()), Box::new(select)]);
            let concealed = concealed.change.new_image().expect("an image");
            prop_assert!(leaves(concealed).is_subset(&leaves(&item)), "names stay as they came");
            let carried_over = image_after(&rename, concealed).expect("renames");
            // Maps of which nothing is left stay where they are excluded from, and go from a dead letter.
            let emptied: BTreeSet<_> = leaves(&carried).difference(&leaves(&carried_over)).cloned().collect();
            prop_assert!(emptied.iter().all(|(_, value)| value == r#"{"M":{}}"#), "{:?}", emptied);
            prop_assert!(leaves(&carried_over).is_subset(&leaves(&carried)));
        }

        #[test]
        fn selecting_sorts_every_leaf(item in items(), paths in paths()) {
            let included = image_after(&SelectAttributes::include(paths.clone()), &item).expect("includes");
            let excluded = image_after(&SelectAttributes::exclude(paths.clone()), &item).expect("excludes");
            let (inside, outside): (BTreeSet<_>, BTreeSet<_>) =
                leaves(&item).into_iter().partition(|(leaf, _)| is_listed(leaf, &paths));
            prop_assert_eq!(leaves(&included), inside);
            // A map that was emptied is a leaf only afterwards.
            let emptied: BTreeSet<_> = leaves(&excluded).difference(&outside).cloned().collect();
            let only_maps = emptied.iter().all(|(_, value)| value == r#"{"M":{}}"#);
            prop_assert!(only_maps);
            prop_assert_eq!(leaves(&excluded).difference(&emptied).cloned().collect::<BTreeSet<_>>(), outside);
        }

        #[test]
        fn selecting_twice_is_selecting_once(item in items(), paths in paths()) {
            for select in [SelectAttributes::include(paths.clone()), SelectAttributes::exclude(paths)] {
                let once = image_after(&select, &item).expect("selects");
                prop_assert_eq!(image_after(&select, &once), Ok(once));
            }
        }
    }
}
