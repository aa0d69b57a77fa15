//! `[[transform]]`.

use std::collections::BTreeMap;

use tailwater_transform::{AttributePath, ChangeName, KeepChanges, RenameAttributes, SelectAttributes};
use toml::de::DeValue;

use crate::configuration::report::{Place, Report};
use crate::configuration::section::{Entry, Section, wrong_type};
use crate::configuration::spec::TransformSpec;

/// Most transforms of a pipeline.
const TRANSFORMS_MAX: usize = 100;

/// Reads the transforms in order.
pub fn read(entry: Option<Entry<'_>>, report: &mut Report<'_>) -> Vec<TransformSpec> {
    let Some(entry) = entry else { return Vec::new() };
    let DeValue::Array(values) = entry.value else {
        wrong_type(&entry, "an array of tables", Some("write [[transform]] with two brackets".into()), report);
        return Vec::new();
    };
    if values.len() > TRANSFORMS_MAX {
        report.fault(&entry.place, "config.bad_value", "more than 100 transforms", None);
    }
    let mut transforms = Vec::new();
    for (index, value) in values.iter().enumerate() {
        let place = Place { path: format!("transform[{index}]"), span: value.span() };
        match value.get_ref() {
            DeValue::Table(entries) => transforms.extend(read_one(Section::of(entries, place), report)),
            other => wrong_type(&Entry { value: other, place }, "a table", None, report),
        }
    }
    transforms
}

fn read_one(mut section: Section<'_>, report: &mut Report<'_>) -> Option<TransformSpec> {
    let verbs = ["keep", "include", "exclude", "rename"].map(|verb| section.entry(verb));
    let count = verbs.iter().flatten().count();
    if count != 1 {
        let message = if count == 0 { "a transform without a verb" } else { "a transform with several verbs" };
        let suggestion = "each [[transform]] has exactly one of `keep`, `include`, `exclude`, `rename`".to_owned();
        report.fault(section.place(), "config.conflict", message, Some(suggestion));
    }
    let [keep, include, exclude, rename] = &verbs;
    let specs = [
        keep.as_ref().and_then(|entry| read_keep(entry, report)),
        include.as_ref().map(|entry| TransformSpec::Select(SelectAttributes::include(read_paths(entry, report)))),
        exclude.as_ref().map(|entry| TransformSpec::Select(SelectAttributes::exclude(read_paths(entry, report)))),
        rename.as_ref().and_then(|entry| read_rename(entry, report)),
    ];
    section.finish(report);
    specs.into_iter().flatten().next()
}

fn read_keep(entry: &Entry<'_>, report: &mut Report<'_>) -> Option<TransformSpec> {
    let words = ChangeName::ALL.map(|name| (name.as_str(), name));
    let names: Vec<_> = entry.texts(report).iter().filter_map(|text| text.choice(&words, report)).collect();
    refuse_empty(entry, "would drop every change", report);
    Some(TransformSpec::Keep(KeepChanges::new(names)))
}

fn read_paths(entry: &Entry<'_>, report: &mut Report<'_>) -> Vec<AttributePath> {
    refuse_empty(entry, "names no attribute", report);
    let texts = entry.texts(report);
    texts.iter().filter_map(|text| parse_path(&text.value.text, &text.place, report)).collect()
}

fn refuse_empty(entry: &Entry<'_>, why: &str, report: &mut Report<'_>) {
    if matches!(entry.value, DeValue::Array(values) if values.is_empty()) {
        report.fault(&entry.place, "config.bad_value", format!("an empty list {why}"), None);
    }
}

fn parse_path(text: &str, place: &Place, report: &mut Report<'_>) -> Option<AttributePath> {
    AttributePath::parse(text)
        .map_err(|fault| {
            let suggestion =
                r#"names with dots between, for example 'customer.city', or '"a.b".c' for a name with a dot"#;
            let message = format!("not an attribute path: {fault}");
            report.fault(place, "config.bad_value", message, Some(suggestion.to_owned()));
        })
        .ok()
}

fn read_rename(entry: &Entry<'_>, report: &mut Report<'_>) -> Option<TransformSpec> {
    let DeValue::Table(renames) = entry.value else {
        wrong_type(entry, "a table of paths and new names", None, report);
        return None;
    };
    let mut new_names = BTreeMap::new();
    for (path, value) in renames {
        // The place names no path: what a path says is the user's data.
        let named =
            Entry { value: value.get_ref(), place: Place { path: entry.place.path.clone(), span: value.span() } };
        if matches!(named.value, DeValue::Table(_)) {
            let suggestion = "put the whole path in quotes: rename = { \"customer.city\" = \"town\" }".to_owned();
            wrong_type(&named, "a string", Some(suggestion), report);
            continue;
        }
        let place = Place { path: entry.place.path.clone(), span: path.span() };
        if let (Some(path), Some(name)) = (parse_path(path.get_ref(), &place, report), named.text(report)) {
            new_names.insert(path, name.value.text);
        }
    }
    match RenameAttributes::new(new_names) {
        Ok(rename) => Some(TransformSpec::Rename(rename)),
        Err(fault) => {
            report.fault(&entry.place, "config.bad_value", fault.to_string(), None);
            None
        }
    }
}
