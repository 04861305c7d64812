//! Graphviz' language (<https://graphviz.org/doc/info/lang.html>).

use std::fmt::Write as _;

use super::{Action, Graph, Node, ends};

/// The graph in DOT.
#[must_use]
pub fn dot(graph: &Graph) -> String {
    let mut out = format!("digraph {} {{\n    rankdir=TB\n    node [fontname=\"sans-serif\"]\n", quoted(&graph.name));
    list(&mut out, "    ", &graph.steps);
    for node in &graph.steps {
        if let Some((action, detail)) = &node.undo {
            // no step's name holds a dot
            let id = quoted(&format!("{}.compensate", node.name));
            let does = format!("{} {detail}", action.as_str());
            let label = quoted(&format!("undo {}\n{}", node.name, does.trim_end()));
            let _ = writeln!(out, "    {id} [shape=box, style=dotted, label={label}]");
            let _ = writeln!(out, "    {} -> {id} [style=dotted, label=\"undone by\"]", quoted(&node.name));
        }
    }
    if !graph.finally.is_empty() {
        out.push_str("    subgraph cluster_finally {\n        label=\"finally\"\n");
        list(&mut out, "        ", &graph.finally);
        out.push_str("    }\n");
        for end in ends(&graph.steps) {
            for first in graph.finally.iter().filter(|n| n.after.is_empty()) {
                let from = quoted(&graph.steps[end].name);
                let _ = writeln!(out, "    {from} -> {} [style=bold]", quoted(&first.name));
            }
        }
    }
    out.push_str("}\n");
    out
}

/// The steps of a list and the arrows between them.
fn list(out: &mut String, indent: &str, nodes: &[Node]) {
    for node in nodes {
        let mut label = format!("{}\n{}", node.name, node.does());
        for (word, text) in [("", &node.each), ("when ", &node.when)] {
            if let Some(text) = text {
                let _ = write!(label, "\n{word}{text}");
            }
        }
        let shape = match node.action {
            Action::Call => "oval",
            Action::Container | Action::Nothing => "box",
            Action::Transform => "hexagon",
            Action::Wait => "parallelogram",
            Action::Workflow => "component",
        };
        let style = if node.when.is_some() { "style=dashed, " } else { "" };
        let many = if node.each.is_some() { "peripheries=2, " } else { "" };
        let _ = writeln!(out, "{indent}{} [shape={shape}, {style}{many}label={}]", quoted(&node.name), quoted(&label));
    }
    for node in nodes {
        let style = if node.when.is_some() { " [style=dashed]" } else { "" };
        for before in &node.after {
            let _ = writeln!(out, "{indent}{} -> {}{style}", quoted(&nodes[*before].name), quoted(&node.name));
        }
    }
}

/// A quoted string: the quote is the only mark that needs a backslash, but a backslash in a label is one of DOT's own.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}
