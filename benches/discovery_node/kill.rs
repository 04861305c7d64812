//! From the end of a process to the slice and the answers of DNS without its endpoint, and back.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use super::{
    board::Board,
    common::figures::{Figures, quantile},
    field::{Endpoint, FAILURES, Field, INTERVAL, TTL},
};

const TRIALS: usize = 50;
/// Beside what probing takes.
const WITHIN: Duration = Duration::from_secs(1);
/// Its multiples spread evenly modulo 1, however many they are.
const GOLDEN_RATIO: f64 = 0.618_033_988_749_895;

/// What is told beside the slice, by what it is called.
const RECORDS: [&str; 2] = ["A", "SRV"];

/// How long each trial took, in seconds, until the slice and the records said so.
#[derive(Default)]
struct Took {
    slice: Vec<f64>,
    records: [Vec<f64>; RECORDS.len()],
}

impl Took {
    async fn add(&mut self, endpoint: &Endpoint, board: &Board, there: bool, since: Instant) {
        let slice = board.moved(&endpoint.slice, &endpoint.address, there, since).await;
        self.slice.push(slice.as_secs_f64());
        for (record, took) in endpoint.records.iter().zip(&mut self.records) {
            took.push(board.moved(&record.key, &record.what, there, since).await.as_secs_f64());
        }
    }

    fn tell(mut self, name: &str, probing: Duration, figures: &mut Figures) {
        let bound = (probing + WITHIN).as_secs_f64();
        figures.add(&format!("{name} its slice, p50"), quantile(&mut self.slice, 0.5), "s");
        figures.at_most("  the same, p99", quantile(&mut self.slice, 0.99), "s", bound);
        for (record, mut took) in RECORDS.into_iter().zip(self.records).filter(|(_, took)| !took.is_empty()) {
            figures.add(&format!("  the answer of DNS ({record}), p50"), quantile(&mut took, 0.5), "s");
            figures.at_most("  the same, p99", quantile(&mut took, 0.99), "s", bound + TTL.as_secs_f64());
        }
    }
}

pub(crate) async fn of_processes(field: &mut Field, figures: &mut Figures) {
    println!("  {TRIALS} times the process of each of {} endpoints is killed and started", field.endpoints.len());
    let all = field.endpoints.drain(..).map(|endpoint| {
        let board = Arc::clone(&field.board);
        tokio::spawn(async move { trials(endpoint, &board).await })
    });
    let all: Vec<_> = all.collect();
    for task in all {
        let (endpoint, gone, back) = task.await.unwrap();
        gone.tell(&format!("{}: from its end to", endpoint.title), INTERVAL * FAILURES, figures);
        back.tell(&format!("{}: from its start to", endpoint.title), INTERVAL, figures);
        field.endpoints.push(endpoint);
    }
}

async fn trials(mut endpoint: Endpoint, board: &Board) -> (Endpoint, Took, Took) {
    let (mut gone, mut back) = (Took::default(), Took::default());
    for trial in 0..TRIALS {
        // the last answer is fresh in CoreDNS: trials begin evenly spread over the time that it is kept
        sleep(TTL.mul_f64((trial as f64 * GOLDEN_RATIO).fract())).await;
        let killed = Instant::now();
        endpoint.process.kill();
        gone.add(&endpoint, board, false, killed).await;
        let started = Instant::now();
        endpoint.process.start();
        back.add(&endpoint, board, true, started).await;
    }
    (endpoint, gone, back)
}
