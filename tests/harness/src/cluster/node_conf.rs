//! Configuration files of the real node's programs.

use std::fs;

use anyhow::{Context, Result};

use super::cache::Layout;
use super::images::PAUSE;
use super::remains::CGROUP;
use super::{DNS_ADDRESS, NODE_ADDRESS, POD_RANGE};

/// Writes them all under the run directory's `node`.
pub(super) fn write(layout: &Layout) -> Result<()> {
    let dir = layout.run.join("node");
    let files = [
        ("cni/10-pods.conflist", cni()),
        ("containerd.toml", containerd(layout)),
        ("kubelet.yaml", kubelet(layout)),
        ("kube-proxy.yaml", kube_proxy(layout)),
    ];
    for (file, content) in files {
        let path = dir.join(file);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
        }
        fs::write(&path, content).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// Point to point links: no bridge is needed, and a pod reaches itself through its Service.
fn cni() -> String {
    format!(
        r#"{{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {{"type": "ptp", "ipam": {{"type": "host-local", "subnet": "{POD_RANGE}", "routes": [{{"dst": "0.0.0.0/0"}}]}}}}]}}
"#
    )
}

/// `restrict_oom_score_adj`: a container host may lack `CAP_SYS_RESOURCE`.
fn containerd(layout: &Layout) -> String {
    format!(
        r#"version = 2
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.opt", "io.containerd.internal.v1.tracing", "io.containerd.tracing.processor.v1.otlp"]
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{run}/node/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
"#,
        socket = layout.containerd().display(),
        run = layout.run.display(),
    )
}

/// Pods get a cgroup of this cluster's own, so that taking it down cannot touch another kubelet's. kubelet's chains in
/// iptables are not needed beside kube-proxy's nftables mode.
fn kubelet(layout: &Layout) -> String {
    format!(
        "apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: {NODE_ADDRESS}
authentication: {{anonymous: {{enabled: false}}, webhook: {{enabled: true}}, x509: {{clientCAFile: {pki}/ca.crt}}}}
authorization: {{mode: Webhook}}
containerRuntimeEndpoint: unix://{socket}
cgroupDriver: cgroupfs
cgroupRoot: /{CGROUP}
failCgroupV1: false
failSwapOn: false
makeIPTablesUtilChains: false
clusterDNS: [{DNS_ADDRESS}]
clusterDomain: cluster.local
resolvConf: \"\"
maxPods: 240
imageGCHighThresholdPercent: 100
evictionHard: {{memory.available: 100Mi}}
",
        pki = layout.pki().display(),
        socket = layout.containerd().display(),
    )
}

/// The conntrack sysctls cannot be written in a network namespace. A tenth of a second, not one, between two updates: a
/// Service is programmed soon after its pod is ready.
fn kube_proxy(layout: &Layout) -> String {
    format!(
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
nftables: {{minSyncPeriod: 100ms}}
clientConnection: {{kubeconfig: {kubeconfig}}}
hostnameOverride: node1
clusterCIDR: {POD_RANGE}
conntrack: {{maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}}
",
        kubeconfig = layout.kubeconfig_of("kube-proxy").display(),
    )
}
