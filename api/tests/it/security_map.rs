//! The map of docs/security.md: that its tables name every clause of ASVS 5.0 that they should, once, and nothing that is not there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

const MAP: &str = include_str!("../../../docs/security.md");

/// The clauses of levels 1 and 2 of OWASP ASVS 5.0.0, but those of chapters 10 and 17, with their level. Whatever is not here and is in the
/// map is of level 3.
const CLAUSES: &str = "\
    1.1.1:2 1.1.2:2 1.2.1:1 1.2.2:1 1.2.3:1 1.2.4:1 1.2.5:1 1.2.6:2 1.2.7:2 1.2.8:2 1.2.9:2 1.3.1:1 1.3.2:1 \
    1.3.3:2 1.3.4:2 1.3.5:2 1.3.6:2 1.3.7:2 1.3.8:2 1.3.9:2 1.3.10:2 1.3.11:2 1.4.1:2 1.4.2:2 1.4.3:2 1.5.1:1 \
    1.5.2:2 2.1.1:1 2.1.2:2 2.1.3:2 2.2.1:1 2.2.2:1 2.2.3:2 2.3.1:1 2.3.2:2 2.3.3:2 2.3.4:2 2.4.1:2 3.2.1:1 \
    3.2.2:1 3.3.1:1 3.3.2:2 3.3.3:2 3.3.4:2 3.4.1:1 3.4.2:1 3.4.3:2 3.4.4:2 3.4.5:2 3.4.6:2 3.5.1:1 3.5.2:1 \
    3.5.3:1 3.5.4:2 3.5.5:2 3.7.1:2 3.7.2:2 4.1.1:1 4.1.2:2 4.1.3:2 4.2.1:2 4.3.1:2 4.3.2:2 4.4.1:1 4.4.2:2 \
    4.4.3:2 4.4.4:2 5.1.1:2 5.2.1:1 5.2.2:1 5.2.3:2 5.3.1:1 5.3.2:1 5.4.1:2 5.4.2:2 5.4.3:2 6.1.1:1 6.1.2:2 \
    6.1.3:2 6.2.1:1 6.2.2:1 6.2.3:1 6.2.4:1 6.2.5:1 6.2.6:1 6.2.7:1 6.2.8:1 6.2.9:2 6.2.10:2 6.2.11:2 6.2.12:2 \
    6.3.1:1 6.3.2:1 6.3.3:2 6.3.4:2 6.4.1:1 6.4.2:1 6.4.3:2 6.4.4:2 6.5.1:2 6.5.2:2 6.5.3:2 6.5.4:2 6.5.5:2 \
    6.6.1:2 6.6.2:2 6.6.3:2 6.8.1:2 6.8.2:2 6.8.3:2 6.8.4:2 7.1.1:2 7.1.2:2 7.1.3:2 7.2.1:1 7.2.2:1 7.2.3:1 \
    7.2.4:1 7.3.1:2 7.3.2:2 7.4.1:1 7.4.2:1 7.4.3:2 7.4.4:2 7.4.5:2 7.5.1:2 7.5.2:2 7.6.1:2 7.6.2:2 8.1.1:1 \
    8.1.2:2 8.2.1:1 8.2.2:1 8.2.3:2 8.3.1:1 8.4.1:2 9.1.1:1 9.1.2:1 9.1.3:1 9.2.1:1 9.2.2:2 9.2.3:2 9.2.4:2 \
    11.1.1:2 11.1.2:2 11.2.1:2 11.2.2:2 11.2.3:2 11.3.1:1 11.3.2:1 11.3.3:2 11.4.1:1 11.4.2:2 11.4.3:2 11.4.4:2 \
    11.5.1:2 11.6.1:2 12.1.1:1 12.1.2:2 12.1.3:2 12.2.1:1 12.2.2:1 12.3.1:2 12.3.2:2 12.3.3:2 12.3.4:2 13.1.1:2 \
    13.2.1:2 13.2.2:2 13.2.3:2 13.2.4:2 13.2.5:2 13.3.1:2 13.3.2:2 13.4.1:1 13.4.2:2 13.4.3:2 13.4.4:2 13.4.5:2 \
    14.1.1:2 14.1.2:2 14.2.1:1 14.2.2:2 14.2.3:2 14.2.4:2 14.3.1:1 14.3.2:2 14.3.3:2 15.1.1:1 15.1.2:2 15.1.3:2 \
    15.2.1:1 15.2.2:2 15.2.3:2 15.3.1:1 15.3.2:2 15.3.3:2 15.3.4:2 15.3.5:2 15.3.6:2 15.3.7:2 16.1.1:2 16.2.1:2 \
    16.2.2:2 16.2.3:2 16.2.4:2 16.2.5:2 16.3.1:2 16.3.2:2 16.3.3:2 16.3.4:2 16.4.1:2 16.4.2:2 16.4.3:2 16.5.1:2 \
    16.5.2:2 16.5.3:2";

