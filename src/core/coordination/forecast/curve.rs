//! How long a step will take the next time: the distribution of the next duration, given those seen.
//!
//! Between durations seen: if the next one is as good as any other (exchangeable), it falls into each of the n+1 gaps that n
//! sorted durations leave with the same chance (Wilks, Ann. Math. Statist. 12, 1941; Weibull's plotting positions i/(n+1)),
//! whatever the distribution. With weights wᵢ for older ones, the next counting 1 (Barber, Candès, Ramdas, Tibshirani, Ann.
//! Statist. 51, 2023): `F(x₍ᵢ₎) = (w₍₁₎ + … + w₍ᵢ₋₁₎ + w₍ᵢ₎/2 + 1/2) / (W + 1)`, and straight lines between these points in
//! the logarithm of the duration.
//!
//! Beyond them: the logarithm's excess y over the last point has an exponential tail whose rate is not known, but Gamma
//! distributed with shape k; then `P(excess > y) = (1 + y/(k s))^(−k)` (Lomax 1954). So a step that has long passed all that was
//! seen is expected to go on in proportion to that, not to end at once.

/// Shape of what is not known about the tail's rate.
const SHAPE: f64 = 4.0;
/// The least scale of a tail, in logarithms: remembered durations are no more exact than this.
const LEAST_SCALE: f64 = super::cell::ACCURACY;
/// Fewer durations than this say little by themselves.
pub(super) const FEW: usize = 8;
/// Weight of the other steps' spread, in durations, where a step has few.
const PRIOR_SPREAD: f64 = 4.0;
/// Points of the normal distribution: probability and standard score.
const NORMAL: [(f64, f64); 7] =
    [(0.05, -1.645), (0.2, -0.842), (0.35, -0.385), (0.5, 0.0), (0.65, 0.385), (0.8, 0.842), (0.95, 1.645)];

/// What the steps of a workflow have in common: where few durations of a step are known, it is taken to be like the others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prior {
    /// Mean of the steps' mean logarithms.
    pub(super) mean: f64,
    /// Variance of the logarithm within a step.
    pub(super) within: f64,
    /// Variance of the steps' means.
    pub(super) between: f64,
}

impl Prior {
    /// From the durations of all steps, as logarithms.
    pub(super) fn new<'a>(steps: impl Iterator<Item = &'a [(f64, f64)]>) -> Self {
        let known: Vec<(f64, f64)> = steps.filter(|s| s.len() >= FEW).map(moments).collect();
        let n = known.len().max(1) as f64;
        let mean = known.iter().map(|k| k.0).sum::<f64>() / n;
        let within = if known.is_empty() { 0.25 } else { known.iter().map(|k| k.1).sum::<f64>() / n };
        let between = known.iter().map(|k| (k.0 - mean).powi(2)).sum::<f64>() / n;
        Self { mean, within, between }
    }
}

