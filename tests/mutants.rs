//! Does every deliberate bug of `tests/mutants/list.yaml` still have its place? Whether the tests notice them is for
//! `make test-mutants`, which takes its time.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::{collections::BTreeSet, path::Path};

use harness::mutants::{Mutant, list};

fn mutants() -> Vec<Mutant> {
    list(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn each_deliberate_bug_replaces_a_text_that_stands_exactly_once() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for mutant in mutants() {
        let broken = mutant.applied(root).unwrap_or_else(|e| panic!("{e:#}"));
        assert!(broken.contains(&mutant.replace) && mutant.search != mutant.replace, "{}", mutant.name);
    }
}

#[test]
fn there_are_at_least_twenty_each_with_a_name_and_tests_of_its_own() {
    let all = mutants();
    let names: BTreeSet<&str> = all.iter().map(|m| m.name.as_str()).collect();
    assert!(all.len() >= 20 && names.len() == all.len(), "{} bugs, {} names", all.len(), names.len());
    assert!(all.iter().all(|m| !m.tests.is_empty() && m.file.starts_with("src/")));
}
