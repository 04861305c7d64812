//! TLS of an interface.

use std::{ops::Deref, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::rules;

/// The interface speaks its protocol inside TLS 1.2 or 1.3: probes and steps talk to it so, and trust it by this authority alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// Certificates in PEM, of which one must have issued the server's certificate, or is it.
    #[schemars(with = "String", length(min = 1, max = 32768), extend("x-kubernetes-validations" = rules::ca_bundle()))]
    pub ca_bundle: Pem,
    /// Name that the server's certificate must have, and that is asked for (SNI). When not set: the host of an external service as it is
    /// registered, and otherwise `<service>.<namespace>.svc`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = rules::server_name()))]
    pub server_name: Option<String>,
    /// A client certificate that medley shows, for a server that wants to know who calls: one of those that the operator was given
    /// for this namespace (`clientCertificates` of the chart), by its name there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z]([-a-z0-9]*[a-z0-9])?$"), extend("x-kubernetes-validations" = rules::dns_label()))]
    pub client_certificate: Option<String>,
}

/// Certificates in PEM: a long text, of which every target of a probe and every request has a copy. So copies share it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Pem(Arc<str>);

impl From<&str> for Pem {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl Deref for Pem {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Serialize for Pem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de> Deserialize<'de> for Pem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(String::deserialize(deserializer)?.into()))
    }
}
