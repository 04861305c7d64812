//! Stores beside the cluster: what Redis, Memcached and Prometheus answer, and what InfluxDB is told.

use jiff::Timestamp;
use medley::{
    core::{
        monitoring::{line_protocol, signal},
        registry::Held,
    },
    loops::mirror::{
        redis_hash,
        wire::{Swap, Wire},
    },
};
use tokio::io::{AsyncWriteExt, duplex};

use crate::{Codec, run};

pub(crate) const REDIS: Codec = Codec {
    name: "redis",
    law: redis,
    // the client makes room for some thousand elements of an array that begins, and takes a hundred within each other
    base: 32 << 20,
    per_byte: 800,
    tokens: &[
        b"*2\r\n",
        b"%1\r\n",
        b"*2147483647\r\n",
        b"$9\r\nmanagedBy\r\n",
        b"$13\r\nmedley.health\r\n",
        b"$2147483647\r\n",
        b"$-1\r\n",
        b"-WRONGTYPE x\r\n",
        b"-ERR x\r\n",
        b":1\r\n",
        b"+OK\r\n",
        b"_\r\n",
        b"~3\r\n",
        b"|1\r\n",
        b"(99999999999999999999\r\n",
        b",1e999\r\n",
        b"=8\r\ntxt:abcd\r\n",
        b"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n",
    ],
};

/// A hash is medley's only if its mark says so.
fn redis(bytes: &[u8]) {
    let held = redis_hash(::redis::parse_redis_value(bytes));
    if let Ok(Some(Held::Ours(fields))) = held {
        assert_eq!(fields.get("managedBy").map(String::as_str), Some("medley.health"));
    }
}

pub(crate) const MEMCACHED: Codec = Codec {
    name: "memcached",
    law: memcached,
    // the largest value that a server takes, and as much again
    base: 2 * ((1 << 20) + 16 * 1024),
    per_byte: 40,
    tokens: &[
        b"VALUE p:a 0 4 42\r\nabcd\r\n",
        b"VALUE p:a 0 ",
        b"1048577 1\r\n",
        b"4294967295 18446744073709551615\r\n",
        b"END\r\n",
        b"STORED\r\n",
        b"EXISTS\r\n",
        b"SERVER_ERROR x\r\n",
        b"\r\n",
    ],
};

/// Values are found of keys that were asked for only, and of entries that were written as many are told of.
fn memcached(bytes: &[u8]) {
    run(async {
        let (near, mut far) = duplex(bytes.len() + 4096);
        let sent = async {
            // who has seen enough closes
            let _ = far.write_all(bytes).await;
            let _ = far.shutdown().await;
        };
        let asked = async {
            let mut wire = Wire::new(near);
            let keys = ["p:a".to_owned(), "p:b".to_owned()];
            if let Ok(found) = wire.gets(&keys).await {
                assert!(found.keys().all(|k| keys.contains(k)) && found.values().all(|(v, _)| v.len() <= bytes.len()));
                let swap = |unique| Swap { key: "p:a".to_owned(), value: Some(b"x".to_vec()), unique, ttl: 60 };
                if let Ok(stored) = wire.swap(&[swap(None), swap(Some(7))]).await {
                    assert_eq!(stored.len(), 2);
                }
            }
        };
        tokio::join!(asked, sent);
    });
}

pub(crate) const LINE_PROTOCOL: Codec = Codec {
    name: "line_protocol",
    law: line_protocol_points,
    base: 16 * 1024,
    per_byte: 400,
    tokens: &[
        b"medley_x",
        b"{",
        b"}",
        b"le=\"",
        b"\"",
        b"\\",
        b"\\n",
        b",",
        b"=",
        b" 1",
        b"\n",
        b"\r",
        b"# ",
        b" NaN",
        b" 1e300",
        b"\xe2\x80\xa8",
    ],
};

/// Each point is one line that ends with its value and time.
fn line_protocol_points(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for point in line_protocol::points(&text, "medley-0", Timestamp::UNIX_EPOCH) {
        assert!(!point.contains(|c: char| c.is_control()), "{point:?}");
        assert!(point.ends_with(" 0") && point.contains(" value="), "{point:?}");
    }
}

pub(crate) const SIGNAL: Codec = Codec {
    name: "signal",
    law: signal_samples,
    base: 16 * 1024,
    // the shortest sample has fourteen bytes
    per_byte: 100,
    tokens: &[
        b"{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[",
        b"{\"metric\":{}},",
        b"{\"metric\":{\"namespace\":\"a\",\"service\":\"b\"},\"value\":[1,\"0.5\"]},",
        b"{\"metric\":{\"namespace\":\"a\",\"service\":\"c\"},\"value\":[1,\"NaN\"]}",
        b"\"+Inf\"",
        b"\"1e999\"",
        b"\"matrix\"",
        b"]}}",
        b"[[[[[[[[[[[[[[[[",
        b"\\ud800",
        b",",
    ],
};

/// Each sample has become of something, and values are whole steps.
fn signal_samples(bytes: &[u8]) {
    let Ok(samples) = signal::samples(bytes) else { return };
    let services: Vec<_> = samples.iter().filter_map(|s| s.service.clone()).collect();
    let count = samples.len();
    let mut held = signal::Held::default();
    let (moved, tally) = held.take(samples, |_| true, Timestamp::UNIX_EPOCH);
    assert_eq!(tally.counted + tally.unlabelled + tally.no_number + tally.ambiguous, count);
    assert!(moved.len() == tally.counted && moved.iter().all(|m| services.contains(m)));
    assert!(moved.iter().all(|m| held.value(m).is_some_and(|v| v <= 100 && v % signal::STEP == 0)));
}
