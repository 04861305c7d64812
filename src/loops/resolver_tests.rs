//! The resolver under paused time, with scripted answers.

use tokio::time::Instant;

use super::*;

/// Answers by host; a host without an answer does not exist.
#[derive(Default)]
struct Script {
    answers: Mutex<HashMap<String, Answer>>,
    /// When each lookup started, in seconds since the first.
    started: Mutex<Vec<(String, u64)>>,
    origin: Mutex<Option<Instant>>,
}

impl Script {
    fn answer(&self, host: &str, v4: Result<&[&str], LookupFailure>, ttl: u64) {
        let parse = |list: &[&str]| list.iter().map(|a| a.parse().unwrap()).collect();
        let v6 = if v4.is_ok() { Ok(vec![]) } else { Err(LookupFailure::Timeout) };
        self.put(host, Answer { v4: v4.map(parse), v6, ttl: Duration::from_secs(ttl) });
    }

    fn put(&self, host: &str, answer: Answer) {
        self.answers.lock().unwrap().insert(host.to_owned(), answer);
    }

    fn starts(&self, host: &str) -> Vec<u64> {
        self.started.lock().unwrap().iter().filter(|(h, _)| h == host).map(|(_, at)| *at).collect()
    }
}

impl LookupIo for Arc<Script> {
    async fn lookup(&self, host: &str) -> Answer {
        let origin = *self.origin.lock().unwrap().get_or_insert_with(Instant::now);
        self.started.lock().unwrap().push((host.to_owned(), origin.elapsed().as_secs()));
        let answer = self.answers.lock().unwrap().get(host).cloned();
        answer.unwrap_or(Answer { v4: Ok(vec![]), v6: Ok(vec![]), ttl: Duration::ZERO })
    }
}

struct Bench {
    script: Arc<Script>,
    resolver: Arc<Resolver<Arc<Script>>>,
    reports: Arc<Mutex<Vec<Key>>>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Bench {
    fn new() -> Self {
        let script = Arc::new(Script::default());
        let reports: Arc<Mutex<Vec<Key>>> = Arc::default();
        let seen = Arc::clone(&reports);
        let resolver = Resolver::new(Arc::clone(&script), Box::new(move |key| seen.lock().unwrap().push(key.clone())));
        let stop = CancellationToken::new();
        let task = tokio::spawn(Arc::clone(&resolver).run(stop.clone()));
        Self { script, resolver, reports, stop, task }
    }

    fn set(&self, key: &Key, hosts: &[&str]) {
        self.resolver.set_hosts(key, hosts.iter().map(|h| (*h).to_owned()).collect());
    }

    /// What is known of the one host of a service.
    fn known(&self, key: &Key) -> Option<Lookup> {
        self.resolver.lookups(key).into_values().next()
    }

    fn addresses(&self, key: &Key) -> Vec<String> {
        self.known(key).unwrap().addresses.iter().map(ToString::to_string).collect()
    }
}

fn pacs() -> Key {
    Key::new("radiology", "pacs")
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_millis(seconds * 1000 + 10)).await;
}

#[tokio::test(start_paused = true)]
async fn a_name_is_looked_up_again_when_its_time_to_live_has_passed() {
    let bench = Bench::new();
    bench.script.answer("a.example", Ok(&["192.0.2.2", "192.0.2.1"]), 30);
    bench.set(&pacs(), &["a.example"]);
    assert_eq!(bench.known(&pacs()), None, "not looked up yet");
    pass(100).await;
    assert_eq!(bench.addresses(&pacs()), ["192.0.2.1", "192.0.2.2"], "in order");
    assert_eq!(bench.script.starts("a.example"), [0, 30, 60, 90]);
    assert_eq!(bench.reports.lock().unwrap().len(), 1, "the same answer is no news");
    bench.script.answer("a.example", Ok(&["192.0.2.1", "192.0.2.2"]), 30);
    pass(30).await;
    assert_eq!(bench.reports.lock().unwrap().len(), 1, "the same answer in another order is no news");
    bench.script.answer("a.example", Ok(&["192.0.2.9"]), 30);
    pass(30).await;
    assert_eq!((bench.addresses(&pacs()), bench.reports.lock().unwrap().len()), (vec!["192.0.2.9".to_owned()], 2));
}

#[tokio::test(start_paused = true)]
async fn the_time_to_live_is_kept_within_bounds() {
    let bench = Bench::new();
    bench.script.answer("short.example", Ok(&["192.0.2.1"]), 0);
    bench.script.answer("long.example", Ok(&["192.0.2.1"]), 1_000_000);
    bench.set(&pacs(), &["short.example", "long.example"]);
    pass(3600).await;
    assert_eq!(bench.script.starts("short.example").len(), 721);
    assert_eq!(bench.script.starts("long.example"), [0, 3600]);
}

