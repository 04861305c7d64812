//! Does the house stand as `docs/architecture.md` says? Reads the sources: who uses whom, what the pure rooms name, how long
//! files are, and what must not stay behind in them.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Rooms, and the rooms that each may use besides itself. Arrows go down only; `core` and `render` are one floor.
const ARROWS: [(&str, &[&str]); 12] = [
    ("main", &["cli"]),
    ("lib", &[]),
    ("cli", &["operator", "loops", "serve", "medical", "cluster", "core", "render", "api", "telemetry"]),
    ("operator", &["loops", "serve", "medical", "cluster", "core", "render", "api", "telemetry"]),
    ("loops", &["cluster", "medical", "core", "render", "api", "telemetry"]),
    ("serve", &["cluster", "core", "render", "api", "telemetry"]),
    ("cluster", &["core", "render", "api", "telemetry"]),
    ("medical", &["core", "api"]),
    ("core", &["render", "api"]),
    ("render", &["core", "api"]),
    ("api", &[]),
    ("telemetry", &[]),
];

/// What a pure room never names: runtimes, clients, clocks, chance, environment, files, logs.
const IMPURE: [&str; 27] = [
    "tokio",
    "tokio_util",
    "tokio_stream",
    "futures",
    "reqwest",
    "hyper",
    "hyper_util",
    "axum",
    "tower",
    "hickory_resolver",
    "rustls",
    "rand",
    "getrandom",
    "fastrand",
    "tracing",
    "log",
    "prometheus_client",
    "kube::runtime",
    "kube::client",
    "kube::Client",
    "kube::Api",
    "kube::api",
    "std::env",
    "std::fs",
    "std::process",
    "std::thread",
    "std::time::SystemTime",
];

/// Lines that a file of `src` may have.
const MAX_LINES: usize = 420;
/// Files that may have more, with the reason.
const LONG: [(&str, &str); 1] = [("core/discovery/scenarios.rs", "a table of stories, of which each stands alone")];

/// Words that say that something is not done.
fn unfinished() -> [String; 3] {
    // put together here, so that this file does not name itself
    ["TO", "FIX", "place"].map(|start| {
        let end = match start {
            "TO" => "DO",
            "FIX" => "ME",
            _ => "holder.",
        };
        format!("{start}{end}")
    })
}

