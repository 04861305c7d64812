//! Figures, their targets, and how they are told.

use std::{fs, path::Path};

use serde_json::{Value, json};

/// What was measured and what was left out.
pub(crate) struct Figures {
    bench: &'static str,
    /// What they were measured with, beside the machine and the build.
    setting: &'static str,
    list: Vec<Value>,
}

impl Figures {
    /// None yet, of this bench, measured with this `setting`.
    pub(crate) const fn of(bench: &'static str, setting: &'static str) -> Self {
        Self { bench, setting, list: Vec::new() }
    }

    /// A figure without a target.
    pub(crate) fn add(&mut self, name: &str, value: f64, unit: &str) {
        println!("    {name}: {value:.2} {unit}");
        self.list.push(json!({ "name": name, "value": value, "unit": unit, "target": null, "met": null }));
    }

    /// A figure that should be at most `target`.
    pub(crate) fn at_most(&mut self, name: &str, value: f64, unit: &str, target: f64) {
        self.push(name, value, unit, "at most", target, value <= target);
    }

    /// A figure that should be at least `target`.
    pub(crate) fn at_least(&mut self, name: &str, value: f64, unit: &str, target: f64) {
        self.push(name, value, unit, "at least", target, value >= target);
    }

    fn push(&mut self, name: &str, value: f64, unit: &str, bound: &str, target: f64, met: bool) {
        println!("    {name}: {value:.2} {unit} ({bound} {target})");
        self.list
            .push(json!({ "name": name, "value": value, "unit": unit, "bound": bound, "target": target, "met": met }));
    }

    /// What was not measured, and why.
    pub(crate) fn skipped(&mut self, name: &str, reason: &str) {
        self.list
            .push(json!({ "name": name, "value": null, "unit": null, "target": null, "met": null, "skipped": reason }));
    }

    /// Prints the table and writes the JSON file.
    pub(crate) fn tell(&self) {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let build = if cfg!(debug_assertions) { "without optimisation" } else { "optimised" };
        println!("{cores} cores for all of it; built {build}; {}", self.setting);
        println!("{:<66} {:>10} {:<8} {:>17}  met", "figure", "value", "unit", "target");
        for figure in &self.list {
            let name = figure["name"].as_str().unwrap_or_default();
            if let Some(reason) = figure["skipped"].as_str() {
                println!("{name:<66} skipped: {reason}");
                continue;
            }
            let number = |key: &str| figure[key].as_f64().map(|v| format!("{v:.2}")).unwrap_or_default();
            let met = figure["met"].as_bool().map_or("", |met| if met { "yes" } else { "NO" });
            println!(
                "{name:<66} {:>10} {:<8} {:>8} {:>8}  {met}",
                number("value"),
                figure["unit"].as_str().unwrap_or_default(),
                figure["bound"].as_str().unwrap_or_default(),
                number("target")
            );
        }
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("bench");
        fs::create_dir_all(&dir).unwrap();
        let file = dir.join(format!("{}.json", self.bench));
        fs::write(&file, serde_json::to_vec_pretty(&self.list).unwrap()).unwrap();
        println!("written to {}", file.display());
    }
}

/// The value below which this part of the values lies.
pub(crate) fn quantile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let place = (part * (values.len() - 1) as f64).round() as usize;
    values[place]
}
