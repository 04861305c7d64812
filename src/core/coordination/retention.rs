//! Which finished runs of a workflow are not kept.

use jiff::{SignedDuration, Timestamp};

use crate::{
    api::{workflow::Retention, workflow_run::RunPhase},
    core::coordination::workflow::RunView,
};

/// So many runs are removed in one look: a bound that is lowered from 10,000 to 10 must not block everything else.
const AT_ONCE: usize = 100;

/// The names of the runs that go, oldest first, and when the next one does.
#[must_use]
pub fn old_runs(bounds: &Retention, runs: &[RunView], now: Timestamp) -> (Vec<String>, Option<Timestamp>) {
    let mut finished: Vec<(&RunView, Timestamp)> =
        runs.iter().filter(|r| r.phase.is_final() && !r.is_child).filter_map(|r| Some((r, r.finished_at?))).collect();
    // newest first
    finished.sort_by(|(a, a_end), (b, b_end)| (b_end, &b.name).cmp(&(a_end, &a.name)));
    let keep = bounds.keep.map(|k| SignedDuration::try_from(k.duration()).unwrap_or(SignedDuration::MAX));
    let (mut good, mut bad) = (0, 0);
    let (mut old, mut next) = (Vec::new(), None);
    for (run, end) in finished {
        let (count, most) =
            if run.phase == RunPhase::Succeeded { (&mut good, bounds.succeeded) } else { (&mut bad, bounds.failed) };
        *count += 1;
        let until = keep.map(|k| end.saturating_add(k).unwrap_or(Timestamp::MAX));
        if most.is_some_and(|most| *count > most) || until.is_some_and(|until| until <= now) {
            old.push(run.name.clone());
        } else if let Some(until) = until {
            next = Some(next.map_or(until, |n: Timestamp| n.min(until)));
        }
    }
    old.reverse();
    if old.len() > AT_ONCE {
        old.truncate(AT_ONCE);
        // the deletions themselves bring the next look; this one is for the case that their events are lost
        next = Some(now.saturating_add(SignedDuration::from_secs(1)).unwrap_or(now));
    }
    (old, next)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(name: &str, phase: RunPhase, ended: i64) -> RunView {
        RunView {
            name: name.to_owned(),
            created_at: Timestamp::UNIX_EPOCH,
            phase,
            finished_at: phase.is_final().then(|| Timestamp::from_second(ended).unwrap()),
            revision: None,
            is_child: false,
        }
    }

    fn bounds(value: serde_json::Value) -> Retention {
        serde_json::from_value(value).unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_newest_of_each_kind_are_kept() {
        use RunPhase::{Canceled, Failed, Running, Succeeded};
        let runs = [
            run("s1", Succeeded, 10),
            run("s2", Succeeded, 20),
            run("s3", Succeeded, 30),
            run("f1", Failed, 5),
            run("c1", Canceled, 15),
            run("r1", Running, 0),
        ];
        let (old, next) = old_runs(&bounds(json!({"succeeded": 1, "failed": 1})), &runs, at(100));
        assert_eq!((old, next), (vec!["f1".to_owned(), "s1".to_owned(), "s2".to_owned()], None));
    }

    #[test]
    fn an_old_run_goes_at_its_time() {
        let runs = [run("a", RunPhase::Succeeded, 10), run("b", RunPhase::Failed, 50)];
        let bounds = bounds(json!({"keep": "1m"}));
        assert_eq!(old_runs(&bounds, &runs, at(60)), (vec![], Some(at(70))));
        assert_eq!(old_runs(&bounds, &runs, at(70)), (vec!["a".to_owned()], Some(at(110))));
    }

    #[test]
    fn a_child_run_goes_with_its_parent_only() {
        let child = RunView { is_child: true, ..run("c", RunPhase::Succeeded, 1) };
        assert_eq!(old_runs(&bounds(json!({"succeeded": 0})), &[child], at(100)), (vec![], None));
    }

    #[test]
    fn many_go_step_by_step() {
        let runs: Vec<_> = (0..250).map(|n| run(&format!("r{n:03}"), RunPhase::Succeeded, n)).collect();
        let (old, next) = old_runs(&bounds(json!({"succeeded": 0})), &runs, at(1000));
        assert_eq!((old.len(), old[0].as_str(), next), (100, "r000", Some(at(1001))));
    }
}
