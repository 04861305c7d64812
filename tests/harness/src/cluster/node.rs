//! One real node in network, mount and pid namespaces of its own, joined to the host by one veth pair.
//!
//! The host keeps routes to pods and Services over the pair, so a process on the host reaches them and cluster DNS. The
//! node has no default route: nothing in a pod can leave the machine. Ending the node's first process ends, with the
//! namespaces, every container, mount, link and packet filter rule in them.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Node;
use kube::{Api, Client};
use tokio::io::AsyncWriteExt;
use tokio::process::ChildStdin;

use super::cache::{Layout, text};
use super::plane::{Site, command};
use super::process::{launcher, output};
use super::remains::HOST_LINK;
use super::{DNS_ADDRESS, HOST_ADDRESS, NODE_ADDRESS, POD_RANGE, SERVICE_RANGE};
use super::{fake, images, node_conf, packages};

/// Name of the component, and of the processes in it: containerd, kube-proxy and kubelet have logs of their own.
pub(super) const NAME: &str = "node";
const COREDNS: &str = include_str!("../../cluster/conf/coredns.yaml");
/// The node's end of the pair.
const NODE_LINK: &str = "medley1";

/// Makes the veth pair; the API server needs the address on the host's end. The far end waits for the node.
pub(super) fn make_link() -> Result<()> {
    ip(&format!("link add {HOST_LINK} type veth peer name {NODE_LINK}"))?;
    ip(&format!("addr add {HOST_ADDRESS}/30 dev {HOST_LINK}"))?;
    ip(&format!("link set {HOST_LINK} up"))
}

/// A node whose containers can be started but whose kubelet waits.
pub(super) struct Prepared {
    init: ChildStdin,
}

/// Starts the node's namespaces, containerd and kube-proxy, and imports the images.
pub(super) async fn prepare(site: &Site<'_>) -> Result<Prepared> {
    let layout = site.layout;
    node_conf::write(layout)?;
    let unshare = "unshare --net --mount --pid --fork --kill-child --mount-proc";
    let own = std::env::current_exe().context("finding this program's own file")?;
    let arguments = ["node-init".to_owned(), text(&layout.run)?.to_owned(), text(site.bin)?.to_owned()];
    let mut command: Vec<OsString> = unshare.split(' ').map(OsString::from).collect();
    command.push(own.into());
    command.extend(arguments.map(OsString::from));
    let mut init = site.components.start_with_input(NAME, command)?;

    let mark = layout.run.join("node.up");
    site.components
        .until(Duration::from_secs(10), "the node's namespaces", async || mark.exists().then_some(()))
        .await?;
    // `unshare` itself is in the node's network; only its child is in the new pid namespace
    let pid = site.components.pid(NAME).context("the node ended")?;
    ip(&format!("link set {NODE_LINK} netns {pid}"))?;
    let inside = format!(
        "ip link set lo up && ip addr add {NODE_ADDRESS}/30 dev {NODE_LINK} && ip link set {NODE_LINK} up && echo 1 >/proc/sys/net/ipv4/ip_forward"
    );
    enter(pid, &["sh", "-c", &inside])?;
    ip(&format!("route add {POD_RANGE} via {NODE_ADDRESS}"))?;
    ip(&format!("route add {SERVICE_RANGE} via {NODE_ADDRESS}"))?;
    tell(&mut init, "network").await?;

    let ready = async || ctr(layout, &["version"]).await.ok();
    site.components.until(Duration::from_secs(30), "containerd", ready).await?;
    for archive in images::ensure(&mut |text| site.report.progress(text))? {
        import(layout, &archive).await?;
    }
    Ok(Prepared { init })
}

/// Starts kubelet and cluster DNS and waits until both are ready. The node lives for as long as the result is kept.
pub(super) async fn up(site: &Site<'_>, client: Client, mut prepared: Prepared) -> Result<ChildStdin> {
    site.report.progress("starting kubelet and cluster DNS");
    tell(&mut prepared.init, "kubelet").await?;
    apply(site, COREDNS).await?;
    let nodes: Api<Node> = Api::all(client.clone());
    let ready = async || nodes.get_opt("node1").await.ok().flatten().filter(fake::is_ready);
    site.components.until(Duration::from_secs(60), "node1 (kubelet)", ready).await?;
    let deployments: Api<Deployment> = Api::namespaced(client, "kube-system");
    let available = async || {
        let deployment = deployments.get_opt("coredns").await.ok().flatten()?;
        deployment.status?.available_replicas.filter(|available| *available > 0)
    };
    site.components.until(Duration::from_secs(60), "cluster DNS (deployment kube-system/coredns)", available).await?;
    Ok(prepared.init)
}

async fn tell(init: &mut ChildStdin, word: &str) -> Result<()> {
    init.write_all(format!("{word}\n").as_bytes()).await.context("telling the node to go on; see node.log")?;
    init.flush().await.context("telling the node to go on")
}

async fn apply(site: &Site<'_>, manifests: &str) -> Result<()> {
    let path = site.layout.run.join("coredns.yaml");
    fs::write(&path, manifests.replace("${DNS_ADDRESS}", DNS_ADDRESS))
        .with_context(|| format!("writing {}", path.display()))?;
    let kubeconfig = format!("--kubeconfig={}", site.layout.kubeconfig().display());
    let arguments = [kubeconfig, "apply".to_owned(), "-f".to_owned(), text(&path)?.to_owned()];
    finish(command(site.program("kubectl"), arguments)).await
}

/// Imports an image archive into the node's containerd.
pub(super) async fn import(layout: &Layout, archive: &Path) -> Result<()> {
    ctr(layout, &["-n", "k8s.io", "images", "import", text(archive)?])
        .await
        .with_context(|| format!("importing image archive {}", archive.display()))
}

async fn ctr(layout: &Layout, arguments: &[&str]) -> Result<()> {
    let address = ["-a", text(&layout.containerd())?].map(str::to_owned);
    finish(command("ctr".into(), address.into_iter().chain(arguments.iter().map(|&word| word.to_owned())))).await
}

/// Runs a tool to its end; launched like a component, since a tool that waits for an answer must not outlive the
/// supervisor either.
async fn finish(words: Vec<OsString>) -> Result<()> {
    let what = words.first().map(|program| program.display().to_string()).unwrap_or_default();
    let mut tool = tokio::process::Command::from(launcher(true)?);
    tool.args(&words).env("PATH", packages::search_path()).kill_on_drop(true);
    let result = tool.output().await.with_context(|| format!("starting {what}"))?;
    if !result.status.success() {
        anyhow::bail!("{what} failed ({}): {}", result.status, String::from_utf8_lossy(&result.stderr).trim());
    }
    Ok(())
}

/// Runs a command in the network of the node whose `unshare` is `pid`.
pub(super) fn enter(pid: i32, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new("nsenter");
    output(command.env("PATH", packages::search_path()).args(["-t", &pid.to_string(), "-n", "--"]).args(arguments))
}

fn ip(words: &str) -> Result<()> {
    output(Command::new("ip").env("PATH", packages::search_path()).args(words.split(' '))).map(|_| ())
}
