//! How a test stops and starts single components: a socket in the run directory, one request and one answer a connection.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use super::cache::Layout;
use super::components::Components;

/// What can be asked of a supervisor.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Request {
    /// End a component with TERM.
    Stop(String),
    /// End a component with KILL.
    Kill(String),
    /// Start an ended component with the same command.
    Start(String),
    /// Names of all components and whether they run.
    List,
}

/// The supervisor's answer: the components after the request, or why it was refused.
pub(super) type Answer = Result<Vec<(String, bool)>, String>;

/// The supervisor's end.
pub(super) struct Control(UnixListener);

impl Control {
    pub(super) fn open(layout: &Layout) -> Result<Self> {
        let path = layout.control();
        Ok(Self(UnixListener::bind(&path).with_context(|| format!("listening on {}", path.display()))?))
    }

    /// Answers requests, one after the other, until dropped.
    pub(super) async fn serve(&self, components: &Components) -> Result<()> {
        loop {
            let (mut stream, _) = self.0.accept().await.context("accepting on the control socket")?;
            let (read, mut write) = stream.split();
            let mut line = String::new();
            let mut read = tokio::io::BufReader::new(read);
            let heard = tokio::time::timeout(Duration::from_secs(5), read.read_line(&mut line)).await;
            if !matches!(heard, Ok(Ok(_))) {
                continue;
            }
            let answer: Answer = match serde_json::from_str(&line) {
                Ok(request) => perform(components, request).await.map_err(|error| format!("{error:#}")),
                Err(error) => Err(format!("not a request: {error}")),
            };
            let mut text = serde_json::to_vec(&answer)?;
            text.push(b'\n');
            // a client that is gone has lost its answer, nothing else
            let _ = write.write_all(&text).await;
        }
    }
}

async fn perform(components: &Components, request: Request) -> Result<Vec<(String, bool)>> {
    match request {
        Request::Stop(name) => components.stop(&name, Signal::TERM).await?,
        Request::Kill(name) => components.stop(&name, Signal::KILL).await?,
        Request::Start(name) => components.restart(&name)?,
        Request::List => {}
    }
    Ok(components.list())
}

/// Asks the supervisor of a running cluster.
pub(super) fn ask(layout: &Layout, request: &Request) -> Result<Vec<(String, bool)>> {
    let path = layout.control();
    let mut stream = UnixStream::connect(&path)
        .with_context(|| format!("the cluster `{}` does not run: no answer on {}", layout.name, path.display()))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line).context("asking the supervisor")?;
    let mut text = String::new();
    BufReader::new(stream).read_line(&mut text).context("waiting for the supervisor's answer")?;
    match serde_json::from_str::<Answer>(&text).context("reading the supervisor's answer")? {
        Ok(list) => Ok(list),
        Err(refusal) => bail!("{refusal}"),
    }
}
