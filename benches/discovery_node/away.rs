//! While no operator runs, nothing of what clients see changes; nor when the next one begins.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::{Instant, sleep};

use super::{common::figures::Figures, field::Field};

const AWAY: Duration = Duration::from_secs(60);
/// The lease of the dead is over by then, and all endpoints have been probed.
const BEGINNING: Duration = Duration::from_secs(45);

pub(crate) async fn of_the_operator(field: &mut Field, figures: &mut Figures) {
    println!("  the operator is killed, and for {} s there is none", AWAY.as_secs());
    let asked = field.count.asked.load(Ordering::Relaxed);
    let killed = Instant::now();
    field.operator = None;
    sleep(AWAY).await;
    let away = field.board.since(killed);
    let started = Instant::now();
    field.start_operator();
    sleep(BEGINNING).await;
    let begun = field.board.since(started);
    for (key, now) in away.iter().chain(&begun) {
        println!("    {key} has changed to {now:?}");
    }
    // the next one does its work
    let outside = field.endpoints.last_mut().unwrap();
    let failed = Instant::now();
    outside.process.kill();
    field.board.moved(&outside.slice, &outside.address, false, failed).await;
    outside.process.start();
    let answers = field.count.asked.load(Ordering::Relaxed) - asked;
    let name = format!("no operator for {} s", AWAY.as_secs());
    figures.at_most(&format!("{name}: changes of slices and of answers of DNS"), away.len() as f64, "", 0.0);
    figures.at_most("  changes when the next one begins", begun.len() as f64, "", 0.0);
    figures.add("  questions to DNS meanwhile", answers as f64, "");
}