/// One source file: its path below `src`, and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// The modules it lies in, from the root: `core/name.rs` is `["core", "name"]`.
    fn modules(&self) -> Vec<&str> {
        let path = self.path.trim_end_matches(".rs").trim_end_matches("/mod");
        path.split('/').collect()
    }

    fn room(&self) -> &str {
        self.modules()[0]
    }

    /// All paths that the code names, `use` groups spread out, `crate` and `super` resolved to `crate::…`.
    fn paths(&self) -> BTreeSet<String> {
        let tokens = tokens(&self.text);
        let mut found = BTreeSet::new();
        let mut at = 0;
        while at < tokens.len() {
            if tokens[at] == "use" {
                at = tree(&tokens, at + 1, &[], &mut found);
            } else if is_name(&tokens[at]) {
                let mut path = vec![tokens[at].clone()];
                at += 1;
                while at + 1 < tokens.len() && tokens[at] == "::" && is_name(&tokens[at + 1]) {
                    path.push(tokens[at + 1].clone());
                    at += 2;
                }
                found.insert(path.join("::"));
            } else {
                at += 1;
            }
        }
        found.into_iter().map(|p| self.resolved(&p)).collect()
    }

    /// `super::x` as `crate::…::x`.
    fn resolved(&self, path: &str) -> String {
        let mut rest = path;
        let mut up = 0;
        while let Some(after) = rest.strip_prefix("super::") {
            rest = after;
            up += 1;
        }
        if up == 0 {
            return path.to_owned();
        }
        // one step less may leave a room: an inline `mod tests` uses its first `super` for its own file
        let modules = self.modules();
        let mut whole: Vec<&str> = modules[..modules.len().saturating_sub(up)].to_vec();
        whole.insert(0, "crate");
        whole.push(rest);
        whole.join("::")
    }

    /// What it does against the rules; empty when it is as it should be.
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let room = self.room();
        let paths = self.paths();
        let Some((_, below)) = ARROWS.iter().find(|(name, _)| *name == room) else {
            return vec![format!("src/{}: `{room}` is no room of ARROWS: say there what it may use", self.path)];
        };
        for path in &paths {
            let Some(inside) = path.strip_prefix("crate::").or_else(|| path.strip_prefix("medley::")) else { continue };
            let other = inside.split("::").next().unwrap_or_default();
            let is_room = ARROWS.iter().any(|(name, _)| *name == other);
            if is_room && other != room && !below.contains(&other) {
                faults.push(format!("src/{}: {room} must not use {other} ({path})", self.path));
            }
        }
        if matches!(room, "core" | "render") {
            for path in &paths {
                let names = |impure: &&&str| path == **impure || path.starts_with(&format!("{impure}::"));
                if let Some(impure) = IMPURE.iter().find(names) {
                    faults.push(format!("src/{}: {room} is pure and must not name {impure} ({path})", self.path));
                }
                let mut last = path.rsplit("::");
                let (end, of) = (last.next().unwrap_or_default(), last.next().unwrap_or_default());
                if end == "Instant" || (end == "now" && of.starts_with(char::is_uppercase)) {
                    faults.push(format!("src/{}: {room} is pure and must not read a clock ({path})", self.path));
                }
            }
        }
        let lines = self.text.lines().count();
        if lines > MAX_LINES && !LONG.iter().any(|(path, _)| *path == self.path) {
            faults.push(format!(
                "src/{}: {lines} lines; split it by the question answered (at most {MAX_LINES})",
                self.path
            ));
        }
        for word in unfinished() {
            if let Some(line) = self.text.lines().position(|l| l.to_lowercase().contains(&word.to_lowercase())) {
                faults.push(format!("src/{}:{}: `{word}`: finish it or leave it out", self.path, line + 1));
            }
        }
        faults
    }
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Spreads out the use tree that begins at `at`; gives the place after it.
fn tree(tokens: &[String], mut at: usize, prefix: &[String], found: &mut BTreeSet<String>) -> usize {
    let mut path = prefix.to_vec();
    while at < tokens.len() {
        match tokens[at].as_str() {
            "{" => {
                at += 1;
                while at < tokens.len() && tokens[at] != "}" {
                    at = tree(tokens, at, &path, found);
                    if tokens.get(at).is_some_and(|t| t == ",") {
                        at += 1;
                    }
                }
                return at + 1;
            }
            "as" => at += 2,
            "::" => at += 1,
            "*" => at += 1,
            name if is_name(name) => {
                if name != "self" || path.is_empty() {
                    path.push(name.to_owned());
                }
                at += 1;
            }
            _ => break,
        }
    }
    if path.len() > prefix.len() || !path.is_empty() {
        found.insert(path.join("::"));
    }
    at
}

