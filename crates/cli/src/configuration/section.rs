//! Reading a table of the file key by key. Every read notes the key; what was never asked for is an unknown key.

use std::ops::Range;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use crate::configuration::interpolation::{Resolved, resolve};
use crate::configuration::report::{Place, Report};
use crate::configuration::scalars::{Bounds, parse_bytes, parse_duration, show_bytes, show_duration};
use crate::configuration::secret_file::warn_of_exposed;

/// Least similarity (Jaro-Winkler) at which a known word is suggested for an unknown one.
const SIMILARITY_MIN: f64 = 0.8;

/// Longest unknown key that is shown. What does not look like a key is not shown: it might be a secret gone astray.
const SHOWN_KEY_CHARACTERS_MAX: usize = 40;

/// A table of the file.
pub struct Section<'a> {
    entries: Option<&'a DeTable<'a>>,
    /// Its key stands in the file, with a table or with something else.
    written: bool,
    place: Place,
    known: Vec<&'static str>,
}

/// A string of the file with its place.
pub struct Text {
    /// The resolved value.
    pub value: Resolved,
    /// Where it stands.
    pub place: Place,
}

/// A value of any kind with its place.
pub struct Entry<'a> {
    /// The value.
    pub value: &'a DeValue<'a>,
    /// Where it stands.
    pub place: Place,
}

impl<'a> Section<'a> {
    /// The whole file.
    pub fn root(entries: &'a DeTable<'a>) -> Self {
        Self::of(entries, Place { path: String::new(), span: 0..0 })
    }

    /// A table at a place.
    pub fn of(entries: &'a DeTable<'a>, place: Place) -> Self {
        Self { entries: Some(entries), written: true, place, known: Vec::new() }
    }

    /// Where the table stands.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The place of a key that is not there: that of the table.
    pub fn absent(&self, key: &str) -> Place {
        Place { path: join(&self.place.path, key), span: self.place.span.clone() }
    }

    /// The place of a key's value, or of the table where the key is absent.
    pub fn place_of(&self, key: &str) -> Place {
        let span = self.entries.and_then(|entries| entries.get(key)).map(|value| value.span());
        Place { path: join(&self.place.path, key), span: span.unwrap_or_else(|| self.place.span.clone()) }
    }

    /// Whether the key does not stand in the table.
    pub fn is_absent(&self, key: &str) -> bool {
        self.entries.is_none_or(|entries| !entries.contains_key(key))
    }

    /// The value of a key, of any kind.
    pub fn entry(&mut self, key: &'static str) -> Option<Entry<'a>> {
        self.known.push(key);
        let value = self.entries?.get(key)?;
        Some(Entry { value: value.get_ref(), place: Place { path: join(&self.place.path, key), span: value.span() } })
    }

    /// A table inside this one. When it is absent, all its keys are.
    pub fn section(&mut self, key: &'static str, report: &mut Report<'_>) -> Section<'a> {
        let Some(entry) = self.entry(key) else {
            return Section { entries: None, written: false, place: self.absent(key), known: Vec::new() };
        };
        if let DeValue::Table(entries) = entry.value {
            return Section::of(entries, entry.place);
        }
        wrong_type(&entry, "a table", None, report);
        Section { entries: None, written: true, place: entry.place, known: Vec::new() }
    }

    /// Whether the table stands in the file.
    pub fn is_present(&self) -> bool {
        self.entries.is_some()
    }

    /// Whether its key stands in the file, even if with something that is not a table.
    pub fn is_written(&self) -> bool {
        self.written
    }

    /// A string.
    pub fn text(&mut self, key: &'static str, report: &mut Report<'_>) -> Option<Text> {
        let entry = self.entry(key)?;
        entry.text(report)
    }

    /// A string without which there is no pipeline.
    pub fn required_text(&mut self, key: &'static str, what: &str, report: &mut Report<'_>) -> Option<Text> {
        if self.is_absent(key) {
            let place = self.absent(key);
            report.fault(&place, "config.missing_key", format!("`{key}` is missing"), Some(what.to_owned()));
        }
        self.text(key, report)
    }

