//! A workflow as a picture: steps in levels, arrows for `after`, conditions and what undoes a step marked, `finally` below
//! all others. The same workflow always gives the same text.

mod dot;
mod mermaid;
mod text;

use std::collections::BTreeMap;

pub use dot::dot;
pub use mermaid::mermaid;
pub use text::text;

use crate::api::{
    call::Call,
    fan_out::ForEach,
    step::{ChildWorkflow, Container, Step},
    workflow::WorkflowSpec,
};

/// Characters of a condition or a detail that are shown.
const SHOWN: usize = 60;

/// A workflow's graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graph {
    /// The workflow's name.
    pub name: String,
    /// Its steps, in the order of the list.
    pub steps: Vec<Node>,
    /// What is done when the steps are over; `after` holds places in this list.
    pub finally: Vec<Node>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// What it does.
    pub action: Action,
    /// With whom, what or how long: a service, an image, a length of time.
    pub detail: String,
    /// Places of the steps that it waits for.
    pub after: Vec<usize>,
    /// Steps that must come before it, one after the other, at most.
    pub level: usize,
    /// Its condition.
    pub when: Option<String>,
    /// Of which items it is done each: their number or the expression that gives them, and how many at a time where that is set.
    pub each: Option<String>,
    /// What undoes it: action, and with whom or what.
    pub undo: Option<(Action, String)>,
}

/// The kinds of action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A request to a service.
    Call,
    /// A pod.
    Container,
    /// A computation.
    Transform,
    /// Time that passes.
    Wait,
    /// A child run.
    Workflow,
    /// None is set.
    Nothing,
}

impl Action {
    /// The word of the spec.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Container => "container",
            Self::Transform => "transform",
            Self::Wait => "wait",
            Self::Workflow => "workflow",
            Self::Nothing => "no action",
        }
    }
}

impl Graph {
    /// The graph of a workflow.
    ///
    /// # Errors
    /// A step in `after` that does not stand above.
    pub fn of(name: &str, spec: &WorkflowSpec) -> Result<Self, String> {
        let steps = nodes("spec.steps", &spec.steps)?;
        Ok(Self { name: plain(name), steps, finally: nodes("spec.finally", &spec.finally)? })
    }

    /// How many levels its steps have.
    #[must_use]
    pub fn levels(&self) -> usize {
        levels(&self.steps)
    }
}

fn levels(nodes: &[Node]) -> usize {
    nodes.iter().map(|n| n.level + 1).max().unwrap_or(0)
}

/// Places of those that no other waits for: the last of the steps.
fn ends(nodes: &[Node]) -> impl Iterator<Item = usize> {
    (0..nodes.len()).filter(|place| !nodes.iter().any(|n| n.after.contains(place)))
}

fn nodes(list: &str, steps: &[Step]) -> Result<Vec<Node>, String> {
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let mut nodes: Vec<Node> = Vec::with_capacity(steps.len());
    for (place, step) in steps.iter().enumerate() {
        let mut after = Vec::new();
        for before in &step.after {
            let found = places
                .get(before.as_str())
                .ok_or_else(|| format!("{list}[{place}].after: `{before}` is not a step above `{}`", step.name))?;
            after.push(*found);
        }
        let level = after.iter().map(|a| nodes[*a].level + 1).max().unwrap_or(0);
        let (action, detail) = action(step);
        let undo = step.compensate.as_ref().map(|u| {
            let (action, detail) = works(u.call.as_ref(), u.container.as_ref(), u.workflow.as_ref());
            (action, short(&detail))
        });
        let when = step.when.as_deref().map(short);
        let each = step.for_each.as_ref().map(each);
        nodes.push(Node { name: plain(&step.name), action, detail: short(&detail), after, level, when, each, undo });
        places.insert(&step.name, place);
    }
    Ok(nodes)
}

fn action(step: &Step) -> (Action, String) {
    if step.transform.is_some() {
        (Action::Transform, String::new())
    } else if let Some(wait) = &step.wait {
        (Action::Wait, wait.for_.to_string())
    } else {
        works(step.call.as_ref(), step.container.as_ref(), step.workflow.as_ref())
    }
}

fn each(of: &ForEach) -> String {
    let items = match (&of.items, of.count) {
        (Some(items), _) => short(items),
        (None, count) => count.unwrap_or(0).to_string(),
    };
    let together = of.max_parallel.map(|n| format!(", {n} at a time")).unwrap_or_default();
    format!("for each of {items}{together}")
}

fn works(call: Option<&Call>, container: Option<&Container>, child: Option<&ChildWorkflow>) -> (Action, String) {
    match (call, container, child) {
        (Some(call), ..) => (Action::Call, call.service.clone().or_else(|| call.query.clone()).unwrap_or_default()),
        (_, Some(container), _) => (Action::Container, container.image.clone()),
        (.., Some(child)) => (Action::Workflow, child.name.clone()),
        _ => (Action::Nothing, String::new()),
    }
}

impl Node {
    fn does(&self) -> String {
        format!("{} {}", self.action.as_str(), self.detail).trim_end().to_owned()
    }
}

/// On one line and without control characters: a terminal must not be told what to do by a file.
fn plain(text: &str) -> String {
    let spaced = text.split_whitespace().collect::<Vec<_>>().join(" ");
    spaced.chars().filter(|c| !c.is_control()).collect()
}

