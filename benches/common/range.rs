//! Addresses in any number, none of which leaves the machine.

use std::{net::Ipv4Addr, process::Command};

/// Network and prefix, and the network alone: no cluster of `cluster run` and no link of the benches uses it.
const RANGE: &str = "10.214.0.0/16";
/// How many of the last byte's values are used: neither 0 nor 255.
const A_BYTE: usize = 250;

/// All addresses of a range are this machine's own for as long as this is there. What is sent to one comes in by the loopback device.
pub(crate) struct Range;

impl Range {
    /// Makes it.
    ///
    /// # Errors
    /// Why not, for a person who reads the table.
    pub(crate) fn make() -> Result<Self, String> {
        route("replace")?;
        Ok(Self)
    }
}

/// Address number `i`.
pub(crate) fn address(i: usize) -> Ipv4Addr {
    let byte = |n: usize| u8::try_from(n).unwrap();
    Ipv4Addr::new(10, 214, byte(i / A_BYTE), byte(i % A_BYTE + 1))
}

fn route(verb: &str) -> Result<(), String> {
    let arguments = ["route", verb, "local", RANGE, "dev", "lo"];
    let out =
        Command::new("ip").args(arguments).output().map_err(|e| format!("the command ip cannot be started: {e}"))?;
    out.status.success().then_some(()).ok_or_else(|| {
        format!("`ip {}` (needs root): {}", arguments.join(" "), String::from_utf8_lossy(&out.stderr).trim())
    })
}

impl Drop for Range {
    fn drop(&mut self) {
        let _ = route("delete");
    }
}
