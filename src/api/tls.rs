//! TLS of an interface.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules;

/// The interface speaks its protocol inside TLS 1.2 or 1.3: probes and steps talk to it so, and trust it by this authority alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// Certificates in PEM, of which one must have issued the server's certificate, or is it.
    #[schemars(length(min = 1, max = 32768), extend("x-kubernetes-validations" = rules::ca_bundle()))]
    pub ca_bundle: String,
    /// Name that the server's certificate must have, and that is asked for (SNI). When not set: the host of an external service as it is
    /// registered, and otherwise `<service>.<namespace>.svc`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = rules::server_name()))]
    pub server_name: Option<String>,
}
