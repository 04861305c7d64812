//! What each room may use and name, and what no file of it may be.

use super::source::Source;

/// Rooms, and the rooms that each may use besides itself. Arrows go down only; `core` and `render` are one floor.
pub(crate) const ARROWS: [(&str, &[&str]); 12] = [
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

/// Lines that a file may have.
pub(crate) const MAX_LINES: usize = 420;

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

impl Source {
    /// What it does against the rules; empty when it is as it should be.
    pub(crate) fn faults(&self) -> Vec<String> {
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
        if lines > MAX_LINES {
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

fn snippet(path: &str, text: &str) -> Vec<String> {
    Source { path: path.to_owned(), text: text.to_owned() }.faults()
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
