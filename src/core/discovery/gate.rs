//! The readiness gate of a workload's pods, for what the kubelet cannot judge: which pods medley probes, and what each is told.
//!
//! Fail static. What a pod was told last stands in the pod itself, so that it holds while nobody leads, and the next leader starts from
//! it. A pod that is in is taken out by what it answers, by breaking off, or by nobody listening; that it cannot be reached at all is the kubelet's to
//! judge, since from afar it may be medley that is cut off. A pod of another template was made for other probes: it is left as it is.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use serde::{Deserialize, de::IntoDeserializer};

use super::{
    address::usable,
    defaults, probing, status,
    target::{Endpoint, Probing},
    view::ServiceView,
};
use crate::{
    api::{MedicalServiceSpec, interface::Interface, medical_service::EndpointReason},
    core::monitoring::health::{Health, State},
    render::{Owner, gate},
};

/// What a pod is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// Name of the pod.
    pub pod: String,
    /// Its UID: not another pod of this name.
    pub uid: String,
    /// The resource version that this was decided on: what a former leader sends late is refused.
    pub version: String,
    /// Whether all its probed interfaces answer as they should.
    pub holds: bool,
    /// A word for it.
    pub reason: &'static str,
    /// Which interface, and where to look.
    pub message: String,
    /// Since when `holds` is what it is.
    pub since: Timestamp,
}

/// What was worked out about the pods with a gate.
#[derive(Debug, Default)]
pub(super) struct Outlook {
    /// What is probed.
    pub probes: Vec<Probing>,
    /// What pods are told.
    pub gates: Vec<Gate>,
    /// Why a pod whose containers are ready is not: as it was told last.
    pub reasons: BTreeMap<IpAddr, EndpointReason>,
    /// How many pods of the present template each reason keeps out.
    pub held: BTreeMap<EndpointReason, usize>,
    /// What people should know besides.
    pub remarks: Vec<String>,
}

/// A pod, as far as it counts here.
struct Seen<'a> {
    pod: &'a Pod,
    uid: &'a str,
    address: IpAddr,
    /// Its containers run and the kubelet's own probe passes.
    containers_ready: bool,
    told: Option<&'a PodCondition>,
}

impl<'a> Seen<'a> {
    /// `None` for one that has no address, or has ended or is about to.
    fn of(pod: &'a Pod) -> Option<Self> {
        let status = pod.status.as_ref()?;
        if pod.metadata.deletion_timestamp.is_some() || status.phase.as_deref() != Some("Running") {
            return None;
        }
        let condition = |type_: &str| status.conditions.iter().flatten().find(|c| c.type_ == type_);
        Some(Self {
            pod,
            uid: pod.metadata.uid.as_deref()?,
            address: status.pod_ip.as_deref()?.parse().ok().and_then(usable)?,
            containers_ready: condition("ContainersReady").is_some_and(|c| c.status == "True"),
            told: condition(gate::CONDITION),
        })
    }

    fn is_in(&self) -> bool {
        self.told.is_some_and(|c| c.status == "True")
    }

    /// Since when it is in, or out.
    fn since(&self, now: Timestamp) -> Timestamp {
        self.told.and_then(|c| c.last_transition_time.as_ref()).map_or(now, |t| t.0)
    }

    /// Why it is out.
    fn reason(&self) -> EndpointReason {
        let told = self.told.filter(|c| c.status == "False").and_then(|c| c.reason.as_deref());
        let known = |word: &str| {
            let word: serde::de::value::StrDeserializer<'_, serde::de::value::Error> = word.into_deserializer();
            EndpointReason::deserialize(word).ok().filter(|r| *r != EndpointReason::Healthy)
        };
        told.and_then(known).unwrap_or(EndpointReason::NotProbed)
    }
}

