//! The shape of the source, held by a test: who may name what, in which direction modules depend, and that the README tells of everything
//! there is. Reads text only.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot read the source should stop there"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// Functions of values: no I/O, no clock, no randomness, no logs.
const CORE: [&str; 9] = [
    "value",
    "event",
    "profile",
    "flow",
    "policy",
    "engine",
    "decision",
    "outbound",
    "partitioner",
];

/// What nothing of the core may name: whatever reaches outside, or differs from one run to the next.
const OUTSIDE: [&str; 14] = [
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::process",
    "std::sync::Mutex",
    "std::thread",
    "std::time",
    "fail_point",
    "prometheus",
    "rdkafka",
    "rocksdb",
    "tokio",
    "tracing",
];

/// Longest file, tests not counted: what one reads in a sitting.
const LONGEST: usize = 600;

/// One source file.
struct Source {
    /// From the root of the repository, with `/`.
    path: String,
    text: String,
}

impl Source {
    /// The module below the crate's root: `task` for `src/task/fold.rs`.
    fn module(&self) -> &str {
        let inside = self.path.strip_prefix("src/").unwrap();
        inside.split(['/', '.']).next().unwrap()
    }

    /// Lines of the program: number and text, without comments, up to the tests of the file.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate();
        lines
            .take_while(|(_, line)| *line != "#[cfg(test)]")
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
            .map(|(number, line)| (number + 1, line.split(" // ").next().unwrap()))
    }

    /// A file that exists for tests alone.
    fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

fn rust_files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Every Rust file below these directories, by path.
fn sources(directories: &[&str]) -> Vec<Source> {
    let mut paths = Vec::new();
    for directory in directories {
        rust_files(&root().join(directory), &mut paths);
    }
    paths.sort();
    let sources: Vec<Source> = paths
        .into_iter()
        .map(|path| Source {
            path: path
                .strip_prefix(root())
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned(),
            text: fs::read_to_string(&path).unwrap(),
        })
        .collect();
    assert!(!sources.is_empty(), "nothing to look at");
    sources
}

/// Does the line name this path or crate, as a whole word?
fn names(line: &str, name: &str) -> bool {
    let part_of_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    line.match_indices(name).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let after = line
            .get(at + name.len()..)
            .and_then(|text| text.chars().next());
        !before.is_some_and(part_of_word) && !after.is_some_and(part_of_word)
    })
}

/// Modules of this crate that a line names: `crate::a::b` and `crate::{a, b}`.
fn modules_named_in(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (at, prefix) in line.match_indices("crate::") {
        let rest = line.get(at + prefix.len()..).unwrap();
        let list = match rest.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap(),
            None => rest.split([',', ';']).next().unwrap(),
        };
        found.extend(
            list.split(',')
                .map(|path| {
                    let path = path.trim();
                    path.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                        .next()
                        .unwrap()
                })
                .filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase())),
        );
    }
    found
}

fn report(found: &[String], rule: &str) {
    assert!(found.is_empty(), "{rule}:\n{}", found.join("\n"));
}

#[test]
fn the_core_depends_on_the_core_alone() {
    let mut found = Vec::new();
    let mut looked = 0;
    for source in sources(&["src"]) {
        if source.is_test() || !CORE.contains(&source.module()) {
            continue;
        }
        looked += 1;
        for (number, line) in source.code() {
            for module in modules_named_in(line) {
                // What leaves is written in the bus's plain values, and by no more of it.
                let of_the_bus = source.path == "src/outbound.rs"
                    && line == "use crate::bus::{Outgoing, Record, Target};";
                if !CORE.contains(&module) && !of_the_bus {
                    found.push(format!("{}:{number}: crate::{module}", source.path));
                }
            }
            for outside in OUTSIDE {
                // Reading a text that was handed in is no I/O; examples are for tests.
                if names(line, outside) && source.path != "src/event/examples.rs" {
                    found.push(format!("{}:{number}: {outside}", source.path));
                }
            }
        }
    }
    assert!(looked > CORE.len(), "only {looked} files of the core");
    report(&found, "the core is a function of values");
}

