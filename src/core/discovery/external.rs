//! The endpoints of hosts outside the cluster: which addresses they have, which are probed, which are published.
//!
//! Fail static: while a host's name has not been looked up, or its lookup fails and no address is known, the addresses that
//! were published stay; an endpoint that was ready stays ready until its probes have failed often enough.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use jiff::Timestamp;

use super::{
    address::usable,
    lookup::LookupFailure,
    probing,
    target::{Endpoint, Probing},
    view::ServiceView,
};
use crate::{
    api::{
        MedicalServiceSpec,
        interface::Interface,
        medical_service::{EndpointReason, EndpointStatus, External},
    },
    core::monitoring::health::Health,
    render::{
        Owner,
        endpoint_slice::{Family, MAX_ADDRESSES, SliceWish, ready_addresses},
    },
};

/// What was worked out.
#[derive(Debug, Default)]
pub(super) struct Outlook {
    /// Each address and interface, ordered; then the hosts that have no address.
    pub endpoints: Vec<EndpointStatus>,
    /// What is probed.
    pub probes: Vec<Probing>,
    /// What is looked up.
    pub hosts: BTreeSet<String>,
    /// What is published.
    pub slices: Vec<SliceWish>,
    /// What the user must change.
    pub problems: Vec<String>,
    /// What people should know besides.
    pub remarks: Vec<String>,
}

/// Where an address comes from.
#[derive(Clone, Debug)]
struct Source {
    host: Option<String>,
    zone: Option<String>,
}

/// A host whose addresses are not known.
struct Blind<'a> {
    host: &'a str,
    zone: Option<&'a str>,
    /// Why; `None` while it has not been looked up.
    failed: Option<LookupFailure>,
}

/// Works out everything about the hosts of `external`.
pub(super) fn outlook(
    view: &ServiceView<'_>,
    owner: &Owner,
    spec: &MedicalServiceSpec,
    external: &External,
    now: Timestamp,
) -> Outlook {
    let mut outlook = Outlook::default();
    let past = Past::of(view, owner);
    let mut hosts: Vec<_> = external.endpoints.iter().collect();
    hosts.sort_by(|a, b| a.host.cmp(&b.host));

    let mut known: BTreeMap<IpAddr, Source> = BTreeMap::new();
    let mut blind = Vec::new();
    for endpoint in hosts {
        let zone = endpoint.zone.as_deref();
        if let Ok(literal) = endpoint.host.parse::<IpAddr>() {
            match usable(literal) {
                Some(address) => add(&mut known, address, None, zone),
                None => outlook.problems.push(format!(
                    "spec.external.endpoints: host {} must not be a loopback, link-local, multicast or unspecified address; \
                     write an address that every node can reach",
                    endpoint.host
                )),
            }
            continue;
        }
        let host = endpoint.host.as_str();
        outlook.hosts.insert(host.to_owned());
        let lookup = view.lookups.get(host);
        let addresses: Vec<IpAddr> = lookup.iter().flat_map(|l| &l.addresses).filter_map(|a| usable(*a)).collect();
        let failure = lookup.and_then(|l| l.failed);
        for &address in &addresses {
            add(&mut known, address, Some(host), zone);
        }
        if addresses.is_empty() {
            for address in past.of_host(host) {
                add(&mut known, address, Some(host), zone);
            }
            blind.push(Blind { host, zone, failed: lookup.map(|l| l.failed.unwrap_or(LookupFailure::NotFound)) });
        }
        if let Some(failure) = failure {
            outlook.remarks.push(remark(host, failure, known.values().any(|s| s.host.as_deref() == Some(host))));
        }
    }
    if let Some(first) = blind.first() {
        // the status holds the first hundred endpoints only: what is published beyond them is one of the unknown hosts'
        for address in past.published_and_untold() {
            add(&mut known, address, Some(first.host), first.zone);
        }
    }
    outlook.cut(&mut known);
    outlook.endpoints(view, &past, spec, &known, now);
    for host in blind.iter().filter(|b| !known.values().any(|s| s.host.as_deref() == Some(b.host))) {
        outlook.endpoints.push(past.placeholder(host, now));
    }
    outlook
}