/// Names and marks of Rust text; comments, strings and characters are left out.
fn tokens(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let mut list = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let rest = &chars[at..];
        match rest {
            ['/', '/', ..] => at += rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()),
            ['/', '*', ..] => {
                at += 2 + rest[2..].windows(2).position(|w| w == ['*', '/']).map_or(rest.len() - 2, |p| p + 2)
            }
            ['r', '"', ..] | ['r', '#', '"' | '#', ..] => {
                let hashes = rest[1..].iter().take_while(|c| **c == '#').count();
                let open = 2 + hashes;
                let close: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
                let body = rest.get(open..).unwrap_or_default();
                at += open + body.windows(close.len()).position(|w| w == close).map_or(body.len(), |p| p + close.len());
            }
            ['"', ..] => {
                let mut end = 1;
                while end < rest.len() && rest[end] != '"' {
                    end += if rest[end] == '\\' { 2 } else { 1 };
                }
                at += end + 1;
            }
            ['\'', '\\', ..] => {
                at += 3 + rest.get(3..).and_then(|r| r.iter().position(|c| *c == '\'')).map_or(0, |p| p + 1)
            }
            ['\'', _, '\'', ..] => at += 3,
            [':', ':', ..] => {
                list.push("::".to_owned());
                at += 2;
            }
            [c, ..] if c.is_alphanumeric() || *c == '_' => {
                let end = rest.iter().position(|c| !(c.is_alphanumeric() || *c == '_')).unwrap_or(rest.len());
                list.push(rest[..end].iter().collect());
                at += end;
            }
            [c, ..] => {
                if !c.is_whitespace() {
                    list.push(c.to_string());
                }
                at += 1;
            }
            [] => break,
        }
    }
    list
}

fn files(folder: &Path, all: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, all);
        } else if path.extension().is_some_and(|e| e == "rs") {
            all.push(path);
        }
    }
}

fn below(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut all = Vec::new();
    files(&root, &mut all);
    all.sort();
    let name = |p: &Path| p.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
    all.iter().map(|p| Source { path: name(p), text: fs::read_to_string(p).unwrap() }).collect()
}

fn snippet(path: &str, text: &str) -> Vec<String> {
    Source { path: path.to_owned(), text: text.to_owned() }.faults()
}

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
fn the_exceptions_are_still_needed() {
    for (path, _) in LONG {
        let source =
            below("src").into_iter().find(|s| s.path == path).unwrap_or_else(|| panic!("{path} is gone: take it out"));
        assert!(source.text.lines().count() > MAX_LINES, "{path} is short by now: take it out");
    }
}

#[test]
fn both_pure_rooms_deny_what_clippy_is_told_to_refuse() {
    for room in ["src/core/mod.rs", "src/render/mod.rs"] {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(room)).unwrap();
        assert!(text.contains("#![deny(clippy::disallowed_methods, clippy::disallowed_types)]"), "{room}");
    }
}

#[test]
fn an_arrow_that_goes_up_is_found_however_it_is_written() {
    for text in [
        "use crate::cluster::cache::Cache;",
        "use crate::{api::Workflow, cluster};",
        "use crate::{\n    api::{self, Workflow},\n    cluster::{cache::{self as c}, queue},\n};",
        "fn f() { crate::cluster::cache::key(); }",
        "use super::cluster::cache;",
        "use medley::cluster::cache::Cache;",
    ] {
        let faults = snippet("core/name.rs", text);
        let found = faults.iter().any(|f| f.contains("core must not use cluster"));
        // `super` of core/name.rs is core itself, and core has no cluster
        assert_eq!(found, !text.contains("super"), "{text}: {faults:?}");
    }
    assert_eq!(snippet("core/mod.rs", "use super::cluster::cache;").len(), 1);
    assert_eq!(snippet("core/discovery/mod.rs", "use super::super::loops::dns;").len(), 1);
    for (path, text) in [
        ("api/span.rs", "use crate::core::name;"),
        ("medical/tcp.rs", "use crate::cluster::clock::Clock;"),
        ("cluster/watch.rs", "use crate::loops::runs;"),
        ("loops/runs.rs", "use crate::operator::Settings;"),
        ("serve/mod.rs", "use crate::loops::dispatcher::Dispatcher;"),
        ("operator.rs", "use crate::cli::crds;"),
        ("telemetry.rs", "use crate::api::Urgency;"),
        ("attic/mod.rs", ""),
    ] {
        assert_eq!(snippet(path, text).len(), 1, "{path}: {text}");
    }
}

