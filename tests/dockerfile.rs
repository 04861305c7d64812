//! Is all that the Dockerfile's build needs among what it copies? Cargo refuses a manifest whose targets are not there.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::{fs, path::Path, process::Command};

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
    }
}

/// What the build stage takes from the checkout, and the arguments of its cargo.
fn build_stage(dockerfile: &str) -> (Vec<String>, Vec<String>) {
    let (mut copied, mut cargo) = (Vec::new(), Vec::new());
    for line in dockerfile.split("\nFROM scratch").next().unwrap().lines() {
        if let Some(words) = line.strip_prefix("COPY ") {
            let words: Vec<&str> = words.split_whitespace().collect();
            let (to, from) = words.split_last().unwrap();
            assert!(*to == "./" || from == [*to], "{line}: this test knows no other form");
            copied.extend(from.iter().map(|f| (*f).to_owned()));
        } else if let Some(command) = line.strip_prefix("RUN cargo ") {
            cargo = command.trim_end_matches('\\').split_whitespace().map(str::to_owned).collect();
        }
    }
    (copied, cargo)
}

#[test]
fn cargo_accepts_what_the_build_stage_copies() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (copied, cargo) = build_stage(&fs::read_to_string(root.join("Dockerfile")).unwrap());
    let let_in = fs::read_to_string(root.join(".dockerignore")).unwrap();
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("dockerfile-{}", std::process::id()));
    for path in &copied {
        assert!(let_in.lines().any(|l| l == format!("!{path}")), ".dockerignore must let {path} in");
        copy(&root.join(path), &scratch.join(path));
    }
    // cargo reads the whole workspace before it asks the compiler for its version, and goes no further with this one
    let asked = Command::new(env!("CARGO"))
        .args(&cargo)
        .arg("--offline")
        .current_dir(&scratch)
        .env("RUSTC", "false")
        .env("CARGO_TARGET_DIR", scratch.join("target"))
        .output()
        .unwrap();
    fs::remove_dir_all(&scratch).unwrap();
    let said = String::from_utf8_lossy(&asked.stderr);
    assert!(said.contains("false -vV") && !said.contains("manifest"), "cargo {}: {said}", cargo.join(" "));
}
