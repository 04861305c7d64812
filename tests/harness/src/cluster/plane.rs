//! The control plane: etcd, API server, controller manager, scheduler.

use std::ffi::OsString;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{Api, Client};

use super::cache::Layout;
use super::components::Components;
use super::handle::client_of;
use super::report::Reporter;
use super::{HOST_ADDRESS, Profile, SERVICE_RANGE, pki};

const AUDIT_POLICY: &str = include_str!("../../cluster/conf/audit.yaml");
const LIMIT: Duration = Duration::from_secs(90);
/// The real node's API server has an address of its own and needs no free port.
const NODE_PROFILE_PORT: u16 = 6443;

/// What every part of bringing a cluster up works with.
pub(super) struct Site<'a> {
    pub(super) layout: &'a Layout,
    pub(super) bin: &'a Path,
    pub(super) components: &'a Components,
    pub(super) report: &'a Reporter,
}

impl Site<'_> {
    pub(super) fn program(&self, name: &str) -> OsString {
        self.bin.join(name).into()
    }
}

/// Starts the control plane and waits until it serves. Returns a client of its administrator.
pub(super) async fn up(site: &Site<'_>, profile: Profile) -> Result<Client> {
    let mut attempt = 1;
    loop {
        match try_up(site, profile).await {
            // between the choice of a free port and its use another process may take it
            Err(_) if attempt < 3 && port_taken(site.components) => {
                attempt += 1;
                site.report.progress("a port was taken meanwhile; trying others");
                for name in PARTS {
                    if site.components.pid(name).is_some() {
                        site.components.stop(name, rustix::process::Signal::KILL).await?;
                    }
                    site.components.forget(name)?;
                }
            }
            result => return result,
        }
    }
}

const PARTS: [&str; 4] = ["etcd", "apiserver", "controller-manager", "scheduler"];

fn port_taken(components: &Components) -> bool {
    PARTS.iter().any(|part| components.log_says(part, "address already in use"))
}

async fn try_up(site: &Site<'_>, profile: Profile) -> Result<Client> {
    let layout = site.layout;
    let [etcd, peer, free] = free_ports()?;
    let (address, port) = match profile {
        Profile::Fake => ("127.0.0.1", free),
        Profile::Node => (HOST_ADDRESS, NODE_PROFILE_PORT),
    };
    pki::write(layout, address, port)?;
    let policy = layout.run.join("audit.yaml");
    fs::write(&policy, AUDIT_POLICY).with_context(|| format!("writing {}", policy.display()))?;

    site.report.progress("starting etcd and the API server");
    let data = layout.run.join("etcd");
    super::programs::remove(&data)?;
    site.components.start("etcd", etcd_command(site, &data, etcd, peer))?;
    site.components.start("apiserver", apiserver_command(site, profile, address, port, etcd, &policy))?;
    let client = client_of(&layout.kubeconfig()).await?;
    let ready = async || {
        let request = http::Request::get("/readyz").body(Vec::new()).ok()?;
        client.request_text(request).await.ok()
    };
    site.components.until(LIMIT, "the API server", ready).await?;

    site.report.progress("starting the controller manager and the scheduler");
    site.components.start("controller-manager", controller_manager_command(site))?;
    site.components.start("scheduler", scheduler_command(site))?;
    // pods are refused until the controller manager has made it
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
    let account = async || accounts.get_opt("default").await.ok().flatten();
    site.components.until(LIMIT, "the default ServiceAccount (controller manager)", account).await?;
    Ok(client)
}

fn etcd_command(site: &Site<'_>, data: &Path, port: u16, peer: u16) -> Vec<OsString> {
    command(
        site.program("etcd"),
        [
            "--name=e".to_owned(),
            format!("--data-dir={}", data.display()),
            // a cluster that is thrown away need not survive a power failure
            "--unsafe-no-fsync".to_owned(),
            "--log-level=warn".to_owned(),
            format!("--listen-client-urls=http://127.0.0.1:{port}"),
            format!("--advertise-client-urls=http://127.0.0.1:{port}"),
            format!("--listen-peer-urls=http://127.0.0.1:{peer}"),
            format!("--initial-advertise-peer-urls=http://127.0.0.1:{peer}"),
            format!("--initial-cluster=e=http://127.0.0.1:{peer}"),
        ],
    )
}