/// Works out everything about the pods with a gate.
pub(super) fn outlook(view: &ServiceView<'_>, owner: &Owner, spec: &MedicalServiceSpec, now: Timestamp) -> Outlook {
    let mut outlook = Outlook::default();
    let template = gate::fingerprint(&spec.interfaces);
    let mut interfaces: Vec<&Interface> = spec.interfaces.iter().filter(|i| defaults::gated(i)).collect();
    interfaces.sort_by(|a, b| a.name.cmp(&b.name));
    let mut pods: Vec<Seen<'_>> = view.pods.iter().filter_map(|pod| Seen::of(pod)).collect();
    // two pods have one address only while what is known of one of them is old
    pods.sort_by(|a, b| (a.address, &a.pod.metadata.name).cmp(&(b.address, &b.pod.metadata.name)));
    let mut unreached = 0;
    for seen in &pods {
        let present = template.is_some() && label(seen.pod) == template.as_deref();
        if seen.containers_ready && !seen.is_in() {
            outlook.reasons.insert(seen.address, seen.reason());
            if present {
                *outlook.held.entry(seen.reason()).or_default() += 1;
            }
        }
        // one that still starts would only be told that it does
        let begun = seen.containers_ready || seen.told.is_some();
        if !present || !begun || view.guard.refusal(seen.address).is_some() {
            continue;
        }
        let mut found = Vec::new();
        for interface in &interfaces {
            let endpoint = Endpoint {
                address: seen.address,
                port: defaults::target_port(interface),
                interface: interface.name.clone(),
                pod: Some(seen.uid.to_owned()),
            };
            let seed = if seen.is_in() { Health::trusted(seen.since(now)) } else { Health::unknown(now) };
            found.push((interface.name.as_str(), view.health.get(&endpoint).copied().unwrap_or(seed)));
            let known_as = format!("{}.{}.svc", owner.name, owner.namespace);
            outlook.probes.push(Probing {
                target: probing::target(endpoint, interface, Some(&known_as), &owner.namespace),
                seed,
            });
        }
        match verdict(&found, seen.is_in()) {
            Verdict::Says { holds, reason, message } => {
                let since = if seen.told.is_some() && seen.is_in() == holds { seen.since(now) } else { now };
                let said = |c: &PodCondition| {
                    seen.is_in() == holds
                        && c.reason.as_deref() == Some(reason)
                        && c.message.as_deref() == Some(message.as_str())
                };
                if !seen.told.is_some_and(said) {
                    outlook.gates.push(Gate {
                        pod: seen.pod.metadata.name.clone().unwrap_or_default(),
                        uid: seen.uid.to_owned(),
                        version: seen.pod.metadata.resource_version.clone().unwrap_or_default(),
                        holds,
                        reason,
                        message,
                        since,
                    });
                }
            }
            Verdict::Unreached => unreached += 1,
            Verdict::Nothing => {}
        }
    }
    if unreached > 0 {
        outlook.remarks.push(format!(
            "medley cannot reach {unreached} of the pods, which stay as they are: check the network policies between them"
        ));
    }
    outlook
}

fn label(pod: &Pod) -> Option<&str> {
    pod.metadata.labels.as_ref()?.get(gate::LABEL).map(String::as_str)
}

/// What the health of a pod's interfaces means for the pod.
enum Verdict {
    /// This is to stand in it.
    Says { holds: bool, reason: &'static str, message: String },
    /// It is in and cannot be reached: it stays in.
    Unreached,
    /// Too little is known.
    Nothing,
}

fn verdict(found: &[(&str, Health)], is_in: bool) -> Verdict {
    let far = |reason| matches!(reason, EndpointReason::TcpTimeout | EndpointReason::TcpUnreachable);
    let failing: BTreeSet<(EndpointReason, &str)> =
        found.iter().filter(|(_, h)| h.state() == State::Unhealthy).map(|(name, h)| (h.reason(), *name)).collect();
    let counts = |(reason, _): &&(EndpointReason, &str)| !is_in || !far(*reason);
    // of several the lowest layer, since what is above it cannot work without it
    if let Some((reason, name)) = failing.iter().find(counts) {
        let message = format!("interface {name}: {}", status::advice(*reason));
        return Verdict::Says { holds: false, reason: status::word(*reason), message };
    }
    if !failing.is_empty() {
        return Verdict::Unreached;
    }
    if found.iter().all(|(_, h)| h.ready()) {
        let message = "the probed interfaces answer".to_owned();
        return Verdict::Says { holds: true, reason: status::word(EndpointReason::Healthy), message };
    }
    Verdict::Nothing
}