/// An address that two hosts have counts for the first of them.
fn add(known: &mut BTreeMap<IpAddr, Source>, address: IpAddr, host: Option<&str>, zone: Option<&str>) {
    known.entry(address).or_insert_with(|| Source { host: host.map(str::to_owned), zone: zone.map(str::to_owned) });
}

fn remark(host: &str, failure: LookupFailure, kept: bool) -> String {
    let end = if kept { "; its last known addresses are kept" } else { "" };
    format!("the lookup of {host} fails: {failure}{end}")
}

impl Outlook {
    /// Keeps the number of addresses, and so of probes and of entries in a slice, within bounds.
    fn cut(&mut self, known: &mut BTreeMap<IpAddr, Source>) {
        for family in Family::ALL {
            let extra: Vec<IpAddr> =
                known.keys().copied().filter(|a| Family::of(*a) == family).skip(MAX_ADDRESSES).collect();
            if !extra.is_empty() {
                self.remarks.push(format!(
                    "{} addresses beyond the first {MAX_ADDRESSES} are left out: register fewer hosts in one service",
                    extra.len()
                ));
                known.retain(|a, _| !extra.contains(a));
            }
        }
    }

    /// Each known address with each interface. One that medley must not reach is told of, and neither probed nor published.
    fn endpoints(
        &mut self,
        view: &ServiceView<'_>,
        past: &Past<'_>,
        spec: &MedicalServiceSpec,
        known: &BTreeMap<IpAddr, Source>,
        now: Timestamp,
    ) {
        let namespace = view.service.metadata.namespace.as_deref().unwrap_or_default();
        let mut slices: BTreeMap<(&str, Family), SliceWish> = BTreeMap::new();
        let mut interfaces: Vec<&Interface> = spec.interfaces.iter().collect();
        interfaces.sort_by(|a, b| a.name.cmp(&b.name));
        for (&address, source) in known {
            for interface in &interfaces {
                let endpoint = Endpoint { address, port: interface.port, interface: interface.name.clone(), pod: None };
                if view.guard.refusal(address).is_some() {
                    self.endpoints.push(past.refused(&endpoint, source, now));
                    continue;
                }
                let seed = past.seed(&endpoint, now);
                let health = view.health.get(&endpoint).copied().unwrap_or(seed);
                let slice = slices.entry((&interface.name, Family::of(address))).or_insert_with(|| SliceWish {
                    interface: interface.name.clone(),
                    port: interface.port,
                    app_protocol: interface.app_protocol(),
                    family: Family::of(address),
                    addresses: Vec::new(),
                });
                if health.ready() {
                    slice.addresses.push((address, source.zone.clone()));
                }
                self.endpoints.push(EndpointStatus {
                    address: address.to_string(),
                    interface: Some(interface.name.clone()),
                    host: source.host.clone(),
                    zone: source.zone.clone(),
                    ready: health.ready(),
                    reason: health.reason(),
                    since: health.since(),
                    dns_name: None,
                    certificate_expires: interface.tls.as_ref().and_then(|_| past.certificate(view, &endpoint)),
                });
                let target = probing::target(endpoint, interface, source.host.as_deref(), namespace);
                self.probes.push(Probing { target, seed });
            }
        }
        self.slices = slices.into_values().collect();
    }
}

/// What the present status and slices say.
struct Past<'a> {
    /// Endpoints by address and interface.
    told: BTreeMap<(&'a str, Option<&'a str>), &'a EndpointStatus>,
    /// Addresses of each host name.
    hosts: BTreeMap<&'a str, BTreeSet<IpAddr>>,
    /// What is published: the port by address and interface.
    published: BTreeMap<(IpAddr, &'a str), u16>,
}

