//! The `cluster` command: a real Kubernetes on one machine, for tests and demos.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use harness::cluster::cache::Layout;
use harness::cluster::lifecycle::{self, Request};
use harness::cluster::oci::Image;
use harness::cluster::{self, Cluster, Phase, Profile, Spec, State};

/// A real Kubernetes on one machine, without Docker, registry or cloud.
///
/// Profile `fake`: control plane and kwok; nodes and pods change state but run nothing. No root, loopback only, several
/// at a time under different names. Profile `node`: one real node with containerd and cluster DNS. Root, Linux, one at a
/// time on a machine.
///
/// Programs and run directories live in $MEDLEY_CACHE, or $XDG_CACHE_HOME/medley, or ~/.cache/medley.
#[derive(Parser)]
#[command(name = "cluster", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build the cluster's programs, unless this machine has them; prints the directory that holds them
    Build,
    /// Bring a cluster up that stays until `cluster down`; returns at once if it is up
    Up(Wanted),
    /// Take clusters down and remove whatever may be left of them; safe at any time
    Down {
        /// Which clusters: those of one profile's default name, or all
        which: Which,
        /// The one cluster of this name instead
        #[arg(long)]
        name: Option<String>,
    },
    /// Show the clusters of this cache
    Status,
    /// Bring a cluster up, run a command with it, and take it down whatever happens
    ///
    /// The command gets MEDLEY_CLUSTER (the run directory), KUBECONFIG, and a PATH that starts with the cluster's
    /// programs. Its exit code is passed on.
    Run {
        #[command(flatten)]
        wanted: Wanted,
        /// The command and its arguments, after `--`
        #[arg(last = true, required = true, value_name = "CMD")]
        command: Vec<OsString>,
    },
    /// Print the path of a running cluster's kubeconfig
    Kubeconfig {
        /// Its profile
        profile: Profile,
        /// Its name, if not the profile's
        #[arg(long)]
        name: Option<String>,
    },
    /// Make a one-layer OCI image archive from a directory
    Image {
        /// Full name of the image with its tag, such as localhost/medley:dev
        #[arg(value_name = "NAME:TAG")]
        image: String,
        /// The directory that becomes the image's root
        rootfs: PathBuf,
        /// The archive to write
        out: PathBuf,
        /// Program and arguments as a JSON list, such as '["/bin/medley", "run"]'
        #[arg(long, value_name = "JSON")]
        entrypoint: String,
        /// User, or USER:GROUP, to run as; root when absent
        #[arg(long)]
        user: Option<String>,
        /// An environment variable; can be given several times
        #[arg(long, value_name = "K=V")]
        env: Vec<String>,
    },
    /// Import image archives into a running cluster's real node
    Import {
        /// Its profile; only `node` has a real node
        profile: Profile,
        /// The archives
        #[arg(required = true, value_name = "TAR")]
        archives: Vec<PathBuf>,
        /// Its name, if not the profile's
        #[arg(long)]
        name: Option<String>,
    },
    #[command(hide = true)]
    Supervise { spec: String },
    #[command(hide = true)]
    Launch {
        #[arg(long)]
        parent: i32,
        #[arg(long)]
        session: bool,
        #[arg(last = true)]
        command: Vec<OsString>,
    },
    #[command(hide = true)]
    NodeInit { run: PathBuf, bin: PathBuf },
}

#[derive(Args)]
struct Wanted {
    /// What the cluster consists of: fake or node
    profile: Profile,
    /// Number of fake nodes [default: 3]
    #[arg(long, value_name = "N")]
    nodes: Option<u32>,
    /// Name of the cluster, if not the profile's
    #[arg(long)]
    name: Option<String>,
    /// How long to wait for a cluster that is in the way
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    wait: u64,
}

