//! A running cluster, as tests and tools use it.

use std::env;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use super::cache::{Layout, text};
use super::control::{Request, ask};
use super::state::{Phase, State};
use super::{Profile, audit, node, packages, process};

/// Environment variable that holds the run directory of the cluster to use.
pub(super) const VARIABLE: &str = "MEDLEY_CLUSTER";

/// A cluster that is up.
#[derive(Clone, Debug)]
pub struct Cluster {
    layout: Layout,
    state: State,
}

impl Cluster {
    /// The cluster that `cluster run` made for this process, found through `MEDLEY_CLUSTER`.
    ///
    /// # Errors
    /// When the variable is not set or the cluster is not up.
    pub fn from_env() -> Result<Self> {
        let run = env::var_os(VARIABLE).filter(|run| !run.is_empty()).with_context(|| {
            format!("{VARIABLE} is not set: run these tests through `make test-cluster`, or any command through `cluster run fake|node -- COMMAND`")
        })?;
        Self::at(Path::new(&run))
    }

    /// The cluster with this run directory.
    ///
    /// # Errors
    /// When it is not up.
    pub fn at(run: &Path) -> Result<Self> {
        let name = run.file_name().and_then(|name| name.to_str());
        let name = name.with_context(|| format!("{VARIABLE}={}: not a run directory", run.display()))?;
        let mut layout = Layout::of(name)?;
        // the cache may be set differently here; the files beside a run directory are not used by a handle
        run.clone_into(&mut layout.run);
        Self::of(layout).with_context(|| format!("run directory {}", run.display()))
    }

    /// The cluster of this name.
    ///
    /// # Errors
    /// When it is not up.
    pub fn named(name: &str) -> Result<Self> {
        Self::of(Layout::of(name)?)
    }

    fn of(layout: Layout) -> Result<Self> {
        match State::running(&layout) {
            Some(state) if state.phase == Phase::Ready => Ok(Self { layout, state }),
            Some(_) => bail!("the cluster `{}` is still coming up", layout.name),
            None => bail!("the cluster `{}` does not run", layout.name),
        }
    }

    /// What it consists of.
    #[must_use]
    pub fn profile(&self) -> Profile {
        self.state.profile
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.layout.name
    }

    /// The directory that holds everything of it; gone once it is down.
    #[must_use]
    pub fn run_dir(&self) -> &Path {
        &self.layout.run
    }

