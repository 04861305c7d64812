//! What a former leader has sent, and the network delivers when another one has long been at work.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use medley::loops::mirror::{Failure, Health, Memcached, Redis, Settings};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use super::{
    BOTH, MINUTE,
    servers::{Kind, Server},
    settings_of,
    stage::{Replica, service, until},
};

/// A network that can hold back what is sent from some word on.
struct Network {
    port: u16,
    hold: watch::Sender<bool>,
    held: Arc<AtomicUsize>,
    delivered: Arc<AtomicUsize>,
}

impl Network {
    async fn to(server: u16, word: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (hold, held, delivered) =
            (watch::Sender::new(false), Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (sender, count, after) = (hold.clone(), Arc::clone(&held), Arc::clone(&delivered));
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(("127.0.0.1", server)).await else { continue };
                let (mut near_reads, mut near_writes) = near.into_split();
                let (mut far_reads, mut far_writes) = far.into_split();
                tokio::spawn(async move { copy(&mut far_reads, &mut near_writes).await });
                let (mut holds, count, after) = (sender.subscribe(), Arc::clone(&count), Arc::clone(&after));
                tokio::spawn(async move {
                    let mut piece = vec![0; 1 << 20];
                    while let Ok(read @ 1..) = near_reads.read(&mut piece).await {
                        let has_word = piece[..read].windows(word.len()).any(|w| w == word.as_bytes());
                        let is_held = has_word && *holds.borrow();
                        if is_held {
                            count.fetch_add(1, Ordering::Relaxed);
                            holds.wait_for(|hold| !hold).await.unwrap();
                        }
                        far_writes.write_all(&piece[..read]).await.unwrap();
                        after.fetch_add(usize::from(is_held), Ordering::Relaxed);
                    }
                });
            }
        });
        Self { port, hold, held, delivered }
    }
}

#[tokio::test]
#[ignore = "needs redis-server and memcached of Debian: make test-peers"]
async fn what_a_former_leader_sent_and_comes_late_does_nothing() {
    for kind in BOTH {
        let server = Server::start(kind).await;
        let network = Network::to(server.port, if kind == Kind::Redis { "EXEC" } else { "cas " }).await;
        let through = |settings: &mut Settings| {
            settings.redis = settings.redis.take().map(|_| {
                Redis::new(&format!("redis://127.0.0.1:{}", network.port), "medley".to_owned(), None, None, MINUTE)
                    .unwrap()
            });
            settings.memcached = settings
                .memcached
                .take()
                .map(|_| Memcached::new(format!("127.0.0.1:{}", network.port), "medley".to_owned(), MINUTE).unwrap());
        };
        let mut of_former = settings_of(kind, &server, MINUTE);
        through(&mut of_former);
        let mut former = Replica::new(&of_former);
        former.list([service("radiology", "pacs", "DICOM", 2, 1), service("radiology", "ehr", "FHIR", 1, 2)]);
        former.lead("lease", 1);
        former.up(kind).await;
        network.hold.send_replace(true);
        former.apply(service("radiology", "pacs", "HTTP", 7, 10));
        former.delete(&service("radiology", "ehr", "FHIR", 1, 11));
        until("the network holds a write back", || async { network.held.load(Ordering::Relaxed) > 0 }).await;

        let mut later = Replica::new(&settings_of(kind, &server, MINUTE));
        later.list([service("radiology", "pacs", "DICOM", 1, 20), service("radiology", "ehr", "FHIR", 2, 21)]);
        later.lead("lease", 2);
        later.up(kind).await;
        network.hold.send_replace(false);
        until("the network delivers it", || async {
            network.delivered.load(Ordering::Relaxed) == network.held.load(Ordering::Relaxed)
        })
        .await;
        until("the former leader finds the mark of the later one", || async {
            former.state(kind).health == Health::Down(Failure::Superseded)
        })
        .await;
        let begun = Instant::now();
        until("a late effect has had its time", || async {
            assert!(later.equals(&server, kind).await, "{kind:?}");
            begun.elapsed() > Duration::from_millis(300)
        })
        .await;
        former.stop().await;
        later.stop().await;
    }
}
