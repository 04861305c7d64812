//! A network that endpoints may have addresses of, without leaving the machine.

use std::process::Command;

/// The link's address.
pub(crate) const ADDRESS: &str = "10.213.0.1";
const LINK: &str = "medley-bench0";

/// A network link of this bench's own, with an address that endpoints may have: Kubernetes refuses loopback ones.
pub(crate) struct Link;

impl Link {
    /// Makes it.
    ///
    /// # Errors
    /// Why not, for a person who reads the table.
    pub(crate) fn make() -> Result<Self, String> {
        let ip = |arguments: &str| {
            let out = Command::new("ip")
                .args(arguments.split(' '))
                .output()
                .map_err(|e| format!("the command ip cannot be started: {e}"))?;
            out.status.success().then_some(()).ok_or_else(|| {
                format!("`ip {arguments}` (needs root): {}", String::from_utf8_lossy(&out.stderr).trim())
            })
        };
        ip(&format!("link add {LINK} type veth peer name medley-bench1"))?;
        let link = Self;
        ip(&format!("address add {ADDRESS}/32 dev {LINK}"))?;
        ip(&format!("link set {LINK} up"))?;
        Ok(link)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // its peer and its address go with it
        let _ = Command::new("ip").args(["link", "delete", LINK]).status();
    }
}
