//! The command line as a program: what it says, where, and how it ends.
#![expect(
    clippy::unwrap_used,
    reason = "a test that meets the unexpected should stop there and say so"
)]

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The program, with the environment of the test taken away where it could lay itself over the configuration.
fn tidegate(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    for (name, _) in std::env::vars() {
        if name.starts_with("TIDEGATE_") {
            command.env_remove(name);
        }
    }
    command
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

/// Exit code, standard output, standard error.
fn said(arguments: &[&str]) -> (i32, String, String) {
    let output = tidegate(arguments).output().unwrap();
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// An empty directory of its own.
fn directory(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("tidegate-cli-{name}-{}", std::process::id()));
    drop(std::fs::remove_dir_all(&path));
    std::fs::create_dir_all(&path).unwrap();
    path
}

const LOCAL: &str = "deploy/local/tidegate.yaml";

#[test]
fn the_shipped_configuration_and_flows_are_good() {
    let (code, out, told) = said(&["validate", "--config", LOCAL]);
    assert_eq!((code, told.as_str()), (0, ""));
    assert!(
        out.contains("9 flows (abandoned_browse, abandoned_cart, "),
        "{out}"
    );
}

#[test]
fn the_tests_of_the_shipped_flows_reach_every_flow_step_and_exit() {
    let (code, out, told) = said(&["test", "--config", LOCAL, "--coverage"]);
    assert_eq!((code, told.as_str()), (0, ""), "{out}");
    let reach = out
        .lines()
        .find(|line| line.starts_with("tests reach"))
        .unwrap();
    let words: Vec<&str> = reach.split([' ', ',']).collect();
    let pairs: Vec<(&str, &str)> = words
        .windows(3)
        .filter(|words| words[1] == "of")
        .map(|words| (words[0], words[2]))
        .collect();
    // Flows, steps, exits; which reasons flows can reach is the policy's matter.
    assert_eq!(pairs.len(), 4, "{reach}");
    assert!(pairs[..3].iter().all(|(some, all)| some == all), "{out}");
}

#[test]
fn a_single_file_is_tested_against_the_flows_that_stand_beside_it() {
    let directory = directory("beside");
    let write = |name: &str, text: &str| {
        let path = directory.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let flow = |name: &str| {
        format!(
            "flow: {name}\nclass: service\nlist: orders\nenter: {{ events: [signed_up] }}\nsteps:\n  - {{ channel: email, template: {name} }}\n"
        )
    };
    write("other.yaml", &flow("other"));
    let tests = "tests:\n  - name: both speak\n    with: [other]\n    events: [{ at: 2026-03-01T10:00:00Z, type: signed_up, customer_id: c }]\n    expect: [{ kind: trigger, flow: one }, { kind: trigger, flow: other }]\n";
    let one = write("one.yaml", &(flow("one") + tests));
    let (code, out, told) = said(&["test", &one]);
    assert_eq!((code, told.as_str()), (0, ""), "{out}");
    assert!(out.contains("1 test, 0 failed"), "{out}");
    write("other.yaml", "flow: other\nclass: [\n");
    let (code, out, _) = said(&["test", &one]);
    assert_eq!(code, 1);
    assert!(
        out.contains("there is no flow `other`") && out.contains("other.yaml:"),
        "{out}"
    );
}

#[test]
fn validate_looks_at_the_tests_too_and_tells_a_missing_directory_with_the_rest() {
    let directory = directory("validate");
    let flow = directory.join("flow.yaml");
    let text = "flow: one\nclass: service\nlist: orders\nenter: { events: [signed_up], when: \"profile.vipp\" }\nsteps:\n  - { channel: email, template: a }\n\
                tests:\n  - name: a test\n    wiht: all\n    with: [oen]\n    events:\n      - { at: 2026-03-01T10:00:00Z, type: sined_up, customer_id: c }\n    expect: [{ kind: triger }]\n";
    std::fs::write(&flow, text).unwrap();
    let flows = format!("flows=[{}, /nowhere/flows]", flow.display());
    let (code, _, told) = said(&[
        "validate",
        "--config",
        LOCAL,
        "--set",
        &flows,
        "--set",
        "commit.max_records=0",
    ]);
    assert_eq!(code, 78);
    for part in [
        "commit.max_records: is out of bounds",
        "cannot read flows /nowhere/flows: No such file or directory",
        "did you mean `profile.vip`?",
        "unknown key `wiht` in a test",
        "there is no flow `oen`",
        "unknown event `sined_up`",
        "did you mean `signed_up`?",
        "unknown kind `triger`",
        "7 problems",
    ] {
        assert!(told.contains(part), "missing {part} in\n{told}");
    }
}

#[test]
fn a_file_that_is_not_utf8_is_told_at_its_first_wrong_byte_and_hides_no_other_problem() {
    let directory = directory("latin");
    let flow = "flow: NAME\nclass: service\nlist: orders\nenter: { events: [sined_up] }\nsteps:\n  - { channel: email, template: a }\n";
    std::fs::write(directory.join("good.yaml"), flow.replace("NAME", "good")).unwrap();
    let mut latin = flow.replace("NAME", "latin # caf").into_bytes();
    let line_end = latin.iter().position(|byte| *byte == b'\n').unwrap();
    latin.insert(line_end, 0xe9);
    std::fs::write(directory.join("latin.yaml"), latin).unwrap();
    let flows = format!("flows=[{}]", directory.display());
    let (code, _, told) = said(&["validate", "--config", LOCAL, "--set", &flows]);
    assert_eq!(code, 78);
    for part in [
        "here the file is not UTF-8",
        "latin.yaml:1:18",
        "= save it as UTF-8",
        "unknown event `sined_up`",
        "2 problems",
    ] {
        assert!(told.contains(part), "missing {part} in\n{told}");
    }
}

#[test]
fn a_wrong_command_line_ends_with_2_and_a_wrong_configuration_with_78_and_all_of_its_problems() {
    assert_eq!(said(&["valdate"]).0, 2);
    assert_eq!(said(&[]).0, 2);
    assert_eq!(
        said(&["validate", "--config", "/nowhere/at/all.yaml"]).0,
        78
    );
    let (code, out, told) = said(&[
        "validate",
        "--config",
        LOCAL,
        "--set",
        "app.colour=red",
        "--set",
        "policy.min_gap=soon",
        "--set",
        "commit.max_records=0",
    ]);
    assert_eq!((code, out.as_str()), (78, ""));
    for part in [
        "app.colour: there is no such setting",
        "policy.min_gap: `soon` is wrong here",
        "commit.max_records: is out of bounds",
        "3 problems",
    ] {
        assert!(told.contains(part), "missing {part} in\n{told}");
    }
}

#[test]
fn problems_of_configuration_and_flows_are_told_together() {
    let (code, _, told) = said(&[
        "validate",
        "--config",
        LOCAL,
        "--set",
        "commit.max_delay_ms=0",
        "--set",
        "channels.push.reports=[sent]",
    ]);
    assert_eq!(code, 78);
    assert!(
        told.contains("commit.max_delay_ms") && told.contains("abandoned_cart.yaml"),
        "{told}"
    );
}

#[test]
fn a_printed_configuration_can_be_read_again_and_holds_no_secret() {
    let set = [
        "--set",
        "kafka.properties.sasl.password=hunter2hunter2",
        "--set",
        "identity.address_key=hunter2hunter2hunter2",
    ];
    let (code, printed, told) =
        said(&[&["config", "print", "--config", LOCAL][..], &set[..]].concat());
    assert_eq!(code, 0, "{told}");
    assert!(!printed.contains("hunter2"), "{printed}");
    for default in [
        "same_message: 18h",
        "max_hold: 15m",
        "dedup: 1d",
        "window: 1000",
    ] {
        assert!(printed.contains(default), "missing {default} in\n{printed}");
    }
}

#[test]
fn who_stops_reading_the_output_has_seen_enough() {
    let mut child = tidegate(&["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    let mut reader = BufReader::with_capacity(16, child.stdout.take().unwrap());
    reader.read_line(&mut first).unwrap();
    drop(reader);
    let output = child.wait_with_output().unwrap();
    assert!(first.contains("tidegate"), "{first}");
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
}

#[test]
fn the_version_names_the_native_libraries_that_are_inside() {
    let (code, out, _) = said(&["--version"]);
    assert_eq!(code, 0);
    assert!(
        out.starts_with(concat!("tidegate ", env!("CARGO_PKG_VERSION"))),
        "{out}"
    );
    assert_eq!(out.contains("librdkafka"), cfg!(feature = "kafka"));
    assert_eq!(out.contains("RocksDB"), cfg!(feature = "rocks"));
}

#[test]
fn the_tests_of_the_shipped_flows_pass() {
    let (code, out, _) = said(&["test", "deploy/flows"]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains(" tests, 0 failed\n"), "{out}");
}

#[test]
fn every_part_of_the_language_does_what_its_tests_say() {
    let (code, out, _) = said(&["test", "tests/golden/language"]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains(" tests, 0 failed\n"), "{out}");
}

#[test]
fn a_test_that_fails_shows_what_was_decided_instead_and_why() {
    let (code, out, _) = said(&["test", "tests/golden/failure/flow.yaml", "--coverage"]);
    assert_eq!(code, 1);
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/failure/said.txt");
    if std::env::var_os("TIDEGATE_BLESS").is_some() {
        std::fs::write(golden, &out).unwrap();
    }
    assert_eq!(out, std::fs::read_to_string(golden).unwrap());
}

#[test]
fn schemas_are_printed_for_editors() {
    for (of, key) in [("flows", "exclusive_group"), ("config", "control_group")] {
        let (code, out, _) = said(&["schema", of]);
        assert_eq!(code, 0);
        let schema: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert!(schema["properties"][key]["description"].is_string(), "{of}");
        assert_eq!(schema["additionalProperties"], false);
    }
}
