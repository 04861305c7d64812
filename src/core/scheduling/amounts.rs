//! How much of each resource: a short vector, so that tens of thousands of demands are judged in milliseconds.

use std::ops::{Index, IndexMut};

/// Resources that the pools of one tree may name together.
pub const MAX_RESOURCES: usize = 8;

/// As much as nobody has. A quarter of the largest number, so that sums do not overflow.
pub const UNLIMITED: i64 = i64::MAX / 4;

/// An amount of each of a tree's resources, in thousandths of the resource's unit (`cpu: 500m` is 500, `memory: 1Gi` is
/// 1024³ × 1000).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amounts([i64; MAX_RESOURCES]);

impl Amounts {
    /// Nothing.
    pub const NONE: Self = Self([0; MAX_RESOURCES]);
    /// More than anybody has.
    pub const ALL: Self = Self([UNLIMITED; MAX_RESOURCES]);

    fn each(self, other: Self, f: impl Fn(i64, i64) -> i64) -> Self {
        Self(std::array::from_fn(|i| f(self.0[i], other.0[i])))
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.each(other, i64::saturating_add)
    }

    /// What remains; below zero where `other` is more.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        self.each(other, i64::saturating_sub)
    }

    /// So many times this.
    #[must_use]
    pub fn times(self, count: u32) -> Self {
        Self(self.0.map(|v| v.saturating_mul(i64::from(count))))
    }

    /// Without what is below zero.
    #[must_use]
    pub fn or_none(self) -> Self {
        Self(self.0.map(|v| v.max(0)))
    }

    /// Whether there is this much of every resource that is asked for. What is not asked for never counts, even where too much
    /// of it is in use already.
    #[must_use]
    pub fn covers(&self, asked: &Self) -> bool {
        self.0.iter().zip(&asked.0).all(|(have, want)| *want <= 0 || want <= have)
    }

    /// Whether any resource is asked for.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.0.iter().all(|v| *v <= 0)
    }

    /// The amounts, in the order of the tree's resources.
    pub fn iter(&self) -> impl Iterator<Item = i64> + '_ {
        self.0.iter().copied()
    }
}

impl Index<usize> for Amounts {
    type Output = i64;

    fn index(&self, place: usize) -> &i64 {
        &self.0[place]
    }
}

impl IndexMut<usize> for Amounts {
    fn index_mut(&mut self, place: usize) -> &mut i64 {
        &mut self.0[place]
    }
}

/// Reads a quantity of Kubernetes without exponent (`2`, `500m`, `1.5Gi`), in thousandths; what is smaller than a thousandth is
/// rounded up. `None` for what is no such quantity, and for more than [`UNLIMITED`].
///
/// Source: Kubernetes API conventions, `resource.Quantity`.
#[must_use]
pub fn thousandths(quantity: &str) -> Option<i64> {
    const SUFFIXES: [(&str, i128); 13] = [
        ("Ki", 1000 << 10),
        ("Mi", 1000 << 20),
        ("Gi", 1000 << 30),
        ("Ti", 1000 << 40),
        ("Pi", 1000 << 50),
        ("Ei", 1000 << 60),
        ("m", 1),
        ("k", 1_000_000),
        ("M", 1_000_000_000),
        ("G", 1_000_000_000_000),
        ("T", 1_000_000_000_000_000),
        ("P", 1_000_000_000_000_000_000),
        ("E", 1_000_000_000_000_000_000_000),
    ];
    let found = SUFFIXES.iter().find_map(|(suffix, factor)| Some((quantity.strip_suffix(suffix)?, *factor)));
    let (number, factor) = found.unwrap_or((quantity, 1000));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| !text.is_empty() && text.len() <= 18 && text.bytes().all(|b| b.is_ascii_digit());
    let is_number = digits(whole) && (digits(fraction) || !number.contains('.'));
    if !is_number {
        return None;
    }
    let scale = 10_i128.pow(u32::try_from(fraction.len()).ok()?);
    let value = format!("{whole}{fraction}").parse::<i128>().ok()?.checked_mul(factor)?;
    i64::try_from((value + scale - 1) / scale).ok().filter(|v| *v <= UNLIMITED)
}

/// Writes quantities as Kubernetes does: whole numbers, or thousandths with `m`.
#[must_use]
pub fn in_words(quantities: &std::collections::BTreeMap<String, i64>) -> std::collections::BTreeMap<String, String> {
    let word = |v: i64| if v % 1000 == 0 { (v / 1000).to_string() } else { format!("{v}m") };
    quantities.iter().map(|(name, v)| (name.clone(), word(*v))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_in_thousandths() {
        let cases = [
            ("2", Some(2000)),
            ("500m", Some(500)),
            ("1.5", Some(1500)),
            ("0.0001", Some(1)),
            ("1Ki", Some(1_024_000)),
            ("1.5Gi", Some(1_610_612_736_000)),
            ("3k", Some(3_000_000)),
            ("64Ti", Some(64_000 << 40)),
            ("1E", None),
            ("", None),
            ("1e3", None),
            ("-1", None),
            ("1.", None),
            (".5", None),
            ("Gi", None),
        ];
        for (text, expected) in cases {
            assert_eq!(thousandths(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let all = [0, 1, 999, 1000, 1500, 2_000_000, 1_610_612_736_000];
        let named = all.iter().enumerate().map(|(n, v)| (n.to_string(), *v)).collect();
        let words = in_words(&named);
        assert_eq!((words["1"].as_str(), words["3"].as_str(), words["4"].as_str()), ("1m", "1", "1500m"));
        assert!(named.iter().all(|(name, v)| thousandths(&words[name]) == Some(*v)), "{words:?}");
    }

    #[test]
    fn only_what_is_asked_for_must_be_there() {
        let mut have = Amounts::NONE;
        (have[0], have[1]) = (1000, -5);
        let mut want = Amounts::NONE;
        want[0] = 1000;
        assert!(have.covers(&want));
        want[1] = 1;
        assert!(!have.covers(&want));
    }
}
