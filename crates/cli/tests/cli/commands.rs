//! Exit codes and the shape of outputs of the commands that need no server.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;

use crate::binary::{output_into, output_of};
use serde_json::Value;

#[test]
fn a_wrong_command_line_ends_with_2() {
    let folder = tempfile::tempdir().expect("a folder");
    for arguments in [vec![], vec!["rnu"], vec!["run"], vec!["run", "--until", "noon", "x.toml"], vec!["checkpoints"]] {
        assert_eq!(output_of(folder.path(), &arguments, &[]).code, Some(2), "{arguments:?}");
    }
}

#[test]
fn files_that_cannot_be_read_are_all_named() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("empty")).expect("a folder");
    std::fs::write(folder.path().join("latin.toml"), b"name = \"caf\xe9\"").expect("writes");
    std::fs::write(folder.path().join("long.toml"), vec![b'#'; (1 << 20) + 1]).expect("writes");
    for command in ["run", "validate"] {
        let found = output_of(folder.path(), &[command, "nowhere.toml", "empty", "latin.toml", "long.toml"], &[]);
        assert_eq!(found.code, Some(2), "{}", found.text);
        for words in [
            "nowhere.toml\n  cannot be read: entity not found",
            "empty\n  cannot be read: the folder holds no *.toml file",
            "latin.toml\n  cannot be read: not UTF-8 from byte 11 on",
            "long.toml\n  cannot be read: longer than 1 MiB",
            "4 failed",
        ] {
            assert!(found.text.contains(words), "{words} is not in\n{}", found.text);
        }
        assert_eq!(found.stdout.is_empty(), command == "run", "findings are the answer of validate only");
    }
}

#[test]
fn a_folder_means_every_pipeline_in_it_and_names_are_unique() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = |name: &str| format!("name = \"{name}\"\n[source]\ntable = \"orders\"\n[sink.stdout]\n");
    for (file, name) in [("a.toml", "one"), ("b.toml", "two"), ("notes.txt", "one")] {
        std::fs::write(folder.path().join(file), text(name)).expect("writes");
    }
    let found = output_of(folder.path(), &["validate", "."], &[]);
    assert_eq!(found.code, Some(0), "{}", found.text);
    assert!(found.text.starts_with("[OK] ./a.toml  pipeline one into stdout\n[OK] ./b.toml"), "{}", found.text);

    std::fs::write(folder.path().join("c.toml"), text("one")).expect("writes");
    let found = output_of(folder.path(), &["validate", "."], &[]);
    assert_eq!(found.code, Some(2), "{}", found.text);
    assert!(found.text.contains("config.duplicate_name  ./c.toml"), "{}", found.text);
    assert!(!found.text.contains("[OK] ./c.toml") && found.text.contains("2 passed"), "{}", found.text);
}

/// The first of them would be taken, and then the second refused.
#[test]
fn two_files_with_one_target_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |file: &str, sink: &str| {
        let text = format!("name = \"{file}\"\n[source]\ntable = \"orders\"\n{sink}");
        std::fs::write(folder.path().join(format!("{file}.toml")), text).expect("writes");
    };
    let sqlite = |path: &str, table: &str| format!("[sink.sqlite]\npath = \"{path}\"\ntable = \"{table}\"\n");
    let file = |path: &str| format!("[sink.file]\npath = \"{path}\"\n");
    for (one, other, code) in [
        (sqlite("shop.db", "orders"), sqlite("./shop.db", "Orders"), 2),
        (sqlite("shop.db", "orders"), sqlite("shop.db", "customers"), 0),
        (file("shop.jsonl"), file("./shop.jsonl"), 2),
        (file("shop.jsonl"), file("others.jsonl"), 0),
    ] {
        write("a", &one);
        write("b", &other);
        let found = output_of(folder.path(), &["validate", "."], &[]);
        assert_eq!(found.code, Some(code), "{}", found.text);
        assert_eq!(found.text.contains("config.duplicate_target  ./b.toml"), code == 2, "{}", found.text);
    }
    for path in [":memory:", "file:shop.db?mode=memory"] {
        write("a", &sqlite(path, "orders"));
        let found = output_of(folder.path(), &["validate", "a.toml"], &[]);
        assert_eq!(found.code, Some(2), "{}", found.text);
        assert!(found.text.contains("sink.sqlite.path"), "{}", found.text);
    }
}

