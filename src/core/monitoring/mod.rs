//! How each service does: what its probes say, read with hysteresis; how surprising measurements are, given those before (`monitor`, which
//! judges each window of them; `surprise`, `sketch` and `tail` say by what), and whether one meets its objective. What Prometheus says of
//! services (`signal`). And how metrics look to whoever is told of them.

pub mod backlog;
pub mod health;
pub mod line_protocol;
pub mod measurements;
pub mod monitor;
pub mod objectives;
pub mod pace;
pub mod signal;
pub mod sketch;
pub mod surprise;
pub mod tail;
