//! Does the house stand as `docs/architecture.md` says? Reads the sources: who uses whom, what the pure rooms name, how long
//! files are, and what must not stay behind in them.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

#[path = "purity/rules.rs"]
mod rules;
#[path = "purity/source.rs"]
mod source;
#[path = "purity/waits.rs"]
mod waits;

use std::{fs, path::Path};

use rules::{ARROWS, MAX_LINES};
use source::{Source, below};

#[test]
fn the_house_stands_as_planned() {
    let sources = below("src");
    assert!(sources.len() > 50, "the sources were not found");
    for (room, _) in ARROWS {
        assert!(sources.iter().any(|s| s.room() == room), "`{room}` of ARROWS has no file: take it out");
    }
    let faults: Vec<String> = sources.iter().flat_map(Source::faults).collect();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn the_schemas_judgement_is_pure_and_knows_nothing_of_medley() {
    let sources = below("schema/src");
    assert!(sources.len() > 3, "the sources were not found");
    let mut faults = Vec::new();
    for source in sources {
        // `core` is the strictest room that may name the CEL engine
        let as_core = Source { path: format!("core/{}", source.path), text: source.text };
        faults.extend(as_core.faults());
        let knows = |p: &String| p == "medley" || p.starts_with("medley::") || p.starts_with("harness");
        faults.extend(as_core.paths().into_iter().filter(knows).map(|p| format!("{}: names {p}", as_core.path)));
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn the_image_is_built_from_every_member_of_the_workspace() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let dockerfile = fs::read_to_string(root.join("Dockerfile")).unwrap();
    let list = manifest.split("members = [").nth(1).and_then(|rest| rest.split(']').next()).unwrap();
    let members: Vec<&str> = list.split(',').map(|m| m.trim().trim_matches('"')).collect();
    assert!(members.contains(&"schema"), "{members:?}");
    for member in members {
        assert!(dockerfile.contains(&format!("COPY {member} {member}\n")), "the Dockerfile does not copy {member}");
    }
}

#[test]
fn no_test_and_no_benchmark_is_too_long() {
    let mut faults = Vec::new();
    for folder in ["tests", "schema", "benches"] {
        let sources = below(folder);
        assert!(!sources.is_empty(), "{folder}: the sources were not found");
        let long = sources.iter().map(|s| (s, s.text.lines().count())).filter(|(_, lines)| *lines > MAX_LINES);
        faults.extend(long.map(|(s, lines)| {
            format!("{folder}/{}: {lines} lines; split it by the question answered (at most {MAX_LINES})", s.path)
        }));
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn both_pure_rooms_deny_what_clippy_is_told_to_refuse() {
    for room in ["src/core/mod.rs", "src/render/mod.rs"] {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(room)).unwrap();
        assert!(text.contains("#![deny(clippy::disallowed_methods, clippy::disallowed_types)]"), "{room}");
    }
}
