//! `${env:…}` and `${file:…}` inside string values: one pass after the TOML is parsed, no shell, no recursion.
//!
//! What comes out is never shown. Messages name variables and files, which are in the pipeline file by intent, and
//! never what they hold.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Longest content of a `${file:…}`: a secret or a URL, not a document.
pub const RESOLVED_FILE_BYTES_MAX: u64 = 64 * 1024;

/// Stands for resolved text where only the shape of the literal text is looked at. Fits into any part of a URL.
pub const PLACEHOLDER: &str = "interpolated0placeholder";

/// A string value after interpolation.
#[derive(Clone, Default)]
pub struct Resolved {
    /// The value to use. May be a secret: never print it.
    pub text: String,
    /// The value as it stands in the file: with the default of each reference, or [`PLACEHOLDER`] where it has none.
    pub shape: String,
    /// Which bytes of the value came by a reference, in order.
    pub references: Vec<Range<usize>>,
    /// The references as they may be shown, in order: `${env:NAME}`.
    pub names: Vec<String>,
    /// The files that some of it was read from.
    pub files: Vec<PathBuf>,
    /// [`PLACEHOLDER`] stands in it for what is not there.
    pub is_stood_in: bool,
}

/// Why a value cannot be resolved.
#[derive(Debug, PartialEq, Eq)]
pub struct Unresolved {
    /// What is wrong, without the value.
    pub message: String,
    /// What to do.
    pub suggestion: String,
    /// The reference is right, and what it names is not there.
    is_absent: bool,
}

/// What values are resolved against.
pub struct Surroundings<'a> {
    /// Looks an environment variable up.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// The folder of the pipeline file: relative paths begin there.
    pub folder: &'a Path,
    /// What becomes of a reference to what is not there.
    pub absent: Absent,
}

/// What becomes of a reference to a variable that is not set, or to a file that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// The value cannot be resolved.
    IsAFault,
    /// [`PLACEHOLDER`] is taken.
    IsStoodInFor,
}

/// Resolves every reference in `raw`. `$$` is a dollar sign; a `$` before anything else stays as it is.
pub fn resolve(raw: &str, surroundings: &Surroundings<'_>) -> Result<Resolved, Unresolved> {
    let mut resolved = Resolved::default();
    let mut rest = raw;
    while let Some(at) = rest.find('$') {
        resolved.push_literal(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            resolved.push_literal("$");
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let Some(end) = after.find('}') else {
                return Err(unresolved("a reference that opens with ${ is never closed", "write $$ for a dollar sign"));
            };
            let begin = resolved.text.len();
            let found = match look_up(&after[..end], surroundings, &mut resolved.files) {
                Err(fault) if fault.is_absent && surroundings.absent == Absent::IsStoodInFor => {
                    resolved.is_stood_in = true;
                    PLACEHOLDER.to_owned()
                }
                found => found?,
            };
            resolved.text.push_str(&found);
            resolved.references.push(begin..resolved.text.len());
            resolved.names.push(name_of(&after[..end]));
            resolved.shape.push_str(default_of(&after[..end]).unwrap_or(PLACEHOLDER));
            rest = &after[end + 1..];
        } else {
            resolved.push_literal("$");
        }
    }
    resolved.push_literal(rest);
    Ok(resolved)
}

impl Resolved {
    /// Whether any of the value stands in the file itself.
    pub fn has_literal(&self) -> bool {
        !self.shape.replace(PLACEHOLDER, "").is_empty()
    }

    /// The value with the name of each reference, as it is written there, in place of what it gave.
    pub fn named(&self, write: impl Fn(&str) -> String) -> String {
        let mut out = String::new();
        let mut done = 0;
        for (reference, name) in self.references.iter().zip(&self.names) {
            out.push_str(&self.text[done..reference.start]);
            out.push_str(&write(name));
            done = reference.end;
        }
        out.push_str(&self.text[done..]);
        out
    }