/// Mean and variance, without weights.
fn moments(observed: &[(f64, f64)]) -> (f64, f64) {
    let n = observed.len() as f64;
    let mean = observed.iter().map(|o| o.0).sum::<f64>() / n;
    let variance = observed.iter().map(|o| (o.0 - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    (mean, variance)
}

/// The distribution of a duration's logarithm.
#[derive(Clone, Debug)]
pub(super) struct Curve {
    /// Logarithms, in order.
    at: Vec<f64>,
    /// The probability below each.
    below: Vec<f64>,
    /// Scale of both tails.
    scale: f64,
}

impl Curve {
    /// From logarithms of durations and their weights, in the order of the logarithms; `None` without any.
    pub(super) fn new(observed: &[(f64, f64)], prior: &Prior) -> Option<Self> {
        let (at, below): (Vec<f64>, Vec<f64>) = match observed.len() {
            0 => return None,
            n if n < FEW => shrunk(observed, prior).into_iter().unzip(),
            _ => {
                let all: f64 = observed.iter().map(|o| o.1).sum::<f64>() + 1.0;
                let mut before = 0.5;
                observed
                    .iter()
                    .map(|&(ln, weight)| {
                        let point = (ln, (before + weight / 2.0) / all);
                        before += weight;
                        point
                    })
                    .unzip()
            }
        };
        let mut curve = Self { at, below, scale: LEAST_SCALE };
        // a normal distribution's mean excess beyond its 95 % point is 0.3 of the distance of its quartiles
        curve.scale = (0.25 * (curve.quantile(0.75) - curve.quantile(0.25))).max(LEAST_SCALE);
        Some(curve)
    }

    /// The logarithm below which a duration is with this probability.
    pub(super) fn quantile(&self, u: f64) -> f64 {
        let (first, last) = (0, self.at.len() - 1);
        if u < self.below[first] {
            return self.at[first] - self.excess(u / self.below[first]);
        }
        if u >= self.below[last] {
            return self.at[last] + self.excess((1.0 - u) / (1.0 - self.below[last]));
        }
        let right = self.below.partition_point(|&b| b <= u);
        let (x0, x1, b0, b1) = (self.at[right - 1], self.at[right], self.below[right - 1], self.below[right]);
        x0 + (x1 - x0) * (u - b0) / (b1 - b0)
    }

    /// The probability of a duration whose logarithm is not above this.
    pub(super) fn below(&self, ln: f64) -> f64 {
        let last = self.at.len() - 1;
        let right = self.at.partition_point(|&x| x <= ln);
        if right == 0 {
            return self.below[0] * self.survival(self.at[0] - ln);
        }
        if right > last {
            return 1.0 - (1.0 - self.below[last]) * self.survival(ln - self.at[last]);
        }
        let (x0, x1, b0, b1) = (self.at[right - 1], self.at[right], self.below[right - 1], self.below[right]);
        b0 + (b1 - b0) * (ln - x0) / (x1 - x0)
    }

    fn survival(&self, excess: f64) -> f64 {
        (1.0 + excess / (SHAPE * self.scale)).powf(-SHAPE)
    }

    fn excess(&self, survival: f64) -> f64 {
        // nothing takes longer than e^40 times what was seen: keeps the sum of many steps a number
        (SHAPE * self.scale * (survival.max(1e-12).powf(-1.0 / SHAPE) - 1.0)).min(40.0)
    }
}

/// Few durations: the posterior predictive of a normal distribution whose mean and variance are drawn towards the other
/// steps' (empirical Bayes: Efron and Morris, JASA 70, 1975), the mean by `within/between` durations, so hardly at all where steps
/// differ much.
fn shrunk(observed: &[(f64, f64)], prior: &Prior) -> Vec<(f64, f64)> {
    let n = observed.len() as f64;
    let (own, variance) = moments(observed);
    let pull = prior.within / prior.between.max(prior.within).max(1e-6);
    let mean = (n * own + pull * prior.mean) / (n + pull);
    let spread = ((n - 1.0) * variance + PRIOR_SPREAD * prior.within) / (n - 1.0 + PRIOR_SPREAD);
    let deviation = (spread * (1.0 + 1.0 / (n + pull))).sqrt().max(LEAST_SCALE);
    NORMAL.iter().map(|&(below, score)| (mean + score * deviation, below)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRIOR: Prior = Prior { mean: 5.0, within: 0.04, between: 2.0 };

    fn curve(logarithms: &[f64]) -> Curve {
        let observed: Vec<(f64, f64)> = logarithms.iter().map(|&l| (l, 1.0)).collect();
        Curve::new(&observed, &PRIOR).unwrap()
    }

    #[test]
    fn each_gap_between_durations_seen_is_as_likely() {
        let seen: Vec<f64> = (1..=9).map(f64::from).collect();
        let curve = curve(&seen);
        for (i, &x) in seen.iter().enumerate() {
            assert!((curve.below(x) - (i as f64 + 1.0) / 10.0).abs() < 1e-9, "{x}");
        }
        assert!((curve.quantile(0.55) - 5.5).abs() < 1e-9);
    }

    #[test]
    fn quantile_and_probability_are_inverse_also_in_the_tails() {
        let curve = curve(&[1.0, 1.0, 2.0, 2.5, 3.0, 3.0, 3.0, 4.0, 9.0]);
        let mut last = f64::NEG_INFINITY;
        for i in 1..1000 {
            let u = f64::from(i) / 1000.0;
            let x = curve.quantile(u);
            assert!(x >= last, "not in order at {u}");
            last = x;
            // where durations are equal the probability jumps over u
            assert!(curve.below(x) >= u - 1e-9, "{u}: {x} {}", curve.below(x));
        }
        for ln in [-3.0, 0.5, 8.0, 10.0, 20.0] {
            assert!((curve.quantile(curve.below(ln)) - ln).abs() < 1e-6, "{ln}");
        }
    }

    #[test]
    fn what_has_passed_all_that_was_seen_goes_on_in_proportion() {
        let curve = curve(&[5.0; 20]);
        let expected = |elapsed: f64| curve.quantile((1.0 + curve.below(elapsed)) / 2.0) - elapsed;
        assert!(expected(5.1) < 0.05);
        assert!(expected(8.0) > 0.4 && expected(8.0) < 1.5, "{}", expected(8.0));
    }

    #[test]
    fn a_single_duration_spreads_as_the_other_steps_do() {
        let curve = curve(&[9.0]);
        let (low, high) = (curve.quantile(0.05), curve.quantile(0.95));
        assert!((curve.quantile(0.5) - 9.0).abs() < 0.15, "{}", curve.quantile(0.5));
        assert!(high - low > 2.0 * 1.645 * 0.2 && high - low < 4.0 * 1.645 * 0.2, "{low} to {high}");
        assert!(Curve::new(&[], &PRIOR).is_none());
    }
}
