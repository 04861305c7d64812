//! What a supervisor tells its owner while the cluster comes up: one JSON document a line.

use std::io::Write;
use std::sync::Mutex;

/// One line.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Report {
    /// What is being done now.
    Progress(String),
    /// The cluster is up.
    Ready,
    /// Another supervisor has this name or this machine.
    Busy(String),
    /// The cluster could not be brought up; everything is taken down again.
    Failed(String),
}

/// The supervisor's end.
pub(super) struct Reporter(Mutex<std::io::Stdout>);

impl Reporter {
    pub(super) fn new() -> Self {
        Self(Mutex::new(std::io::stdout()))
    }

    pub(super) fn progress(&self, text: impl Into<String>) {
        self.send(&Report::Progress(text.into()));
    }

    pub(super) fn send(&self, report: &Report) {
        let Ok(mut line) = serde_json::to_vec(report) else {
            return;
        };
        line.push(b'\n');
        if let Ok(mut out) = self.0.lock() {
            // an owner that is gone needs no report; its end is noticed elsewhere
            let _ = out.write_all(&line).and_then(|()| out.flush());
        }
    }
}