/// What editors, file systems and backups leave in a folder, and how Kubernetes mounts a ConfigMap.
#[test]
fn a_folder_may_hold_other_things() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let text = |name: &str| format!("name = \"{name}\"\n[source]\ntable = \"orders\"\n[sink.stdout]\n");
    for name in ["._a.toml", ".a.toml", "a.toml~", "#a.toml#", "a.toml.bak", ".a.toml.swp"] {
        std::fs::write(path(name), b"\x00\x05\x16\x07").expect("writes");
    }
    symlink("somebody@host.1234", path(".#a.toml")).expect("a link");
    std::fs::create_dir(path("folder.toml")).expect("a folder");
    std::fs::create_dir(path("..2026_12_01")).expect("a folder");
    std::fs::write(path("..2026_12_01/orders.toml"), text("mounted")).expect("writes");
    symlink("..2026_12_01", path("..data")).expect("a link");
    symlink("..data/orders.toml", path("orders.toml")).expect("a link");
    let found = output_of(folder.path(), &["validate", "."], &[]);
    assert!(
        found.text.starts_with("[OK] ./orders.toml  pipeline mounted into stdout\nSummary: 1 passed"),
        "{}",
        found.text
    );
    assert_eq!(found.code, Some(0));

    symlink("gone", path("lost.toml")).expect("a link");
    let found = output_of(folder.path(), &["validate", "."], &[]);
    assert_eq!(found.code, Some(2), "a pipeline that is not there is not passed over: {}", found.text);
    assert!(found.text.contains("./lost.toml\n  cannot be read: entity not found"), "{}", found.text);
}

/// CI has no secrets, and all else of a file can be checked without them.
#[test]
fn a_file_is_checked_without_its_secrets() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = |view: &str| {
        format!(
            "name = \"shop\"\n[source]\ntable = \"${{env:TABLE}}\"\n{view}[sink.postgres]\nurl = \"${{env:PG_URL}}\"\ntable = \"orders\"\n\
             tls.ca_file = \"${{file:nowhere}}\"\n"
        )
    };
    std::fs::write(folder.path().join("shop.toml"), text("")).expect("writes");
    let found = output_of(folder.path(), &["validate", "shop.toml"], &[("PG_URL", "")]);
    assert_eq!(found.code, Some(2), "{}", found.text);
    assert!(found.text.contains("sink.postgres.url\n  empty\n"), "{}", found.text);
    assert!(found.text.contains("the environment variable TABLE is not set"), "{}", found.text);
    let found = output_of(folder.path(), &["validate", "--without-secrets", "shop.toml"], &[]);
    assert_eq!(found.code, Some(0), "{}", found.text);
    assert!(found.text.contains("sink.postgres.url\n  not looked at"), "{}", found.text);
    assert!(found.text.contains("Summary: 1 passed"), "{}", found.text);
    std::fs::write(folder.path().join("shop.toml"), text("satrt = \"latest\"\n")).expect("writes");
    let found = output_of(folder.path(), &["validate", "--without-secrets", "shop.toml"], &[]);
    assert_eq!(found.code, Some(2), "all else is checked: {}", found.text);
    assert!(found.text.contains("did you mean `start`?"), "{}", found.text);
}

