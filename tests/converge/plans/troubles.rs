//! What goes wrong, and when: each trouble is a rule about some calls, watch events or moments. All of them end.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use harness::simulated::{Call, Fault, WatchEventInfo, WatchFault};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{super::world::World, scenario::is_default};

/// One trouble. Writes and calls are those of operators, from 1; the lease and events do not count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Trouble {
    /// The operator dies at a write; another starts `back` seconds later.
    Crash {
        write: u16,
        after: bool,
        back: u8,
        /// The lists of that other one are so many versions old.
        #[serde(default, skip_serializing_if = "is_default")]
        past: u16,
    },
    /// A write takes effect, and its reply is lost.
    Lost { write: u16 },
    /// A write takes effect so many seconds later, when its writer no longer waits for it.
    Late { write: u16, secs: u8 },
    /// Of `times` writes each `every`th has its reply delayed by so many seconds.
    Slow { every: u8, times: u8, secs: u8 },
    /// Of `times` updates each `every`th is refused with a conflict.
    Conflict { every: u8, times: u8 },
    /// So many calls from this one on are refused with this status.
    Burst { from: u16, calls: u8, code: u16 },
    /// Of `times` calls each `every`th breaks, before or after it takes effect.
    Break { every: u8, times: u8 },
    /// At this second all watches end, in good order or not, and maybe the server has forgotten its history.
    Cut { at: u8, reset: bool, forget: bool },
    /// Of the watch events of the first `until` seconds so many percent come `least` to `most` seconds late.
    Delay { percent: u8, least: u8, most: u8, until: u16 },
    /// Of the watch events of the first `until` seconds so many percent never come; then everything is listed anew.
    Drop { percent: u8, until: u16 },
    /// For so many seconds from this one on the first operator reaches nothing; another one stands by.
    Cutoff { at: u8, secs: u8 },
    /// As `Cutoff`, but it reaches all except the lease, whose time is shorter than the holder believes: two lead at once.
    Overlap { at: u8, secs: u8 },
    /// The clock of the operator of this number is wrong by so many seconds.
    Skew { operator: u8, secs: i16 },
}

impl Trouble {
    /// Whether another operator waits for the first one's end.
    pub(crate) const fn has_standby(&self) -> bool {
        matches!(self, Self::Cutoff { .. } | Self::Overlap { .. })
    }

    /// Whether something of it may arrive long after it was sent.
    pub(crate) const fn holds_back(&self) -> bool {
        matches!(self, Self::Delay { .. } | Self::Drop { .. } | Self::Late { .. })
    }

    /// Whether a leader may begin with the world as it was, before policies and pools even.
    pub(crate) const fn is_behind(&self) -> bool {
        matches!(self, Self::Crash { past, .. } if *past > 0)
    }

    /// Whether it may refuse calls again and again.
    pub(crate) const fn refuses(&self) -> bool {
        matches!(self, Self::Burst { .. } | Self::Break { .. } | Self::Cutoff { .. } | Self::Conflict { .. })
    }

    /// Whether it may end a leader's term.
    pub(crate) const fn ends_terms(&self) -> bool {
        matches!(
            self,
            Self::Crash { .. }
                | Self::Cutoff { .. }
                | Self::Overlap { .. }
                | Self::Break { .. }
                | Self::Burst { .. }
                | Self::Slow { .. }
        )
    }
}

/// A write that counts.
pub(crate) fn counts(call: &Call) -> bool {
    call.is_write() && !call.is_event() && call.resource != "leases" && call.user.starts_with("op-")
}

/// What has come of the troubles so far.
pub(crate) struct Mischief {
    troubles: Vec<Trouble>,
    began: Instant,
    world: Arc<World>,
    /// After so many calls something is out of hand, and the plan is ended.
    most: u64,
    on: bool,
    writes: u16,
    updates: u16,
    calls: u16,
    chance: u64,
    /// When an operator died, and after how long and with how old lists the next starts.
    pub(crate) crashed: Vec<(Instant, u8, u16)>,
    /// What struck, and when.
    pub(crate) struck: Vec<(Duration, String)>,
    pub(crate) out_of_hand: bool,
    /// An operator whose first lists are so many versions old, and what it has listed.
    past: Option<(String, u16, BTreeSet<String>)>,
}

/// Shared by the plans of calls and of watch events, and by who runs the plan.
pub(crate) type Shared = Arc<Mutex<Mischief>>;

impl Mischief {
    pub(crate) fn new(troubles: &[Trouble], world: &Arc<World>, most: u64) -> Shared {
        Arc::new(Mutex::new(Self {
            troubles: troubles.to_vec(),
            began: Instant::now(),
            world: Arc::clone(world),
            most,
            on: true,
            writes: 0,
            updates: 0,
            calls: 0,
            chance: 0x9e37_79b9_7f4a_7c15,
            crashed: Vec::new(),
            struck: Vec::new(),
            out_of_hand: false,
            past: None,
        }))
    }

    /// From now on nothing goes wrong.
    pub(crate) fn end(&mut self) {
        self.on = false;
    }

    /// The first lists of this operator will be old.
    pub(crate) fn lag(&mut self, operator: &str, versions: u16) {
        self.past = Some((operator.to_owned(), versions, BTreeSet::new()));
    }