fn apiserver_command(
    site: &Site<'_>,
    profile: Profile,
    address: &str,
    port: u16,
    etcd: u16,
    policy: &Path,
) -> Vec<OsString> {
    let pki = site.layout.pki();
    let file = |name: &str| pki.join(name).display().to_string();
    let reconciler = match profile {
        // a loopback address may not be the endpoint of the Service `kubernetes`
        Profile::Fake => "none",
        Profile::Node => "lease",
    };
    command(
        site.program("kube-apiserver"),
        [
            format!("--etcd-servers=http://127.0.0.1:{etcd}"),
            format!("--bind-address={address}"),
            format!("--advertise-address={address}"),
            format!("--secure-port={port}"),
            format!("--endpoint-reconciler-type={reconciler}"),
            format!("--tls-cert-file={}", file("apiserver.crt")),
            format!("--tls-private-key-file={}", file("apiserver.key")),
            format!("--client-ca-file={}", file("ca.crt")),
            format!("--service-account-key-file={}", file("sa.pub")),
            format!("--service-account-signing-key-file={}", file("sa.key")),
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
            format!("--service-cluster-ip-range={SERVICE_RANGE}"),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--enable-admission-plugins=NodeRestriction".to_owned(),
            "--allow-privileged".to_owned(),
            "--profiling=false".to_owned(),
            format!("--kubelet-client-certificate={}", file("admin.crt")),
            format!("--kubelet-client-key={}", file("admin.key")),
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
            format!("--audit-policy-file={}", policy.display()),
            format!("--audit-log-path={}", site.layout.audit_log().display()),
            // never rotated away under a reader, in megabytes
            "--audit-log-maxsize=4000".to_owned(),
        ],
    )
}

fn controller_manager_command(site: &Site<'_>) -> Vec<OsString> {
    let pki = site.layout.pki();
    command(
        site.program("kube-controller-manager"),
        [
            format!("--kubeconfig={}", site.layout.kubeconfig_of("controller-manager").display()),
            format!("--service-account-private-key-file={}", pki.join("sa.key").display()),
            format!("--root-ca-file={}", pki.join("ca.crt").display()),
            "--use-service-account-credentials".to_owned(),
            // no port at all: several clusters may run
            "--secure-port=0".to_owned(),
            "--leader-elect=false".to_owned(),
            "--profiling=false".to_owned(),
            // with the usual 20 a second it waits for itself for 4 seconds before its first controller starts
            "--kube-api-qps=300".to_owned(),
            "--kube-api-burst=600".to_owned(),
        ],
    )
}

fn scheduler_command(site: &Site<'_>) -> Vec<OsString> {
    command(
        site.program("kube-scheduler"),
        [
            format!("--kubeconfig={}", site.layout.kubeconfig_of("scheduler").display()),
            "--secure-port=0".to_owned(),
            "--leader-elect=false".to_owned(),
            "--profiling=false".to_owned(),
            "--kube-api-qps=300".to_owned(),
            "--kube-api-burst=600".to_owned(),
        ],
    )
}

/// A program and its arguments.
pub(super) fn command(program: OsString, arguments: impl IntoIterator<Item = String>) -> Vec<OsString> {
    std::iter::once(program).chain(arguments.into_iter().map(OsString::from)).collect()
}

/// Different ports that are free on loopback now, below those the kernel gives to outgoing connections.
pub(super) fn free_ports<const N: usize>() -> Result<[u16; N]> {
    // bound until all are chosen, so that none comes twice
    let mut held = Vec::with_capacity(N);
    let mut ports = [0; N];
    let random = RandomState::new();
    for candidate in (0..2000_u32).map(|number| 15_000 + u16::try_from(random.hash_one(number) % 15_000).unwrap_or(0)) {
        if held.len() == N {
            break;
        }
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, candidate)) {
            ports[held.len()] = candidate;
            held.push(listener);
        }
    }
    if held.len() < N {
        anyhow::bail!("no free ports on loopback between 15000 and 30000");
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chosen_ports_differ_and_are_free() {
        let ports: [u16; 8] = free_ports().unwrap();
        for (index, port) in ports.iter().enumerate() {
            assert!(!ports[..index].contains(port));
            assert!((15_000..30_000).contains(port));
        }
    }
}