#[test]
fn the_shell_depends_downwards() {
    // Whatever stands in a row may not name what stands to its right.
    let forbidden = [
        ("clock", ["bus", "store", "task", "worker"].as_slice()),
        ("bus", &["store", "task", "worker", "telemetry", "config"]),
        ("store", &["task", "worker", "telemetry", "config"]),
        ("task", &["worker", "telemetry", "config", "clock"]),
        ("worker", &["config", "http"]),
        ("telemetry", &["worker", "config", "http"]),
        ("config", &["store", "task", "worker", "telemetry"]),
    ];
    let above_all = ["app", "cli", "demo", "feed", "replay"];
    let mut found = Vec::new();
    let mut looked = 0;
    for source in sources(&["src"]) {
        let Some((module, above)) = forbidden
            .iter()
            .find(|(module, _)| *module == source.module())
        else {
            continue;
        };
        if source.is_test() {
            continue;
        }
        looked += 1;
        for (number, line) in source.code() {
            for named in modules_named_in(line) {
                if named != *module && (above.contains(&named) || above_all.contains(&named)) {
                    found.push(format!("{}:{number}: crate::{named}", source.path));
                }
            }
        }
    }
    assert!(
        looked > forbidden.len(),
        "only {looked} files of the shell looked at"
    );
    report(&found, "a part knows nothing of what is built on it");
}

#[test]
fn kafka_rocksdb_and_the_clock_are_each_named_in_one_place() {
    let rules: [(&str, &[&str]); 4] = [
        ("rdkafka", &["src/bus/kafka.rs", "src/bus/kafka/"]),
        ("rocksdb", &["src/store/rocks.rs"]),
        ("SystemTime", &["src/clock.rs"]),
        ("Instant", &["src/clock.rs"]),
    ];
    let sources = sources(&["src"]);
    for (name, places) in rules {
        let mut inside = 0;
        let mut outside = Vec::new();
        for source in &sources {
            let allowed = places.iter().any(|place| source.path.starts_with(place));
            // Tests of the source count too: they have the same seams to use.
            for (number, line) in source.text.lines().enumerate() {
                if line.trim_start().starts_with("//") || !names(line, name) {
                    continue;
                }
                if allowed {
                    inside += 1;
                } else {
                    outside.push(format!("{}:{}: {line}", source.path, number + 1));
                }
            }
        }
        assert!(inside > 0, "nobody names {name}: the rule is void");
        report(&outside, &format!("{name} is named in {places:?} only"));
    }
}

#[test]
fn files_can_be_read_in_a_sitting() {
    let mut found = Vec::new();
    for source in sources(&["src"]) {
        let lines = source
            .text
            .lines()
            .take_while(|line| *line != "#[cfg(test)]" && *line != "mod tests {")
            .count();
        if !source.is_test() && lines > LONGEST {
            found.push(format!("{}: {lines} lines", source.path));
        }
    }
    report(
        &found,
        &format!("more than {LONGEST} lines: part the file by what it does"),
    );
}

#[test]
fn nothing_is_left_for_later() {
    // Put together here, so that this file does not find itself.
    let signs = [
        ["to", "do!("].concat(),
        ["unimple", "mented!("].concat(),
        ["#[ig", "nore"].concat(),
    ];
    let mut found = Vec::new();
    for source in sources(&["src", "tests", "benches"]) {
        for (number, line) in source.text.lines().enumerate() {
            if signs.iter().any(|sign| line.contains(sign)) {
                found.push(format!("{}:{}: {line}", source.path, number + 1));
            }
        }
    }
    report(&found, "unfinished, or a test that does not run");
}

/// The table of metrics as the README shows it, from its declaration; the same as `tidegate::telemetry::markdown`.
fn table_of_metrics() -> Vec<String> {
    let text = read("src/telemetry/table.rs");
    let (_, list) = text.split_once("\nmetrics! {\n").unwrap();
    let list = list.split("\n}\n").next().unwrap();
    list.split_terminator(";\n")
        .map(|metric| {
            // Name, unit, labels, help: every second part stands between quotes.
            let quoted: Vec<&str> = metric.split('"').skip(1).step_by(2).collect();
            let [name, unit, labels @ .., help] = quoted.as_slice() else {
                panic!("cannot read {metric}");
            };
            let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
            let labels = labels.join(", ");
            format!("| `tidegate_{name}` | {labels} | {unit} | {help} |")
        })
        .collect()
}

#[test]
fn the_readme_names_every_metric_as_it_is_declared() {
    let readme = read("README.md");
    let mut missing = table_of_metrics();
    assert!(missing.len() > 10, "only {missing:?}");
    missing.retain(|metric| !readme.lines().any(|line| line == metric));
    report(
        &missing,
        "lines of the table of metrics that the README lacks",
    );
}

/// One setting: its name, and its type as written.
type Setting = (String, String);