    fn strike(&mut self, what: String) {
        self.struck.push((self.began.elapsed(), what));
    }

    /// The fate of a call.
    pub(crate) fn call(this: &Shared, call: &Call) -> Fault {
        let mut guard = this.lock().unwrap();
        let me = &mut *guard;
        if call.n > me.most {
            me.out_of_hand = true;
            return Fault::CrashBefore(Box::new(|| {}));
        }
        if !me.on || !call.user.starts_with("op-") {
            return Fault::None;
        }
        if let Some((user, versions, listed)) = &mut me.past
            && call.verb == "list"
            && *user == call.user
            && listed.insert(call.resource.clone())
        {
            let versions = *versions;
            me.strike(format!("the list of {} for {} is {versions} versions old", call.resource, call.user));
            return Fault::ListOld(u64::from(versions));
        }
        let now = me.began.elapsed().as_secs();
        let write = if counts(call) { Some(me.writes + 1) } else { None };
        me.writes += u16::from(write.is_some());
        let update = call.verb == "update" && call.resource != "leases";
        me.updates += u16::from(update);
        let of_lease = call.resource == "leases";
        let counted = !of_lease && !call.is_event();
        me.calls = me.calls.saturating_add(u16::from(counted));
        let chance = me.next_chance();
        let within = |at: u8, secs: u8| now >= u64::from(at) && now < u64::from(at) + u64::from(secs);
        let nth = |count: u16, every: u8, times: u8| {
            count <= u16::from(times) * u16::from(every) && count.is_multiple_of(u16::from(every.max(1)))
        };
        let mut fault = Fault::None;
        let mut what = None;
        for trouble in &me.troubles {
            let found = match *trouble {
                Trouble::Crash { write: n, after, back, past } if write == Some(n) => {
                    let (this, world, user) = (Arc::clone(this), Arc::clone(&me.world), call.user.clone());
                    let kill = Box::new(move || {
                        world.kill(&user);
                        this.lock().unwrap().crashed.push((Instant::now(), back, past));
                    });
                    if after { Fault::CrashAfter(kill) } else { Fault::CrashBefore(kill) }
                }
                Trouble::Lost { write: n } if write == Some(n) => Fault::LoseReplyAfterCommit,
                Trouble::Late { write: n, secs } if write == Some(n) => {
                    Fault::Late(Duration::from_secs(u64::from(secs)))
                }
                Trouble::Slow { every, times, secs } if write.is_some_and(|n| nth(n, every, times)) => {
                    Fault::DelayReply(Duration::from_secs(u64::from(secs)))
                }
                Trouble::Conflict { every, times } if update && nth(me.updates, every, times) => {
                    refused(409, "Conflict", None)
                }
                Trouble::Burst { from, calls, code }
                    if counted && me.calls >= from && me.calls < from + u16::from(calls) =>
                {
                    match code {
                        429 => refused(429, "TooManyRequests", Some(Duration::from_secs(1))),
                        503 => refused(503, "ServiceUnavailable", None),
                        _ => refused(500, "InternalError", None),
                    }
                }
                Trouble::Break { every, times } if counted && nth(me.calls, every, times) => {
                    if chance.is_multiple_of(2) { Fault::DropBefore } else { Fault::LoseReplyAfterCommit }
                }
                Trouble::Cutoff { at, secs } if call.user == "op-1" && within(at, secs) => Fault::DropBefore,
                Trouble::Overlap { at, secs } if call.user == "op-1" && of_lease && within(at, secs) => {
                    Fault::DropBefore
                }
                _ => continue,
            };
            what = Some(format!("{trouble:?}"));
            fault = found;
            break;
        }
        if let Some(what) = what {
            me.strike(format!("{what} hits {} {} {}/{}", call.user, call.verb, call.resource, call.name));
        }
        fault
    }

    /// The fate of a watch event.
    pub(crate) fn event(this: &Shared, event: &WatchEventInfo) -> WatchFault {
        let mut me = this.lock().unwrap();
        if !me.on || !event.user.starts_with("op-") {
            return WatchFault::Deliver;
        }
        let now = me.began.elapsed().as_secs();
        let chance = me.next_chance();
        let hits = |percent: u8, until: u16| now < u64::from(until) && chance % 100 < u64::from(percent);
        let fault = me.troubles.iter().find_map(|trouble| match *trouble {
            Trouble::Delay { percent, least, most, until } if hits(percent, until) => {
                let span = 1000 * u64::from(most.saturating_sub(least)) + 1;
                Some(WatchFault::Delay(Duration::from_millis(1000 * u64::from(least) + (chance >> 16) % span)))
            }
            Trouble::Drop { percent, until } if hits(percent, until) => Some(WatchFault::Drop),
            _ => None,
        });
        match fault {
            None => WatchFault::Deliver,
            Some(fault) => {
                me.strike(format!("{fault:?} of {} {} {} to {}", event.event, event.kind, event.name, event.user));
                fault
            }
        }
    }

    fn next_chance(&mut self) -> u64 {
        self.chance = self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.chance >> 20
    }
}

fn refused(code: u16, reason: &str, after: Option<Duration>) -> Fault {
    Fault::Respond { code, reason: reason.to_owned(), retry_after: after }
}
