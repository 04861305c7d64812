//! Chance for many draws: a stream of numbers that follows from a seed, and so is the same after a restart.

use crate::core::name;

/// `SplitMix64` (Steele, Lea, Flood, OOPSLA 2014, fig. 14). A hash for each draw would cost a hundred times as much.
#[derive(Clone, Debug)]
pub(super) struct Chance(u64);

impl Chance {
    /// The stream that follows from these parts.
    pub(super) fn new(parts: &[&str]) -> Self {
        Self(name::chance(parts).to_bits())
    }

    /// The next number, from 0 up to, not including, 1.
    pub(super) fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        // 53 bits: what an f64 holds exactly
        (z >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_even_and_repeat() {
        let (mut one, mut same) = (Chance::new(&["run", "1"]), Chance::new(&["run", "1"]));
        let draws: Vec<f64> = (0..10_000).map(|_| one.next()).collect();
        assert!(draws.iter().all(|x| (0.0..1.0).contains(x) && x.to_bits() == same.next().to_bits()));
        let mean = draws.iter().sum::<f64>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
        assert_ne!(draws[0].to_bits(), Chance::new(&["run", "2"]).next().to_bits());
    }
}
