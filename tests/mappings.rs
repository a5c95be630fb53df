//! The shipped mappings over example records of each source: what `tidegate map` says of them, read and kept as goldens.
//!
//! `TIDEGATE_BLESS=1` writes the goldens anew; they are reviewed like code.
#![expect(
    clippy::unwrap_used,
    reason = "a test that meets the unexpected should stop there and say so"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// What `map` says of the examples of `input`.
fn map(input: &str, more: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["map", "--config", "deploy/mappings/examples/tidegate.yaml"])
        .args(["--input", input, "--events"])
        .arg(format!("deploy/mappings/examples/{input}.jsonl"))
        .args(more)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Every input that has examples.
fn inputs() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(root("deploy/mappings/examples"))
        .unwrap()
        .filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.strip_suffix(".jsonl").map(str::to_owned)
        })
        .collect();
    names.sort();
    assert!(names.len() >= 8, "{names:?}");
    names
}

#[test]
fn every_example_of_the_shipped_mappings_becomes_what_its_golden_says() {
    let bless = std::env::var_os("TIDEGATE_BLESS").is_some();
    for input in inputs() {
        let path = root(&format!("tests/golden/mappings/{input}.txt"));
        let told = map(&input, &[]);
        if bless {
            std::fs::write(&path, &told).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap();
        assert!(
            told == golden,
            "{input} differs from {}:\n{told}",
            path.display()
        );
    }
}

#[test]
fn the_summary_counts_every_record_once() {
    for input in inputs() {
        let events = root(&format!("deploy/mappings/examples/{input}.jsonl"));
        let records = std::fs::read_to_string(events).unwrap().lines().count();
        let summary = map(&input, &["--summary"]);
        let counts: Vec<usize> = summary
            .lines()
            .map(|line| line.split_whitespace().next().unwrap().parse().unwrap())
            .collect();
        let (all, rows) = counts.split_first().unwrap();
        assert_eq!(*all, records, "{input}");
        assert_eq!(rows.iter().sum::<usize>(), records, "{summary}");
    }
}

#[test]
fn every_shipped_mapping_has_an_input_and_examples() {
    let config = std::fs::read_to_string(root("deploy/mappings/examples/tidegate.yaml")).unwrap();
    for entry in std::fs::read_dir(root("deploy/mappings")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".yaml") {
            assert!(config.contains(&format!("mapping: ../{name}")), "{name}");
        }
    }
}

#[test]
fn a_log_of_a_foreign_bus_is_replayed_through_flows_as_it_is() {
    let path = std::env::temp_dir().join(format!("tidegate-segment-{}.jsonl", std::process::id()));
    let call = |kind: &str, more: &str| {
        format!(
            r#"{{"type":"{kind}","messageId":"m-{kind}","timestamp":"2026-03-01T10:00:00Z","userId":"c-7",{more}}}"#
        )
    };
    let log = [
        call("identify", r#""traits":{"email":"anna@example.org"}"#),
        call(
            "track",
            r#""event":"Product Added","properties":{"cart_id":"k","product_id":"p","price":50}"#,
        ),
        call("group", r#""groupId":"g""#),
        call("page", r#""properties":3"#),
    ];
    std::fs::write(&path, log.join("\n")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args([
            "replay",
            "--config",
            "deploy/mappings/examples/tidegate.yaml",
            "--input",
            "segment",
        ])
        .args([
            "--until",
            "2026-03-01T15:00:00Z",
            "--decisions",
            "-",
            "--events",
        ])
        .arg(&path)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    std::fs::remove_file(&path).unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{told}");
    let decisions = String::from_utf8(output.stdout).unwrap();
    // Four hours after the cart was filled, the flow speaks up; nobody asked her yet, so nothing leaves.
    let of_cart = |line: &str| {
        line.contains("\"flow\":\"abandoned_cart\"")
            && line.contains("\"decided_at\":\"2026-03-01T14:00:00Z\"")
    };
    assert!(decisions.lines().any(of_cart), "{decisions}");
    for row in [
        "folded product_added",
        "left out, ignored",
        "dead letters wrong_type",
    ] {
        assert!(
            told.lines().any(|line| line.starts_with(row)),
            "{row} in\n{told}"
        );
    }
}
