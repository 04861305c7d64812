//! Clusters come and go: side by side, found by name, and gone with whoever wanted them, however that one ended.

#![allow(clippy::unwrap_used)] // helpers of tests, outside any #[test] function

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use harness::cluster::Cluster;

/// The `cluster` command.
fn cluster(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cluster"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// A name that no other test process uses.
fn name(test: &str) -> String {
    format!("{test}-{}", std::process::id())
}

/// Polls what another program is on its way to.
fn within<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(90);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "not within 90 s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn started(name: &str) -> Child {
    cluster(&["run", "fake", "--nodes", "1", "--name", name, "--", "sleep", "600"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// A zombie is gone: only its parent has not looked yet.
fn gone(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
}

fn pids(cluster: &Cluster) -> Vec<i32> {
    let components = cluster.components().unwrap();
    assert_eq!(components.len(), 5, "{components:?}");
    components.iter().map(|(component, _)| cluster.pid(component).unwrap()).collect()
}

#[test]
#[ignore = "starts clusters: run through `cluster run fake`"]
fn nothing_outlives_an_owner_that_is_killed() {
    let name = name("killed");
    let mut owner = started(&name);
    let running = within("the cluster is up", || Cluster::named(&name).ok());
    let pids = pids(&running);
    owner.kill().unwrap();
    owner.wait().unwrap();
    within("all components are gone", || pids.iter().all(|pid| gone(*pid)).then_some(()));
    within("the run directory is gone", || (!running.run_dir().exists()).then_some(()));
}

#[test]
#[ignore = "starts clusters: run through `cluster run fake`"]
fn a_killed_supervisor_leaves_nothing_that_hinders_the_next() {
    let name = name("supervisor");
    let mut owner = started(&name);
    let running = within("the cluster is up", || Cluster::named(&name).ok());
    let pids = pids(&running);
    let state: serde_json::Value =
        serde_json::from_slice(&std::fs::read(running.run_dir().join("cluster.json")).unwrap()).unwrap();
    let supervisor = state["supervisor"]["pid"].to_string();
    assert!(Command::new("kill").args(["-9", &supervisor]).status().unwrap().success());
    within("all components are gone", || pids.iter().all(|pid| gone(*pid)).then_some(()));
    owner.kill().unwrap();
    owner.wait().unwrap();
    let again =
        cluster(&["run", "fake", "--nodes", "1", "--name", &name, "--", "kubectl", "get", "nodes", "-o", "name"])
            .output()
            .unwrap();
    assert_eq!(String::from_utf8_lossy(&again.stdout), "node/fake-1\n", "{}", String::from_utf8_lossy(&again.stderr));
    assert!(!running.run_dir().exists());
}

#[test]
#[ignore = "starts clusters: run through `cluster run fake`"]
fn the_exit_code_of_the_command_is_passed_on() {
    let name = name("code");
    let status =
        cluster(&["run", "fake", "--nodes", "1", "--name", &name, "--", "sh", "-c", "kubectl get nodes && exit 7"])
            .status()
            .unwrap();
    assert_eq!(status.code(), Some(7));
    assert!(Cluster::named(&name).is_err());
}

#[test]
#[ignore = "starts clusters: run through `cluster run fake`"]
fn a_component_can_be_killed_and_started_again() {
    let name = name("parts");
    let up = cluster(&["up", "fake", "--nodes", "2", "--name", &name]).output().unwrap();
    assert!(up.status.success(), "{}", String::from_utf8_lossy(&up.stderr));
    let running = Cluster::named(&name).unwrap();
    let before = running.pid("apiserver").unwrap();
    running.kill("apiserver").unwrap();
    assert!(gone(before));
    assert_eq!(running.pid("apiserver"), None);
    assert!(running.kubectl(&["get", "nodes"]).is_err());
    running.start("apiserver").unwrap();
    within("the API server answers again", || running.kubectl(&["get", "--raw", "/readyz"]).ok());
    assert_ne!(running.pid("apiserver"), Some(before));
    // a second `up` finds it; another number of nodes would be another cluster
    assert!(cluster(&["up", "fake", "--nodes", "2", "--name", &name]).status().unwrap().success());
    let other = cluster(&["up", "fake", "--nodes", "3", "--name", &name]).output().unwrap();
    assert!(String::from_utf8_lossy(&other.stderr).contains("has 2 nodes, not 3"), "{other:?}");
    for _ in 0..2 {
        assert!(cluster(&["down", "fake", "--name", &name]).status().unwrap().success());
        assert!(!running.run_dir().exists());
    }
}

#[test]
#[ignore = "starts clusters: run through `cluster run fake`"]
fn one_name_is_one_cluster() {
    let name = name("twice");
    let mut owner = started(&name);
    within("the cluster is up", || Cluster::named(&name).ok());
    let second = cluster(&["run", "fake", "--name", &name, "--", "true"]).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let refusal = String::from_utf8_lossy(&second.stderr);
    assert!(refusal.contains(&format!("the cluster `{name}` exists already")), "{refusal}");
    // TERM ends the owner in good order: it returns when the cluster is down
    assert!(Command::new("kill").arg(owner.id().to_string()).status().unwrap().success());
    assert_eq!(owner.wait().unwrap().code(), Some(128 + 15));
    assert!(Cluster::named(&name).is_err());
}
