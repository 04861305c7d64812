//! Settings of the sink into InfluxDB.

use anyhow::{Context, bail};
use reqwest::Url;

use super::secret::Secret;
use crate::{
    api::Span,
    loops::{credentials::Credentials, influxdb::Settings},
};

/// Where metrics are written besides.
#[derive(Debug, clap::Args)]
#[group(skip)] // its name would be that of the operator's own
pub struct Args {
    /// Write API of InfluxDB with its database (`http://host:8086/write?db=medley`, version 1) or bucket
    /// (`https://host/api/v2/write?org=o&bucket=b`, version 2); metrics are written nowhere when empty.
    #[arg(long, env = "MEDLEY_INFLUXDB_URL", default_value = "")]
    influxdb_url: String,
    /// Token of version 2, or `user:password` of version 1. Better given by the variable: a process's arguments can be seen by others.
    #[arg(long, env = "MEDLEY_INFLUXDB_TOKEN", default_value = "", hide_env_values = true)]
    influxdb_token: Secret,
    /// How often metrics are written, from 1s to 10m.
    #[arg(long, env = "MEDLEY_INFLUXDB_INTERVAL", default_value = "10s")]
    influxdb_interval: Span,
}

impl Args {
    /// The settings, if metrics are to be written at all. `pod` names this replica.
    ///
    /// # Errors
    /// When one of them is wrong.
    pub fn settings(&self, pod: &str) -> anyhow::Result<Option<Settings>> {
        if self.influxdb_url.is_empty() {
            return Ok(None);
        }
        let interval = self.influxdb_interval.duration();
        if interval.as_secs() < 1 || interval.as_secs() > 600 {
            bail!("--influxdb-interval: must be from 1s to 10m");
        }
        let mut url: Url = self.influxdb_url.parse().context("--influxdb-url: cannot be read as a URL")?;
        if !["http", "https"].contains(&url.scheme()) || url.host_str().is_none() {
            bail!("--influxdb-url: must begin with http:// or https:// and a host");
        }
        if !url.username().is_empty() || url.password().is_some() {
            bail!(
                "--influxdb-url: must hold no user or password; give them by MEDLEY_INFLUXDB_TOKEN, as user:password"
            );
        }
        let has = |name: &str| url.query_pairs().any(|(key, value)| key == name && !value.is_empty());
        let second = url.path().ends_with("/api/v2/write");
        let needed = match (second, url.path().ends_with("/write")) {
            (true, _) => "bucket",
            (false, true) => "db",
            (false, false) => bail!("--influxdb-url: the path must be that of a write API, /write or /api/v2/write"),
        };
        if !has(needed) {
            bail!("--influxdb-url: names no {needed}; write …{}?{needed}=medley", url.path());
        }
        if has("precision") {
            bail!("--influxdb-url: must not hold `precision`; medley writes milliseconds and says so itself");
        }
        url.query_pairs_mut().append_pair("precision", "ms");
        let credentials = match (self.influxdb_token.0.trim(), second) {
            ("", _) => Credentials::None,
            (token, true) => Credentials::Token(token.to_owned()),
            (pair, false) => match pair.split_once(':') {
                Some((user, password)) => Credentials::Password(user.to_owned(), password.to_owned()),
                None => bail!("MEDLEY_INFLUXDB_TOKEN: for version 1 it must be user:password"),
            },
        };
        Ok(Some(Settings { url, credentials, interval, source: pod.to_owned() }))
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

    fn read(url: &str, token: &str, interval: &str) -> Result<Option<Settings>, String> {
        let flags = ["medley", "--influxdb-url", url, "--influxdb-token", token, "--influxdb-interval", interval];
        Line::try_parse_from(flags).unwrap().args.settings("medley-0").map_err(|e| format!("{e:#}"))
    }

    #[test]
    fn both_write_apis_are_told_by_their_paths() {
        assert!(read("", "", "10s").unwrap().is_none());
        let first = read("http://influx:8086/write?db=medley", "me:se:cret", "10s").unwrap().unwrap();
        assert_eq!(first.url.as_str(), "http://influx:8086/write?db=medley&precision=ms");
        assert_eq!(first.credentials, Credentials::Password("me".into(), "se:cret".into()));
        let second = read("https://influx/api/v2/write?org=o&bucket=b", "t0ken", "1m").unwrap().unwrap();
        assert_eq!(second.url.as_str(), "https://influx/api/v2/write?org=o&bucket=b&precision=ms");
        assert_eq!((second.credentials, second.interval.as_secs()), (Credentials::Token("t0ken".into()), 60));
    }

    #[test]
    fn a_wrong_setting_is_named_and_a_credential_never_shown() {
        for (url, token, interval, wanted) in [
            ("influx", "", "10s", "--influxdb-url: cannot be read as a URL"),
            ("ftp://influx/write?db=a", "", "10s", "--influxdb-url: must begin with http://"),
            ("http://me:pw@influx/write?db=a", "", "10s", "--influxdb-url: must hold no user or password"),
            ("http://influx/query?db=a", "", "10s", "--influxdb-url: the path must be"),
            ("http://influx/write?bucket=a", "", "10s", "--influxdb-url: names no db"),
            ("http://influx/api/v2/write?db=a", "", "10s", "--influxdb-url: names no bucket"),
            ("http://influx/write?db=a&precision=s", "", "10s", "--influxdb-url: must not hold `precision`"),
            ("http://influx/write?db=a", "t0ken", "10s", "MEDLEY_INFLUXDB_TOKEN: for version 1"),
            ("http://influx/write?db=a", "", "11m", "--influxdb-interval: must be from 1s to 10m"),
        ] {
            let error = read(url, token, interval).unwrap_err();
            assert!(error.starts_with(wanted) && !error.contains("t0ken") && !error.contains("pw"), "{url}: {error}");
        }
    }
}
