//! The graph for a terminal: one line a step, grouped by level, with what each waits for.

use std::fmt::Write as _;

use super::{Graph, Node, levels};

/// The word before the steps of `finally`.
const FINALLY: &str = "finally";

/// The graph as plain text.
#[must_use]
pub fn text(graph: &Graph) -> String {
    let many = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let mut out = format!("{}: {} in {}", graph.name, many(graph.steps.len(), "step"), many(graph.levels(), "level"));
    if !graph.finally.is_empty() {
        let _ = write!(out, ", {} in finally", graph.finally.len());
    }
    out.push_str("\n\n");
    let all = || graph.steps.iter().chain(&graph.finally);
    let more = |n: &&Node| !n.after.is_empty() || n.when.is_some() || n.each.is_some() || n.undo.is_some();
    let widths = Widths {
        label: if graph.finally.is_empty() { graph.levels().to_string().len() } else { FINALLY.len() },
        name: all().map(|n| n.name.chars().count()).max().unwrap_or(0),
        action: all().filter(more).map(|n| n.does().chars().count()).max().unwrap_or(0),
    };
    list(&mut out, &graph.steps, &widths, |level| (level + 1).to_string());
    if !graph.finally.is_empty() {
        let _ = writeln!(out, "{:1$}  ║", "", widths.label);
        list(&mut out, &graph.finally, &widths, |level| if level == 0 { FINALLY.to_owned() } else { String::new() });
    }
    if all().any(|n| n.when.is_some()) {
        out.push_str("\n○ runs only when its condition holds\n");
    }
    out
}

/// Characters of each column.
struct Widths {
    label: usize,
    name: usize,
    action: usize,
}

fn list(out: &mut String, nodes: &[Node], widths: &Widths, label: impl Fn(usize) -> String) {
    let Widths { label: number, name: names, action: actions } = *widths;
    for level in 0..levels(nodes) {
        if level > 0 {
            let _ = writeln!(out, "{:number$}  │", "");
        }
        for (i, node) in nodes.iter().filter(|n| n.level == level).enumerate() {
            let label = if i == 0 { label(level) } else { String::new() };
            let mark = if node.when.is_some() { '○' } else { '●' };
            let before: Vec<&str> = node.after.iter().map(|a| nodes[*a].name.as_str()).collect();
            let mut line = format!("{label:number$}  {mark} {:names$}   {:actions$}", node.name, node.does());
            if !before.is_empty() {
                let _ = write!(line, "  ← {}", before.join(", "));
            }
            if let Some(each) = &node.each {
                let _ = write!(line, "  {each}");
            }
            if let Some(when) = &node.when {
                let _ = write!(line, "  when {when}");
            }
            if let Some((action, detail)) = &node.undo {
                let _ = write!(line, "  undone by {} {detail}", action.as_str());
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
    }
}
