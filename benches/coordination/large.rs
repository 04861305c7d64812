//! Large runs: do they end, does their time grow with their size and no faster, how large do their objects get?

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{
    bare::create,
    calls::Peer,
    common::{figures::Figures, link::Link, observer::Observer},
    pods::gone,
    support::{operator::Operator, stage::Stage},
};

const LIMIT: Duration = Duration::from_secs(300);
/// Bytes of the longest object.
const WALL: f64 = 300.0 * 1024.0;
/// Times that each size is run; the shortest time counts, for the machine has other things to do.
const TIMES: usize = 3;

/// Short name, name, size and steps of a run.
type Shape = (&'static str, &'static str, usize, fn(usize) -> Value);

/// Half the size and the whole, of each shape that is wanted by its short name.
pub(crate) async fn runs(
    stage: &Stage,
    link: &Result<Link, String>,
    wanted: impl Fn(&str) -> bool,
    figures: &mut Figures,
) {
    let shapes: [Shape; 4] = [
        ("graph", "random graph of calls", 500, graph),
        ("chain", "chain of calls", 500, |n| json!((0..n).map(|i| call(i, i.checked_sub(1))).collect::<Vec<_>>())),
        (
            "fan-out",
            "fan-out of transforms",
            10_000,
            |n| json!([{ "name": "all", "transform": { "expression": "index * 2" }, "forEach": { "count": n } }]),
        ),
        (
            "children",
            "child runs",
            200,
            |n| json!([{ "name": "all", "workflow": { "name": "child" }, "forEach": { "count": n, "maxParallel": 16 } }]),
        ),
    ];
    let shapes: Vec<Shape> = shapes.into_iter().filter(|(short, ..)| wanted(short)).collect();
    if shapes.is_empty() {
        return;
    }
    if let Err(reason) = link {
        return figures.skipped("large runs", reason);
    }
    let peer = Peer::start().await;
    let operator = Operator::leading(stage, "one").await;
    let mut longest = 0;
    for (_, shape, whole, steps) in shapes {
        let (half, first) = timed(stage, &peer, &steps(whole / 2)).await;
        let (full, second) = timed(stage, &peer, &steps(whole)).await;
        longest = longest.max(first).max(second);
        figures.add(&format!("{shape}, {whole}: time"), full, "s");
        figures.add(&format!("{shape}, {whole}: longest object"), second as f64 / 1024.0, "KiB");
        figures.at_most(&format!("{shape}: time of {whole} to that of {}", whole / 2), full / half, "x", 2.3);
    }
    figures.at_most("longest object of all", longest as f64 / 1024.0, "KiB", WALL / 1024.0);
    operator.stop().await;
}

/// The shortest time in seconds, and the length of the longest object in bytes.
async fn timed(stage: &Stage, peer: &Peer, steps: &Value) -> (f64, usize) {
    let space = stage.namespace("bench-large");
    peer.workflow(stage, &space, "large", steps);
    peer.workflow(stage, &space, "child", &json!([{ "name": "one", "transform": { "expression": "1" } }]));
    peer.wait(stage, &space, "large");
    stage.ready(&space, "mwf/child");
    let mut observer = Observer::of(stage, &space, true);
    let mut shortest = f64::MAX;
    for number in 0..TIMES {
        let name = format!("run-{number}");
        let begun = Instant::now();
        create(stage, &space, "large", &name).await;
        let ended = loop {
            observer.next(LIMIT).await;
            if let Some(ended) = observer.seen().get(&name).and_then(|s| s.ended) {
                break ended;
            }
        };
        shortest = shortest.min(ended.duration_since(begun).as_secs_f64());
    }
    let longest = observer.seen().values().map(|s| s.longest).max().unwrap();
    stage.remove_namespace(&space);
    gone(stage, &space).await;
    (shortest, longest)
}

fn call(number: usize, after: Option<usize>) -> Value {
    let after: Vec<String> = after.into_iter().map(|a| format!("s{a}")).collect();
    json!({ "name": format!("s{number}"), "after": after, "call": { "service": "peer", "http": { "path": "/ask" } } })
}

/// Each step comes after one to three of those above; the same graph every time.
fn graph(steps: usize) -> Value {
    let mut state = 42_u64;
    let mut random = |below: usize| {
        // the constants of Knuth's MMIX
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let all: Vec<Value> = (0..steps)
        .map(|number| {
            let mut step = call(number, None);
            if number > 0 {
                let mut after: Vec<usize> = (0..=random(3)).map(|_| random(number)).collect();
                after.sort_unstable();
                after.dedup();
                step["after"] = json!(after.iter().map(|a| format!("s{a}")).collect::<Vec<_>>());
            }
            step
        })
        .collect();
    json!(all)
}
