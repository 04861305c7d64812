//! Which instance gets a call: P(s given r), from how soon each is expected to be done with it.

use std::net::SocketAddr;

/// How much one more call changes what is expected of an endpoint's latency.
const WEIGHT: f64 = 0.2;
/// No call takes less, in seconds: what is faster than that is equally fast.
const FASTEST: f64 = 0.001;
/// An endpoint at which everything fails still counts as so healthy: otherwise nobody would notice that it has recovered.
const LEAST_HEALTH: f64 = 0.05;

/// What is known of how an endpoint does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// Calls that it has been sent, or is about to be, and that have not ended.
    pub in_flight: u32,
    /// How long its calls take, in seconds; `None` while none has been answered.
    pub latency: Option<f64>,
    /// How many of its calls end well, from 0 to 1.
    pub health: f64,
}

impl Default for Load {
    fn default() -> Self {
        Self { in_flight: 0, latency: None, health: 1.0 }
    }
}

impl Load {
    /// A call has ended; `seconds` when it was answered.
    pub fn ended(&mut self, well: bool, seconds: Option<f64>) {
        let towards = |present: f64, new: f64| present + WEIGHT * (new - present);
        self.health = towards(self.health, f64::from(u8::from(well)));
        if let Some(seconds) = seconds {
            self.latency = Some(self.latency.map_or(seconds, |present| towards(present, seconds)));
        }
    }

    /// When a call that comes now is expected to be done, in seconds; `typical` is the latency of one that has shown none.
    fn completion(&self, typical: f64) -> f64 {
        let latency = self.latency.unwrap_or(typical).max(FASTEST);
        latency * (f64::from(self.in_flight) + 1.0) / self.health.max(LEAST_HEALTH)
    }
}

/// An endpoint that was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Where it is.
    pub endpoint: SocketAddr,
    /// How probable the choice was, in percent.
    pub probability: u8,
}

/// Chooses one of these endpoints; `None` when there is none.
///
/// With the exponentially weighted latency L of its calls, the n under way and the share h that ends well, an endpoint is expected
/// to be done after T = L (n + 1) / h. Each is chosen with a probability proportional to T^-2: a softmax of -ln T with temperature
/// 1/2, which does not depend on the unit of time and never leaves one out. `chance` is from 0 to 1; the endpoint `same` is kept
/// where it is among them.
#[must_use]
pub fn choose(candidates: &[(SocketAddr, Load)], same: Option<SocketAddr>, chance: f64) -> Option<Chosen> {
    let known: Vec<f64> = candidates.iter().filter_map(|(_, load)| load.latency).collect();
    #[allow(clippy::cast_precision_loss, reason = "a count of endpoints")]
    let typical = if known.is_empty() { 1.0 } else { known.iter().sum::<f64>() / known.len() as f64 };
    let weights: Vec<f64> = candidates.iter().map(|(_, load)| load.completion(typical).powi(-2)).collect();
    let all: f64 = weights.iter().sum();
    let mut rest = chance * all;
    let drawn = weights.iter().position(|weight| {
        rest -= weight;
        rest < 0.0
    });
    let kept = same.and_then(|same| candidates.iter().position(|(endpoint, _)| *endpoint == same));
    let place = kept.or(drawn).or_else(|| candidates.len().checked_sub(1))?;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 100")]
    let probability = (weights[place] / all * 100.0 + 1e-9) as u8;
    Some(Chosen { endpoint: candidates[place].0, probability })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(n: u8) -> SocketAddr {
        ([10, 0, 0, n], 80).into()
    }

    #[test]
    fn whoever_is_expected_to_be_done_sooner_is_chosen_more_often_and_nobody_never() {
        let load = |in_flight, latency| Load { in_flight, latency: Some(latency), health: 1.0 };
        let candidates = [(at(1), load(0, 0.1)), (at(2), load(1, 0.1)), (at(3), load(0, 0.2))];
        let mut counts = [0_u32; 3];
        for i in 0..6000_u32 {
            let chosen = choose(&candidates, None, (f64::from(i) + 0.5) / 6000.0).unwrap();
            counts[candidates.iter().position(|c| c.0 == chosen.endpoint).unwrap()] += 1;
        }
        assert_eq!(counts, [4000, 1000, 1000], "T is 0.1, 0.2 and 0.2 s");
        assert_eq!(choose(&candidates, None, 0.0), Some(Chosen { endpoint: at(1), probability: 66 }));
        assert_eq!(choose(&candidates, Some(at(3)), 0.0), Some(Chosen { endpoint: at(3), probability: 16 }));
        assert_eq!(choose(&candidates, Some(at(9)), 1.0).unwrap().endpoint, at(3));
        assert_eq!(choose(&[], None, 0.5), None);
    }

    #[test]
    fn of_endpoints_of_which_nothing_is_known_each_is_as_probable() {
        let candidates = [(at(1), Load::default()), (at(2), Load::default())];
        let probabilities: Vec<u8> =
            [0.1, 0.9].iter().map(|c| choose(&candidates, None, *c).unwrap().probability).collect();
        assert_eq!(probabilities, [50, 50]);
    }

    #[test]
    fn an_endpoint_that_fails_is_chosen_less_and_comes_back() {
        let mut load = Load::default();
        for _ in 0..50 {
            load.ended(false, None);
        }
        assert!(load.health < 0.01 && load.latency.is_none());
        let shunned = choose(&[(at(1), load), (at(2), Load::default())], None, 0.0).unwrap();
        assert_eq!((shunned.endpoint, shunned.probability), (at(1), 0));
        for _ in 0..50 {
            load.ended(true, Some(0.5));
        }
        assert!(load.health > 0.99 && load.latency == Some(0.5));
    }
}
