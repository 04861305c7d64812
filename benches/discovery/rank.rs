//! How long it takes to rank the endpoints that may be in one answer.

use std::time::Instant;

use medley::core::discovery::query::{
    latency::Typical,
    rank::{Candidate, rank},
};
use serde_json::json;

use super::{
    endpoint,
    figures::{Figures, quantile},
    service,
};

const CANDIDATES: usize = 1000;
const TIMES: usize = 500;

pub(crate) fn of_many_candidates(figures: &mut Figures) {
    println!("  {CANDIDATES} candidates, with tiers and preferences");
    let spec = serde_json::from_value(json!({
        "protocol": "HTTP", "port": 80,
        "tiers": [{"zones": ["zone-9"]}, {"zones": ["zone-0", "zone-1", "zone-2", "zone-3", "zone-4"]}],
        "prefer": {"health": 5, "matching": [{"match": {"attributes": {"site": "site-3"}}, "weight": 3}, {"match": {"zones": ["zone-1"]}, "weight": 1}]},
    }))
    .unwrap();
    let offers: Vec<_> = (0..CANDIDATES).map(|i| (service(i, "triage"), endpoint(i, 1, true))).collect();
    let shares = [1.0, 0.75, 0.5, 1.0 / 3.0];
    let candidates = || {
        offers.iter().enumerate().map(|(i, (service, known))| Candidate {
            service,
            interface: "http",
            known,
            share: shares[i % shares.len()],
            typical: Typical::default(),
            signals: 0.0,
        })
    };
    let mut took = Vec::new();
    for _ in 0..TIMES {
        let begun = Instant::now();
        let ranked = rank(&spec, candidates());
        took.push(begun.elapsed().as_secs_f64() * 1e3);
        let sum: f64 = ranked.iter().map(|r| r.probability).sum();
        assert!(ranked.len() == 100 && (sum - 1.0).abs() < 1e-9, "{} endpoints, sum {sum}", ranked.len());
    }
    figures.at_most("rank 1,000 candidates, p50", quantile(&mut took, 0.5), "ms", 1.0);
    figures.at_most("rank 1,000 candidates, p99", quantile(&mut took, 0.99), "ms", 1.0);
}
