//! A timeline for the terminal: a table with a bar for each attempt.

use crate::{
    api::{Span, workflow_run::RunPhase},
    core::simulate::timeline::{ItemsRow, Row, Timeline},
};

/// Characters of a bar that stands for the whole run.
const BAR: usize = 32;

impl Timeline {
    /// The timeline as plain text.
    #[must_use]
    pub fn text(&self) -> String {
        let how = if self.phase.is_final() { "after" } else { "and nothing more happens by itself, after" };
        let mut out = format!("{}: {:?} {how} {}\n", self.workflow, self.phase, shown(self.total));
        if self.phase != RunPhase::Succeeded {
            out.push_str(&format!("{}: {}\n", self.reason, self.message));
        }
        let heads = ["step", "attempt", "from", "to", "took", "phase"];
        let rows: Vec<[String; 6]> = self.attempts.iter().map(cells).collect();
        let width = |c: usize| rows.iter().map(|r| r[c].chars().count()).chain([heads[c].len()]).max().unwrap_or(0);
        let widths: [usize; 6] = std::array::from_fn(width);
        let line = |cells: &[String; 6]| -> String {
            cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}  ")).collect()
        };
        out.push('\n');
        out.push_str(line(&heads.map(str::to_owned)).trim_end());
        out.push('\n');
        for (row, cells) in self.attempts.iter().zip(&rows) {
            let why = match (&row.reason, &row.message) {
                (Some(reason), Some(message)) => format!("  {reason:?}: {message}"),
                (None, Some(message)) => format!("  {message}"),
                _ => String::new(),
            };
            let items = row.items.as_ref().map(|i| format!("  {}", counts(i))).unwrap_or_default();
            let text = format!("{}{}{items}{}", line(cells), self.bar(row), plain(&why));
            out.push_str(text.trim_end());
            out.push('\n');
        }
        if !self.outputs.is_empty() {
            out.push_str("\noutputs\n");
            for (name, value) in &self.outputs {
                out.push_str(&plain(&format!("  {name} = {value}")));
                out.push('\n');
            }
        }
        out
    }

    /// Where in the run an attempt was at work.
    fn bar(&self, row: &Row) -> String {
        let place = |ms: i64| -> usize {
            let (ms, total) = (u128::try_from(ms).unwrap_or(0), u128::try_from(self.total).unwrap_or(0).max(1));
            usize::try_from(ms * BAR as u128 / total).unwrap_or(BAR).min(BAR)
        };
        let (from, to) = (place(row.from).min(BAR - 1), place(row.to.unwrap_or(self.total)));
        let long = to.saturating_sub(from).max(1);
        let mark = if row.attempt == 0 { "·" } else { "█" };
        format!("│{}{}{}│", " ".repeat(from), mark.repeat(long), " ".repeat(BAR - from - long))
    }
}

/// What has become of a step's items.
fn counts(items: &ItemsRow) -> String {
    let over = items.succeeded + items.failed + items.unknown + items.canceled;
    let all = [
        (items.succeeded, "succeeded"),
        (items.failed, "failed"),
        (items.unknown, "of unknown outcome"),
        (items.canceled, "stopped"),
        (items.total.saturating_sub(over), "not done"),
        (items.repeated, "tried again"),
    ];
    let told: Vec<String> = all.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    let many = if items.total == 1 { "item" } else { "items" };
    if told.is_empty() { format!("0 {many}") } else { format!("{} {many}: {}", items.total, told.join(", ")) }
}

fn cells(row: &Row) -> [String; 6] {
    let step = if row.finally { format!("finally {}", row.step) } else { row.step.clone() };
    let attempt = if row.attempt == 0 { String::new() } else { row.attempt.to_string() };
    let to = row.to.map(shown).unwrap_or_default();
    let took = row.to.map(|to| shown(to - row.from)).unwrap_or_default();
    [step, attempt, shown(row.from), to, took, format!("{:?}", row.phase)]
}

fn shown(ms: i64) -> String {
    Span::from_millis(u64::try_from(ms).unwrap_or(0)).to_string()
}

/// Without control characters: a terminal must not be told what to do by a value.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}