/// A row of a table.
struct Row {
    clauses: Vec<String>,
    levels: String,
    /// What stands after the level.
    cells: Vec<String>,
}

fn rows(table: &str) -> Vec<Row> {
    let rows = table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| clause |"));
    let row = |line: &str| {
        let mut cells = line.trim().trim_matches('|').split('|').map(|cell| cell.trim().to_owned());
        let clauses = cells.next().unwrap().split(", ").map(str::to_owned).collect();
        Row { clauses, levels: cells.next().unwrap(), cells: cells.collect() }
    };
    rows.map(row).collect()
}

/// What is met, what there is nothing of, and what is met otherwise.
fn tables() -> [Vec<Row>; 3] {
    let (_, map) = MAP.split_once("\n## ASVS 5.0\n").expect("the map has a heading");
    let (met, rest) = map.split_once("\n### There is none of it\n").expect("so has what there is not");
    let (none, otherwise) = rest.split_once("\n### Where it is not met to the letter\n").expect("and the exceptions");
    [met, none, otherwise].map(rows)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn is_source(name: &str) -> bool {
    [".rs", ".ts", ".tsx", ".mjs"].iter().any(|kind| name.ends_with(kind))
}

/// Where a test of this name is.
fn test_file(name: &str) -> PathBuf {
    match name {
        name if name.contains('/') => root().join(name),
        name if name.ends_with(".rs") => root().join("api/tests/it").join(name),
        name => root().join("frontend/e2e").join(name),
    }
}

/// Why this is no test; `None` when it is one.
fn trouble(name: &str) -> Option<String> {
    if let Some(target) = name.strip_prefix("make ") {
        let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
        return (!makefile.contains(&format!("\n{target}:"))).then(|| format!("there is no `{name}`"));
    }
    let (file, test) = name.split_once("::").map_or((name, None), |(file, test)| (file, Some(test)));
    let path = test_file(file);
    if path.is_dir() || (path.exists() && !is_source(file)) {
        return test.map(|_| format!("`{name}`: a folder or a program has no test of a name"));
    }
    let Ok(text) = fs::read_to_string(&path) else { return Some(format!("there is no `{file}`")) };
    let is_test = ["#[test]", "#[tokio::test", "#[sqlx::test", "test(", "it(", "it.each(", "fn main("]
        .iter()
        .any(|mark| text.contains(mark));
    let is_found = test.is_none_or(|test| text.contains(&format!("fn {test}(")));
    match (is_test, is_found) {
        (false, _) => Some(format!("`{file}` has no test")),
        (_, false) => Some(format!("`{file}` has no {}", test.unwrap_or_default())),
        (true, true) => None,
    }
}

#[test]
fn every_clause_stands_in_the_map_once_with_its_level() {
    let levels: BTreeMap<&str, &str> =
        CLAUSES.split_whitespace().map(|clause| clause.split_once(':').unwrap()).collect();
    let [met, none, otherwise] = tables();
    let mut wrong = Vec::new();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let excepted: BTreeSet<&str> = otherwise.iter().flat_map(|row| &row.clauses).map(String::as_str).collect();
    for row in met.iter().chain(&none).chain(&otherwise) {
        let mut of_row = BTreeSet::new();
        for clause in &row.clauses {
            if clause.split('.').filter(|part| part.parse::<u8>().is_ok()).count() != 3 {
                wrong.push(format!("{clause:?} is no clause"));
            }
            of_row.insert(*levels.get(clause.as_str()).unwrap_or(&match clause.as_str() {
                "10.4.5" => "1",
                "10.4.8" => "2",
                _ => "3",
            }));
        }
        let expected = of_row.into_iter().collect::<Vec<_>>().join(", ");
        if row.levels != expected {
            wrong.push(format!("{}: level {expected}, not {:?}", row.clauses.join(", "), row.levels));
        }
    }
    for row in met.iter().chain(&none) {
        row.clauses.iter().for_each(|clause| *seen.entry(clause).or_default() += 1);
        let refers = row.cells.iter().any(|cell| cell.contains("see below"));
        let is_excepted = row.clauses.iter().any(|clause| excepted.contains(clause.as_str()));
        if refers != is_excepted {
            wrong.push(format!("{}: \"see below\", and what stands below, do not fit", row.clauses.join(", ")));
        }
    }
    for clause in otherwise.iter().flat_map(|row| &row.clauses) {
        if otherwise.iter().flat_map(|row| &row.clauses).filter(|other| *other == clause).count() > 1 {
            wrong.push(format!("{clause} is excepted twice"));
        }
        seen.entry(clause).or_insert(1);
    }
    wrong.extend(
        seen.iter().filter(|(_, count)| **count > 1).map(|(clause, count)| format!("{clause} is there {count} times")),
    );
    wrong.extend(
        levels.keys().filter(|clause| !seen.contains_key(**clause)).map(|clause| format!("{clause} is missing")),
    );
    assert!(wrong.is_empty(), "docs/security.md:\n{}", wrong.join("\n"));
}

#[test]
fn what_is_met_is_tested_and_the_tests_are_there() {
    let [met, ..] = tables();
    let mut wrong = Vec::new();
    for row in &met {
        let clauses = row.clauses.join(", ");
        let [_, _, tested] = row.cells.as_slice() else {
            wrong.push(format!("{clauses}: what, where and tested are three cells"));
            continue;
        };
        if quoted(tested).next().is_none() {
            wrong.push(format!("{clauses}: no test"));
        }
        wrong.extend(quoted(tested).filter_map(trouble).map(|trouble| format!("{clauses}: {trouble}")));
    }
    // Whatever else the document names of the sources is there.
    for name in quoted(MAP).filter(|name| name.contains('/') && is_source(name) && !name.contains([' ', '*'])) {
        if !root().join(name).exists() {
            wrong.push(format!("there is no `{name}`"));
        }
    }
    assert!(wrong.is_empty(), "docs/security.md:\n{}", wrong.join("\n"));
}

/// A test of clauses 1.3.6, 13.2.4 and 13.2.5: what cannot ask by HTTP cannot be made to ask somebody else.
#[test]
fn what_answers_people_asks_no_address() {
    for name in ["api", "commands", "domain", "openapi", "projections"] {
        let manifest = fs::read_to_string(root().join(name).join("Cargo.toml")).unwrap();
        let (_, dependencies) = manifest.split_once("\n[dependencies]\n").expect("it has dependencies");
        let dependencies = dependencies.split("\n[").next().unwrap();
        assert!(dependencies.contains("serde"), "{name}: they were found");
        for client in ["reqwest", "hyper", "hyper-util", "ureq", "isahc", "curl", "rust-s3", "lettre"] {
            let is_named = |line: &str| line.split(['.', ' ', '=']).next() == Some(client);
            assert!(!dependencies.lines().any(is_named), "{name} could ask anybody by {client}");
        }
    }
}