    /// One of several words, by its meaning.
    pub fn choice<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)], report: &mut Report<'_>) -> Option<T> {
        self.text(key, report).and_then(|text| text.choice(words, report))
    }

    /// A duration within bounds; the default when it is absent or faulty.
    pub fn duration(&mut self, key: &'static str, bounds: Bounds<Duration>, report: &mut Report<'_>) -> Duration {
        let Some(entry) = self.entry(key) else { return bounds.default };
        let text = match entry.value {
            DeValue::String(_) => entry.text(report),
            other => {
                let number = if let DeValue::Integer(number) = other { Some(number) } else { None };
                let suggestion =
                    number.map(|number| format!("write \"{number}ms\" for milliseconds or \"{number}s\" for seconds"));
                wrong_type(&entry, "a duration such as \"500ms\"", suggestion, report);
                None
            }
        };
        let Some(text) = text else { return bounds.default };
        within(parse_duration(&text.value.text), bounds, "a duration", show_duration, &text.place, report)
    }

    /// A size within bounds, in bytes; the default when it is absent or faulty.
    pub fn bytes(&mut self, key: &'static str, bounds: Bounds<usize>, report: &mut Report<'_>) -> usize {
        let Some(entry) = self.entry(key) else { return bounds.default };
        let text = match entry.value {
            DeValue::String(_) => entry.text(report),
            other => {
                let number = if let DeValue::Integer(number) = other { number.as_str().parse().ok() } else { None };
                let suggestion = number.map(|number| format!("write \"{}\"", show_bytes(number)));
                wrong_type(&entry, "a size such as \"16MiB\"", suggestion, report);
                None
            }
        };
        let Some(text) = text else { return bounds.default };
        within(parse_bytes(&text.value.text), bounds, "a size", show_bytes, &text.place, report)
    }

    /// A whole number within bounds; the default when it is absent or faulty.
    pub fn number(&mut self, key: &'static str, bounds: Bounds<u32>, report: &mut Report<'_>) -> u32 {
        let Some(entry) = self.entry(key) else { return bounds.default };
        let DeValue::Integer(number) = entry.value else {
            wrong_type(&entry, "an integer", None, report);
            return bounds.default;
        };
        let value = u32::from_str_radix(number.as_str(), number.radix()).ok();
        within(value, bounds, "a number", |number| number.to_string(), &entry.place, report)
    }

    /// A whole number within both bounds, without a default.
    pub fn optional_number(&mut self, key: &'static str, min: u32, max: u32, report: &mut Report<'_>) -> Option<u32> {
        let entry = self.entry(key)?;
        let DeValue::Integer(number) = entry.value else {
            wrong_type(&entry, "an integer", None, report);
            return None;
        };
        let value = u32::from_str_radix(number.as_str(), number.radix()).ok();
        let value = value.filter(|value| (min..=max).contains(value));
        if value.is_none() {
            let message = format!("expected a number from {min} to {max}");
            report.fault(&entry.place, "config.bad_value", message, None);
        }
        value
    }

    /// Reports every key that nobody asked for.
    pub fn finish(self, report: &mut Report<'_>) {
        for key in self.entries.into_iter().flat_map(|entries| entries.keys()) {
            if !self.known.contains(&&**key.get_ref()) {
                self.unknown_key(key.get_ref(), key.span(), report);
            }
        }
    }

    fn unknown_key(&self, key: &str, span: Range<usize>, report: &mut Report<'_>) {
        let place = Place { path: join(&self.place.path, shown(key)), span };
        let table = if self.place.path.is_empty() { "the file".into() } else { format!("[{}]", self.place.path) };
        let suggestion = match known_slip(&self.place.path, key) {
            Some(advice) => advice.to_owned(),
            None => match closest(key, self.known.iter().copied()) {
                Some(known) => format!("did you mean `{known}`?"),
                None if self.known.is_empty() => "it has no keys".into(),
                None => format!("keys: {}", self.known.join(", ")),
            },
        };
        report.fault(&place, "config.unknown_key", format!("not a key of {table}"), Some(suggestion));
    }
}

