//! How each service does: what its probes say, read with hysteresis.

pub mod health;