    /// Path of the administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.layout.kubeconfig()
    }

    /// A new client of the administrator.
    ///
    /// # Errors
    /// When the kubeconfig or a certificate cannot be read.
    pub async fn client(&self) -> Result<Client> {
        client_of(&self.kubeconfig()).await
    }

    /// The directory of the cluster's programs.
    #[must_use]
    pub fn bin_dir(&self) -> &Path {
        &self.state.bin
    }

    /// Path of one of [`super::PROGRAMS`].
    #[must_use]
    pub fn bin(&self, program: &str) -> PathBuf {
        self.state.bin.join(program)
    }

    /// A command of the cluster's own programs, with `KUBECONFIG` set.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin(program));
        command.env("KUBECONFIG", self.kubeconfig()).stdin(Stdio::null());
        command
    }

    /// Runs kubectl and returns what it printed on standard output.
    ///
    /// # Errors
    /// When it fails; the message holds all it printed.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        process::output(self.command("kubectl").args(arguments))
    }

    /// Runs kubectl with `input` as its standard input, for instance `kubectl apply -f -`.
    ///
    /// # Errors
    /// When it fails; the message holds what it printed on standard error.
    pub fn kubectl_with_input(&self, arguments: &[&str], input: &str) -> Result<String> {
        let mut command = self.command("kubectl");
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("starting kubectl")?;
        let mut stdin = child.stdin.take().context("kubectl has no standard input")?;
        // from a thread of its own, since kubectl may print before it has read everything
        let (written, result) = std::thread::scope(|scope| {
            let writer = scope.spawn(move || stdin.write_all(input.as_bytes()));
            let result = child.wait_with_output();
            (writer.join(), result)
        });
        let result = result.context("waiting for kubectl")?;
        if !result.status.success() {
            bail!(
                "`kubectl {}` failed ({}):\n{}",
                arguments.join(" "),
                result.status,
                String::from_utf8_lossy(&result.stderr)
            );
        }
        match written {
            Ok(written) => written.context("writing to kubectl")?,
            Err(_) => bail!("writing to kubectl panicked"),
        }
        Ok(String::from_utf8_lossy(&result.stdout).into_owned())
    }

    /// Runs helm and returns what it printed on standard output. Its own state stays in the run directory.
    ///
    /// # Errors
    /// When it fails; the message holds all it printed.
    pub fn helm(&self, arguments: &[&str]) -> Result<String> {
        let home = self.layout.run.join("helm");
        let mut command = self.command("helm");
        for (name, dir) in [("HELM_CACHE_HOME", "cache"), ("HELM_CONFIG_HOME", "config"), ("HELM_DATA_HOME", "data")] {
            command.env(name, home.join(dir));
        }
        process::output(command.args(arguments))
    }

    /// The host's address as the cluster's pods reach it. The fake profile's pods reach nothing; there it is loopback,
    /// where the API server is.
    #[must_use]
    pub fn host_address(&self) -> IpAddr {
        match self.state.profile {
            Profile::Fake => Ipv4Addr::LOCALHOST.into(),
            // the same as super::HOST_ADDRESS, which a test compares it with
            Profile::Node => Ipv4Addr::new(10, 200, 0, 1).into(),
        }
    }

    /// The log of a component: `apiserver`, `etcd`, `controller-manager`, `scheduler`, and `kwok` or `node`,
    /// `containerd`, `kube-proxy`, `kubelet`.
    #[must_use]
    pub fn log(&self, component: &str) -> PathBuf {
        self.log_dir().join(format!("{component}.log"))
    }

    /// The directory of all logs.
    #[must_use]
    pub fn log_dir(&self) -> PathBuf {
        self.layout.logs()
    }

    /// The API server's audit log; [`Self::audit`] reads it.
    #[must_use]
    pub fn audit_log(&self) -> PathBuf {
        self.layout.audit_log()
    }

    /// All requests that the API server has answered and logged so far, in the order of the log. An answer may reach
    /// its client a moment before it is in the log.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn audit(&self) -> Result<Vec<audit::Event>> {
        audit::read(&self.audit_log())
    }

    /// Imports an OCI or Docker image archive into the real node.
    ///
    /// # Errors
    /// When the cluster has no real node or the archive is refused.
    pub fn import_image(&self, archive: &Path) -> Result<()> {
        if self.state.profile != Profile::Node {
            bail!(
                "the cluster `{}` is of the fake profile: its pods run nothing, so there is nowhere to import an image to",
                self.name()
            );
        }
        let archive = archive.canonicalize().with_context(|| format!("image archive {}", archive.display()))?;
        let mut ctr = Command::new("ctr");
        ctr.env("PATH", packages::search_path()).arg("-a").arg(self.layout.containerd());
        ctr.args(["-n", "k8s.io", "images", "import", text(&archive)?]);
        process::output(&mut ctr).map(|_| ())
    }

    /// Runs a command of this machine in the network of the real node and returns what it printed.
    ///
    /// # Errors
    /// When the cluster has no real node or the command fails; the message holds all it printed.
    pub fn in_node_network(&self, command: &[&str]) -> Result<String> {
        if self.state.profile != Profile::Node {
            bail!("the cluster `{}` is of the fake profile and has no real node", self.name());
        }
        node::enter(self.pid(node::NAME).context("the node has ended")?, command)
    }

    /// Pid of a component that runs, to send it signals.
    #[must_use]
    pub fn pid(&self, component: &str) -> Option<i32> {
        let record = std::fs::read(self.layout.pids().join(component)).ok()?;
        let record: process::Record = serde_json::from_slice(&record).ok()?;
        record.alive().then_some(record.pid)
    }

    /// Names of the components and whether they run.
    ///
    /// # Errors
    /// When the cluster is gone.
    pub fn components(&self) -> Result<Vec<(String, bool)>> {
        ask(&self.layout, &Request::List)
    }

    /// Ends a component in good order (TERM; KILL after 10 seconds) and waits until it is gone.
    ///
    /// # Errors
    /// When the cluster is gone or has no such component.
    pub fn stop(&self, component: &str) -> Result<()> {
        ask(&self.layout, &Request::Stop(component.to_owned())).map(|_| ())
    }

    /// Kills a component and waits until it is gone.
    ///
    /// # Errors
    /// When the cluster is gone or has no such component.
    pub fn kill(&self, component: &str) -> Result<()> {
        ask(&self.layout, &Request::Kill(component.to_owned())).map(|_| ())
    }

    /// Starts an ended component of the control plane, or kwok, again. It does not wait until the component serves.
    ///
    /// # Errors
    /// When the cluster is gone, has no such component, or it runs.
    pub fn start(&self, component: &str) -> Result<()> {
        ask(&self.layout, &Request::Start(component.to_owned())).map(|_| ())
    }
}

/// A client for a kubeconfig file.
pub(super) async fn client_of(kubeconfig: &Path) -> Result<Client> {
    // fails when it is installed already, by whomever
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let kubeconfig = Kubeconfig::read_from(kubeconfig).with_context(|| format!("reading {}", kubeconfig.display()))?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .context("reading the kubeconfig")?;
    Client::try_from(config).context("making a client")
}