fn short(text: &str) -> String {
    let plain = plain(text);
    if plain.chars().count() <= SHOWN {
        return plain;
    }
    let mut cut: String = plain.chars().take(SHOWN - 1).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn graph(spec: Value) -> Result<Graph, String> {
        Graph::of("read-study", &serde_json::from_value(spec).unwrap())
    }

    fn call(service: &str) -> Value {
        json!({"service": service, "http": {"path": "/"}})
    }

    fn diamond() -> Graph {
        graph(json!({"steps": [
            {"name": "count", "call": call("archive")},
            {"name": "hold", "call": call("archive"), "compensate": {"call": call("archive")}},
            {"name": "decide", "after": ["count", "hold"], "transform": {"expression": "{\"go\": true}"}},
            {"name": "measure", "after": ["decide"], "when": "steps.decide.outputs.go &&\n  params.name != \"a<b>\"",
             "container": {"image": "registry.example/measure:1"}},
            {"name": "send", "after": ["measure"], "forEach": {"items": "steps.count.outputs.series", "maxParallel": 2},
             "call": call("archive")},
            {"name": "end", "after": ["count", "send"], "wait": {"for": "90s"}},
        ], "finally": [{"name": "tell", "workflow": {"name": "notify"}}]}))
        .unwrap()
    }

    #[test]
    fn levels_follow_from_the_longest_way() {
        let g = diamond();
        assert_eq!(g.steps.iter().map(|n| n.level).collect::<Vec<_>>(), [0, 0, 1, 2, 3, 4]);
        assert_eq!(g.levels(), 5);
        assert_eq!(ends(&g.steps).collect::<Vec<_>>(), [5]);
    }

    #[test]
    fn mermaid_knows_no_reserved_names_and_no_raw_marks() {
        let want = r#"---
title: read-study
---
flowchart TD
    s0(["count<br/>call archive"])
    s1(["hold<br/>call archive"])
    s2{{"decide<br/>transform"}}
    s3["measure<br/>container registry.example/measure:1<br/>when steps.decide.outputs.go #38;#38; params.name != #34;a#60;b#62;#34;"]
    s4(["send<br/>call archive<br/>for each of steps.count.outputs.series, 2 at a time"])
    s5[/"end<br/>wait 1m30s"/]
    s0 --> s2
    s1 --> s2
    s2 -.-> s3
    s3 --> s4
    s0 --> s5
    s4 --> s5
    u1["undo hold<br/>call archive"]
    s1 -. undone by .-> u1
    subgraph finally
    f0[["tell<br/>workflow notify"]]
    end
    s5 ==> f0
    classDef conditional stroke-dasharray: 5 5
    class s3 conditional
"#;
        assert_eq!(mermaid(&diamond()), want);
    }

    #[test]
    fn dot_quotes_what_it_is_given() {
        let want = r#"digraph "read-study" {
    rankdir=TB
    node [fontname="sans-serif"]
    "count" [shape=oval, label="count\ncall archive"]
    "hold" [shape=oval, label="hold\ncall archive"]
    "decide" [shape=hexagon, label="decide\ntransform"]
    "measure" [shape=box, style=dashed, label="measure\ncontainer registry.example/measure:1\nwhen steps.decide.outputs.go && params.name != \"a<b>\""]
    "send" [shape=oval, peripheries=2, label="send\ncall archive\nfor each of steps.count.outputs.series, 2 at a time"]
    "end" [shape=parallelogram, label="end\nwait 1m30s"]
    "count" -> "decide"
    "hold" -> "decide"
    "decide" -> "measure" [style=dashed]
    "measure" -> "send"
    "count" -> "end"
    "send" -> "end"
    "hold.compensate" [shape=box, style=dotted, label="undo hold\ncall archive"]
    "hold" -> "hold.compensate" [style=dotted, label="undone by"]
    subgraph cluster_finally {
        label="finally"
        "tell" [shape=component, label="tell\nworkflow notify"]
    }
    "end" -> "tell" [style=bold]
}
"#;
        assert_eq!(dot(&diamond()), want);
    }

    #[test]
    fn the_terminal_sees_levels_and_arrows() {
        let want = "\
read-study: 6 steps in 5 levels, 1 in finally

1        ● count     call archive
         ● hold      call archive                          undone by call archive
         │
2        ● decide    transform                             ← count, hold
         │
3        ○ measure   container registry.example/measure:1  ← decide  when steps.decide.outputs.go && params.name != \"a<b>\"
         │
4        ● send      call archive                          ← measure  for each of steps.count.outputs.series, 2 at a time
         │
5        ● end       wait 1m30s                            ← count, send
         ║
finally  ● tell      workflow notify

○ runs only when its condition holds
";
        assert_eq!(text(&diamond()), want);
    }

    #[test]
    fn a_file_cannot_speak_to_the_terminal() {
        let step = json!({"name": "a", "when": "\"\u{1b}[2J\" == params.x\n", "wait": {"for": "1s"}});
        let g = graph(json!({"steps": [step]})).unwrap();
        for text in [text(&g), dot(&g), mermaid(&g)] {
            assert!(!text.contains('\u{1b}'), "{text:?}");
        }
        let long = json!({"name": "a", "when": "x".repeat(500), "wait": {"for": "1s"}});
        let long = graph(json!({"steps": [long]})).unwrap();
        assert_eq!(long.steps[0].when.as_ref().unwrap().chars().count(), SHOWN);
    }

    #[test]
    fn a_step_that_is_not_above_is_named() {
        let error = graph(json!({"steps": [{"name": "a", "after": ["b"], "wait": {"for": "1s"}}]})).unwrap_err();
        assert_eq!(error, "spec.steps[0].after: `b` is not a step above `a`");
    }
}