    fn push_literal(&mut self, text: &str) {
        self.text.push_str(text);
        self.shape.push_str(text);
    }
}

fn unresolved(message: impl Into<String>, suggestion: impl Into<String>) -> Unresolved {
    Unresolved { message: message.into(), suggestion: suggestion.into(), is_absent: false }
}

/// What names a variable or a file, without what else is said of it.
fn name_of(reference: &str) -> String {
    let name: Vec<&str> = reference.split(':').take(2).collect();
    format!("${{{}}}", name.join(":"))
}

/// What the file gives in place of a variable.
fn default_of(reference: &str) -> Option<&str> {
    let (_, default) = reference.strip_prefix("env:")?.split_once(":-")?;
    Some(default).filter(|default| !default.is_empty())
}

fn look_up(reference: &str, surroundings: &Surroundings<'_>, files: &mut Vec<PathBuf>) -> Result<String, Unresolved> {
    match reference.split_once(':') {
        Some(("env", rest)) => variable(rest, surroundings),
        Some(("file", path)) => {
            files.push(surroundings.folder.join(path));
            file(path, surroundings.folder)
        }
        _ => Err(unresolved(
            "a reference in ${…} has an unknown scheme",
            "write ${env:NAME}, ${env:NAME:-default}, ${env:NAME:?message} or ${file:/path}, and $$ for a dollar sign",
        )),
    }
}

fn variable(rest: &str, surroundings: &Surroundings<'_>) -> Result<String, Unresolved> {
    let (name, otherwise) = rest.split_once(':').map_or((rest, None), |(name, otherwise)| (name, Some(otherwise)));
    let mut characters = name.bytes();
    let named = characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_');
    if !named || !characters.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err(unresolved("the name in ${env:…} is not that of an environment variable", "write ${env:NAME}"));
    }
    let value = (surroundings.variable)(name);
    let state = if value.is_some() { "is empty" } else { "is not set" };
    // As in a shell, a variable that is empty counts as missing where something else is given for that case.
    let filled = value.clone().filter(|value| !value.is_empty());
    match otherwise.map(|otherwise| (otherwise.strip_prefix('-'), otherwise.strip_prefix('?'))) {
        None => value.map_or_else(
            || {
                absent(
                    format!("the environment variable {name} {state}"),
                    format!("set {name}, or give a default with ${{env:{name}:-default}}"),
                )
            },
            Ok,
        ),
        Some((Some(default), _)) => Ok(filled.unwrap_or_else(|| default.to_owned())),
        Some((_, Some(message))) => filled.map_or_else(
            || absent(format!("the environment variable {name} {state}: {message}"), format!("set {name}")),
            Ok,
        ),
        Some((None, None)) => Err(unresolved(
            "what follows the name in ${env:…} is not understood",
            "write ${env:NAME:-default} or ${env:NAME:?message}",
        )),
    }
}

fn absent(message: String, suggestion: String) -> Result<String, Unresolved> {
    Err(Unresolved { is_absent: true, ..unresolved(message, suggestion) })
}

