//! Process 1 of the real node's pid namespace: when it ends, the kernel ends everything in the namespace.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use rustix::process::{WaitOptions, wait};

use super::process::output;
use super::{NODE_ADDRESS, packages};

/// Directories in which the node's programs keep state: memory that only the node's mount namespace sees.
const TMPFS: [&str; 5] = ["/run", "/var/log", "/var/lib/cni", "/var/lib/containerd", "/var/lib/kubelet"];

/// Runs the node. On standard input the supervisor says `network` when the node's link is up, `kubelet` when the images
/// are imported, and nothing more; its end is the node's end.
///
/// # Errors
/// When a program cannot be started or ends; it does not return otherwise.
pub fn node_init(run: &Path, bin: &Path) -> Result<()> {
    if std::process::id() != 1 {
        bail!("node-init is the first process of a node's namespaces; `cluster up node` starts it");
    }
    for dir in TMPFS {
        // a lasting directory, made on the machine itself, for containerd to be able to start at all
        fs::create_dir_all(dir).with_context(|| format!("creating {dir}"))?;
        mount(&["-t", "tmpfs", "-o", "mode=0755", "tmpfs", dir])?;
    }
    // mounts that kubelet makes must reach the containers
    mount(&["--make-rshared", "/"])?;
    fs::write(run.join("node.up"), "").context("reporting that the namespaces are up")?;

    let mut orders = BufReader::new(std::io::stdin()).lines();
    let mut expect = move |word: &str| match orders.next() {
        Some(Ok(order)) if order == word => Ok(()),
        _ => bail!("the supervisor is gone"),
    };
    let conf = run.join("node");
    expect("network")?;
    let containerd =
        start(run, "containerd", Command::new("containerd").arg("--config").arg(conf.join("containerd.toml")))?;
    let proxy = format!("--config={}", conf.join("kube-proxy.yaml").display());
    let proxy = start(run, "kube-proxy", Command::new(bin.join("kube-proxy")).arg(proxy))?;
    expect("kubelet")?;
    let kubelet = start(
        run,
        "kubelet",
        Command::new(bin.join("kubelet"))
            .arg(format!("--config={}", conf.join("kubelet.yaml").display()))
            .arg(format!("--kubeconfig={}", run.join("node1.kubeconfig").display()))
            .arg("--hostname-override=node1")
            .arg(format!("--node-ip={NODE_ADDRESS}")),
    )?;
    std::thread::spawn(move || {
        let _ = expect("");
        std::process::exit(0);
    });
    // it is also the parent of everything in the namespace that lost its own, and must reap it
    loop {
        let Some((pid, status)) = wait(WaitOptions::empty()).context("waiting for the node's programs")? else {
            continue;
        };
        for (name, own) in [("containerd", containerd), ("kube-proxy", proxy), ("kubelet", kubelet)] {
            if u32::try_from(pid.as_raw_nonzero().get()) == Ok(own) {
                bail!("{name} ended ({status:?}); see {name}.log");
            }
        }
    }
}

fn start(run: &Path, name: &str, command: &mut Command) -> Result<u32> {
    let path = run.join("log").join(format!("{name}.log"));
    let log = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
    let child = command
        .env("PATH", packages::search_path())
        .stdin(Stdio::null())
        .stdout(log.try_clone().with_context(|| format!("opening {}", path.display()))?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("starting {name}"))?;
    Ok(child.id())
}

fn mount(arguments: &[&str]) -> Result<()> {
    output(Command::new("mount").env("PATH", packages::search_path()).args(arguments)).map(|_| ())
}
