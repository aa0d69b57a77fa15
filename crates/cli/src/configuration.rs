//! From pipeline files to specs: parse the TOML, resolve references inside string values, then build the spec in one
//! pass that collects all faults of all files.
//!
//! No connection is made here. No message holds a value of the file, because any value may be a secret.

mod files;
mod interpolation;
mod limits;
mod pipeline;
mod report;
mod scalars;
mod secret_file;
mod section;
mod sink;
mod source;
mod spec;
mod transforms;

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::output::{Finding, Severity};

use self::interpolation::Absent;

pub use self::scalars::parse_duration;
pub use self::spec::{LimitsSpec, PipelineSpec, SinkSpec, TransformSpec};

/// What the named files hold.
pub struct Loaded {
    /// The pipelines whose files have no fault, in the order of the command line.
    pub specs: Vec<PipelineSpec>,
    /// Files without a fault of which no pipeline can be made, because a stand-in is in the place of a value.
    pub unmade: usize,
    /// The findings of all files.
    pub findings: Vec<Finding>,
}

impl Loaded {
    /// Whether a file must be changed before anything can run.
    pub fn has_faults(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Fault)
    }
}

/// Reads every named file, and every `*.toml` of every named folder.
pub fn load(paths: &[PathBuf]) -> Loaded {
    load_with(paths, Absent::IsAFault)
}

/// The same where what references name is not there: all else is checked, and nothing can be run.
pub fn load_without_secrets(paths: &[PathBuf]) -> Loaded {
    load_with(paths, Absent::IsStoodInFor)
}

fn load_with(paths: &[PathBuf], absent: Absent) -> Loaded {
    let variable = |name: &str| std::env::var(name).ok();
    let mut loaded = Loaded { specs: Vec::new(), unmade: 0, findings: Vec::new() };
    for path in files::expand(paths, &mut loaded.findings) {
        let Some(text) = files::read(&path, &mut loaded.findings) else { continue };
        let (spec, findings) = pipeline::read(&path, &text, &variable, absent);
        let is_fine = findings.iter().all(|finding| finding.severity != Severity::Fault);
        loaded.unmade += usize::from(is_fine && spec.is_none());
        loaded.specs.extend(spec);
        loaded.findings.extend(findings);
    }
    refuse_same_names(&mut loaded);
    refuse_same_targets(&mut loaded);
    loaded
}

/// Two pipelines of one name would take each other's progress for their own.
fn refuse_same_names(loaded: &mut Loaded) {
    let Loaded { specs, findings, .. } = loaded;
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    specs.retain(|spec| {
        let Some(other) = files.get(&spec.name) else {
            files.insert(spec.name.clone(), spec.file.clone());
            return true;
        };
        findings.push(Finding::of_file(
            "config.duplicate_name",
            &spec.file,
            format!("the pipeline in {other} has the same name"),
            Some("give each pipeline its own `name`: progress is kept under it".into()),
        ));
        false
    });
}

/// Of two pipelines on one target the first would be taken, and then the second refused.
fn refuse_same_targets(loaded: &mut Loaded) {
    let mut fine: Vec<PipelineSpec> = Vec::new();
    for spec in std::mem::take(&mut loaded.specs) {
        let Some(other) = fine.iter().find(|other| other.sink.shares_target(&spec.sink)) else {
            fine.push(spec);
            continue;
        };
        loaded.findings.push(Finding::of_file(
            "config.duplicate_target",
            &spec.file,
            format!("the pipeline in {} writes to the same target", other.file),
            Some("give each pipeline a table or a file of its own: two would undo each other's work".into()),
        ));
    }
    loaded.specs = fine;
}