#[test]
fn json_is_one_object_with_every_finding() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("shop.toml"), "nmae = \"shop\"\n[sink.stdout]\n").expect("writes");
    let found = output_of(folder.path(), &["validate", "--json", "shop.toml"], &[]);
    assert_eq!(found.code, Some(2));
    let envelope: Value = serde_json::from_str(&found.stdout).expect("one JSON object");
    assert_eq!(envelope["command"], "validate");
    assert_eq!(envelope["ok"], false);
    assert_eq!(envelope["error"], Value::Null);
    let findings = envelope["result"]["findings"].as_array().expect("findings");
    let unknown = findings.iter().find(|finding| finding["code"] == "config.unknown_key").expect("the unknown key");
    assert_eq!(
        *unknown,
        serde_json::json!({
            "severity": "fault", "code": "config.unknown_key", "message": "not a key of the file", "file": "shop.toml",
            "line": 1, "column": 1, "path": "nmae", "suggestion": "did you mean `name`?",
        })
    );

    let found = output_of(folder.path(), &["version", "--json"], &[]);
    let envelope: Value = serde_json::from_str(&found.stdout).expect("one JSON object");
    assert_eq!(envelope["result"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(found.code, Some(0));
}

/// A script that reads the answer must not take silence for one.
#[test]
fn an_answer_that_cannot_be_written_ends_with_3() {
    let folder = tempfile::tempdir().expect("a folder");
    for arguments in [
        vec!["version", "--json"],
        vec!["version"],
        vec!["demo", "--for", "1m"],
        vec!["simulate", "--listen", "127.0.0.1:0"],
    ] {
        let full = File::options().write(true).open("/dev/full").expect("a device");
        let found = output_into(full, folder.path(), &arguments);
        assert_eq!(found.code, Some(3), "{arguments:?}: {}", found.text);
        assert!(found.text.contains("output.write"), "{arguments:?}: {}", found.text);
    }
}

/// `tailwater demo | head -2`: whoever reads has seen enough.
#[test]
fn a_reader_that_goes_away_ends_a_command() {
    let folder = tempfile::tempdir().expect("a folder");
    for (lines, arguments) in
        [(2, vec!["demo", "--for", "10m"]), (0, vec!["demo", "--for", "10m"]), (0, vec!["version"])]
    {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let reading = std::thread::spawn(move || BufReader::new(reader).lines().take(lines).count());
        let found = output_into(writer, folder.path(), &arguments);
        assert_eq!((found.code, found.text.as_str()), (Some(0), ""), "{arguments:?}");
        assert_eq!(reading.join().expect("no panic"), lines);
    }
}

#[test]
fn a_failure_is_a_line_of_the_log_where_that_is_json() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("shop.toml"), "nmae = \"shop\"\n[sink.stdout]\n").expect("writes");
    for arguments in [["run", "shop.toml"], ["tail", "orders"]] {
        let arguments = [&["--log-format", "json"][..], &arguments].concat();
        let found = output_of(folder.path(), &arguments, &[("AWS_EC2_METADATA_DISABLED", "true")]);
        let lines: Vec<Value> = found.text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let last = lines.last().expect("a failure");
        assert!(last["level"] == "ERROR" && last["code"].is_string() && last["timestamp"].is_string(), "{last}");
    }
}

#[test]
fn a_filter_of_the_log_that_is_none_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    for (filter, is_told) in [("verbose", true), ("info", false)] {
        let found = output_of(folder.path(), &["run", "nowhere.toml"], &[("TAILWATER_LOG", filter)]);
        assert_eq!(found.text.contains("TAILWATER_LOG is not a log filter"), is_told, "{filter}: {}", found.text);
    }
}

#[test]
fn checkpoints_of_a_pipeline_that_never_ran_are_an_answer_with_the_next_step() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = |sink: &str| format!("name = \"shop\"\n[source]\ntable = \"orders\"\n{sink}\n");
    for (sink, code, words) in [
        ("[sink.stdout]", 2, "sink.keeps_nothing"),
        ("[sink.sqlite]\npath = \"shop.db\"", 3, "tailwater run shop.toml"),
        ("[sink.file]\npath = \"shop.jsonl\"", 3, "tailwater run shop.toml"),
    ] {
        std::fs::write(folder.path().join("shop.toml"), text(sink)).expect("writes");
        let found = output_of(folder.path(), &["checkpoints", "show", "shop.toml"], &[]);
        assert_eq!(found.code, Some(code), "{}", found.text);
        assert!(found.text.contains(words), "{}", found.text);
        let found = output_of(folder.path(), &["checkpoints", "show", "shop.toml", "--json"], &[]);
        let envelope: Value = serde_json::from_str(&found.stdout).expect("one JSON object");
        assert_eq!((found.code, &envelope["ok"]), (Some(code), &Value::Bool(false)));
    }
    let files: Vec<_> = std::fs::read_dir(folder.path()).expect("a folder").collect();
    assert_eq!(files.len(), 1, "showing checkpoints makes no files: {files:?}");
}

#[test]
fn an_unreachable_endpoint_ends_with_3() {
    let folder = tempfile::tempdir().expect("a folder");
    // Nothing listens on port 1.
    let text = "name = \"shop\"\n[source]\ntable = \"orders\"\n[source.aws]\nregion = \"eu-west-1\"\n\
                endpoint_url = \"http://127.0.0.1:1\"\n[sink.stdout]\n";
    std::fs::write(folder.path().join("shop.toml"), text).expect("writes");
    let credentials = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "CANARY9f3e7")];
    let found = output_of(folder.path(), &["run", "shop.toml"], &credentials);
    assert_eq!(found.code, Some(3), "{}", found.text);
    assert!(found.text.contains("127.0.0.1:1"), "{}", found.text);
    assert!(found.text.contains("  shop\n"), "the pipeline is named: {}", found.text);
    assert!(!found.text.contains("CANARY"), "{}", found.text);
}
