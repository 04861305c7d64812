use super::*;
use crate::api::measurements::Cause;

/// Numbers that look like chance (splitmix64; Steele, Lea, Flood, OOPSLA 2014), from 0 to 1.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (((z ^ (z >> 31)) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// A standard normal value (Box and Muller, 1958).
    fn normal(&mut self) -> f64 {
        (-2.0 * self.next().ln()).sqrt() * (std::f64::consts::TAU * self.next()).cos()
    }
}

/// A service whose answers have a log-normal duration.
#[derive(Clone, Copy)]
struct Service {
    median_ms: f64,
    /// Of the logarithm.
    deviation: f64,
    /// Share of measurements that fail.
    fails: f64,
}

const USUAL: Service = Service { median_ms: 20.0, deviation: 0.5, fails: 0.01 };

/// A monitor with its service, probed every ten seconds.
struct Watch {
    monitor: Monitor,
    chance: Chance,
    now: i64,
}

impl Watch {
    fn new(seed: u64) -> Self {
        Self { monitor: Monitor::default(), chance: Chance(seed), now: 0 }
    }

    fn measure(&mut self, service: Service) -> News {
        self.now += 10;
        let took = service.median_ms * (service.deviation * self.chance.normal()).exp();
        let fails = self.chance.next() < service.fails;
        let answer = (!fails).then(|| Duration::from_secs_f64(took / 1000.0));
        self.monitor.take(answer, Timestamp::from_second(self.now).unwrap())
    }

    /// One whole window.
    fn window(&mut self, service: Service) -> News {
        loop {
            let news = self.measure(service);
            if news.window {
                return news;
            }
        }
    }

    fn windows(&mut self, many: usize, service: Service) {
        for _ in 0..many {
            self.window(service);
        }
    }

    fn cause(&self) -> Option<Cause> {
        self.monitor.anomaly().map(|a| a.cause)
    }
}

#[test]
fn a_steady_service_is_surprising_as_seldom_as_is_said() {
    let services = [
        USUAL,
        Service { deviation: 0.02, ..USUAL },
        Service { deviation: 1.5, ..USUAL },
        Service { fails: 0.0, ..USUAL },
        Service { fails: 0.2, ..USUAL },
        Service { median_ms: 0.4, deviation: 0.2, fails: 0.001 },
    ];
    let (mut judged, mut above, mut began) = (0_u32, [0_u32; 4], 0_u32);
    for (seed, service) in services.into_iter().enumerate() {
        let mut watch = Watch::new(seed as u64 + 1);
        for _ in 0..STEADY_WINDOWS {
            let news = watch.window(service);
            began += u32::from(news.turn && watch.monitor.anomaly().is_some());
            if let Some(surprise) = watch.monitor.surprise() {
                judged += 1;
                for (s, count) in above.iter_mut().enumerate() {
                    *count += u32::from(surprise > s as f64);
                }
            }
        }
    }
    println!("of {judged} windows {above:?} were above 0, 1, 2 and 3; {began} anomalies began");
    for (s, count) in above.into_iter().enumerate().skip(1) {
        let most = f64::from(judged) * 10_f64.powi(-(s as i32));
        assert!(f64::from(count) <= most + 3.0 * most.sqrt(), "{count} of {judged} above {s}");
    }
    assert_eq!(began, 0);
}

/// For each service. `docs/monitoring.md` tells what many more have shown.
const STEADY_WINDOWS: usize = 1500;

#[test]
fn what_changes_for_the_worse_is_noticed_within_two_windows() {
    let changes = [
        (Service { median_ms: 50.0, ..USUAL }, Cause::Slower),
        (Service { fails: 0.4, ..USUAL }, Cause::Failing),
        (Service { fails: 1.0, ..USUAL }, Cause::Failing),
    ];
    for (change, cause) in changes {
        for seed in 0..20 {
            let mut watch = Watch::new(seed);
            watch.windows(300, USUAL);
            assert!(!watch.window(change).turn, "one window is no anomaly");
            assert!(watch.window(change).turn);
            assert_eq!(watch.cause(), Some(cause));
        }
    }
    let mut faster = Watch::new(7);
    faster.windows(300, USUAL);
    faster.windows(300, Service { median_ms: 5.0, ..USUAL });
    assert_eq!(faster.cause(), None);
}

