//! What a prediction costs: printed for a reader, bounded far above what a slow machine needs.

use std::time::{Duration, Instant};

use crate::flows::{Dice, Memory, Run, Truth, definition};

/// Layers of ten steps; each step waits for two of the layer above.
fn cost(steps: usize) -> (Duration, Duration) {
    let names: Vec<String> = (0..steps).map(|i| format!("s{i}")).collect();
    let after: Vec<Vec<&str>> = (0..steps)
        .map(|i| if i < 10 { Vec::new() } else { vec![names[i - 10].as_str(), names[(i / 10 - 1) * 10].as_str()] })
        .map(|mut a| {
            a.dedup();
            a
        })
        .collect();
    let list: Vec<(&str, &[&str])> = names.iter().zip(&after).map(|(n, a)| (n.as_str(), a.as_slice())).collect();
    let definition = definition(&list);
    let mut dice = Dice::new(1);
    let mut run = || Run::new(&definition, (0..steps).map(|_| Truth::Takes(dice.around(30.0, 0.4), 1)).collect());
    let mut memory = Memory::new(&definition);
    for _ in 0..64 {
        memory.learn(&run());
    }
    let begun = Instant::now();
    let model = memory.model().unwrap();
    let built = begun.elapsed();
    let this = run();
    let rounds: u32 = 10;
    let begun = Instant::now();
    for _ in 0..rounds {
        this.predict(&model, "u1", 1.0, 1e6).unwrap();
    }
    (built, begun.elapsed() / rounds)
}

#[test]
fn a_prediction_is_cheap() {
    for steps in [10, 100, 500] {
        let (built, predicted) = cost(steps);
        println!("{steps} steps: model in {built:?}, prediction in {predicted:?}");
        // a build without optimisation on a busy machine; an optimised one needs a tenth
        assert!(predicted < Duration::from_secs(5) && built < Duration::from_secs(5));
    }
}