#[test]
fn an_impure_name_is_found_in_a_pure_room_and_left_alone_elsewhere() {
    for text in [
        "use tokio::sync::Notify;",
        "use std::{collections::BTreeMap, env};",
        "use std::time::{Duration, Instant};",
        "use std::time::SystemTime;",
        "fn f() -> Timestamp { Timestamp::now() }",
        "fn f() { let now = jiff::Zoned::now(); }",
        "fn f() { tracing::info!(\"x\"); }",
        "use kube::{Client, ResourceExt};",
        "fn f(api: &kube::Api<Pod>) {}",
        "use rand::Rng;",
    ] {
        for path in ["core/name.rs", "render/pod.rs"] {
            assert!(!snippet(path, text).is_empty(), "{path}: {text}");
        }
        assert!(snippet("loops/runs.rs", text).is_empty(), "{text}");
    }
}

#[test]
fn what_is_allowed_is_let_through() {
    for text in [
        "use crate::{api::{Workflow, vocabulary::Urgency}, core::note::Note, render::Owner};",
        "use kube::core::cel::{KubeCelExt, cel};",
        "use std::{net::IpAddr, time::Duration};",
        "fn f(now: Timestamp) { let x = flow.now; }",
        "// tokio::spawn and crate::cluster are only spoken of\nconst T: &str = \"tokio::spawn crate::loops\";",
        "const T: &str = r#\"use tokio::time;\"#;",
        "const C: char = '\"'; const D: char = '\\''; fn f<'a>(x: &'a str) {}",
    ] {
        assert_eq!(snippet("core/name.rs", text), Vec::<String>::new(), "{text}");
    }
    assert!(
        !snippet("core/name.rs", "const C: char = '\"'; use tokio::time;").is_empty(),
        "a quote does not hide what follows"
    );
}

#[test]
fn long_and_unfinished_files_are_found() {
    assert_eq!(snippet("core/name.rs", &"\n".repeat(MAX_LINES + 1)).len(), 1);
    assert_eq!(snippet("core/name.rs", &"\n".repeat(MAX_LINES)).len(), 0);
    for word in unfinished() {
        assert_eq!(snippet("core/name.rs", &format!("// {word}")).len(), 1, "{word}");
    }
}

/// Whether a line waits in real time for longer than a poll does: a test waits for a condition, or under paused time.
fn waits(line: &str) -> bool {
    let line = line.trim_start();
    if line.starts_with("//") || !line.contains("sleep(") {
        return false;
    }
    let millis = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>().parse::<u64>().ok();
    let long = line.split("from_millis(").nth(1).and_then(millis).is_some_and(|ms| ms > 200);
    line.contains("thread::sleep") || line.contains("from_secs(") || line.contains("from_mins(") || long
}

#[test]
fn no_test_sleeps_in_real_time() {
    let sources = below("tests");
    let mut faults = Vec::new();
    for source in sources.iter().filter(|s| !s.path.starts_with("harness/") && s.path != "purity.rs") {
        // a test target is a file and the folder of the same name
        let target = source.path.split(['/', '.']).next().unwrap_or_default();
        let of_target = |s: &&Source| s.path.split(['/', '.']).next() == Some(target);
        let attributes: Vec<&str> = sources
            .iter()
            .filter(of_target)
            .flat_map(|s| s.text.lines())
            .filter(|l| l.trim_start().starts_with("#[tokio::test"))
            .collect();
        let paused = !attributes.is_empty() && attributes.iter().all(|a| a.contains("start_paused = true"));
        for (number, line) in source.text.lines().enumerate() {
            if waits(line) && (!paused || line.contains("thread::sleep")) {
                faults.push(format!("tests/{}:{}: waits in real time: {}", source.path, number + 1, line.trim()));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn a_wait_in_real_time_is_told_from_a_poll() {
    assert!(waits("    tokio::time::sleep(Duration::from_secs(1)).await;"));
    assert!(waits("std::thread::sleep(PAUSE);"));
    assert!(waits("sleep(Duration::from_millis(500)).await;"));
    assert!(!waits("sleep(Duration::from_millis(50)).await;"));
    assert!(!waits("// sleep(Duration::from_secs(1))"));
}
