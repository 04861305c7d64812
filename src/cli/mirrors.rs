//! Settings of the registry's mirrors.

use std::{path::PathBuf, time::Duration};

use anyhow::{anyhow, bail};

use crate::{
    api::Span,
    loops::mirror::{Memcached, Redis, Settings},
};

/// Longest time for which entries stay that nobody renews.
const LONGEST: Duration = Duration::from_secs(3600);
/// Longest beginning of keys: with the longest names a key has 192 bytes, and Memcached takes 250.
const PREFIX: usize = 64;

/// Settings; each has a variable of the environment too.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(super) struct Args {
    /// Redis that the registry of services is told to: redis://[user@]host[:port][/database], or rediss://… for TLS. None when empty.
    #[arg(long, env = "MEDLEY_REDIS_URL", default_value = "")]
    redis_url: String,
    /// Beginning of all keys in Redis.
    #[arg(long, env = "MEDLEY_REDIS_PREFIX", default_value = "medley")]
    redis_prefix: String,
    /// File with the password for Redis; read anew for each connection. None when empty.
    #[arg(long, env = "MEDLEY_REDIS_PASSWORD_FILE", default_value = "")]
    redis_password_file: String,
    /// File with the certificates, in PEM, of the authority that vouches for Redis; for rediss://. Read anew for each connection.
    #[arg(long, env = "MEDLEY_REDIS_CA_FILE", default_value = "")]
    redis_ca_file: String,
    /// Memcached that the registry of services is told to, as host:port. None when empty.
    #[arg(long, env = "MEDLEY_MEMCACHED_ADDRESS", default_value = "")]
    memcached_address: String,
    /// Beginning of all keys in Memcached.
    #[arg(long, env = "MEDLEY_MEMCACHED_PREFIX", default_value = "medley")]
    memcached_prefix: String,
    /// How long entries of mirrors stay that nobody renews; whole seconds, 1h at most.
    #[arg(long, env = "MEDLEY_MIRROR_TTL", default_value = "60s")]
    mirror_ttl: Span,
    /// How often entries of mirrors are renewed; at most a third of --mirror-ttl.
    #[arg(long, env = "MEDLEY_MIRROR_RENEW", default_value = "20s")]
    mirror_renew: Span,
}

impl Args {
    pub(super) fn settings(&self) -> anyhow::Result<Settings> {
        let (ttl, renew) = (self.mirror_ttl.duration(), self.mirror_renew.duration());
        if ttl.subsec_millis() != 0 || ttl.is_zero() || ttl > LONGEST {
            bail!("--mirror-ttl: must be whole seconds from 1s to 1h, since Memcached knows nothing finer");
        }
        if renew.is_zero() || renew * 3 > ttl {
            bail!(
                "--mirror-renew: must be more than 0 and at most a third of --mirror-ttl, so that entries outlive a renewal that fails"
            );
        }
        let file = |text: &str| Some(PathBuf::from(text)).filter(|_| !text.is_empty());
        let (password, ca) = (file(&self.redis_password_file), file(&self.redis_ca_file));
        let redis = match self.redis_url.as_str() {
            "" if password.is_some() || ca.is_some() => {
                bail!(
                    "--redis-url: must be given with --redis-password-file or --redis-ca-file, which are of no use without"
                )
            }
            "" => None,
            url => {
                let prefix = prefix("--redis-prefix", &self.redis_prefix)?;
                Some(Redis::new(url, prefix, password, ca, ttl).map_err(|e| anyhow!("--redis-url: {e}"))?)
            }
        };
        let memcached = match self.memcached_address.as_str() {
            "" => None,
            address => {
                let prefix = prefix("--memcached-prefix", &self.memcached_prefix)?;
                let server = Memcached::new(address.to_owned(), prefix, ttl);
                Some(server.map_err(|e| anyhow!("--memcached-address: {e}"))?)
            }
        };
        Ok(Settings { redis, memcached, renew })
    }
}

/// No colon, which ends the prefix: otherwise the keys of `a` could be read as those of `a:service`.
fn prefix(flag: &str, text: &str) -> anyhow::Result<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-{}".contains(c);
    if text.is_empty() || text.len() > PREFIX || !text.chars().all(allowed) {
        bail!("{flag}: must be 1 to {PREFIX} letters, digits, `.`, `_`, `-`, `{{` or `}}`");
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn settings(line: &str) -> anyhow::Result<Settings> {
        Line::try_parse_from(["medley"].into_iter().chain(line.split_whitespace()))?.args.settings()
    }

    #[test]
    fn nothing_is_mirrored_unless_it_is_asked_for() {
        let none = settings("").unwrap();
        assert!(none.redis.is_none() && none.memcached.is_none());
        let both = settings("--redis-url redis://127.0.0.1:6379/1 --memcached-address 127.0.0.1:11211").unwrap();
        assert!(both.redis.is_some() && both.memcached.is_some());
        assert_eq!(both.renew, Duration::from_secs(20));
    }

    #[test]
    fn a_wrong_setting_is_named_with_its_rule() {
        for (line, flag) in [
            ("--redis-url redis://h --redis-prefix a:b", "--redis-prefix"),
            ("--redis-url redis://:x@h", "--redis-url"),
            ("--redis-password-file /p", "--redis-url"),
            ("--memcached-address cache", "--memcached-address"),
            ("--memcached-address cache:1 --memcached-prefix a/b", "--memcached-prefix"),
            ("--mirror-ttl 1500ms --mirror-renew 100ms", "--mirror-ttl"),
            ("--mirror-ttl 2h", "--mirror-ttl"),
            ("--mirror-ttl 30s", "--mirror-renew"),
        ] {
            let message = settings(line).map(|_| ()).unwrap_err().to_string();
            assert!(message.starts_with(flag) && message.contains("must"), "{line}: {message}");
        }
    }
}
