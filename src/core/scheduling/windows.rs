//! Hours of the week in which a pool has other amounts.

use jiff::{
    Timestamp, Zoned,
    civil::{Time, Weekday},
    tz::{TimeZone, TimeZoneDatabase},
};

use crate::api::{
    CapacityPoolSpec,
    capacity_pool::{Day, Window},
};

/// So many days a window lasts or is away at most, and one more.
const LOOK_AHEAD: i32 = 9;

/// The zone of a window, of the database that the program brings along.
///
/// # Errors
/// When there is none of that name.
pub fn zone(window: &Window) -> Result<TimeZone, String> {
    match window.time_zone.as_deref() {
        None => Ok(TimeZone::UTC),
        Some(name) => {
            let problem =
                || format!("there is no time zone `{name}`: write one of the IANA database, such as Europe/Berlin");
            TimeZoneDatabase::bundled().get(name).map_err(|_| problem())
        }
    }
}

fn time(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once(':')?;
    Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()
}

const fn weekday(day: Day) -> Weekday {
    match day {
        Day::Mon => Weekday::Monday,
        Day::Tue => Weekday::Tuesday,
        Day::Wed => Weekday::Wednesday,
        Day::Thu => Weekday::Thursday,
        Day::Fri => Weekday::Friday,
        Day::Sat => Weekday::Saturday,
        Day::Sun => Weekday::Sunday,
    }
}

/// When a window that begins on the day so many days after today begins and ends. A time that the clock leaves out comes as much
/// later (RFC 5545, §3.3.5), one that it shows twice is the first.
fn occurrence(window: &Window, today: &Zoned, days: i32) -> Option<(Timestamp, Timestamp)> {
    let day = today.date().checked_add(jiff::Span::new().days(days)).ok()?;
    if !window.days.is_empty() && !window.days.iter().any(|d| weekday(*d) == day.weekday()) {
        return None;
    }
    let (from, to) = (time(&window.from)?, time(&window.to)?);
    let last = if to > from { day } else { day.tomorrow().ok()? };
    let at = |date: jiff::civil::Date, time: Time| {
        date.to_datetime(time).to_zoned(today.time_zone().clone()).ok().map(|z| z.timestamp())
    };
    Some((at(day, from)?, at(last, to)?))
}

/// Whether a window holds, and when that changes next.
fn holds(window: &Window, now: Timestamp) -> (bool, Option<Timestamp>) {
    let Ok(zone) = zone(window) else { return (false, None) };
    let today = now.to_zoned(zone);
    let mut holds = false;
    let mut next: Option<Timestamp> = None;
    for (from, to) in (-2..LOOK_AHEAD).filter_map(|days| occurrence(window, &today, days)) {
        holds |= from <= now && now < to;
        for at in [from, to].into_iter().filter(|at| *at > now) {
            next = Some(next.map_or(at, |present| present.min(at)));
        }
    }
    (holds, next)
}

/// The window of a pool that holds, and when to ask again.
#[must_use]
pub fn current(spec: &CapacityPoolSpec, now: Timestamp) -> (Option<&Window>, Option<Timestamp>) {
    let mut current = None;
    let mut next: Option<Timestamp> = None;
    for window in &spec.windows {
        let (holds, changes) = holds(window, now);
        if holds && current.is_none() {
            current = Some(window);
        }
        next = next.into_iter().chain(changes).min();
    }
    (current, next)
}