#[tokio::test(start_paused = true)]
async fn failures_are_retried_ever_more_slowly_and_the_last_good_addresses_stay() {
    let bench = Bench::new();
    bench.script.answer("a.example", Ok(&["192.0.2.1"]), 10);
    bench.set(&pacs(), &["a.example"]);
    pass(1).await;
    bench.script.answer("a.example", Err(LookupFailure::ServerFailure), 0);
    pass(200).await;
    assert_eq!(bench.script.starts("a.example"), [0, 10, 15, 25, 45, 85, 145]);
    let known = bench.known(&pacs()).unwrap();
    assert_eq!(known.failed, Some(LookupFailure::ServerFailure));
    assert_eq!(bench.addresses(&pacs()), ["192.0.2.1"]);
    assert_eq!(bench.reports.lock().unwrap().len(), 2, "found, then failing");
    // the name is gone: the addresses stay, only probes take them out
    bench.script.answers.lock().unwrap().clear();
    pass(60).await;
    assert_eq!(bench.known(&pacs()).unwrap().failed, Some(LookupFailure::NotFound));
    assert_eq!(bench.addresses(&pacs()), ["192.0.2.1"]);
    bench.script.answer("a.example", Ok(&["192.0.2.1"]), 10);
    pass(60).await;
    assert_eq!(bench.known(&pacs()).unwrap().failed, None);
    bench.script.answer("a.example", Err(LookupFailure::Timeout), 0);
    let before = bench.script.starts("a.example").len();
    pass(20).await;
    assert!(bench.script.starts("a.example").len() >= before + 2, "a success starts the backoff again");
}

#[tokio::test(start_paused = true)]
async fn addresses_that_no_endpoint_can_have_are_a_failure_of_their_own() {
    let bench = Bench::new();
    bench.script.answer("a.example", Ok(&["127.0.0.1", "169.254.169.254"]), 30);
    bench.set(&pacs(), &["a.example"]);
    pass(1).await;
    let unusable = Lookup { addresses: vec![], failed: Some(LookupFailure::UnusableAddress) };
    assert_eq!(bench.known(&pacs()), Some(unusable));
    bench.script.answer("a.example", Ok(&["127.0.0.1", "192.0.2.1"]), 30);
    pass(10).await;
    assert_eq!((bench.addresses(&pacs()), bench.known(&pacs()).unwrap().failed), (vec!["192.0.2.1".to_owned()], None));
}

#[tokio::test(start_paused = true)]
async fn a_family_that_fails_keeps_its_addresses_while_the_other_moves() {
    let bench = Bench::new();
    let v6: Vec<Ipv6Addr> = vec!["2001:db8::1".parse().unwrap()];
    let ttl = Duration::from_secs(3600);
    bench
        .script
        .put("a.example", Answer { v4: Ok(vec![[192, 0, 2, 1].into()]), v6: Ok(v6), ttl: Duration::from_secs(5) });
    bench.set(&pacs(), &["a.example"]);
    pass(1).await;
    let half = Answer { v4: Ok(vec![[192, 0, 2, 2].into()]), v6: Err(LookupFailure::Timeout), ttl };
    bench.script.put("a.example", half);
    pass(5).await;
    assert_eq!(bench.addresses(&pacs()), ["192.0.2.2", "2001:db8::1"]);
    assert_eq!(bench.known(&pacs()).unwrap().failed, None);
    pass(60).await;
    assert_eq!(bench.script.starts("a.example"), [0, 5, 65], "looked up again before its hour is over");
}

#[tokio::test(start_paused = true)]
async fn a_name_that_several_services_use_is_looked_up_once_and_told_to_all() {
    let bench = Bench::new();
    let other = Key::new("cardiology", "pacs");
    bench.script.answer("a.example", Ok(&["192.0.2.1"]), 10);
    bench.set(&pacs(), &["a.example"]);
    bench.set(&other, &["a.example"]);
    pass(1).await;
    assert_eq!(bench.script.starts("a.example"), [0]);
    assert_eq!(bench.reports.lock().unwrap().len(), 2);
    let late = Key::new("neurology", "pacs");
    bench.set(&late, &["a.example"]);
    assert_eq!(bench.addresses(&late), ["192.0.2.1"]);
    assert_eq!(bench.reports.lock().unwrap().last(), Some(&late), "who comes late is told what is known");
    bench.resolver.forget(&late);
    bench.resolver.forget(&pacs());
    pass(10).await;
    assert_eq!(bench.script.starts("a.example"), [0, 10], "the other service still asks");
    assert!(bench.resolver.lookups(&pacs()).is_empty());
    bench.set(&other, &["b.example"]);
    pass(60).await;
    assert_eq!(bench.script.starts("a.example"), [0, 10], "nobody asks any more");
}

#[tokio::test(start_paused = true)]
async fn setting_the_same_hosts_again_looks_nothing_up_and_stopping_ends_all() {
    let bench = Bench::new();
    bench.script.answer("a.example", Ok(&["192.0.2.1"]), 10);
    bench.set(&pacs(), &["a.example"]);
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        bench.set(&pacs(), &["a.example"]);
    }
    assert_eq!(bench.script.starts("a.example"), [0]);
    bench.stop.cancel();
    bench.task.await.unwrap();
    assert!(bench.resolver.lookups(&pacs()).is_empty());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(bench.script.starts("a.example"), [0]);
}
