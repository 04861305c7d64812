//! Which call goes next, and to which instance: P(service given resources) for what medley asks of services.
//!
//! A [`Lane`] is told which steps want to call, which calls go out and how they end, and says whose turn it is. It knows no clock
//! and no network.

mod breaker;
mod choice;
mod instance;
mod lane;
mod limits;
mod seats;

pub use choice::{Chosen, Load, choose};
pub use lane::{Ask, Caller, Lane, News, Place, Refused, Standing, Turn, Waits};
pub use limits::Limits;
pub use seats::Ended;
