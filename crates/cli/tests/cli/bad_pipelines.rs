//! Every file in `bad_pipelines` gives exactly the messages that stand beside it, and never shows what it holds.

use std::path::Path;

use crate::binary::{output_of, pipeline_folder};

#[test]
fn every_bad_file_gives_its_messages() {
    let folder = pipeline_folder("crates/cli/tests/bad_pipelines");
    let names: Vec<_> = toml_names(&folder);
    assert!(names.len() >= 10, "{names:?}");
    let mut wrong = Vec::new();
    for name in names {
        let found = output_of(&folder, &["validate", &name], &[]);
        // A file whose only findings are warnings is fine; every other ends with 2.
        let faults = found.text.contains("[FAIL]");
        assert_eq!(found.code, Some(if faults { 2 } else { 0 }), "{name}: {}", found.text);
        assert!(!found.text.contains("hunter2"), "{name} shows a secret:\n{}", found.text);
        let beside = folder.join(&name).with_extension("expected");
        let expected = std::fs::read_to_string(&beside).unwrap_or_default();
        if found.text != expected {
            wrong.push(format!("{name} gives\n{}\nand not\n{expected}", found.text));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn iam_for_msk_needs_a_build_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "name = \"shop\"\n[source]\ntable = \"orders\"\n[sink.kafka]\nbrokers = \"b-1.example.org:9098\"\n\
                tls = true\nsasl = { mechanism = \"AWS_MSK_IAM\", region = \"eu-west-1\" }\n";
    std::fs::write(folder.path().join("shop.toml"), text).expect("writes");
    let found = output_of(folder.path(), &["validate", "shop.toml"], &[]);
    if cfg!(feature = "msk-iam") {
        assert_eq!(found.code, Some(0), "{}", found.text);
    } else {
        assert_eq!(found.code, Some(2), "{}", found.text);
        let words = "config.not_built  shop.toml:7:22  sink.kafka.sasl.mechanism\n  this tailwater was built without IAM \
                     for Amazon MSK\n  → build it in: cargo install --path crates/cli --features msk-iam\n";
        assert!(found.text.contains(words), "{}", found.text);
    }
}

#[test]
fn every_example_is_fine() {
    let folder = pipeline_folder("pipelines");
    let names = toml_names(&folder);
    for sink in ["kafka", "postgres", "sqlite", "file", "stdout"] {
        assert!(names.contains(&format!("orders-to-{sink}.toml")), "{names:?}");
    }
    for name in &names {
        let url = ("PG_URL", "postgres://writer:hunter2@db.example.org/shop");
        let found = output_of(&folder, &["validate", name], &[url]);
        assert_eq!(found.code, Some(0), "{}", found.text);
        assert!(found.text.ends_with("Summary: 1 passed · 0 warnings · 0 failed\nReady to run.\n"), "{}", found.text);
        assert!(!found.text.contains("hunter2"), "{}", found.text);
    }
}

fn toml_names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<_> = entries.filter_map(|name| name.into_string().ok()).collect();
    names.retain(|name| name.ends_with(".toml"));
    names.sort();
    names
}
