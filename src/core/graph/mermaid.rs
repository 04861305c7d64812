//! Mermaid's flowchart (<https://mermaid.js.org/syntax/flowchart.html>), which GitHub and GitLab show in Markdown.

use std::fmt::Write as _;

use super::{Action, Graph, Node, ends};

/// The graph as a Mermaid flowchart.
#[must_use]
pub fn mermaid(graph: &Graph) -> String {
    let mut out = format!("---\ntitle: {}\n---\nflowchart TD\n", graph.name);
    list(&mut out, 's', &graph.steps);
    for (place, node) in graph.steps.iter().enumerate() {
        if let Some((action, detail)) = &node.undo {
            let does = format!("{} {}", action.as_str(), escaped(detail));
            let _ = writeln!(out, "    u{place}[\"undo {}<br/>{}\"]", escaped(&node.name), does.trim_end());
            let _ = writeln!(out, "    s{place} -. undone by .-> u{place}");
        }
    }
    if !graph.finally.is_empty() {
        out.push_str("    subgraph finally\n");
        list(&mut out, 'f', &graph.finally);
        out.push_str("    end\n");
        for end in ends(&graph.steps) {
            for (first, _) in graph.finally.iter().enumerate().filter(|(_, n)| n.after.is_empty()) {
                let _ = writeln!(out, "    s{end} ==> f{first}");
            }
        }
    }
    let named = |prefix: char, nodes: &[Node]| -> Vec<String> {
        nodes.iter().enumerate().filter(|(_, n)| n.when.is_some()).map(|(p, _)| format!("{prefix}{p}")).collect()
    };
    let conditional = [named('s', &graph.steps), named('f', &graph.finally)].concat().join(",");
    if !conditional.is_empty() {
        let _ = writeln!(out, "    classDef conditional stroke-dasharray: 5 5\n    class {conditional} conditional");
    }
    out
}

/// The steps of a list and the arrows between them.
fn list(out: &mut String, prefix: char, nodes: &[Node]) {
    for (place, node) in nodes.iter().enumerate() {
        let mut label = format!("{}<br/>{}", escaped(&node.name), escaped(&node.does()));
        for (word, text) in [("", &node.each), ("when ", &node.when)] {
            if let Some(text) = text {
                let _ = write!(label, "<br/>{word}{}", escaped(text));
            }
        }
        let (open, close) = match node.action {
            Action::Call => ("([", "])"),
            Action::Container | Action::Nothing => ("[", "]"),
            Action::Transform => ("{{", "}}"),
            Action::Wait => ("[/", "/]"),
            Action::Workflow => ("[[", "]]"),
        };
        // a step may be called `end`, which is a word of Mermaid's own
        let _ = writeln!(out, "    {prefix}{place}{open}\"{label}\"{close}");
    }
    for (place, node) in nodes.iter().enumerate() {
        let arrow = if node.when.is_some() { "-.->" } else { "-->" };
        for before in &node.after {
            let _ = writeln!(out, "    {prefix}{before} {arrow} {prefix}{place}");
        }
    }
}

/// Marks that Mermaid or HTML would read as their own, as character codes.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '"' | '#' | '&' | '<' | '>' | '`' | '\\') {
            let _ = write!(out, "#{};", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}