impl From<Wanted> for Request {
    fn from(wanted: Wanted) -> Self {
        let Wanted { profile, nodes, name, wait } = wanted;
        Self { profile, name, nodes, wait: Duration::from_secs(wait) }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Which {
    Fake,
    Node,
    All,
}

fn main() -> ExitCode {
    match perform(Cli::parse().command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("cluster: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(command: Command) -> Result<u8> {
    let start = Instant::now();
    let mut progress = move |text: &str| eprintln!("{:6.1} s  {text}", start.elapsed().as_secs_f64());
    match command {
        Command::Build => println!("{}", cluster::build(&mut progress)?.display()),
        Command::Up(wanted) => {
            let layout = block_on(lifecycle::up(&wanted.into(), &mut progress))?;
            progress(&format!("the cluster `{}` is up", layout.name));
            println!("export KUBECONFIG={}", layout.kubeconfig().display());
        }
        Command::Down { which, name } => down(which, name.as_deref())?,
        Command::Status => status()?,
        Command::Run { wanted, command } => {
            return block_on(lifecycle::run(&wanted.into(), &command, &mut progress));
        }
        Command::Kubeconfig { profile, name } => {
            println!("{}", running(profile, name.as_deref())?.kubeconfig().display())
        }
        Command::Image { image, rootfs, out, entrypoint, user, env } => {
            let entrypoint = serde_json::from_str(&entrypoint).with_context(|| {
                format!("--entrypoint `{entrypoint}` is not a JSON list of texts, such as '[\"/bin/medley\"]'")
            })?;
            Image { name: image, entrypoint, user, env }.write(&rootfs, &out)?;
        }
        Command::Import { profile, archives, name } => {
            let cluster = running(profile, name.as_deref())?;
            for archive in archives {
                cluster.import_image(&archive)?;
            }
        }
        Command::Supervise { spec } => {
            let spec: Spec =
                serde_json::from_str(&spec).context("supervise is run by `cluster up` and `cluster run`")?;
            cluster::supervise(&spec)?;
        }
        Command::Launch { parent, session, command } => match cluster::launch(parent, session, &command)? {},
        Command::NodeInit { run, bin } => cluster::node_init(&run, &bin)?,
    }
    Ok(0)
}

/// On this thread alone: the kernel ties launched processes to the thread that made them.
fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}

fn running(profile: Profile, name: Option<&str>) -> Result<Cluster> {
    let cluster = Cluster::named(name.unwrap_or(profile.as_str()))?;
    if cluster.profile() != profile {
        bail!("the cluster `{}` is of the {} profile", cluster.name(), cluster.profile());
    }
    Ok(cluster)
}

fn down(which: Which, name: Option<&str>) -> Result<()> {
    let profile = match which {
        Which::Fake => Some(Profile::Fake),
        Which::Node => Some(Profile::Node),
        Which::All => None,
    };
    let layouts = match (name, profile) {
        (Some(name), _) => vec![Layout::of(name)?],
        (None, Some(profile)) => vec![Layout::of(profile.as_str())?],
        (None, None) => {
            let mut all = Layout::all()?;
            // what another cache's node left on the machine goes too
            if all.is_empty() {
                all.push(Layout::of(Profile::Node.as_str())?);
            }
            all
        }
    };
    for layout in layouts {
        if lifecycle::down(&layout, profile)? {
            eprintln!("the cluster `{}` is down; its logs are in {}", layout.name, layout.last_log.display());
        }
    }
    Ok(())
}

fn status() -> Result<()> {
    let mut text = String::new();
    for layout in Layout::all()? {
        let Some(state) = State::running(&layout) else {
            if layout.run.exists() {
                writeln!(
                    text,
                    "{}: crashed; `cluster down all --name {}` removes what is left",
                    layout.name, layout.name
                )?;
            }
            continue;
        };
        let health = match state.phase {
            Phase::Starting => "coming up",
            Phase::Ready if block_on(async { Ok(lifecycle::healthy(&layout).await) })? => "healthy",
            Phase::Ready => "not healthy",
        };
        writeln!(text, "{}: profile {}, {health}, {} node(s)", layout.name, state.profile, state.nodes)?;
        writeln!(text, "  started by `{}`, supervisor {}", state.command, state.supervisor_pid())?;
        writeln!(text, "  KUBECONFIG={}", layout.kubeconfig().display())?;
        writeln!(text, "  run directory {}", layout.run.display())?;
        for (component, runs) in lifecycle::components(&layout).unwrap_or_default() {
            writeln!(text, "  {component} {}", if runs { "runs" } else { "has ended" })?;
        }
    }
    if text.is_empty() {
        text.push_str("no cluster\n");
    }
    match std::io::stdout().write_all(text.as_bytes()) {
        // whoever reads has seen enough
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("writing to standard output"),
    }
}
