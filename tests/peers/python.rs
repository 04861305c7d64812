//! Servers of other projects that tests talk to, most of them in Python: each prints its port once it listens, and ends with the test.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

/// A server; ended with the test.
pub(crate) struct Peer {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Peer {
    /// Starts `tests/peers/<server>` with the interpreter that the environment variable names. Further words are its arguments.
    pub(crate) fn start(variable: &str, server: &str) -> Self {
        let python = std::env::var(variable).unwrap_or_else(|_| panic!("{variable}: run `make test-peers`"));
        let words = format!("{}/tests/peers/{server}", env!("CARGO_MANIFEST_DIR"));
        Self::run(Command::new(python).args(["-W", "ignore"]).args(words.split(' ')))
    }

    /// Starts what this command runs.
    pub(crate) fn run(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        // ends when the server has its port, or with the server
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port: u16 = line.trim().parse().expect("the server says its port");
        Self { child, address: SocketAddr::from(([127, 0, 0, 1], port)) }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
