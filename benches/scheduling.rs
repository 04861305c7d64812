//! What a decision about capacity costs: passes over tens of thousands of demands, in one thread, without a cluster.
//!
//! `cargo bench --bench scheduling [pass|shares|plan …]`: a table on standard output, the same as JSON in `bench/scheduling.json` of the
//! target directory. Figures depend on the machine and the build: both are told.

#![allow(clippy::unwrap_used, reason = "a bench ends at the first surprise")]

#[allow(dead_code, reason = "benches each use their part")]
#[path = "common/figures.rs"]
mod figures;
#[path = "scheduling/pass.rs"]
mod pass;
#[path = "scheduling/plan.rs"]
mod plan;
#[path = "scheduling/shares.rs"]
mod shares;

use figures::Figures;
use medley::core::scheduling::Quantities;

/// So many units of the only resource.
fn units(count: i64) -> Quantities {
    [("example.com/slot".to_owned(), 1000 * count)].into()
}

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let wanted = |section: &str| asked.is_empty() || asked.iter().any(|a| a == section);
    let mut figures = Figures::of("scheduling", "one thread, no cluster");
    if wanted("pass") {
        pass::over_many_demands(&mut figures);
    }
    if wanted("shares") {
        shares::of_ten_tenants(&mut figures);
    }
    if wanted("plan") {
        plan::against_what_then_happens(&mut figures);
    }
    figures.tell();
}
