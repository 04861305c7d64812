//! The registry in Redis: `<prefix>:service:<namespace>/<name>` and `<prefix>:query:<namespace>/<name>` hashes, `<prefix>:<set>` sets,
//! `<prefix>:changes` a stream, `<prefix>:owner` the mark of ownership. All of it expires.
//!
//! A former leader must not write over a newer one. WATCH on the mark and MULTI … EXEC do that with plain commands: the mark is read, and if
//! it is another one when EXEC comes, nothing of the transaction is done. A script (EVAL) would save a round trip, but users of Redis are often
//! not allowed any, and a transaction shows in MONITOR and ACL logs for what it is.

use std::collections::{BTreeMap, BTreeSet};

use redis::{Pipeline, RedisResult, Value, aio::MultiplexedConnection, from_redis_value};

use super::{
    redis_server::{Redis, classify},
    store::{Batch, Done, Failure, Store},
};
use crate::core::registry::{
    Claim, Command, Content, Fields, Held, Holder, Item, Kind, MANAGED_BY, MANAGER, QUERIES, SERVICES, judge, key_of,
    plan,
};

/// Entries that the stream of changes holds, about.
const CHANGES: u32 = 10_000;
/// Commands about sets in one transaction.
const SETS: usize = 64;
/// Members of a set that one command adds or removes.
const MEMBERS: usize = 1000;

/// A connection to Redis.
pub(super) struct Connected {
    connection: MultiplexedConnection,
    holder: Holder,
    prefix: String,
    /// In milliseconds.
    ttl: u64,
    /// Sets that the hashes tell of, since everything was looked at last.
    sets: BTreeSet<String>,
    /// Whether the stream of changes may be written: nothing foreign lies there.
    tells: bool,
}

type Answers = Vec<RedisResult<Value>>;

/// What the answer to HGETALL says that a hash is; `None` where nothing is.
///
/// # Errors
/// An answer that is an error, unless it says that something else than a hash lies there.
pub fn hash(answer: RedisResult<Value>) -> Result<Option<Held>, Failure> {
    let value = match answer {
        Err(e) if e.code() == Some("WRONGTYPE") => return Ok(Some(Held::Foreign)),
        other => other.map_err(|e| classify(&e))?,
    };
    Ok(match from_redis_value::<BTreeMap<String, String>>(value) {
        Ok(fields) if fields.is_empty() => None,
        Ok(fields) if fields.get(MANAGED_BY).is_some_and(|m| m == MANAGER) => Some(Held::Ours(fields)),
        // something that is not even text
        _ => Some(Held::Foreign),
    })
}

impl Connected {
    pub(super) fn new(connection: MultiplexedConnection, holder: &Holder, server: &Redis) -> Self {
        Self {
            connection,
            holder: holder.clone(),
            prefix: server.prefix.clone(),
            ttl: u64::try_from(server.ttl.as_millis()).unwrap_or(u64::MAX),
            sets: BTreeSet::new(),
            tells: false,
        }
    }

    fn key(&self, what: &str) -> String {
        format!("{}:{what}", self.prefix)
    }

    fn hash(&self, item: &Item) -> String {
        format!("{}:{item}", self.prefix)
    }

    /// Sends all commands at once; one answer for each, so that a key of another type spoils nothing else.
    async fn ask(&mut self, mut commands: Pipeline) -> Result<Answers, Failure> {
        commands.ignore_errors();
        commands.query_async(&mut self.connection).await.map_err(|e| classify(&e))
    }

    /// Watches the mark, and reads it and what the commands ask for.
    async fn watch(&mut self, commands: Pipeline) -> Result<(Option<Holder>, Answers), Failure> {
        let owner = self.key("owner");
        let mut all = redis::pipe();
        all.cmd("WATCH")
            .arg(&owner)
            .cmd("HMGET")
            .arg(&owner)
            .arg(MANAGED_BY)
            .arg("lease")
            .arg("epoch")
            .cmd("EXISTS")
            .arg(&owner);
        commands.cmd_iter().for_each(|c| {
            all.add_command(c.clone());
        });
        let mut answers = self.ask(all).await?.into_iter();
        answers.next().ok_or(Failure::Unexpected)?.map_err(|e| classify(&e))?;
        let mark = answers.next().ok_or(Failure::Unexpected)?;
        let there = answers.next().ok_or(Failure::Unexpected)?.map_err(|e| classify(&e))?;
        let mark = match mark {
            Err(e) if e.code() == Some("WRONGTYPE") => return Err(Failure::Foreign),
            other => other.map_err(|e| classify(&e))?,
        };
        let there: bool = from_redis_value(there).map_err(|_| Failure::Unexpected)?;
        let mark: (Option<String>, Option<String>, Option<i64>) =
            from_redis_value(mark).map_err(|_| Failure::Foreign)?;
        let mark = match mark {
            (Some(manager), Some(lease), Some(epoch)) if manager == MANAGER => Some(Holder { lease, epoch }),
            _ if there => return Err(Failure::Foreign),
            _ => None,
        };
        Ok((mark, answers.collect()))
    }

