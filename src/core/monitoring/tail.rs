//! How improbable a count is, given what was counted before.
//!
//! With a events and b others seen before, the number of events among the next n has the beta-binomial distribution with the
//! parameters a + 1 and b, whatever the measurements are distributed like: exactly so when an event is to exceed one of the values seen
//! (Gumbel and von Schelling, "The distribution of the number of exceedances", Ann. Math. Statist. 21, 1950), and on the safe side
//! where values are tied or the events are failures (the predictive of a Beta prior with the parameters 1 and 0).

/// Most that is counted: larger counts are brought down to it in proportion, which makes them less improbable.
const MOST: f64 = 10_000.0;
/// The largest surprise that is told.
pub const MOST_SURPRISING: f64 = 30.0;

/// What was counted before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Before {
    /// Weight of the events.
    pub events: f64,
    /// Weight of the others.
    pub others: f64,
    /// How much measurements of the same window resemble each other, from 0 to below 1: with it, the parameters are those of
    /// (1 − ρ)/ρ measurements at most (the intraclass correlation of a beta-binomial is 1/(α + β + 1); Skellam, J. R. Statist. Soc. B
    /// 10, 1948).
    pub correlation: f64,
}

/// −log₁₀ of the probability that at least `count` of `among` are events.
#[must_use]
pub fn surprise(count: u32, among: u32, before: Before) -> f64 {
    if count == 0 || among == 0 {
        return 0.0;
    }
    let shrink = (MOST / f64::from(among)).min(1.0);
    let (k, n) = ((f64::from(count) * shrink).floor(), (f64::from(among) * shrink).floor());
    let (mut alpha, mut beta) = (before.events + 1.0, before.others.max(1e-9));
    if before.correlation > 0.0 {
        let scale = ((1.0 - before.correlation) / before.correlation / (alpha + beta)).min(1.0);
        (alpha, beta) = (alpha * scale, beta * scale);
    }
    let first = ln_choose(n, k) + ln_beta(k + alpha, n - k + beta) - ln_beta(alpha, beta);
    // the other terms by their ratios to the one before
    let (mut term, mut sum, mut j) = (1.0_f64, 1.0_f64, k);
    while j < n && term > 1e-12 * sum && sum.is_finite() {
        term *= (n - j) / (j + 1.0) * (j + alpha) / (n - j - 1.0 + beta);
        sum += term;
        j += 1.0;
    }
    let ln = (first + sum.ln()).min(0.0);
    (-ln / std::f64::consts::LN_10).clamp(0.0, MOST_SURPRISING)
}

fn ln_choose(n: f64, k: f64) -> f64 {
    ln_gamma(n + 1.0) - ln_gamma(k + 1.0) - ln_gamma(n - k + 1.0)
}

fn ln_beta(a: f64, b: f64) -> f64 {
    ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b)
}

/// ln Γ(x) for x above 0: Stirling's series (DLMF 5.11.1), to which small arguments are brought by Γ(x + 1) = x Γ(x). Error below 1e-9.
fn ln_gamma(mut x: f64) -> f64 {
    let mut shift = 0.0;
    while x < 10.0 {
        shift += x.ln();
        x += 1.0;
    }
    let series = 1.0 / (12.0 * x) - 1.0 / (360.0 * x.powi(3)) + 1.0 / (1260.0 * x.powi(5));
    (x - 0.5) * x.ln() - x + 0.5 * std::f64::consts::TAU.ln() + series - shift
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-8 * b.abs().max(1.0), "{a} is not {b}");
    }

    #[test]
    fn the_gamma_function_has_its_known_values() {
        close(ln_gamma(1.0), 0.0);
        close(ln_gamma(0.5), std::f64::consts::PI.sqrt().ln());
        close(ln_gamma(11.0), 3_628_800_f64.ln());
        close(ln_gamma(1e-6), 13.815_509_980_749_43);
    }

    #[test]
    fn the_tail_is_that_of_all_ways_to_mix_old_and_new_values() {
        let choose = |n: f64, k: f64| ln_choose(n, k).exp();
        // of 3 new values 2 or 3 exceed the 4th of 5 old ones. All C(8, 3) orders of old and new are equally likely; with k new ones above
        // it there are C(k + 1, k) ways to place these and C(6 - k, 3 - k) to place the others
        let by_orders = (choose(3.0, 2.0) * choose(4.0, 1.0) + choose(4.0, 3.0)) / choose(8.0, 3.0);
        let before = Before { events: 1.0, others: 4.0, correlation: 0.0 };
        close(10_f64.powf(-surprise(2, 3, before)), by_orders);
    }

    #[test]
    fn more_events_surprise_more_and_resemblance_makes_them_less_surprising() {
        let before = |correlation| Before { events: 50.0, others: 950.0, correlation };
        let rising: Vec<f64> = (0..=30).map(|k| surprise(k, 30, before(0.0))).collect();
        assert!(rising.is_sorted(), "{rising:?}");
        assert!(rising[2] < 1.0 && rising[30] > 20.0, "{rising:?}");
        assert!(surprise(30, 30, before(0.5)) < 3.0);
        assert!(surprise(3_000_000, 3_000_000, before(0.0)) <= MOST_SURPRISING);
        assert!(surprise(40, 1_000_000, before(0.0)) < 1e-9, "fewer than ever");
    }
}
