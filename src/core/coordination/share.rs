//! A call to the answer of a query: which of its services gets it, P(s given q).

use crate::{api::service_query::QueryMatch, core::name::chance};

/// A service in the answer of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceShare {
    /// Its name.
    pub service: String,
    /// Its interface that answers.
    pub interface: String,
    /// The probability of its endpoints together, in percent.
    pub percent: u8,
}

impl ServiceShare {
    /// The services in an answer, in the order of their names.
    #[must_use]
    pub fn of(matches: &[QueryMatch]) -> Vec<Self> {
        let mut shares: Vec<Self> = Vec::new();
        for found in matches {
            match shares.iter_mut().find(|s| s.service == found.service) {
                Some(share) => share.percent = share.percent.saturating_add(found.probability),
                None => shares.push(Self {
                    service: found.service.clone(),
                    interface: found.interface.clone(),
                    percent: found.probability,
                }),
            }
        }
        shares.sort_by(|a, b| a.service.cmp(&b.service));
        shares
    }

    /// What it weighs: less than half a percent is told as none, and is more than that.
    fn weight(&self) -> f64 {
        f64::from(self.percent).max(0.5)
    }
}

/// Chooses one of these by its share; `None` when there is none. The service `same` is kept where it is among them.
///
/// Weighted rendezvous: each draws u from the seed and its own name, and the least -ln u / share wins. So each is chosen with a
/// probability in proportion to its share, and a share that moves, or a service that comes or goes, changes few choices.
pub(super) fn choose<'s>(
    shares: &[&'s ServiceShare],
    same: Option<&str>,
    (uid, step, seed): (&str, &str, &str),
) -> Option<&'s ServiceShare> {
    let draw = |share: &ServiceShare| {
        let u = chance(&[uid, step, seed, &share.service]);
        // 1 - u is above 0
        -(1.0 - u).ln() / share.weight()
    };
    let kept = shares.iter().copied().find(|s| same == Some(s.service.as_str()));
    kept.or_else(|| shares.iter().copied().min_by(|a, b| draw(a).total_cmp(&draw(b))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::service_query::QueryScore;

    fn share(service: &str, percent: u8) -> ServiceShare {
        ServiceShare { service: service.to_owned(), interface: "http".to_owned(), percent }
    }

    fn counts(shares: &[ServiceShare]) -> Vec<usize> {
        let all: Vec<&ServiceShare> = shares.iter().collect();
        let chosen: Vec<&str> =
            (0..20_000).map(|i| choose(&all, None, ("u", "read", &i.to_string())).unwrap().service.as_str()).collect();
        shares.iter().map(|s| chosen.iter().filter(|c| **c == s.service).count()).collect()
    }

    #[test]
    fn each_is_chosen_as_often_as_its_share_says() {
        for (count, expected) in
            counts(&[share("a", 70), share("b", 20), share("c", 10)]).iter().zip([14_000, 4000, 2000])
        {
            assert!(count.abs_diff(expected) < 250, "{count} for {expected}");
        }
    }

    #[test]
    fn a_choice_stays_while_its_service_does() {
        let (a, b, c) = (share("a", 40), share("b", 30), share("c", 30));
        for i in 0..500 {
            let seed = ("u", "read", &*i.to_string());
            let before = choose(&[&a, &b, &c], None, seed).unwrap();
            assert_eq!(choose(&[&c, &a, &b], None, seed), Some(before), "order does not matter");
            if before.service != "c" {
                assert_eq!(choose(&[&a, &b], None, seed), Some(before), "another one has gone");
            }
            assert_eq!(choose(&[&a, &b, &c], Some("b"), seed).unwrap().service, "b");
        }
        assert_eq!(choose(&[], None, ("u", "read", "1")), None);
    }

    #[test]
    fn endpoints_of_one_service_count_together() {
        let found = |service: &str, probability| QueryMatch {
            service: service.to_owned(),
            interface: "http".to_owned(),
            endpoint: "192.0.2.1:80".to_owned(),
            zone: None,
            tier: None,
            probability,
            score: QueryScore::default(),
        };
        let shares = ServiceShare::of(&[found("b", 40), found("a", 30), found("b", 30)]);
        assert_eq!(shares, [share("a", 30), share("b", 70)]);
    }
}
