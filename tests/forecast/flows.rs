//! Workflows of a simulated hospital: how long their steps truly take, run by run.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use medley::{
    api::{WorkflowRunStatus, WorkflowSpec, flow::FlowSummary},
    core::coordination::{
        Definition,
        forecast::{Forecast, Model, Sample, Situation, history, predict, sample},
    },
};
use serde_json::{Value, json};

/// Chance of the simulation: another one than that of the model (xorshift64*, Vigna 2016).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn even(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Standard normal (Box and Muller 1958).
    pub(crate) fn normal(&mut self) -> f64 {
        (-2.0 * (1.0 - self.even()).ln()).sqrt() * (std::f64::consts::TAU * self.even()).cos()
    }

    /// Lognormal, in seconds: half are above `median`.
    pub(crate) fn around(&mut self, median: f64, sigma: f64) -> f64 {
        median * (sigma * self.normal()).exp()
    }
}

/// What one step does in one run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Truth {
    /// It takes so many seconds and attempts.
    Takes(f64, u32),
    Skipped,
}

/// A workflow and how its runs truly go: for each step, given the number of the run.
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) definition: Arc<Definition>,
    pub(crate) truth: fn(&mut Dice, usize) -> Vec<Truth>,
}

/// The definition of steps, each with those that it waits for; a name that ends with `?` has a condition.
pub(crate) fn definition(steps: &[(&str, &[&str])]) -> Arc<Definition> {
    let steps: Vec<Value> = steps
        .iter()
        .map(|(name, after)| {
            let plain = |n: &str| n.trim_end_matches('?').to_owned();
            let after: Vec<String> = after.iter().map(|a| plain(a)).collect();
            let mut step = json!({"name": plain(name), "after": after, "container": {"image": "localhost/tool:1"}});
            if name.ends_with('?') {
                step["when"] = "1 + 1 == 2".into();
            }
            step
        })
        .collect();
    let spec: WorkflowSpec = serde_json::from_value(json!({ "steps": steps })).unwrap();
    Arc::new(Definition::parse(&spec).unwrap())
}

/// One run with all its truth.
pub(crate) struct Run {
    definition: Arc<Definition>,
    /// For each step, when it can start and when it ends, in seconds after the run's start.
    spans: Vec<(f64, f64)>,
    truth: Vec<Truth>,
}

pub(crate) fn start() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

pub(crate) fn after(seconds: f64) -> Timestamp {
    start() + SignedDuration::try_from(Duration::from_secs_f64(seconds)).unwrap()
}

impl Run {
    pub(crate) fn new(definition: &Arc<Definition>, truth: Vec<Truth>) -> Self {
        let mut spans: Vec<(f64, f64)> = Vec::new();
        for (step, truth) in definition.steps.iter().zip(&truth) {
            let ready = step.after.iter().map(|&a| spans[a].1).fold(0.0, f64::max);
            let takes = if let Truth::Takes(seconds, _) = truth { *seconds } else { 0.0 };
            spans.push((ready, ready + takes));
        }
        Self { definition: Arc::clone(definition), spans, truth }
    }

    /// When it ends, in seconds.
    pub(crate) fn end(&self) -> f64 {
        self.spans.iter().map(|s| s.1).fold(0.0, f64::max)
    }

    /// When the first of its steps ends, in seconds.
    pub(crate) fn first_end(&self) -> f64 {
        self.spans.iter().map(|s| s.1).fold(f64::INFINITY, f64::min)
    }

    /// Its status at a time.
    pub(crate) fn status(&self, now: f64) -> WorkflowRunStatus {
        let mut steps = serde_json::Map::new();
        for ((step, &(ready, end)), truth) in self.definition.steps.iter().zip(&self.spans).zip(&self.truth) {
            if ready > now {
                continue;
            }
            let status = match truth {
                Truth::Skipped => json!({"phase": "Skipped", "finishedAt": after(end)}),
                Truth::Takes(_, n) if end <= now => {
                    json!({"phase": "Succeeded", "attempt": n, "finishedAt": after(end)})
                }
                Truth::Takes(..) => json!({"phase": "Running", "attempt": 1}),
            };
            steps.insert(step.name.clone(), status);
        }
        let status = json!({"phase": "Running", "revision": "rev", "startedAt": start(), "steps": steps});
        serde_json::from_value(status).unwrap()
    }

