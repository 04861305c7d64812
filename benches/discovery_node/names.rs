//! Names are asked for at `CoreDNS` itself, again and again: no client's cache is between.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hickory_resolver::proto::{
    op::{Message, Query, ResponseCode},
    rr::{Name, RData, RecordType},
};
use tokio::{
    net::UdpSocket,
    time::{MissedTickBehavior, interval, timeout},
};

use super::board::Board;

const EVERY: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(1);

/// How often was asked, and how often no answer came.
#[derive(Default)]
pub(crate) struct Count {
    pub(crate) asked: AtomicU64,
    pub(crate) lost: AtomicU64,
}

/// The key on the board of a name's records.
pub(crate) fn key(name: &str, record: RecordType) -> String {
    format!("{record} {name}")
}

/// Asks for the records of a name every 20 ms, and tells the board: addresses of A records, names of hosts of SRV records.
pub(crate) async fn ask(server: SocketAddr, name: String, record: RecordType, board: Arc<Board>, count: Arc<Count>) {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap();
    socket.connect(server).await.unwrap();
    let mut query = Message::query();
    query.add_query(Query::query(Name::from_ascii(format!("{name}.")).unwrap(), record));
    let mut due = interval(EVERY);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut answer = vec![0; 4096];
    for id in (1..=u16::MAX).cycle() {
        due.tick().await;
        query.metadata.id = id;
        socket.send(&query.to_vec().unwrap()).await.unwrap();
        count.asked.fetch_add(1, Ordering::Relaxed);
        let answered = async {
            loop {
                let length = socket.recv(&mut answer).await.unwrap();
                let message = Message::from_vec(&answer[..length]).unwrap();
                if message.metadata.id == id {
                    return message;
                }
            }
        };
        match timeout(PATIENCE, answered).await {
            Ok(message) => board.tell(&key(&name, record), records(&message)),
            Err(_) => drop(count.lost.fetch_add(1, Ordering::Relaxed)),
        }
    }
}

fn records(message: &Message) -> BTreeSet<String> {
    match message.metadata.response_code {
        ResponseCode::NoError => message.answers.iter().map(|r| text(&r.data)).collect(),
        code => BTreeSet::from([format!("{code}")]),
    }
}

fn text(data: &RData) -> String {
    match data {
        RData::SRV(service) => service.target.to_ascii().trim_end_matches('.').to_owned(),
        other => other.to_string(),
    }
}