impl<'a> Past<'a> {
    fn of(view: &'a ServiceView<'_>, owner: &'a Owner) -> Self {
        let mut past = Self { told: BTreeMap::new(), hosts: BTreeMap::new(), published: BTreeMap::new() };
        for endpoint in view.service.status.iter().flat_map(|s| &s.endpoints) {
            past.told.insert((&endpoint.address, endpoint.interface.as_deref()), endpoint);
            if let (Some(host), Ok(address)) = (&endpoint.host, endpoint.address.parse::<IpAddr>()) {
                past.hosts.entry(host).or_default().insert(address);
            }
        }
        for slice in view.own_slices(owner) {
            let port = slice.ports.iter().flatten().next();
            let Some((name, port)) = port.and_then(|p| Some((p.name.as_deref()?, u16::try_from(p.port?).ok()?))) else {
                continue;
            };
            past.published.extend(ready_addresses(slice).map(|(address, _)| ((address, name), port)));
        }
        past
    }

    /// The addresses that a host had.
    fn of_host(&self, host: &str) -> impl Iterator<Item = IpAddr> {
        self.hosts.get(host).into_iter().flatten().filter_map(|a| usable(*a))
    }

    /// Published addresses of which the status says nothing.
    fn published_and_untold(&self) -> impl Iterator<Item = IpAddr> {
        let told: BTreeSet<IpAddr> = self.told.keys().filter_map(|(address, _)| address.parse().ok()).collect();
        self.published.keys().map(|(address, _)| *address).filter(move |a| !told.contains(a))
    }

    /// Health of an endpoint before anybody here has probed it.
    fn seed(&self, endpoint: &Endpoint, now: Timestamp) -> Health {
        let address = endpoint.address.to_string();
        let told = self.told.get(&(address.as_str(), Some(endpoint.interface.as_str())));
        match (told, self.published.get(&(endpoint.address, endpoint.interface.as_str()))) {
            (_, Some(&port)) if port != endpoint.port => Health::unknown(now),
            (Some(told), _) => Health::seeded(told),
            (None, Some(_)) => Health::trusted(now),
            (None, None) => Health::unknown(now),
        }
    }

    /// Until when the certificate of an endpoint is valid: as a probe found it, or as the status tells.
    fn certificate(&self, view: &ServiceView<'_>, endpoint: &Endpoint) -> Option<Timestamp> {
        let address = endpoint.address.to_string();
        let told = self.told.get(&(address.as_str(), Some(endpoint.interface.as_str())));
        view.certificates.get(endpoint).copied().or_else(|| told?.certificate_expires)
    }

    /// The entry of an address that medley must not reach.
    fn refused(&self, endpoint: &Endpoint, source: &Source, now: Timestamp) -> EndpointStatus {
        let address = endpoint.address.to_string();
        let told = self.told.get(&(address.as_str(), Some(endpoint.interface.as_str())));
        EndpointStatus {
            interface: Some(endpoint.interface.clone()),
            host: source.host.clone(),
            zone: source.zone.clone(),
            ready: false,
            reason: EndpointReason::AddressRefused,
            since: told.filter(|e| !e.ready).map_or(now, |e| e.since),
            dns_name: None,
            certificate_expires: None,
            address,
        }
    }

    /// The entry of a host that has no address.
    fn placeholder(&self, blind: &Blind<'_>, now: Timestamp) -> EndpointStatus {
        let told = self.told.get(&(blind.host, None));
        // a new leader has not looked it up yet: what the last one found still stands
        let before = told.map_or(EndpointReason::NotProbed, |e| e.reason);
        EndpointStatus {
            address: blind.host.to_owned(),
            interface: None,
            host: Some(blind.host.to_owned()),
            zone: blind.zone.map(str::to_owned),
            ready: false,
            reason: match blind.failed {
                Some(LookupFailure::UnusableAddress) => EndpointReason::AddressRefused,
                Some(_) => EndpointReason::DnsFailed,
                None => before,
            },
            since: told.map_or(now, |e| e.since),
            dns_name: None,
            certificate_expires: None,
        }
    }
}