/// What is wrong with the windows of a pool.
#[must_use]
pub fn problem(spec: &CapacityPoolSpec) -> Option<String> {
    let mut all = spec.windows.iter().enumerate();
    all.find_map(|(i, window)| Some(format!("spec.windows[{i}].timeZone: {}", zone(window).err()?)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spec(windows: &Value) -> CapacityPoolSpec {
        serde_json::from_value(json!({"resources": {"gpu": "1"}, "windows": windows})).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn name(spec: &CapacityPoolSpec, now: &str) -> (Option<String>, Option<Timestamp>) {
        let (window, next) = current(spec, at(now));
        (window.map(|w| w.name.clone()), next)
    }

    #[test]
    fn a_night_belongs_to_the_day_on_which_it_begins() {
        let night = json!([{"name": "night", "timeZone": "Europe/Berlin", "days": ["Fri"], "from": "22:00", "to": "06:00", "resources": {}}]);
        let spec = spec(&night);
        // 2026-11-27 is a Friday; Berlin is one hour before UTC
        assert_eq!(name(&spec, "2026-11-27T20:59:59Z"), (None, Some(at("2026-11-27T21:00:00Z"))));
        assert_eq!(name(&spec, "2026-11-27T21:00:00Z"), (Some("night".to_owned()), Some(at("2026-11-28T05:00:00Z"))));
        assert_eq!(
            name(&spec, "2026-11-28T04:59:59Z").0.as_deref(),
            Some("night"),
            "Saturday's morning is Friday's night"
        );
        assert_eq!(name(&spec, "2026-11-28T05:00:00Z"), (None, Some(at("2026-12-04T21:00:00Z"))));
    }

    #[test]
    fn clocks_that_are_changed_make_a_night_longer_or_shorter() {
        let night =
            json!([{"name": "n", "timeZone": "Europe/Berlin", "from": "22:00", "to": "06:00", "resources": {}}]);
        let spec = spec(&night);
        let length = |begin: &str| name(&spec, begin).1.unwrap().duration_since(at(begin)).as_hours();
        assert_eq!(length("2026-03-27T21:00:00Z"), 8);
        assert_eq!(length("2026-03-28T21:00:00Z"), 7, "the hour from two to three is left out");
        assert_eq!(length("2026-10-24T20:00:00Z"), 9, "it comes twice");
    }

    #[test]
    fn of_several_the_first_holds_and_the_next_change_of_any_counts() {
        let windows = json!([
            {"name": "lunch", "from": "12:00", "to": "13:00", "resources": {}},
            {"name": "day", "from": "08:00", "to": "18:00", "resources": {}},
        ]);
        let spec = spec(&windows);
        let day = |hour: &str| at(&format!("2026-11-28T{hour}:00Z"));
        assert_eq!(name(&spec, "2026-11-28T11:00:00Z"), (Some("day".to_owned()), Some(day("12:00"))));
        assert_eq!(name(&spec, "2026-11-28T12:30:00Z"), (Some("lunch".to_owned()), Some(day("13:00"))));
        assert_eq!(name(&spec, "2026-11-28T13:00:00Z"), (Some("day".to_owned()), Some(day("18:00"))));
        assert_eq!(name(&spec, "2026-11-28T19:00:00Z").0, None);
    }

    #[test]
    fn from_a_time_to_the_same_is_a_whole_day() {
        let spec =
            spec(&json!([{"name": "n", "days": ["Sat", "Sun"], "from": "00:00", "to": "00:00", "resources": {}}]));
        // 2026-11-28 is a Saturday
        assert_eq!(name(&spec, "2026-11-27T23:59:59Z").0, None);
        for now in ["2026-11-28T00:00:00Z", "2026-11-28T23:59:59Z", "2026-11-29T00:00:00Z", "2026-11-29T23:59:59Z"] {
            assert_eq!(name(&spec, now).0.as_deref(), Some("n"), "{now}");
        }
        assert_eq!(name(&spec, "2026-11-30T00:00:00Z").0, None);
    }

    #[test]
    fn an_unknown_zone_is_a_problem_and_its_window_never_holds() {
        let spec = spec(
            &json!([{"name": "n", "timeZone": "Europe/Atlantis", "from": "00:00", "to": "23:59", "resources": {}}]),
        );
        assert_eq!(name(&spec, "2026-11-28T12:00:00Z"), (None, None));
        let problem = problem(&spec).unwrap();
        assert!(problem.starts_with("spec.windows[0].timeZone: there is no time zone `Europe/Atlantis`"), "{problem}");
    }
}
