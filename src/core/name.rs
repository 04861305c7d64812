//! Names that follow from other names: the same input gives the same name after every restart, and no two inputs share one.

use std::fmt;

use sha2::{Digest, Sha256};

/// An object of a known kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// A key from its two parts.
    #[must_use]
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Longest DNS label.
const LABEL: usize = 63;
/// Hex digits of the hash in a shortened name: 40 bits.
const HASH: usize = 10;

/// Joins parts with `-` to a DNS label. When the plain text is too long, or when its parts could be read in another way
/// (a part holds a `-`), the end is a hash of all parts, so that different parts never give the same name.
#[must_use]
pub fn child(parts: &[&str]) -> String {
    joined(parts, LABEL)
}

fn joined(parts: &[&str], longest: usize) -> String {
    let plain = parts.join("-").replace('.', "-");
    let clear = parts.iter().skip(1).all(|p| !p.contains('-')) && !parts.iter().any(|p| p.contains('.'));
    if plain.len() <= longest && clear {
        return plain;
    }
    let hash = digest(parts.iter().map(|p| p.as_bytes()));
    let keep = plain.len().min(longest - HASH - 1);
    format!("{}-{}", plain[..keep].trim_end_matches('-'), &hash[..HASH])
}

/// Name of the pod of one attempt of a step.
#[must_use]
pub fn pod(run: &str, step: &str, attempt: u32) -> String {
    child(&[run, step, &attempt.to_string()])
}

/// Name of the claim of a run's workspace.
#[must_use]
pub fn workspace(run: &str) -> String {
    child(&[run, "workspace"])
}

/// Name of the Job for the items of a step: short enough that its pods bear it whole, with index and five letters of chance.
#[must_use]
pub fn job(run: &str, step: &str) -> String {
    joined(&[run, step], LABEL - "-9999-xxxxx".len())
}

/// What the names of the child runs of a step that is done for many items follow from.
#[must_use]
pub fn items(run: &str, step: &str) -> String {
    child(&[run, step])
}

/// Name of the child run of one attempt of one item. No step's name is a number, so it is the name of nothing else.
#[must_use]
pub fn item(items: &str, index: u32, attempt: u32) -> String {
    child(&[items, &index.to_string(), &attempt.to_string()])
}

/// SHA-256 over length-prefixed parts, in hex.
#[must_use]
pub fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
        use fmt::Write as _;
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A number from 0 up to, not including, 1 that follows from the parts: chance that is the same after a restart.
#[must_use]
pub fn chance(parts: &[&str]) -> f64 {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    let bytes = hasher.finalize();
    let mut head = [0_u8; 8];
    head.copy_from_slice(&bytes[..8]);
    // 53 bits: what an f64 holds exactly
    #[allow(clippy::cast_precision_loss)]
    let n = (u64::from_be_bytes(head) >> 11) as f64;
    #[allow(clippy::cast_precision_loss)]
    let all = (1_u64 << 53) as f64;
    n / all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_stay_readable() {
        assert_eq!(pod("ct-1", "read", 2), "ct-1-read-2");
    }

    #[test]
    fn names_that_could_be_confused_differ() {
        assert_ne!(pod("a-b", "c", 1), pod("a", "b-c", 1));
        assert_ne!(pod("a", "b-c", 1), pod("a-b", "c", 1));
        let long = "x".repeat(63);
        assert_ne!(pod(&long, "c", 1), pod(&long, "c", 11));
        assert!(pod(&long, &long, 1).len() <= 63);
    }

    #[test]
    fn chance_is_in_range_and_repeats() {
        for i in 0..1000 {
            let x = chance(&["a", &i.to_string()]);
            assert!((0.0..1.0).contains(&x));
            assert_eq!(x.to_bits(), chance(&["a", &i.to_string()]).to_bits());
        }
    }
}