    pub(crate) fn sample(&self) -> Sample {
        sample(&self.definition, &self.status(self.end())).unwrap()
    }

    /// What the model says about it at a time.
    pub(crate) fn predict(&self, model: &Model, uid: &str, now: f64, deadline: f64) -> Option<Forecast> {
        let status = self.status(now);
        predict(
            model,
            &Situation {
                uid,
                definition: &self.definition,
                status: &status,
                deadline: after(deadline),
                alarm: 0.3,
                now: after(now),
            },
        )
    }
}

/// A workflow's memory, as its reconciler keeps it.
pub(crate) struct Memory {
    pub(crate) summary: FlowSummary,
    definition: Arc<Definition>,
    number: i64,
}

impl Memory {
    pub(crate) fn new(definition: &Arc<Definition>) -> Self {
        let summary = history::begin("rev".to_owned(), definition, None);
        Self { summary, definition: Arc::clone(definition), number: 0 }
    }

    pub(crate) fn learn(&mut self, run: &Run) {
        self.number += 1;
        let samples = [(self.number, run.sample())];
        let news = history::News { epoch: 1, samples: &samples };
        self.summary = history::fold(std::mem::take(&mut self.summary), &self.definition, news);
    }

    pub(crate) fn model(&self) -> Option<Model> {
        Model::new(&self.summary, &self.definition)
    }
}

/// The shapes that the model is held against.
pub(crate) fn shapes() -> Vec<Shape> {
    let chain: &[(&str, &[&str])] = &[("a", &[]), ("b", &["a"]), ("c", &["b"]), ("d", &["c"])];
    vec![
        Shape {
            name: "one step",
            definition: definition(&[("a", &[])]),
            truth: |dice, _| vec![Truth::Takes(dice.around(300.0, 0.2), 1)],
        },
        Shape {
            name: "a lognormal chain",
            definition: definition(chain),
            truth: |dice, _| [60.0, 300.0, 20.0, 120.0].map(|m| Truth::Takes(dice.around(m, 0.4), 1)).into(),
        },
        Shape {
            name: "a retry in one of five",
            definition: definition(&[("a", &[]), ("b", &["a"])]),
            truth: |dice, _| {
                let again = dice.even() < 0.2;
                let first = dice.around(40.0, 0.3) + if again { 200.0 + dice.around(40.0, 0.3) } else { 0.0 };
                vec![Truth::Takes(first, 1 + u32::from(again)), Truth::Takes(dice.around(30.0, 0.3), 1)]
            },
        },
        Shape {
            name: "branches that exclude each other",
            definition: definition(&[
                ("look", &[]),
                ("deep?", &["look"]),
                ("flat?", &["look"]),
                ("tell", &["deep", "flat"]),
            ]),
            truth: |dice, _| {
                let deep = dice.even() < 0.4;
                vec![
                    Truth::Takes(dice.around(20.0, 0.3), 1),
                    if deep { Truth::Takes(dice.around(900.0, 0.2), 1) } else { Truth::Skipped },
                    if deep { Truth::Skipped } else { Truth::Takes(dice.around(60.0, 0.2), 1) },
                    Truth::Takes(dice.around(10.0, 0.3), 1),
                ]
            },
        },
        Shape {
            name: "five at once",
            definition: definition(&[
                ("p", &[]),
                ("q", &[]),
                ("r", &[]),
                ("s", &[]),
                ("t", &[]),
                ("join", &["p", "q", "r", "s", "t"]),
            ]),
            truth: |dice, _| {
                let mut all: Vec<Truth> = (0..5).map(|_| Truth::Takes(dice.around(100.0, 0.5), 1)).collect();
                all.push(Truth::Takes(dice.around(20.0, 0.3), 1));
                all
            },
        },
        Shape {
            name: "large studies slow in every step",
            definition: definition(chain),
            truth: |dice, _| {
                let size = dice.around(1.0, 0.5);
                [60.0, 300.0, 20.0, 120.0].map(|m| Truth::Takes(size * dice.around(m, 0.15), 1)).into()
            },
        },
        Shape {
            name: "slower with every run",
            definition: definition(chain),
            truth: |dice, run| {
                let drift = 1.003_f64.powi(i32::try_from(run).unwrap());
                [60.0, 300.0, 20.0, 120.0].map(|m| Truth::Takes(drift * dice.around(m, 0.4), 1)).into()
            },
        },
    ]
}