    /// As `watch`, where the mark must be the holder's.
    async fn watch_own(&mut self, commands: Pipeline) -> Result<Answers, Failure> {
        let (mark, answers) = self.watch(commands).await?;
        if mark.as_ref() == Some(&self.holder) {
            return Ok(answers);
        }
        Err(match judge(mark.as_ref(), &self.holder) {
            Claim::Take => Failure::Lost,
            Claim::Superseded => Failure::Superseded,
            Claim::Other => Failure::OwnedByOther,
        })
    }

    /// Does all commands if the mark is still as it was watched.
    async fn commit(&mut self, commands: Pipeline) -> Result<(), Failure> {
        let mut all = redis::pipe();
        let empty = commands.cmd_iter().next().is_none();
        if empty {
            all.cmd("UNWATCH");
        } else {
            all.cmd("MULTI");
            commands.cmd_iter().for_each(|c| {
                all.add_command(c.clone());
            });
            all.cmd("EXEC");
        }
        let answers = self.ask(all).await?;
        // a command that was refused when it was queued tells why; EXEC then only that there was one
        let mut last = Value::Nil;
        for answer in answers {
            last = answer.map_err(|e| classify(&e))?;
        }
        match last {
            _ if empty => Ok(()),
            Value::Nil => Err(Failure::Lost),
            Value::Array(results) => results.into_iter().try_for_each(|result| match result {
                // something that is not medley's came to lie there since: it is left alone
                Value::ServerError(e) if e.code() == "WRONGTYPE" => Ok(()),
                Value::ServerError(e) => Err(classify(&e.into())),
                _ => Ok(()),
            }),
            _ => Err(Failure::Unexpected),
        }
    }

    fn render(&self, command: &Command, pipe: &mut Pipeline) {
        match command {
            Command::Put(item, fields) => {
                let key = self.hash(item);
                pipe.cmd("DEL").arg(&key).cmd("HSET").arg(&key).arg(fields);
                pipe.cmd("PEXPIRE").arg(&key).arg(self.ttl);
                self.tell("set", item, Some(fields), pipe);
            }
            Command::Drop(item) => {
                pipe.cmd("DEL").arg(self.hash(item));
                self.tell("delete", item, None, pipe);
            }
            Command::Add(set, members) => {
                let (key, members): (_, Vec<&String>) = (self.key(set), members.iter().collect());
                for members in members.chunks(MEMBERS) {
                    pipe.cmd("SADD").arg(&key).arg(members);
                }
                pipe.cmd("PEXPIRE").arg(&key).arg(self.ttl);
            }
            Command::Remove(set, members) => {
                let (key, members): (_, Vec<&String>) = (self.key(set), members.iter().collect());
                for members in members.chunks(MEMBERS) {
                    pipe.cmd("SREM").arg(&key).arg(members);
                }
            }
        }
    }

    /// One entry of the stream of changes.
    fn tell(&self, event: &str, item: &Item, fields: Option<&Fields>, pipe: &mut Pipeline) {
        if !self.tells {
            return;
        }
        let key = self.key("changes");
        pipe.cmd("XADD").arg(&key).arg("MAXLEN").arg("~").arg(CHANGES).arg("*");
        pipe.arg("event").arg(event).arg(item.kind.as_str()).arg(item.key.to_string());
        for field in ["ready", "total", "generation", "matched", "panic"] {
            if let Some(value) = fields.and_then(|f| f.get(field)) {
                pipe.arg(field).arg(value);
            }
        }
        pipe.cmd("PEXPIRE").arg(&key).arg(self.ttl);
    }
}

impl Store for Connected {
    async fn claim(&mut self) -> Result<(), Failure> {
        let changes = self.key("changes");
        let mut read = redis::pipe();
        read.cmd("TYPE").arg(&changes);
        let (mark, answers) = self.watch(read).await?;
        let kind: String =
            answers.into_iter().next().and_then(Result::ok).and_then(|v| from_redis_value(v).ok()).unwrap_or_default();
        self.tells = matches!(kind.as_str(), "stream" | "none");
        match judge(mark.as_ref(), &self.holder) {
            Claim::Take => {}
            Claim::Superseded => return Err(Failure::Superseded),
            Claim::Other => return Err(Failure::OwnedByOther),
        }
        let owner = self.key("owner");
        let mut pipe = redis::pipe();
        if mark.as_ref() != Some(&self.holder) {
            pipe.cmd("HSET").arg(&owner).arg(MANAGED_BY).arg(MANAGER);
            pipe.arg("lease").arg(&self.holder.lease).arg("epoch").arg(self.holder.epoch);
        }
        pipe.cmd("PEXPIRE").arg(&owner).arg(self.ttl);
        if self.tells {
            pipe.cmd("PEXPIRE").arg(&changes).arg(self.ttl);
        }
        self.sets.clear();
        self.commit(pipe).await
    }

