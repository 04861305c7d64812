//! The `EndpointSlice`s of a service outside the cluster: one for each interface and address family, since health is known
//! for each interface and a slice holds one family. Those of the answer to a query: one for each port number and family.

use std::net::IpAddr;

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};

use super::{Owner, QUERY_LABEL, SERVICE_LABEL};
use crate::core::name;

/// Label by which Kubernetes finds the Service of a slice.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Label that tells who fills a slice; Kubernetes' own controllers leave those of others alone.
pub const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// What that label says of slices that medley fills.
pub const MANAGER: &str = "medley.health";
/// Most addresses in one slice, as Kubernetes' own controller has it.
pub const MAX_ADDRESSES: usize = 100;

/// Family of the addresses in a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both families.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// Family of an address.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    const fn address_type(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    const fn suffix(self) -> &'static str {
        match self {
            Self::V4 => "v4",
            Self::V6 => "v6",
        }
    }
}

/// What one slice should hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceWish {
    /// Name of the interface: name of the port.
    pub interface: String,
    /// Port of the hosts.
    pub port: u16,
    /// Hint for proxies.
    pub app_protocol: Option<&'static str>,
    /// Family of all addresses.
    pub family: Family,
    /// Healthy addresses in order, each with its zone; at most [`MAX_ADDRESSES`].
    pub addresses: Vec<(IpAddr, Option<String>)>,
}

/// Name of the slice of one interface and family.
#[must_use]
pub fn slice_name(service: &str, interface: &str, family: Family) -> String {
    name::child(&[service, interface, family.suffix()])
}

/// The slice that fulfils a wish. A slice without addresses stays: removing and making it again would only be more writes.
#[must_use]
pub fn endpoint_slice(owner: &Owner, wish: &SliceWish) -> EndpointSlice {
    slice(owner, &slice_name(&owner.name, &wish.interface, wish.family), SERVICE_LABEL, wish)
}

/// The slice of the answer to a query, whose endpoints may listen on different ports.
#[must_use]
pub fn of_query(owner: &Owner, wish: &SliceWish) -> EndpointSlice {
    let name = name::child(&[&owner.name, &wish.interface, &wish.port.to_string(), wish.family.suffix()]);
    slice(owner, &name, QUERY_LABEL, wish)
}

fn slice(owner: &Owner, name: &str, label: &str, wish: &SliceWish) -> EndpointSlice {
    let labels = [(label, owner.name.as_str()), (SERVICE_NAME, owner.name.as_str()), (MANAGED_BY, MANAGER)];
    EndpointSlice {
        metadata: owner.metadata(name, &labels),
        address_type: wish.family.address_type().to_owned(),
        endpoints: Some(
            wish.addresses
                .iter()
                .map(|(address, zone)| Endpoint {
                    addresses: vec![address.to_string()],
                    conditions: Some(EndpointConditions { ready: Some(true), ..EndpointConditions::default() }),
                    zone: zone.clone(),
                    ..Endpoint::default()
                })
                .collect(),
        ),
        ports: Some(vec![EndpointPort {
            name: Some(wish.interface.clone()),
            port: Some(i32::from(wish.port)),
            protocol: Some("TCP".to_owned()),
            app_protocol: wish.app_protocol.map(str::to_owned),
        }]),
    }
}

/// Whether medley fills this slice.
#[must_use]
pub fn is_ours(slice: &EndpointSlice) -> bool {
    label(slice, MANAGED_BY) == Some(MANAGER)
}

/// Name of the Service that a slice belongs to.
#[must_use]
pub fn service_of(slice: &EndpointSlice) -> Option<&str> {
    label(slice, SERVICE_NAME)
}

/// The addresses of a slice that get traffic, each with its zone. No `ready` means ready (Kubernetes API).
pub fn ready_addresses(slice: &EndpointSlice) -> impl Iterator<Item = (IpAddr, Option<&str>)> {
    slice
        .endpoints
        .iter()
        .flatten()
        .filter(|e| e.conditions.as_ref().and_then(|c| c.ready) != Some(false))
        .flat_map(|e| e.addresses.iter().filter_map(|a| Some((a.parse().ok()?, e.zone.as_deref()))))
}

fn label<'a>(slice: &'a EndpointSlice, key: &str) -> Option<&'a str> {
    slice.metadata.labels.as_ref()?.get(key).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::deployment::tests::owner;

    #[test]
    fn a_slice_reads_back_as_it_was_wished() {
        let addresses =
            vec![("192.0.2.1".parse().unwrap(), Some("north".to_owned())), ("192.0.2.2".parse().unwrap(), None)];
        let wish = SliceWish {
            interface: "dicom".to_owned(),
            port: 104,
            app_protocol: None,
            family: Family::V4,
            addresses: addresses.clone(),
        };
        let slice = endpoint_slice(&owner(), &wish);
        assert!(is_ours(&slice));
        assert_eq!(service_of(&slice), Some("reader"));
        assert_eq!(slice.metadata.name.as_deref(), Some("reader-dicom-v4"));
        let read: Vec<_> = ready_addresses(&slice).map(|(a, z)| (a, z.map(str::to_owned))).collect();
        assert_eq!(read, addresses);
    }

    #[test]
    fn no_word_on_readiness_means_ready() {
        let mut slice = EndpointSlice::default();
        let endpoint = |address: &str, ready| Endpoint {
            addresses: vec![address.to_owned()],
            conditions: Some(EndpointConditions { ready, ..EndpointConditions::default() }),
            ..Endpoint::default()
        };
        slice.endpoints = Some(vec![endpoint("192.0.2.1", None), endpoint("192.0.2.2", Some(false))]);
        let read: Vec<_> = ready_addresses(&slice).map(|(a, _)| a.to_string()).collect();
        assert_eq!(read, ["192.0.2.1"]);
    }
}
