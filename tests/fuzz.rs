//! The fuzz targets are a workspace of their own (`fuzz/`): is it in step with the operator's?

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// Versions of each package that a lock file names.
fn locked(file: &str) -> BTreeMap<String, BTreeSet<String>> {
    let text = fs::read_to_string(root().join(file)).unwrap();
    let value = |line: &str| line.split('"').nth(1).unwrap().to_owned();
    let (mut all, mut name) = (BTreeMap::<String, BTreeSet<String>>::new(), String::new());
    for line in text.lines() {
        if line.starts_with("name = ") {
            name = value(line);
        } else if line.starts_with("version = \"") {
            all.entry(name.clone()).or_default().insert(value(line));
        }
    }
    all
}

#[test]
fn what_is_fuzzed_has_the_versions_that_are_shipped() {
    let (ours, fuzz) = (locked("Cargo.lock"), locked("fuzz/Cargo.lock"));
    assert!(fuzz.contains_key("medley") && fuzz.contains_key("rustls"));
    for (name, versions) in &fuzz {
        let Some(shipped) = ours.get(name) else { continue };
        assert!(
            versions.is_subset(shipped),
            "{name}: {versions:?} instead of {shipped:?}; take Cargo.lock over into fuzz/"
        );
    }
}

#[test]
fn each_target_has_a_law_and_seeds() {
    let names = |folder: &str| -> BTreeSet<String> {
        let files = fs::read_dir(root().join("fuzz").join(folder)).unwrap();
        files.map(|f| f.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    };
    let targets = names("targets");
    assert!(targets.len() >= 11);
    assert_eq!(names("seeds"), targets);
    let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
    let laws: String = ["http", "medical", "registry", "stores"]
        .map(|file| fs::read_to_string(root().join(format!("fuzz/laws/src/{file}.rs"))).unwrap())
        .concat();
    for target in targets {
        assert!(manifest.contains(&format!("path = \"targets/{target}.rs\"")), "{target}");
        assert!(laws.contains(&format!("name: \"{target}\"")), "{target}");
        let source = fs::read_to_string(root().join(format!("fuzz/targets/{target}.rs"))).unwrap();
        assert!(source.contains(&format!("check(\"{target}\", bytes)")), "{target}");
    }
}
