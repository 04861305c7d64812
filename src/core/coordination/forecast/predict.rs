//! When will this run end? Many ways in which it may go on, drawn from its workflow's history.
//!
//! Each draw takes one past run and lets the present one go on like it: the same branches, and in each step about the same
//! place among all that the step has taken (the Schaake shuffle: Clark et al., J. Hydrometeorology 5, 2004; the rank is blurred, as
//! an empirical copula is smoothed). What has happened in the present run stays: ended steps have ended, a step at work takes
//! longer than it has by now, and past runs that went another way count little. A step starts when the last of those before it
//! is done; so the run ends at the longest chain.

use jiff::{SignedDuration, Timestamp};

use crate::{
    api::{WorkflowRunStatus, workflow_run::StepPhase},
    core::coordination::{
        definition::Definition,
        forecast::{
            chance::Chance,
            model::{Model, Past, StepModel},
            sample::ready_at,
        },
    },
};

/// How many ways are drawn: the 5 % point is then known to 1.4 %.
pub const DRAWS: usize = 256;
/// What a past run counts when it went another way than the present one in one step.
const OTHER_WAY: f64 = 0.03;
/// A step is on the critical path when it decides the end in so many of the ways.
const CRITICAL: f64 = 0.5;
/// Between a step's end and the next look that a lapse of time alone calls for.
const LEAST_WAIT: f64 = 1000.0;

/// What is known of one run.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// Its UID: the seed of all chance.
    pub uid: &'a str,
    /// Its definition.
    pub definition: &'a Definition,
    /// Its status.
    pub status: &'a WorkflowRunStatus,
    /// When it must have ended.
    pub deadline: Timestamp,
    /// The chance of a miss from which it is worth to look again before anything happens.
    pub alarm: f64,
    /// The time.
    pub now: Timestamp,
}

/// When it will end, if no step fails for good.
#[derive(Clone, Debug, PartialEq)]
pub struct Forecast {
    /// As likely before as after.
    pub median: Timestamp,
    /// Before this with 5 %.
    pub earliest: Timestamp,
    /// After this with 5 %.
    pub latest: Timestamp,
    /// The chance that it ends after the deadline.
    pub miss: f64,
    /// Places of steps that have not ended and decide, more often than not, when the run does.
    pub critical: Vec<usize>,
    /// When to look again if nothing has happened: then the chance of a miss has come to the alarm, or most of the ways have
    /// been ruled out.
    pub look_at: Option<Timestamp>,
}

/// Where a step is.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// Ended, at this many milliseconds after the run's start.
    Ended(f64),
    /// At work since then: the logarithm of the time that it has taken, and the probability that it takes no longer.
    AtWork { since: f64, ln: f64, below: f64 },
    /// To come.
    Ahead,
}

/// Predicts a run's end; `None` when it has not begun, is failing, or a step at work has never been seen.
#[must_use]
pub fn predict(model: &Model, situation: &Situation<'_>) -> Option<Forecast> {
    let start = situation.status.started_at?;
    let millis = |t: Timestamp| t.duration_since(start).as_secs_f64() * 1000.0;
    let now = millis(situation.now).max(0.0);
    let places = places(model, situation, now, millis)?;
    let chosen = choose(model, situation, &places);
    let blur = blur(model);
    let mut chance = Chance::new(&[situation.uid, "forecast"]);
    let mut ways: Vec<Way> = Vec::with_capacity(DRAWS);
    let mut counts = vec![0_usize; places.len()];
    let mut ends = vec![0.0; places.len()];
    for run in chosen {
        let way = go(model, &places, run, now, blur, &mut chance, &mut ends);
        trace(model, &places, &ends, &mut counts);
        ways.push(way);
    }
    let moment = |ms: f64| {
        // rounded up to a whole second, so that it is never before now and does not change with every millisecond
        let whole = SignedDuration::from_secs((ms / 1000.0).ceil().min(1e11) as i64);
        start.saturating_add(whole).unwrap_or(Timestamp::MAX)
    };
    let deadline = millis(situation.deadline);
    let missed = ways.iter().filter(|w| w.end > deadline).count();
    let look_at = look(&mut ways, deadline, situation.alarm)
        .map(|ms| moment(ms.max(now + LEAST_WAIT)).min(situation.deadline))
        .filter(|at| *at > situation.now);
    ways.sort_by(|a, b| a.end.total_cmp(&b.end));
    let at = |share: f64| moment(ways[((share * DRAWS as f64) as usize).min(DRAWS - 1)].end);
    let critical = (0..places.len()).filter(|&p| counts[p] as f64 >= CRITICAL * DRAWS as f64).collect();
    Some(Forecast {
        median: at(0.5),
        earliest: at(0.05),
        latest: at(0.95),
        miss: missed as f64 / DRAWS as f64,
        critical,
        look_at,
    })
}