    async fn check(&mut self) -> Result<(), Failure> {
        self.watch_own(redis::pipe()).await?;
        self.commit(redis::pipe()).await
    }

    async fn known(&mut self) -> Result<Vec<Item>, Failure> {
        let mut pipe = redis::pipe();
        pipe.cmd("SMEMBERS").arg(self.key(SERVICES)).cmd("SMEMBERS").arg(self.key(QUERIES));
        let answers = self.ask(pipe).await?;
        let mut known = Vec::new();
        for (kind, answer) in [Kind::Service, Kind::Query].into_iter().zip(answers) {
            let members: Vec<String> = match answer {
                Err(e) if e.code() == Some("WRONGTYPE") => Vec::new(),
                other => from_redis_value(other.map_err(|e| classify(&e))?).unwrap_or_default(),
            };
            known.extend(members.iter().filter_map(|m| Some(Item { kind, key: key_of(m)? })));
        }
        Ok(known)
    }

    async fn put(&mut self, batch: &Batch, renew: bool) -> Result<Done, Failure> {
        let mut read = redis::pipe();
        for (item, _) in batch {
            read.cmd("HGETALL").arg(self.hash(item));
        }
        let wanted = Content::of(batch.iter().filter_map(|(_, told)| told.as_ref()));
        for set in wanted.sets.keys() {
            read.cmd("TYPE").arg(self.key(set));
        }
        let mut answers = self.watch_own(read).await?;
        if answers.len() != batch.len() + wanted.sets.len() {
            return Err(Failure::Unexpected);
        }
        let kinds = answers.split_off(batch.len());
        let mut barred = BTreeSet::new();
        for (set, kind) in wanted.sets.keys().zip(kinds) {
            let kind: String = from_redis_value(kind.map_err(|e| classify(&e))?).map_err(|_| Failure::Unexpected)?;
            if !matches!(kind.as_str(), "set" | "none") {
                barred.insert(set.clone());
            }
        }
        let mut held = Content::default();
        for ((item, _), answer) in batch.iter().zip(answers) {
            if let Some(there) = hash(answer)? {
                held.hashes.insert(item.clone(), there);
            }
        }
        let held = held.with_presumed_sets();
        self.sets.extend(held.sets.keys().chain(wanted.sets.keys()).cloned());
        let foreign: BTreeSet<&Item> =
            held.hashes.iter().filter(|(_, h)| **h == Held::Foreign).map(|(item, _)| item).collect();
        let commands = plan(&held, &wanted);
        let mut pipe = redis::pipe();
        let allowed =
            |c: &&Command| !matches!(c, Command::Add(set, _) | Command::Remove(set, _) if barred.contains(set));
        commands.iter().filter(allowed).for_each(|command| self.render(command, &mut pipe));
        if renew {
            for item in wanted.hashes.keys().filter(|i| held.hashes.contains_key(*i) && !foreign.contains(i)) {
                pipe.cmd("PEXPIRE").arg(self.hash(item)).arg(self.ttl);
            }
        }
        self.commit(pipe).await?;
        let written = commands.iter().filter(|c| matches!(c, Command::Put(..) | Command::Drop(..))).count();
        let foreign = batch.iter().filter(|(i, told)| told.is_some() && foreign.contains(i)).map(|(i, _)| i.clone());
        Ok(Done { written: written as u64, foreign: foreign.collect(), ..Done::default() })
    }

    async fn index(&mut self, wanted: &BTreeMap<String, BTreeSet<String>>) -> Result<u64, Failure> {
        let names: Vec<String> =
            self.sets.iter().chain(wanted.keys()).collect::<BTreeSet<_>>().into_iter().cloned().collect();
        let mut written = 0;
        for names in names.chunks(SETS) {
            let mut read = redis::pipe();
            for name in names {
                read.cmd("SMEMBERS").arg(self.key(name));
            }
            let answers = self.watch_own(read).await?;
            let mut pipe = redis::pipe();
            for (name, answer) in names.iter().zip(answers) {
                let there: BTreeSet<String> = match answer {
                    // not a set: not medley's
                    Err(e) if e.code() == Some("WRONGTYPE") => continue,
                    other => from_redis_value(other.map_err(|e| classify(&e))?).map_err(|_| Failure::Unexpected)?,
                };
                let one = |members: Option<&BTreeSet<String>>| Content {
                    sets: members.filter(|m| !m.is_empty()).map(|m| (name.clone(), m.clone())).into_iter().collect(),
                    ..Content::default()
                };
                let commands = plan(&one(Some(&there)), &one(wanted.get(name)));
                written += commands.len() as u64;
                commands.iter().for_each(|command| self.render(command, &mut pipe));
                if wanted.contains_key(name) {
                    pipe.cmd("PEXPIRE").arg(self.key(name)).arg(self.ttl);
                }
            }
            self.commit(pipe).await?;
        }
        Ok(written)
    }
}
