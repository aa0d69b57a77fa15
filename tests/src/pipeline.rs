//! Pipeline files for the tests.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::endpoints;
use crate::process::Environment;

/// The variable that holds the URL of the database.
pub const URL_VARIABLE: &str = "PG_URL";

/// What a pipeline file says.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// The pipeline's name.
    pub name: String,
    /// How many lanes it has.
    pub lanes: u32,
    /// How long an owner may show no life.
    pub lease: &'static str,
    /// The DynamoDB table.
    pub table: String,
    /// Where DynamoDB is; the whole of `[source.aws]` with the region, or nothing at all when it is empty.
    pub endpoint: String,
    /// `stop` or `continue`.
    pub on_gap: &'static str,
    /// Records can be read this long after their write.
    pub visible_within: &'static str,
    /// The sink's section, whole.
    pub sink: String,
    /// More lines in `[limits]`.
    pub limits: String,
    /// More sections at the end.
    pub more: String,
}

impl Pipeline {
    /// A pipeline with two lanes from the beginning of the stream.
    pub fn new(table: &str, sink: String) -> Self {
        Self {
            name: "tests".to_owned(),
            lanes: 2,
            lease: "15s",
            table: table.to_owned(),
            endpoint: endpoints::dynamodb_url(),
            on_gap: "stop",
            visible_within: "5s",
            sink,
            limits: String::new(),
            more: String::new(),
        }
    }

    /// The file's text.
    pub fn text(&self) -> String {
        let Self { name, lanes, lease, table, endpoint, on_gap, visible_within, sink, limits, more } = self;
        let aws = match endpoint.as_str() {
            "" => String::new(),
            url => format!("[source.aws]\nendpoint_url = \"{url}\"\nregion = \"us-east-1\""),
        };
        format!(
            r#"name = "{name}"
lanes = {lanes}
lease = "{lease}"

[source]
table = "{table}"
start = "trim-horizon"
on_gap = "{on_gap}"

{aws}

[source.poll]
interval_min = "20ms"
interval_max = "100ms"
visible_within = "{visible_within}"

{sink}

[limits]
group_delay_max = "20ms"
{limits}
{more}
"#
        )
    }

    /// Writes the file into `dir`, whole at once: another process may be reading it.
    pub fn write(&self, dir: &Path) -> Result<PathBuf> {
        let path = dir.join(format!("{}.toml", self.name));
        let draft = path.with_extension("draft");
        std::fs::write(&draft, self.text()).with_context(|| format!("cannot write {}", draft.display()))?;
        std::fs::rename(&draft, &path).with_context(|| format!("cannot rename {}", draft.display()))?;
        Ok(path)
    }
}

/// A mirror table in the database of the variable.
pub fn postgres_sink(table: &str, delete: &str) -> String {
    format!("[sink.postgres]\nurl = \"${{env:{URL_VARIABLE}}}\"\ntable = \"{table}\"\ndelete = \"{delete}\"\n")
}

/// A file of JSON lines.
pub fn file_sink(path: &Path) -> String {
    format!("[sink.file]\npath = \"{}\"\n", path.display())
}

/// Tells the environment where the database is.
pub fn set_url(environment: &mut Environment, url: String) {
    environment.insert(URL_VARIABLE.to_owned(), url);
}
