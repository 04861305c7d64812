//! How each service does: what its probes say, read with hysteresis. And how metrics look to whoever is told of them.

pub mod backlog;
pub mod health;
pub mod line_protocol;
pub mod pace;