fn file(path: &str, folder: &Path) -> Result<String, Unresolved> {
    if path.is_empty() {
        return Err(unresolved("${file:…} names no file", "write ${file:/path}"));
    }
    let failed =
        |why: &str| unresolved(format!("the file {path} cannot be read: {why}"), "check the path and its rights");
    let mut content = String::new();
    let read = File::open(folder.join(path))
        .and_then(|file| file.take(RESOLVED_FILE_BYTES_MAX + 1).read_to_string(&mut content));
    if let Err(fault) = read {
        return Err(Unresolved { is_absent: true, ..failed(&fault.kind().to_string()) });
    }
    if content.len() as u64 > RESOLVED_FILE_BYTES_MAX {
        return Err(failed("it is longer than 64 KiB"));
    }
    // Editors and `echo` end a file with a line break that nobody means.
    let text = content.strip_suffix('\n').map_or(content.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve_here(raw: &str) -> Result<Resolved, Unresolved> {
        resolve_or(raw, Absent::IsAFault)
    }

    fn resolve_or(raw: &str, absent: Absent) -> Result<Resolved, Unresolved> {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("secret"), "from ${env:A} file\r\n").expect("writes");
        let variable = |name: &str| match name {
            "A" => Some("${env:B}$$".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        resolve(raw, &Surroundings { variable: &variable, folder: folder.path(), absent })
    }

    #[test]
    fn references_are_resolved_once() {
        for (raw, text) in [
            ("plain", "plain"),
            ("a${env:A}b", "a${env:B}$$b"),
            ("$${env:A} $ $1 $$$$", "${env:A} $ $1 $$"),
            ("${env:MISSING:-x:y}${env:EMPTY:-z}", "x:yz"),
            ("${env:EMPTY}${env:MISSING:-}", ""),
            ("${file:secret}", "from ${env:A} file"),
        ] {
            let resolved = resolve_here(raw).unwrap_or_else(|fault| panic!("{raw}: {fault:?}"));
            assert_eq!(resolved.text, text, "{raw}");
        }
    }

    #[test]
    fn the_shape_shows_only_what_stands_in_the_file() {
        let resolved = resolve_here("a$$${env:A}b").expect("resolves");
        assert_eq!(resolved.shape, format!("a${PLACEHOLDER}b"));
        // A default stands there, whether it is taken or not.
        for (raw, shape) in [("a${env:A:-x:-y}", "ax:-y"), ("${env:MISSING:-x}b", "xb"), ("${env:A:-}", PLACEHOLDER)] {
            assert_eq!(resolve_here(raw).expect("resolves").shape, shape, "{raw}");
        }
    }

    #[test]
    fn what_a_reference_gave_is_named_and_not_shown() {
        let resolved = resolve_here("a${env:A}b${env:MISSING:-hunter2}${file:secret}").expect("resolves");
        assert_eq!(resolved.named(|name| format!("<{name}>")), "a<${env:A}>b<${env:MISSING}><${file:secret}>");
    }

    #[test]
    fn what_is_not_there_may_be_stood_in_for_and_a_wrong_reference_not() {
        for (raw, text) in [
            ("a${env:MISSING}b", format!("a{PLACEHOLDER}b")),
            ("${env:EMPTY:?fill it}", PLACEHOLDER.to_owned()),
            ("${file:nowhere}", PLACEHOLDER.to_owned()),
        ] {
            let resolved = resolve_or(raw, Absent::IsStoodInFor).unwrap_or_else(|fault| panic!("{raw}: {fault:?}"));
            assert_eq!((resolved.text, resolved.is_stood_in), (text, true), "{raw}");
        }
        let there = resolve_or("${env:A}${env:MISSING:-x}", Absent::IsStoodInFor).expect("resolves");
        assert!(!there.is_stood_in);
        assert!(resolve_or("${env:A:+x}", Absent::IsStoodInFor).is_err());
    }

    #[test]
    fn faults_name_the_variable_or_the_file_and_no_value() {
        for (raw, words) in [
            ("${env:MISSING}", "MISSING is not set"),
            ("${env:MISSING:?the URL of the shop}", "MISSING is not set: the URL of the shop"),
            ("${env:EMPTY:?fill it}", "EMPTY is empty: fill it"),
            ("${env:A:+x}", "not understood"),
            ("${env:not a name}", "not that of an environment variable"),
            ("${hunter2}", "unknown scheme"),
            ("${aws-sm:hunter2}", "unknown scheme"),
            ("hunter2${env:A", "never closed"),
            ("${file:}", "names no file"),
            ("${file:nowhere}", "the file nowhere cannot be read"),
        ] {
            let fault = resolve_here(raw).err().unwrap_or_else(|| panic!("{raw} resolves"));
            assert!(fault.message.contains(words), "{raw}: {fault:?}");
            assert!(!format!("{fault:?}").contains("hunter2"), "{fault:?}");
        }
    }
}
