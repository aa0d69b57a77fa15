//! Which crate may depend on which: the arrows of the architecture, held against the manifests.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use super::Finding;
use crate::command;

/// What the name of each of our packages starts with; the rest is its folder's name.
const OUR_PREFIX: &str = "tailwater-";

/// What everything but the top may use.
const BOTTOM: &[&str] = &["model"];
/// What the top may use.
const ALL_PARTS: &[&str] =
    &["model", "pipeline", "simulation", "sink-kafka", "sink-local", "sink-postgres", "source-dynamodb", "transform"];

/// Each crate with the crates of ours that it may use, for its tests and its build script too.
const ALLOWED_EDGES: &[(&str, &[&str])] = &[
    // What it measures is the program that ships, which it starts.
    ("bench", &["simulation"]),
    ("cli", ALL_PARTS),
    ("model", &[]),
    ("pipeline", BOTTOM),
    // Its worlds drive the engine, and its tests are of the whole crate, so it names itself.
    ("simulation", ALL_PARTS),
    ("sink-kafka", BOTTOM),
    ("sink-local", BOTTOM),
    ("sink-postgres", BOTTOM),
    ("source-dynamodb", BOTTOM),
    ("tests", ALL_PARTS),
    ("transform", BOTTOM),
    ("xtask", &[]),
];

/// A family of crates from outside that only some of ours may use.
struct Confined {
    family: &'static str,
    is_member: fn(&str) -> bool,
    allowed: fn(&str) -> bool,
    to_do: &'static str,
}

const CONFINED: &[Confined] = &[
    Confined {
        family: "the AWS SDK",
        is_member: |name| name.starts_with("aws-"),
        // sink-kafka behind its feature `msk-iam` only: Amazon MSK logs in by requests signed with AWS's credentials.
        allowed: |ours| matches!(ours, "bench" | "sink-kafka" | "source-dynamodb" | "tests"),
        to_do: "reach DynamoDB through source-dynamodb",
    },
    Confined {
        family: "sqlx",
        is_member: |name| name.starts_with("sqlx"),
        allowed: |ours| ours.starts_with("sink-") || matches!(ours, "bench" | "simulation" | "tests"),
        to_do: "reach a database through its sink",
    },
    Confined {
        family: "tokio",
        is_member: |name| name == "tokio" || name.starts_with("tokio-"),
        allowed: |ours| !matches!(ours, "model" | "transform"),
        to_do: "keep this crate pure: no I/O, no clock, no runtime",
    },
];

/// One dependency that a manifest declares.
struct Dependency {
    manifest: PathBuf,
    /// The depending package's folder name.
    from: String,
    /// The package depended on.
    to: String,
}

/// Holds the manifests of the workspace at `root` to the tables above.
pub(super) fn check(root: &Path) -> Result<Vec<Finding>> {
    let mut metadata = command::cargo();
    metadata.current_dir(root).args(["metadata", "--no-deps", "--format-version", "1"]);
    let text = command::run_quietly(&mut metadata).context("tidy asks cargo for the manifests")?;
    let metadata = serde_json::from_str(&text).context("`cargo metadata` did not print JSON")?;
    let dependencies = read_dependencies(&metadata).context("`cargo metadata` printed something unexpected")?;
    let judged = dependencies.iter().filter_map(|dependency| {
        let (what, to_do) = judge(&dependency.from, &dependency.to)?;
        let path = dependency.manifest.strip_prefix(root).unwrap_or(&dependency.manifest);
        Some(Finding::error(path, line_of(&dependency.manifest, &dependency.to), what, to_do))
    });
    Ok(judged.collect())
}

/// What is wrong with the edge and what to do, or `None` when it is allowed.
fn judge(from: &str, to: &str) -> Option<(String, String)> {
    if let Some(confined) = CONFINED.iter().find(|confined| (confined.is_member)(to) && !(confined.allowed)(from)) {
        let what = format!("{from} must not depend on {to} ({})", confined.family);
        return Some((what, confined.to_do.to_owned()));
    }
    let to = to.strip_prefix(OUR_PREFIX)?;
    let Some((_, may_use)) = ALLOWED_EDGES.iter().find(|(name, _)| *name == from) else {
        let what = format!("{from} is not in the table of crates");
        return Some((what, "say in ALLOWED_EDGES (crates/xtask/src/tidy/edges.rs) what it may use".to_owned()));
    };
    let what = format!("{from} must not depend on {to}");
    (!may_use.contains(&to)).then(|| (what, "arrows point down only; move what is shared into model".to_owned()))
}

/// Every dependency of every package: normal, for tests and for build scripts.
fn read_dependencies(metadata: &Value) -> Option<Vec<Dependency>> {
    let mut dependencies = Vec::new();
    for package in metadata.get("packages")?.as_array()? {
        let name = package.get("name")?.as_str()?;
        let manifest = PathBuf::from(package.get("manifest_path")?.as_str()?);
        for dependency in package.get("dependencies")?.as_array()? {
            dependencies.push(Dependency {
                manifest: manifest.clone(),
                from: name.strip_prefix(OUR_PREFIX).unwrap_or(name).to_owned(),
                to: dependency.get("name")?.as_str()?.to_owned(),
            });
        }
    }
    Some(dependencies)
}

/// The line that declares the dependency; 1 when it is written in some other form.
fn line_of(manifest: &Path, name: &str) -> usize {
    let text = std::fs::read_to_string(manifest).unwrap_or_default();
    let declares = |line: &str| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['.', ' ', '=']))
            || line.contains(&format!(".{name}]"))
    };
    text.lines().position(declares).map_or(1, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allowed_edges_pass() {
        for (from, to) in [
            ("cli", "tailwater-sink-postgres"),
            ("tests", "tailwater-model"),
            ("pipeline", "tailwater-model"),
            ("source-dynamodb", "aws-sdk-dynamodb"),
            ("sink-kafka", "aws-sigv4"),
            ("tests", "aws-config"),
            ("sink-local", "sqlx"),
            ("pipeline", "tokio"),
            ("model", "serde_json"),
        ] {
            assert_eq!(judge(from, to), None, "{from} -> {to}");
        }
    }

    #[test]
    fn other_edges_are_found() {
        for (from, to) in [
            ("model", "tailwater-transform"),
            ("pipeline", "tailwater-sink-local"),
            ("sink-postgres", "tailwater-source-dynamodb"),
            ("xtask", "tailwater-model"),
            ("tests", "tailwater-cli"),
            ("a-new-crate", "tailwater-model"),
            ("model", "tokio"),
            ("transform", "tokio-util"),
            ("transform", "sqlx"),
            ("cli", "sqlx"),
            ("cli", "aws-sdk-dynamodb"),
            ("pipeline", "aws-smithy-types"),
        ] {
            assert!(judge(from, to).is_some(), "{from} -> {to}");
        }
    }

    #[test]
    fn dependencies_of_tests_and_build_scripts_count() {
        let metadata = serde_json::json!({"packages": [{
            "name": "tailwater-model",
            "manifest_path": "/x/Cargo.toml",
            "dependencies": [{"name": "a", "kind": null}, {"name": "b", "kind": "dev"}, {"name": "c", "kind": "build"}],
        }]});
        let names: Vec<String> = read_dependencies(&metadata).expect("readable").into_iter().map(|d| d.to).collect();
        assert_eq!(names, ["a", "b", "c"]);
    }
}
