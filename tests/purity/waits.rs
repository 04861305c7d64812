//! Does a test wait in real time?

use super::source::{Source, below};

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
    for source in sources.iter().filter(|s| !s.path.starts_with("harness/") && s.path != "purity/waits.rs") {
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