#[test]
fn an_anomaly_stays_as_long_as_its_cause_and_does_not_hide_itself() {
    let mut watch = Watch::new(1);
    watch.windows(300, USUAL);
    let failing = Service { fails: 0.4, ..USUAL };
    watch.windows(2, failing);
    for _ in 0..1000 {
        assert!(!watch.window(failing).turn, "three days and a half");
    }
    let turns: Vec<bool> = (0..3).map(|_| watch.window(USUAL).turn).collect();
    assert_eq!(turns, [false, false, true], "the third window in a row ends it");
    watch.windows(50, USUAL);
    watch.windows(2, failing);
    assert_eq!(watch.cause(), Some(Cause::Failing), "the second time is as surprising as the first");
}

#[test]
fn what_is_slower_for_a_day_is_how_the_service_is_now() {
    let mut watch = Watch::new(2);
    watch.windows(300, USUAL);
    let slower = Service { median_ms: 60.0, ..USUAL };
    watch.windows(2, slower);
    let ended = (0..300).position(|_| watch.window(slower).turn).unwrap() + 2;
    // a window begins every 310 s and lasts 300 s
    assert_eq!(ended, (86_400_usize - 300).div_ceil(310));
    watch.windows(100, slower);
    assert_eq!(watch.cause(), None);
    watch.windows(2, Service { median_ms: 180.0, ..USUAL });
    assert_eq!(watch.cause(), Some(Cause::Slower), "it is known anew");
}

#[test]
fn days_and_nights_that_differ_are_usual_once_they_have_been_seen() {
    let (night, day) = (Service { median_ms: 10.0, ..USUAL }, Service { median_ms: 40.0, ..USUAL });
    let mut watch = Watch::new(3);
    let mut begun = Vec::new();
    for day_number in 0..14 {
        for service in [night, day] {
            for _ in 0..140 {
                let news = watch.window(service);
                if news.turn && watch.monitor.anomaly().is_some() {
                    begun.push(day_number);
                }
            }
        }
    }
    assert!(!begun.is_empty() && begun.iter().all(|d| *d < 3), "{begun:?}");
    watch.windows(2, Service { median_ms: 400.0, ..USUAL });
    assert_eq!(watch.cause(), Some(Cause::Slower), "what neither day nor night has shown");
}

#[test]
fn a_status_keeps_all_that_a_new_leader_needs() {
    let mut watch = Watch::new(4);
    assert_eq!(watch.monitor.told(), None);
    watch.windows(300, USUAL);
    let now = Timestamp::from_second(watch.now).unwrap();
    let told = watch.monitor.told().unwrap();
    assert!(told.failed.is_some_and(|p| (0.5..1.5).contains(&p)) && told.anomaly.is_none() && told.aside.is_none());
    let median = told.median.unwrap().duration().as_secs_f64();
    assert!((median / 0.020 - 1.0).abs() < 0.15, "{median}");
    let size = serde_json::to_string(&told).unwrap().len();
    assert!(size < 200, "{size}");
    watch.monitor = Monitor::seeded(&told, now);
    assert_eq!(watch.monitor.told().unwrap(), told, "nothing is lost, so nothing is to be written");
    watch.windows(2, Service { fails: 0.5, ..USUAL });
    let told = watch.monitor.told().unwrap();
    assert!(told.anomaly.is_some() && told.aside.is_some());
    watch.monitor = Monitor::seeded(&told, now);
    assert_eq!(watch.monitor.told().unwrap(), told);
    watch.windows(1, Service { fails: 0.5, ..USUAL });
    assert_eq!(watch.cause(), Some(Cause::Failing), "a new leader does not end it");
    watch.windows(3, USUAL);
    assert_eq!(watch.cause(), None);
}

#[test]
fn an_anomaly_of_which_nothing_is_measured_ends_after_a_day() {
    let mut watch = Watch::new(5);
    watch.windows(300, USUAL);
    assert_eq!(watch.monitor.expires(), None);
    watch.windows(2, Service { fails: 1.0, ..USUAL });
    let at = watch.monitor.expires().unwrap();
    assert_eq!(at.as_second(), watch.now + 86_400);
    assert!(!watch.monitor.expire(Timestamp::from_second(watch.now + 86_399).unwrap()));
    assert!(watch.monitor.expire(at));
    assert_eq!((watch.cause(), watch.monitor.expires()), (None, None));
}

#[test]
fn a_window_has_five_minutes_and_twenty_measurements() {
    let at = |s| Timestamp::from_second(s).unwrap();
    let answer = Some(Duration::from_millis(5));
    let mut often = Monitor::default();
    let ended = (0..1000).position(|i| often.take(answer, at(i)).window);
    assert_eq!(ended, Some(300));
    let mut seldom = Monitor::default();
    let ended = (0..1000).position(|i| seldom.take(answer, at(i * 3600)).window);
    assert_eq!(ended, Some(19));
}
