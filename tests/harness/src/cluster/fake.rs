//! Nodes and pods that change state but run nothing.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Node;
use kube::api::PostParams;
use kube::{Api, Client};

use super::plane::{Site, command, free_ports};

const STAGES: &str = include_str!("../../cluster/conf/kwok.yaml");

/// Starts kwok and `nodes` fake nodes, and waits until they are Ready.
pub(super) async fn up(site: &Site<'_>, client: Client, nodes: u32) -> Result<()> {
    site.report.progress(format!("starting {nodes} fake nodes"));
    let stages = site.layout.run.join("kwok.yaml");
    fs::write(&stages, STAGES).with_context(|| format!("writing {}", stages.display()))?;
    let [port] = free_ports()?;
    site.components.start(
        "kwok",
        command(
            site.program("kwok"),
            [
                format!("--config={}", stages.display()),
                format!("--kubeconfig={}", site.layout.kubeconfig_of("kwok").display()),
                "--manage-all-nodes".to_owned(),
                "--node-ip=127.0.0.1".to_owned(),
                "--node-lease-duration-seconds=40".to_owned(),
                format!("--server-address=127.0.0.1:{port}"),
            ],
        ),
    )?;

    let api: Api<Node> = Api::all(client);
    let create = |index: u32| {
        let api = api.clone();
        async move {
            let name = format!("fake-{index}");
            let node: Node = serde_json::from_value(serde_json::json!({
                "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}},
            }))?;
            api.create(&PostParams::default(), &node).await.with_context(|| format!("creating node {name}"))
        }
    };
    let mut created = futures::stream::iter((1..=nodes).map(create)).buffer_unordered(16);
    while let Some(result) = created.next().await {
        result?;
    }
    let wanted = usize::try_from(nodes)?;
    let all_ready = async || {
        let list = api.list(&Default::default()).await.ok()?;
        (list.iter().filter(|node| is_ready(node)).count() >= wanted).then_some(())
    };
    site.components.until(Duration::from_secs(60), "the fake nodes", all_ready).await
}

pub(super) fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
}