/// One way in which the run may go on.
#[derive(Clone, Copy, Debug)]
struct Way {
    /// When the first of the steps at work ends; never, without one.
    first: f64,
    /// When the run ends.
    end: f64,
}

fn places(model: &Model, situation: &Situation<'_>, now: f64, millis: impl Fn(Timestamp) -> f64) -> Option<Vec<Place>> {
    let (definition, status) = (situation.definition, situation.status);
    if definition.steps.len() != model.steps.len() {
        return None;
    }
    definition
        .steps
        .iter()
        .enumerate()
        .map(|(place, step)| {
            let Some(present) = status.steps.get(&step.name) else { return Some(Place::Ahead) };
            match present.phase {
                phase if phase.is_done() => present.finished_at.map(|t| Place::Ended(millis(t))),
                StepPhase::Failed | StepPhase::Unknown | StepPhase::Canceled => None,
                _ => {
                    let since = millis(ready_at(definition, status, place)?);
                    let curve = model.steps[place].curve.as_ref()?;
                    let ln = (now - since).max(1.0).ln();
                    Some(Place::AtWork { since, ln, below: curve.below(ln) })
                }
            }
        })
        .collect()
}

/// The past runs to go on like: each as often as its weight says, less where the present run has gone another way.
fn choose(model: &Model, situation: &Situation<'_>, places: &[Place]) -> Vec<usize> {
    let mut weights = model.runs.clone();
    for ((place, step), definition) in places.iter().zip(&model.steps).zip(&situation.definition.steps) {
        match place {
            Place::Ahead => {}
            Place::Ended(_) if !step.conditional => {}
            Place::Ended(_) => {
                let phase = situation.status.steps.get(&definition.name).map(|s| s.phase);
                let skipped = phase == Some(StepPhase::Skipped);
                for (weight, past) in weights.iter_mut().zip(&step.past) {
                    if *past != Past::Absent && (*past == Past::Skipped) != skipped {
                        *weight *= OTHER_WAY;
                    }
                }
            }
            Place::AtWork { below, .. } => {
                for (weight, past) in weights.iter_mut().zip(&step.past) {
                    *weight *= match past {
                        Past::Absent => 1.0,
                        Past::Skipped => OTHER_WAY,
                        // the part of its place that is not ruled out by now
                        Past::Ran { low, high } => ((high - low.max(*below)) / (high - low)).max(OTHER_WAY),
                    };
                }
            }
        }
    }
    // evenly spaced (systematic resampling): fewer draws by chance than one by one
    let all: f64 = weights.iter().sum();
    let offset = Chance::new(&[situation.uid, "choice"]).next();
    let mut chosen = Vec::with_capacity(DRAWS);
    let mut reached = 0.0;
    for (run, weight) in weights.iter().enumerate() {
        reached += weight / all;
        while chosen.len() < DRAWS && (chosen.len() as f64 + offset) / (DRAWS as f64) < reached {
            chosen.push(run);
        }
    }
    // what rounding left over
    let last = weights.len().saturating_sub(1);
    chosen.resize(DRAWS, last);
    chosen
}

