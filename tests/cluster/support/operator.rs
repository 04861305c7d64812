//! The shipped program as a child process, with a ServiceAccount of its own.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use serde_json::Value;

use super::{stage::Stage, until};

/// Length of the lease: short, and as long as the program's rule (renew deadline and one call fit into it) allows.
pub(crate) const LEASE: Duration = Duration::from_secs(6);
const RENEW_DEADLINE: &str = "2s";
const RETRY_PERIOD: &str = "1s";

/// A running operator; killed when dropped.
pub(crate) struct Operator {
    child: Child,
    log: PathBuf,
    address: String,
    /// The user that the API server sees.
    pub(crate) user: String,
}

impl Operator {
    /// Starts a replica and waits until its watches have read their first lists.
    pub(crate) async fn start(stage: &Stage, replica: &'static str) -> Self {
        Self::start_with(stage, replica, &[]).await
    }

    /// The same with further variables of the environment.
    pub(crate) async fn start_with(stage: &Stage, replica: &'static str, variables: &[(&str, String)]) -> Self {
        let log = stage.scratch().join(format!("{replica}-{}.log", stage.next_number()));
        let child = Command::new(env!("CARGO_BIN_EXE_medley"))
            .arg("operator")
            .env("KUBECONFIG", stage.kubeconfig_of(replica))
            .env("POD_NAME", replica)
            .env("MEDLEY_LEASE_NAMESPACE", stage.home())
            .env("MEDLEY_LEASE_NAME", stage.lease())
            .env("MEDLEY_LEASE_DURATION", format!("{}s", LEASE.as_secs()))
            .env("MEDLEY_RENEW_DEADLINE", RENEW_DEADLINE)
            .env("MEDLEY_RETRY_PERIOD", RETRY_PERIOD)
            .env("MEDLEY_LISTEN", "127.0.0.1:0")
            .env("MEDLEY_LOG_FORMAT", "json")
            .env_remove("MEDLEY_NAMESPACES")
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut operator = Self { child, log, address: String::new(), user: stage.user_of(replica) };
        let limit = Duration::from_secs(30);
        operator.address = until("the operator tells where it serves", limit, async || {
            operator
                .said("serving /live, /ready and /metrics")
                .first()
                .map(|l| l["fields"]["address"].as_str().unwrap().to_owned())
        })
        .await;
        let ready = format!("http://{}/ready", operator.address);
        until("the operator is ready", limit, async || {
            reqwest::get(&ready).await.ok().filter(|r| r.status().is_success())
        })
        .await;
        operator
    }

    /// Starts a replica and waits until it leads.
    pub(crate) async fn leading(stage: &Stage, replica: &'static str) -> Self {
        let operator = Self::start(stage, replica).await;
        until("the operator leads", LEASE * 3, async || (operator.metric("medley_leader").await == 1.0).then_some(()))
            .await;
        operator
    }

    /// Id of the process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether the lease's holder of this name is this process.
    pub(crate) fn holds(&self, holder: &str) -> bool {
        self.said("this process leads").iter().any(|l| l["fields"]["identity"] == holder)
    }

    /// Log lines with this message.
    pub(crate) fn said(&self, message: &str) -> Vec<Value> {
        self.lines().into_iter().filter(|l| l["fields"]["message"] == message).collect()
    }

    /// All log lines.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.log).unwrap();
        text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect()
    }

    /// The metric of this name with its labels, such as `medley_leader`; 0 when it is not told.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        self.metrics().await.into_iter().find(|(name, _)| name == series).map_or(0.0, |(_, value)| value)
    }

    /// All metrics with their labels.
    pub(crate) async fn metrics(&self) -> Vec<(String, f64)> {
        let text = reqwest::get(format!("http://{}/metrics", self.address)).await.unwrap().text().await.unwrap();
        let lines = text.lines().filter(|l| !l.starts_with('#'));
        lines
            .filter_map(|l| l.rsplit_once(' '))
            .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
            .collect()
    }

    /// Sends a signal, such as `STOP`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", self.pid())).status().unwrap();
        assert!(sent.success(), "SIG{name} could not be sent");
    }

    /// Ends the process without a chance to clean up.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends the process in good order.
    pub(crate) async fn stop(mut self) -> ExitStatus {
        self.signal("TERM");
        let child = &mut self.child;
        until("the operator ends after SIGTERM", Duration::from_secs(20), async || child.try_wait().unwrap()).await
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        // both fail only when the process has ended and was waited for
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
