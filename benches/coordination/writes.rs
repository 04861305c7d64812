//! How many writes the operator makes for a run of each shape.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    bare::create,
    common::{figures::Figures, observer::Observer},
    support::{operator::Operator, requests::asked, stage::Stage},
};

/// Times that each shape is run, one after the other; the most writes count.
const TIMES: usize = 5;

/// One pod; five in a row; a hundred beside each other; one, ten, ten, one.
pub(crate) async fn of_shapes(stage: &Stage, figures: &mut Figures) {
    let operator = Operator::leading(stage, "one").await;
    let pod = |name: &str, after: &[String]| json!({ "name": name, "after": after, "container": { "image": "fake" } });
    let chain: Vec<Value> = (0..5)
        .map(|n: usize| {
            let before: Vec<String> = n.checked_sub(1).map(|b| format!("s{b}")).into_iter().collect();
            pod(&format!("s{n}"), &before)
        })
        .collect();
    let fan_out = vec![
        json!({ "name": "all", "container": { "image": "fake" }, "forEach": { "count": 100, "maxParallel": 100 } }),
    ];
    let names = |row: &str| (0..10).map(|n| format!("{row}{n}")).collect::<Vec<_>>();
    let mut diamond = vec![pod("first", &[])];
    diamond.extend(names("a").iter().map(|n| pod(n, &["first".to_owned()])));
    // each of the second row comes after all of the first
    diamond.extend(names("b").iter().map(|n| pod(n, &names("a"))));
    diamond.push(pod("last", &names("b")));
    for (short, name, steps, most) in [
        ("one", "one pod", vec![pod("work", &[])], 3.0),
        ("chain", "chain of 5 pods", chain, 11.0),
        ("fan-out", "fan-out of 100 pods", fan_out, 12.0),
        ("diamond", "diamond 1-10-10-1 of pods", diamond, 50.0),
    ] {
        let space = stage.namespace(&format!("bench-writes-{short}"));
        let workflow = json!({ "apiVersion": "medley.health/v1alpha1", "kind": "Workflow", "metadata": { "name": "shape" }, "spec": { "steps": steps } });
        stage.apply(&space, &workflow.to_string());
        stage.ready(&space, "mwf/shape");
        let mut observer = Observer::of(stage, &space, false);
        for number in 0..TIMES {
            create(stage, &space, "shape", &format!("run-{number}")).await;
            observer.ended(number + 1, Duration::from_secs(120)).await;
        }
        let requests = asked(stage).await;
        let most_writes = (0..TIMES)
            .map(|number| {
                let run = format!("run-{number}");
                let of_run = |a: &&super::support::requests::Asked| {
                    a.user == operator.user
                        && a.namespace == space
                        && a.is_write()
                        && !a.is_note()
                        && (a.name == run || a.name.starts_with(&format!("{run}-")))
                };
                requests.iter().filter(of_run).count()
            })
            .max()
            .unwrap();
        figures.at_most(&format!("{name}: most writes of {TIMES} runs"), most_writes as f64, "a run", most);
        stage.remove_namespace(&space);
        super::pods::gone(stage, &space).await;
    }
    operator.stop().await;
}