/// How far a rank is blurred: with few runs only a little of how they hang together can be known.
fn blur(model: &Model) -> f64 {
    let (sum, squares) = model.runs.iter().fold((0.0, 0.0), |(s, q), w| (s + w, q + w * w));
    // the effective number of runs (Kish, Survey Sampling, 1965, §8.2)
    (sum * sum / squares).powf(-1.0 / 3.0)
}

/// Lets the run go on like a past one; fills in when each step ends.
fn go(model: &Model, places: &[Place], run: usize, now: f64, blur: f64, chance: &mut Chance, ends: &mut [f64]) -> Way {
    let mut way = Way { first: f64::INFINITY, end: now };
    for (place, step) in model.steps.iter().enumerate() {
        let end = match places[place] {
            Place::Ended(at) => at,
            Place::AtWork { since, ln, below } => {
                let end = (since + longer(step, step.past[run], ln, below, blur, chance)).max(now);
                way.first = way.first.min(end);
                end
            }
            Place::Ahead => {
                let ready = step.after.iter().fold(now, |t, &before| t.max(ends[before]));
                ready + whole(step, step.past[run], blur, chance)
            }
        };
        ends[place] = end;
        way.end = way.end.max(end);
    }
    way
}

/// The time that a step to come takes, in milliseconds; 0 when it is skipped.
fn whole(step: &StepModel, past: Past, blur: f64, chance: &mut Chance) -> f64 {
    let u = match past {
        Past::Skipped => return 0.0,
        Past::Ran { low, high } => near(low, high, blur, chance),
        Past::Absent if step.conditional && chance.next() < step.skipped => return 0.0,
        Past::Absent => chance.next(),
    };
    step.curve.as_ref().map_or(0.0, |curve| curve.quantile(u).exp())
}

/// The time that a step at work takes in all, in milliseconds: longer than by now.
fn longer(step: &StepModel, past: Past, ln: f64, below: f64, blur: f64, chance: &mut Chance) -> f64 {
    let u = match past {
        Past::Ran { low, high } => Some(near(low, high, blur, chance)).filter(|u| *u > below),
        Past::Skipped | Past::Absent => None,
    };
    let u = u.unwrap_or_else(|| below + (1.0 - below) * chance.next());
    step.curve.as_ref().map_or(0.0, |curve| curve.quantile(u).max(ln).exp())
}

/// A probability near a past run's place: even over all of 0 to 1 when the run is.
fn near(low: f64, high: f64, blur: f64, chance: &mut Chance) -> f64 {
    let u = low + (high - low) * chance.next() + blur * (chance.next() - 0.5);
    // what leaves 0 to 1 comes back from its end, so that neither end is rarer than it should be
    let u = u.abs();
    if u > 1.0 { 2.0 - u } else { u }
}

/// Counts the steps of the chain that ends last.
fn trace(model: &Model, places: &[Place], ends: &[f64], counts: &mut [usize]) {
    let last = |candidates: &mut dyn Iterator<Item = usize>| {
        candidates.filter(|&p| !matches!(places[p], Place::Ended(_))).max_by(|&a, &b| ends[a].total_cmp(&ends[b]))
    };
    let mut on = last(&mut (0..places.len()));
    while let Some(place) = on {
        counts[place] += 1;
        on = match places[place] {
            Place::Ahead => last(&mut model.steps[place].after.iter().copied()),
            _ => None,
        };
    }
}

/// The moment at which, if no step has ended by then, the ways that are left miss the deadline with the chance `alarm`, or only an
/// eighth of them is left.
fn look(ways: &mut [Way], deadline: f64, alarm: f64) -> Option<f64> {
    ways.sort_by(|a, b| a.first.total_cmp(&b.first));
    let mut missing = ways.iter().filter(|w| w.end > deadline).count();
    for (gone, way) in ways.iter().enumerate() {
        if !way.first.is_finite() {
            return None;
        }
        let left = ways.len() - gone;
        if missing as f64 >= alarm * left as f64 && gone > 0 || left * 8 <= ways.len() {
            return Some(way.first);
        }
        missing -= usize::from(way.end > deadline);
    }
    None
}
