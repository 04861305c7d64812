//! A plan that fails becomes smaller as long as it fails.

use super::{
    plan::Plan,
    scenario::{Act, Fare, Scenario, Step},
    troubles::Trouble,
};

/// Tries so many smaller plans at most.
const TRIES: usize = 150;

/// The smallest plan found for which `fails` holds.
pub(crate) fn shrink(plan: Plan, fails: impl Fn(&Plan) -> bool) -> Plan {
    let mut best = plan;
    let mut tries = 0;
    'again: loop {
        for smaller in smaller(&best) {
            if tries == TRIES {
                return best;
            }
            tries += 1;
            if fails(&smaller) {
                best = smaller;
                continue 'again;
            }
        }
        return best;
    }
}

/// Plans that are a little smaller, those that leave out most first.
fn smaller(plan: &Plan) -> Vec<Plan> {
    let mut all = Vec::new();
    for i in 0..plan.troubles.len() {
        let mut next = plan.clone();
        next.troubles.remove(i);
        all.push(next);
    }
    for scenario in smaller_scenarios(&plan.scenario) {
        all.push(Plan { scenario, troubles: plan.troubles.clone() });
    }
    for (i, trouble) in plan.troubles.iter().enumerate() {
        for smaller in milder(trouble) {
            let mut next = plan.clone();
            next.troubles[i] = smaller;
            all.push(next);
        }
    }
    all
}

fn smaller_scenarios(scenario: &Scenario) -> Vec<Scenario> {
    let mut all = Vec::new();
    let mut with = |change: &dyn Fn(&mut Scenario)| {
        let mut next = scenario.clone();
        change(&mut next);
        if next != *scenario && !next.steps.is_empty() {
            all.push(next);
        }
    };
    with(&|s| s.runs = 1);
    with(&|s| s.finally.clear());
    with(&|s| s.orders.clear());
    with(&|s| s.workspace = false);
    with(&|s| s.slots = 0);
    with(&|s| s.places = 0);
    with(&|s| s.limit = 0);
    with(&|s| s.deadline = 0);
    with(&|s| s.person = false);
    let names: Vec<String> = scenario.every_step().map(|s| s.name.clone()).collect();
    for name in &names {
        with(&|s| drop_step(s, name));
    }
    for name in &names {
        for change in CHANGES {
            with(&|s| s.every_step_mut().filter(|s| s.name == *name).for_each(change));
        }
    }
    all
}

type Change = fn(&mut Step);

/// Ways to make a step simpler.
const CHANGES: &[Change] = &[
    |s| s.each = None,
    |s| s.undo = None,
    |s| s.when = None,
    |s| s.retry = None,
    |s| s.once = false,
    |s| s.interruptible = false,
    |s| s.fares.clear(),
    |s| s.fares.truncate(1),
    |s| {
        s.fares.iter_mut().for_each(|f| {
            if matches!(f, Fare::Well(_)) {
                *f = Fare::Well(50)
            }
        })
    },
    |s| {
        if s.act != Act::Call {
            (s.act, s.each, s.fares) = (Act::Call, None, Vec::new());
        }
    },
];

/// Leaves out a step; those after it come after what it came after.
fn drop_step(scenario: &mut Scenario, name: &str) {
    let after = scenario.step(name).map(|s| s.after.clone()).unwrap_or_default();
    for list in [&mut scenario.steps, &mut scenario.finally, &mut scenario.part] {
        list.retain(|s| s.name != name);
        for step in list.iter_mut().filter(|s| s.after.iter().any(|a| a == name)) {
            step.after.retain(|a| a != name);
            step.after.extend(after.iter().cloned());
            step.after.sort();
            step.after.dedup();
        }
    }
    if !scenario.steps.iter().any(|s| s.act == Act::Child) {
        scenario.part.clear();
    } else if scenario.part.is_empty() {
        let childless = scenario.steps.iter().filter(|s| s.act == Act::Child).map(|s| s.name.clone());
        for name in childless.collect::<Vec<_>>() {
            drop_step(scenario, &name);
        }
    }
}

fn milder(trouble: &Trouble) -> Vec<Trouble> {
    match trouble.clone() {
        Trouble::Crash { write, after, back, past } => [
            (past > 0).then_some(Trouble::Crash { write, after, back, past: 0 }),
            (back > 0).then_some(Trouble::Crash { write, after, back: 0, past }),
        ]
        .into_iter()
        .flatten()
        .collect(),
        Trouble::Delay { percent, least, most, until } if most > least + 1 => {
            vec![Trouble::Delay { percent, least, most: (least + most) / 2, until }]
        }
        Trouble::Burst { from, calls, code } if calls > 1 => vec![Trouble::Burst { from, calls: calls / 2, code }],
        _ => Vec::new(),
    }
}
