//! Settings of the signals that queries may prefer by.

use std::{collections::BTreeSet, fs, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use reqwest::Url;
use serde::Deserialize;

use super::secret::Secret;
use crate::{
    api::Span,
    loops::{
        credentials::Credentials,
        prometheus::{Prometheus, Settings},
        signals::{Signal, Source},
    },
};

/// Most signals.
const MOST: usize = 16;
/// Longest expression, in bytes: it is part of a URL.
const LONGEST: usize = 4000;
/// From one reading to the next where nothing is said.
const INTERVAL: Duration = Duration::from_secs(30);

/// Where signals are read, and which.
#[derive(Debug, clap::Args)]
#[group(skip)] // its name would be that of the operator's own
pub struct Args {
    /// Prometheus, or what answers like one, that says what signals are: http://host:9090, or with the path before /api/v1. Queries cannot
    /// prefer by signals when empty.
    #[arg(long, env = "MEDLEY_PROMETHEUS_URL", default_value = "")]
    prometheus_url: String,
    /// Bearer token for Prometheus, or user:password. Better given by the variable: a process's arguments can be seen by others.
    #[arg(long, env = "MEDLEY_PROMETHEUS_TOKEN", default_value = "", hide_env_values = true)]
    prometheus_token: Secret,
    /// File with the certificates, in PEM, of the authority that vouches for Prometheus; for https://. Those of the system when empty.
    #[arg(long, env = "MEDLEY_PROMETHEUS_CA_FILE", default_value = "")]
    prometheus_ca_file: String,
    /// The signals as a JSON list: [{"name": …, "expr": …, "interval": "30s"}]. The expression is in PromQL, and gives for each service a value
    /// from 0 to 1, the better the higher, with the labels `namespace` and `service`. The interval is from 5s to 10m.
    #[arg(long, env = "MEDLEY_SIGNALS", default_value = "[]")]
    signals: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    expr: String,
    interval: Option<Span>,
}

impl Args {
    /// What is read and where, if anything is. An expression that Prometheus does not take is found when it is first read.
    ///
    /// # Errors
    /// When one of the settings is wrong.
    pub fn source(&self) -> anyhow::Result<Option<Source>> {
        let signals = self.signals()?;
        if self.prometheus_url.is_empty() {
            if !signals.is_empty() {
                bail!("--prometheus-url: must be given with --signals, which are read there");
            }
            return Ok(None);
        }
        let url: Url = self.prometheus_url.parse().context("--prometheus-url: cannot be read as a URL")?;
        if !["http", "https"].contains(&url.scheme()) || url.host_str().is_none() {
            bail!("--prometheus-url: must begin with http:// or https:// and a host");
        }
        if !url.username().is_empty() || url.password().is_some() {
            bail!(
                "--prometheus-url: must hold no user or password; give them by MEDLEY_PROMETHEUS_TOKEN, as user:password"
            );
        }
        if url.query().is_some() || url.path().contains("/api/v1") {
            bail!("--prometheus-url: must end before /api/v1, which medley adds");
        }
        let authority = match self.prometheus_ca_file.as_str() {
            "" => None,
            _ if url.scheme() != "https" => bail!("--prometheus-ca-file: must be given with an https:// URL"),
            file => Some(fs::read(PathBuf::from(file)).context("--prometheus-ca-file: cannot be read")?),
        };
        let token = self.prometheus_token.0.trim();
        let credentials = match token.split_once(':') {
            _ if token.is_empty() => Credentials::None,
            Some((user, password)) => Credentials::Password(user.to_owned(), password.to_owned()),
            None => Credentials::Token(token.to_owned()),
        };
        let prometheus = Prometheus::new(Settings { url, credentials, authority })
            .context("--prometheus-ca-file: must hold certificates in PEM")?;
        Ok(Some(Source { signals, prometheus: Arc::new(prometheus) }))
    }

    fn signals(&self) -> anyhow::Result<Vec<Signal>> {
        let written: Vec<Written> = serde_json::from_str(&self.signals)
            .context("--signals: must be a JSON list of {\"name\", \"expr\", \"interval\"}")?;
        if written.len() > MOST {
            bail!("--signals: must be at most {MOST}");
        }
        let mut names = BTreeSet::new();
        let read = |Written { name, expr, interval }: Written| {
            let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            if !name.starts_with(|c: char| c.is_ascii_lowercase())
                || name.len() > 63
                || name.ends_with('-')
                || !name.chars().all(allowed)
            {
                bail!(
                    "--signals: name `{name}` must be at most 63 of a-z, 0-9 and -, from a letter to a letter or digit"
                );
            }
            if !names.insert(name.clone()) {
                bail!("--signals: name `{name}` must stand once");
            }
            if expr.trim().is_empty() || expr.len() > LONGEST {
                bail!("--signals: expr of `{name}` must have 1 to {LONGEST} bytes");
            }
            let interval = interval.map_or(INTERVAL, Span::duration);
            if interval.as_secs() < 5 || interval.as_secs() > 600 {
                bail!("--signals: interval of `{name}` must be from 5s to 10m");
            }
            Ok(Signal { name, expression: expr, interval })
        };
        written.into_iter().map(read).collect()
    }
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

    fn source(url: &str, token: &str, ca: &str, signals: &str) -> Result<Option<Source>, String> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let flags =
            ["--prometheus-url", url, "--prometheus-token", token, "--prometheus-ca-file", ca, "--signals", signals];
        Line::try_parse_from(["medley"].into_iter().chain(flags)).unwrap().args.source().map_err(|e| format!("{e:#}"))
    }

    #[test]
    fn signals_are_read_and_what_is_not_said_is_usual() {
        assert!(source("", "", "", "[]").unwrap().is_none());
        let list =
            r#"[{"name": "free", "expr": "1 - load"}, {"name": "gpu-2", "expr": "vector(1)", "interval": "10m"}]"#;
        let found = source("https://mimir.example/prometheus/", "", "", list).unwrap().unwrap();
        let signal = |name: &str, expression: &str, seconds| Signal {
            name: name.to_owned(),
            expression: expression.to_owned(),
            interval: Duration::from_secs(seconds),
        };
        assert_eq!(found.signals, [signal("free", "1 - load", 30), signal("gpu-2", "vector(1)", 600)]);
    }

    #[test]
    fn a_wrong_setting_is_named_and_a_credential_never_shown() {
        let one = |field: &str, value: &str| {
            let mut signal = serde_json::json!({"name": "free", "expr": "up", "interval": "30s"});
            signal[field] = value.into();
            serde_json::json!([signal]).to_string()
        };
        let url = "http://prometheus:9090";
        let many = serde_json::json!(
            (0..17).map(|i| serde_json::json!({"name": format!("a{i}"), "expr": "up"})).collect::<Vec<_>>()
        );
        for (url, ca, signals, wanted) in [
            ("", "", one("name", "free"), "--prometheus-url: must be given with --signals"),
            ("prometheus", "", "[]".to_owned(), "--prometheus-url: cannot be read as a URL"),
            ("ftp://prometheus", "", "[]".to_owned(), "--prometheus-url: must begin with http://"),
            ("http://me:pw@prometheus", "", "[]".to_owned(), "--prometheus-url: must hold no user or password"),
            ("http://prometheus/api/v1/query", "", "[]".to_owned(), "--prometheus-url: must end before /api/v1"),
            ("http://prometheus/?query=up", "", "[]".to_owned(), "--prometheus-url: must end before /api/v1"),
            (url, "/nowhere", "[]".to_owned(), "--prometheus-ca-file: must be given with an https:// URL"),
            ("https://prometheus", "/nowhere", "[]".to_owned(), "--prometheus-ca-file: cannot be read"),
            (url, "", "free".to_owned(), "--signals: must be a JSON list"),
            (url, "", one("expression", "up"), "--signals: must be a JSON list"),
            (url, "", many.to_string(), "--signals: must be at most 16"),
            (url, "", one("name", "Free"), "--signals: name `Free` must be at most 63"),
            (url, "", one("name", "free-"), "--signals: name `free-` must be at most 63"),
            (url, "", one("name", ""), "--signals: name `` must be at most 63"),
            (
                url,
                "",
                r#"[{"name":"a","expr":"up"},{"name":"a","expr":"up"}]"#.to_owned(),
                "--signals: name `a` must stand once",
            ),
            (url, "", one("expr", " "), "--signals: expr of `free` must have 1 to 4000 bytes"),
            (url, "", one("interval", "4s"), "--signals: interval of `free` must be from 5s to 10m"),
            (url, "", one("interval", "601s"), "--signals: interval of `free` must be from 5s to 10m"),
        ] {
            let error = source(url, "t0ken", ca, &signals).map(|_| ()).unwrap_err();
            assert!(error.starts_with(wanted) && !error.contains("t0ken") && !error.contains("pw"), "{url}: {error}");
        }
    }
}