impl<'a> Entry<'a> {
    /// The entry as a string.
    pub fn text(&self, report: &mut Report<'_>) -> Option<Text> {
        let DeValue::String(raw) = self.value else {
            wrong_type(self, "a string", None, report);
            return None;
        };
        match resolve(raw, report.surroundings) {
            Ok(value) => {
                value.files.iter().for_each(|file| warn_of_exposed(file, &self.place, report));
                if value.is_stood_in {
                    report.stands_in(&self.place);
                }
                Some(Text { value, place: self.place.clone() })
            }
            Err(fault) => {
                report.fault(&self.place, "config.unresolved", fault.message, Some(fault.suggestion));
                None
            }
        }
    }

    /// The entry as an array of strings.
    pub fn texts(&self, report: &mut Report<'_>) -> Vec<Text> {
        let DeValue::Array(values) = self.value else {
            wrong_type(self, "an array of strings", None, report);
            return Vec::new();
        };
        let place = |index: usize, span| Place { path: format!("{}[{index}]", self.place.path), span };
        let entries = values
            .iter()
            .enumerate()
            .map(|(index, value)| Entry { value: value.get_ref(), place: place(index, value.span()) });
        entries.filter_map(|entry| entry.text(report)).collect()
    }
}

impl Text {
    /// The meaning of the word, or a fault that names the words that exist.
    pub fn choice<T: Copy>(&self, words: &[(&str, T)], report: &mut Report<'_>) -> Option<T> {
        let found = words.iter().find(|(word, _)| *word == self.value.text);
        if found.is_none() {
            let list: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            let suggestion = closest(&self.value.text, words.iter().map(|(word, _)| *word));
            let suggestion = suggestion.map(|word| format!("did you mean \"{word}\"?"));
            report.fault(&self.place, "config.bad_value", format!("expected one of {}", list.join(", ")), suggestion);
        }
        found.map(|(_, meaning)| *meaning)
    }
}

/// Reports a value of another type than is wanted. Names the type that was found, never the value.
pub fn wrong_type(entry: &Entry<'_>, wanted: &str, suggestion: Option<String>, report: &mut Report<'_>) {
    let found = match entry.value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    };
    report.fault(&entry.place, "config.wrong_type", format!("expected {wanted}, found {found}"), suggestion);
}

fn within<T: Copy + PartialOrd>(
    value: Option<T>,
    bounds: Bounds<T>,
    what: &str,
    show: impl Fn(T) -> String,
    place: &Place,
    report: &mut Report<'_>,
) -> T {
    match value {
        Some(value) if bounds.min <= value && value <= bounds.max => value,
        _ => {
            let message = match (show(bounds.min), show(bounds.max)) {
                (min, max) if min == max => format!("can only be {min} here"),
                (min, max) => format!("expected {what} from {min} to {max}"),
            };
            report.fault(place, "config.bad_value", message, Some(format!("the default is {}", show(bounds.default))));
            bounds.default
        }
    }
}

/// What to do about a key that people expect and that is not there on purpose.
fn known_slip(table: &str, key: &str) -> Option<&'static str> {
    let has = |words: &[&str]| words.iter().any(|word| key.contains(word));
    if table == "sink.kafka.tls" && has(&["verif", "insecure", "skip", "mode", "hostname"]) {
        return Some(
            "the broker's certificate and name are always verified; give `ca_file` for an authority of your own",
        );
    }
    // Kafka has secrets of its own, for OAuth among others.
    (has(&["access_key", "session_token"]) || has(&["secret"]) && !table.starts_with("sink.kafka"))
        .then_some("AWS credentials come from the default chain (environment, profile, role), never from this file")
}

/// A key as it may be shown.
fn shown(key: &str) -> &str {
    let looks_like_a_key = key.len() <= SHOWN_KEY_CHARACTERS_MAX
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if looks_like_a_key { key } else { "?" }
}

/// The known word that is most like one that is not known, if any is.
pub fn closest<'w>(word: &str, known: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    known
        .map(|candidate| (similarity(word, candidate), candidate))
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, candidate)| candidate)
}

/// Capital and small letters count as the same.
fn similarity(left: &str, right: &str) -> f64 {
    strsim::jaro_winkler(&left.to_ascii_lowercase(), &right.to_ascii_lowercase())
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
