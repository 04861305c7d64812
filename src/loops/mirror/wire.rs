//! Memcached's text protocol, as far as a mirror needs it: `gets`, `add` and `cas`.
//!
//! Source: `doc/protocol.txt` of memcached 1.6. What a server sends is bounded, and anything but the expected answers ends the connection.

use std::collections::BTreeMap;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

use super::store::Failure;

/// Longest line of an answer: `VALUE <key> <flags> <bytes> <unique>`.
const LINE: u64 = 512;
/// Longest value: what a server takes if nobody has set it otherwise.
const VALUE: u32 = 1 << 20;
/// Bytes of commands that are sent before their answers are read: answers are short and fit into the buffers between meanwhile.
const AT_ONCE: usize = 1 << 16;

/// One entry to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swap {
    /// Its key.
    pub key: String,
    /// `None` to remove it.
    pub value: Option<Vec<u8>>,
    /// The number that came with what was read; `None` where nothing was there.
    pub unique: Option<u64>,
    /// In seconds.
    pub ttl: u64,
}

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// It is as it should be.
    Done,
    /// Somebody else has written or removed it since it was read.
    Changed,
    /// The server has no room for it.
    NoRoom,
}

/// A connection.
#[derive(Debug)]
pub struct Wire<S> {
    stream: BufReader<S>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Wire<S> {
    /// A connection that is there.
    #[must_use]
    pub fn new(stream: S) -> Self {
        Self { stream: BufReader::new(stream) }
    }

    async fn line(&mut self) -> Result<String, Failure> {
        let mut line = Vec::new();
        let read = (&mut self.stream).take(LINE).read_until(b'\n', &mut line).await;
        match read.map_err(|_| Failure::Unreachable)? {
            0 => return Err(Failure::Unreachable),
            _ if !line.ends_with(b"\r\n") => return Err(Failure::Unexpected),
            _ => line.truncate(line.len() - 2),
        }
        String::from_utf8(line).map_err(|_| Failure::Unexpected)
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.stream.get_mut().write_all(bytes).await.map_err(|_| Failure::Unreachable)
    }

    /// The values of these keys, each with the number by which it is swapped; those that are not there are left out.
    ///
    /// # Errors
    /// When the connection broke, or the server has sent what it must not.
    pub async fn gets(&mut self, keys: &[String]) -> Result<BTreeMap<String, (Vec<u8>, u64)>, Failure> {
        let mut found = BTreeMap::new();
        // a line of a command may be 2048 bytes long, a key 250
        let lines: Vec<String> = keys.chunks(8).map(|keys| format!("gets {}\r\n", keys.join(" "))).collect();
        self.send(lines.concat().as_bytes()).await?;
        for _ in lines {
            loop {
                let line = self.line().await?;
                if line == "END" {
                    break;
                }
                let words: Vec<&str> = line.split(' ').collect();
                let ["VALUE", key, _flags, length, unique] = words.as_slice() else { return Err(error(&line)) };
                let (length, unique) = (length.parse::<u32>(), unique.parse::<u64>());
                let (Ok(length), Ok(unique)) = (length, unique) else { return Err(Failure::Unexpected) };
                if !keys.iter().any(|k| k == key) {
                    return Err(Failure::Unexpected);
                }
                found.insert((*key).to_owned(), (self.value(length).await?, unique));
            }
        }
        Ok(found)
    }

    /// A value of so many bytes, without the end of its line. One that is too long for medley to have written it is left out.
    async fn value(&mut self, length: u32) -> Result<Vec<u8>, Failure> {
        if length > VALUE {
            let mut rest = (&mut self.stream).take(u64::from(length));
            let left_out =
                tokio::io::copy(&mut rest, &mut tokio::io::sink()).await.map_err(|_| Failure::Unreachable)?;
            return if left_out == u64::from(length) && self.line().await?.is_empty() {
                Ok(Vec::new())
            } else {
                Err(Failure::Unexpected)
            };
        }
        let mut value = vec![0; length as usize + 2];
        self.stream.read_exact(&mut value).await.map_err(|_| Failure::Unreachable)?;
        if !value.ends_with(b"\r\n") {
            return Err(Failure::Unexpected);
        }
        value.truncate(length as usize);
        Ok(value)
    }

    /// Writes these entries, each only if it is as it was read.
    ///
    /// # Errors
    /// When the connection broke, or the server has sent what it must not.
    pub async fn swap(&mut self, swaps: &[Swap]) -> Result<Vec<Stored>, Failure> {
        let mut stored = Vec::with_capacity(swaps.len());
        let (mut bytes, mut sent) = (Vec::new(), 0);
        for (i, swap) in swaps.iter().enumerate() {
            let value = swap.value.as_deref().unwrap_or_default();
            // an expiry below zero: gone at once
            let ttl = if swap.value.is_some() { swap.ttl.to_string() } else { "-1".to_owned() };
            let (key, length) = (&swap.key, value.len());
            match swap.unique {
                Some(unique) => bytes.extend(format!("cas {key} 0 {ttl} {length} {unique}\r\n").into_bytes()),
                None => bytes.extend(format!("add {key} 0 {ttl} {length}\r\n").into_bytes()),
            }
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
            if bytes.len() < AT_ONCE && i + 1 < swaps.len() {
                continue;
            }
            self.send(&std::mem::take(&mut bytes)).await?;
            for _ in sent..=i {
                let line = self.line().await?;
                stored.push(match line.as_str() {
                    "STORED" => Stored::Done,
                    "EXISTS" | "NOT_STORED" | "NOT_FOUND" => Stored::Changed,
                    _ if line.starts_with("SERVER_ERROR") => Stored::NoRoom,
                    _ => return Err(error(&line)),
                });
            }
            sent = i + 1;
        }
        Ok(stored)
    }
}

fn error(line: &str) -> Failure {
    if line.starts_with("SERVER_ERROR") { Failure::Full } else { Failure::Unexpected }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    /// What a connection makes of these bytes.
    async fn gets(answer: &[u8]) -> Result<BTreeMap<String, (Vec<u8>, u64)>, Failure> {
        let (near, mut far) = duplex(4 << 20);
        far.write_all(answer).await.unwrap();
        far.shutdown().await.unwrap();
        Wire::new(near).gets(&["p:a".to_owned()]).await
    }

    #[tokio::test]
    async fn values_are_read_whole_whatever_bytes_they_hold() {
        let found = gets(b"VALUE p:a 0 8 42\r\nEND\r\n\0x\n\r\nEND\r\n").await.unwrap();
        assert_eq!(found["p:a"], (b"END\r\n\0x\n".to_vec(), 42));
        let long = [b"VALUE p:a 0 2097152 42\r\n".to_vec(), vec![b'x'; 2 << 20], b"\r\nEND\r\n".to_vec()].concat();
        assert_eq!(gets(&long).await.unwrap()["p:a"], (Vec::new(), 42), "not read, and the connection goes on");
    }

    #[tokio::test]
    async fn what_a_server_must_not_send_ends_the_connection() {
        for (answer, failure) in [
            (&b""[..], Failure::Unreachable),
            (b"VALUE p:a 0 10 42\r\nshort", Failure::Unreachable),
            (b"VALUE p:a 0 2 42\r\nlonger", Failure::Unexpected),
            (b"VALUE p:a 0 9999999999 42\r\n", Failure::Unexpected),
            (b"VALUE p:other 0 1 42\r\nx\r\nEND\r\n", Failure::Unexpected),
            (b"VALUE p:a 0 1\r\nx\r\nEND\r\n", Failure::Unexpected),
            (b"VALUE p:a 0 -1 42\r\n", Failure::Unexpected),
            (b"HTTP/1.1 400 Bad Request\r\n", Failure::Unexpected),
            (b"SERVER_ERROR out of memory\r\n", Failure::Full),
            (&[b'x'; 4096], Failure::Unexpected),
        ] {
            assert_eq!(gets(answer).await.unwrap_err(), failure, "{}", String::from_utf8_lossy(answer));
        }
    }
}
