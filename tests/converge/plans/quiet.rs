//! Is nothing written any more once all is over?

use harness::simulated::{Record, Version};

use super::{super::follows::mask, runner::Outcome, troubles::counts};

/// The first writes that came when nothing should have been written.
pub(crate) fn restless(outcome: &Outcome) -> Vec<String> {
    let is_one = |r: &&Record| r.at >= outcome.quiet && r.code.is_some() && counts(&r.call);
    // what a pool tells follows with a delay, and nobody may read it anew when its events are late
    let late = outcome.calls.iter().filter(is_one).filter(|r| r.call.resource != "capacitypools");
    let (learned, restless): (Vec<&Record>, Vec<&Record>) = late.partition(|r| tells_what_was_learned(outcome, r));
    // the next time is twice as far away as any plan lasts
    let restless = restless.into_iter().chain(learned.into_iter().skip(1));
    let told = restless.map(|r| {
        let call = &r.call;
        format!("not quiet: {} {} {}/{} at {:?}", call.user, call.verb, call.resource, call.name, r.at)
    });
    told.take(3).collect()
}

/// Whether a service's status tells what was learned by measuring it, which is first written an hour or two after it was seen, and
/// nothing else that is new.
fn tells_what_was_learned(outcome: &Outcome, write: &Record) -> bool {
    if write.call.resource != "medicalservices" {
        return false;
    }
    let of_it = outcome.services.iter().filter(|v| v.object()["metadata"]["name"] == write.call.name.as_str());
    let (before, after): (Vec<&Version>, Vec<&Version>) = of_it.partition(|v| v.at < write.at);
    match (before.last(), after.first()) {
        (Some(before), Some(after)) => {
            let [mut before, mut after] = [before, after].map(|v| v.object().clone());
            mask(&mut before);
            mask(&mut after);
            before == after
        }
        _ => false,
    }
}
