//! The registry in Memcached: `<prefix>:<namespace>/<name>` a service and `<prefix>:query:<namespace>/<name>` an answer, each one value in
//! JSON; `<prefix>:owner` the mark of ownership. All of it expires.
//!
//! A former leader must not write over a newer one. Each value tells the term in which it was written, and is replaced by compare-and-swap
//! only: what was read is of this term or one before it, and if somebody else has written since, nothing is done. A value is removed by
//! the same command with an expiry in the past, since `delete` compares nothing.
//!
//! A server cannot be asked which keys it holds. What is deleted between two leaders is not known to the second one: its entry stays
//! until it expires.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::net::TcpStream;

use super::{
    store::{Batch, Done, Failure, Server, Store},
    wire::{Stored, Swap, Wire},
};
use crate::core::registry::{Answer, Claim, Holder, Item, Kind, encode, judge, read};

/// How Memcached is reached.
#[derive(Clone, Debug)]
pub struct Memcached {
    /// Host and port.
    address: String,
    /// Beginning of every key.
    prefix: String,
    /// How long entries stay that nobody renews; whole seconds.
    ttl: Duration,
}

impl Memcached {
    /// A server at `host:port`.
    ///
    /// # Errors
    /// What is wrong with the address.
    pub fn new(address: String, prefix: String, ttl: Duration) -> Result<Self, &'static str> {
        let form = address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
        match form {
            Some(Ok(port)) if port > 0 => Ok(Self { address, prefix, ttl }),
            _ => Err("must be host:port, such as memcached.registry.svc:11211"),
        }
    }
}

impl Server for Memcached {
    type Store = Connected;

    const NAME: &'static str = "memcached";

    async fn connect(&self, holder: &Holder) -> Result<Connected, Failure> {
        let stream = TcpStream::connect(&self.address).await.map_err(|_| Failure::Unreachable)?;
        stream.set_nodelay(true).map_err(|_| Failure::Unreachable)?;
        Ok(Connected {
            wire: Wire::new(stream),
            holder: holder.clone(),
            prefix: self.prefix.clone(),
            ttl: self.ttl.as_secs(),
        })
    }
}

/// A connection to Memcached.
pub(super) struct Connected {
    wire: Wire<TcpStream>,
    holder: Holder,
    prefix: String,
    /// In seconds.
    ttl: u64,
}

impl Connected {
    fn owner(&self) -> String {
        format!("{}:owner", self.prefix)
    }

    fn entry(&self, item: &Item) -> String {
        match item.kind {
            Kind::Service => format!("{}:{}", self.prefix, item.key),
            Kind::Query => format!("{}:{item}", self.prefix),
        }
    }

    /// The mark, and the number by which it is swapped.
    async fn mark(&mut self) -> Result<Option<(Holder, u64)>, Failure> {
        let owner = self.owner();
        match self.wire.gets(std::slice::from_ref(&owner)).await?.remove(&owner) {
            None => Ok(None),
            Some((value, unique)) => match read(&value) {
                Answer::Ours(mark) => Ok(Some((mark, unique))),
                Answer::Foreign => Err(Failure::Foreign),
            },
        }
    }

    /// An entry as it was read, and what it should be.
    fn swap(
        &self,
        entry: String,
        held: Option<(Vec<u8>, u64)>,
        wanted: Option<Vec<u8>>,
    ) -> Result<Option<(Swap, bool)>, Failure> {
        let (held, unique) = match held {
            None => (None, None),
            Some((value, unique)) => match read(&value) {
                Answer::Ours(by) if by.lease == self.holder.lease && by.epoch > self.holder.epoch => {
                    return Err(Failure::Superseded);
                }
                Answer::Ours(_) => (Some(value), Some(unique)),
                Answer::Foreign => return Ok(None),
            },
        };
        let changes = held != wanted;
        Ok(match (wanted, unique) {
            (None, None) => None,
            (wanted, unique) => Some((Swap { key: entry, value: wanted, unique, ttl: self.ttl }, changes)),
        })
    }
}

impl Store for Connected {
    async fn claim(&mut self) -> Result<(), Failure> {
        let mark = self.mark().await?;
        match judge(mark.as_ref().map(|(mark, _)| mark), &self.holder) {
            Claim::Take => {}
            Claim::Superseded => return Err(Failure::Superseded),
            Claim::Other => return Err(Failure::OwnedByOther),
        }
        let value = Some(encode(&BTreeMap::<String, String>::new(), &self.holder));
        let swap = Swap { key: self.owner(), value, unique: mark.map(|(_, unique)| unique), ttl: self.ttl };
        match self.wire.swap(&[swap]).await?.as_slice() {
            [Stored::Done] => Ok(()),
            [Stored::NoRoom] => Err(Failure::Full),
            // somebody else was quicker: the next try sees who
            _ => Err(Failure::Lost),
        }
    }

    async fn check(&mut self) -> Result<(), Failure> {
        let mark = self.mark().await?.map(|(mark, _)| mark);
        if mark.as_ref() == Some(&self.holder) {
            return Ok(());
        }
        Err(match judge(mark.as_ref(), &self.holder) {
            Claim::Take => Failure::Lost,
            Claim::Superseded => Failure::Superseded,
            Claim::Other => Failure::OwnedByOther,
        })
    }

    async fn known(&mut self) -> Result<Vec<Item>, Failure> {
        Ok(Vec::new())
    }

    async fn put(&mut self, batch: &Batch, renew: bool) -> Result<Done, Failure> {
        // with the entries the mark: it tells at once that another leader is at work
        self.check().await?;
        let entries: Vec<String> = batch.iter().map(|(item, _)| self.entry(item)).collect();
        let mut held = self.wire.gets(&entries).await?;
        let mut done = Done::default();
        let (mut swaps, mut of) = (Vec::new(), Vec::new());
        for ((item, told), entry) in batch.iter().zip(entries) {
            let there = held.remove(&entry);
            let wanted = told.as_ref().map(|told| encode(told, &self.holder));
            let is_there = there.is_some();
            match self.swap(entry, there, wanted)? {
                Some((swap, changes)) if changes || renew => {
                    swaps.push(swap);
                    of.push((item, changes));
                }
                Some(_) => {}
                None if is_there && told.is_some() => done.foreign.push(item.clone()),
                None => {}
            }
        }
        for (stored, (item, changes)) in self.wire.swap(&swaps).await?.into_iter().zip(of) {
            match stored {
                Stored::Done => done.written += u64::from(changes),
                Stored::Changed => done.again.push(item.clone()),
                Stored::NoRoom => done.refused.push(item.clone()),
            }
        }
        Ok(done)
    }

    async fn index(&mut self, _: &BTreeMap<String, BTreeSet<String>>) -> Result<u64, Failure> {
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_a_port() {
        let new = |address: &str| Memcached::new(address.to_owned(), "p".to_owned(), Duration::from_secs(60));
        assert!(new("127.0.0.1:11211").is_ok() && new("[::1]:11211").is_ok() && new("cache.svc:1").is_ok());
        for wrong in ["", "cache", "cache:", ":11211", "cache:0", "cache:70000"] {
            assert!(new(wrong).unwrap_err().contains("host:port"), "{wrong}");
        }
    }
}