/// The sections of the configuration as declared: name of the struct, its settings.
fn sections() -> Vec<(String, Vec<Setting>)> {
    let mut sections: Vec<(String, Vec<Setting>)> = Vec::new();
    for file in [
        "src/config/sections.rs",
        "src/config/policy.rs",
        "src/config/norms.rs",
        "src/config/traits.rs",
    ] {
        let text = read(file);
        for block in text.split("\nsection! {\n").skip(1) {
            let block = block.split("\n}\n").next().unwrap();
            let mut lines = block
                .lines()
                .map(str::trim)
                .filter(|line| !line.starts_with("//"));
            let name = lines
                .find_map(|line| line.strip_prefix("pub struct "))
                .unwrap();
            let settings = lines
                .filter_map(|line| line.split_once(": "))
                .filter(|(name, _)| name.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
                .map(|(name, rest)| {
                    let kind = rest.split(" = ").next().unwrap();
                    (name.to_owned(), kind.trim_end_matches(',').to_owned())
                })
                .collect();
            sections.push((name.trim_end_matches(" {").to_owned(), settings));
        }
    }
    sections
}

/// Every setting below a section, as the README writes it: `inputs[].topic`, `channels.<name>.mode`.
fn settings_of(
    sections: &[(String, Vec<Setting>)],
    section: &str,
    prefix: &str,
    found: &mut Vec<String>,
) {
    let (_, settings) = sections.iter().find(|(name, _)| name == section).unwrap();
    for (name, kind) in settings {
        let (inner, below) = if let Some(inner) = kind.strip_prefix("Vec<") {
            (inner.trim_end_matches('>'), "[].")
        } else if let Some(inner) = kind.strip_prefix("BTreeMap<String, ") {
            (inner.trim_end_matches('>'), ".<name>.")
        } else {
            (kind.as_str(), ".")
        };
        if sections.iter().any(|(section, _)| section == inner) {
            settings_of(sections, inner, &format!("{prefix}{name}{below}"), found);
        } else {
            found.push(format!("{prefix}{name}"));
        }
    }
}

#[test]
fn the_readme_names_every_setting_and_no_other() {
    let readme = read("README.md");
    let (_, chapter) = readme.split_once("\n## Configuration\n").unwrap();
    let chapter = chapter.split("\n## ").next().unwrap();
    let told: Vec<&str> = chapter
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    let mut declared = Vec::new();
    settings_of(&sections(), "Config", "", &mut declared);
    assert!(declared.len() > 40, "only {declared:?}");
    let missing: Vec<String> = declared
        .iter()
        .filter(|setting| !told.contains(&setting.as_str()))
        .cloned()
        .collect();
    report(&missing, "settings that the README lacks");
    let invented: Vec<String> = told
        .iter()
        // The list as a whole has a line of its own.
        .filter(|told| **told != "policy.caps" && !declared.iter().any(|name| name == *told))
        .map(|told| (*told).to_owned())
        .collect();
    report(&invented, "settings of the README that do not exist");
}

#[test]
fn the_readme_names_every_command_and_no_other() {
    // `Run(Settings)` in `enum Command` is `tidegate run`.
    let cli = read("src/cli.rs");
    let (_, list) = cli.split_once("\nenum Command {\n").unwrap();
    let mut declared: Vec<String> = list
        .split("\n}\n")
        .next()
        .unwrap()
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()))
        .map(|line| {
            let name = line.split(['(', ' ', '{', ',']).next().unwrap();
            name.to_ascii_lowercase()
        })
        .collect();
    declared.sort();
    assert!(declared.len() > 5, "only {declared:?}");
    let readme = read("README.md");
    let (_, chapter) = readme.split_once("\n## Command line\n").unwrap();
    let chapter = chapter.split("\n## ").next().unwrap();
    let mut told: Vec<String> = chapter
        .lines()
        .filter_map(|line| line.strip_prefix("| `tidegate "))
        .map(|line| line.split([' ', '`']).next().unwrap().to_owned())
        .collect();
    told.sort();
    assert_eq!(told, declared, "README (left) and src/cli.rs (right)");
}

#[test]
fn the_rules_see_what_they_look_for() {
    assert_eq!(modules_named_in("use crate::bus::kafka::Bus;"), ["bus"]);
    assert_eq!(
        modules_named_in("use crate::{http, worker::Worker};"),
        ["http", "worker"]
    );
    assert_eq!(
        modules_named_in("    crate::clock::now(crate::store::open())"),
        ["clock", "store"]
    );
    assert!(names("use rdkafka::error::KafkaError;", "rdkafka"));
    assert!(!names("\"librdkafka\"", "rdkafka"));
    assert!(!names("librocksdb-sys", "rocksdb"));
    let source = Source {
        path: "src/task/fold.rs".to_owned(),
        text: "// a\nb // c\n#[cfg(test)]\nd".to_owned(),
    };
    assert_eq!(source.module(), "task");
    assert_eq!(source.code().collect::<Vec<_>>(), [(2, "b")]);
}
