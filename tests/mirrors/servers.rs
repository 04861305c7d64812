//! Real servers on loopback, without persistence; ended with the test.

use std::{
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use redis::{Value, aio::MultiplexedConnection};

use super::stage::until;

/// What runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Redis,
    Memcached,
}

/// A server.
pub(crate) struct Server {
    kind: Kind,
    options: Vec<String>,
    child: Child,
    pub(crate) port: u16,
}

impl Server {
    pub(crate) async fn start(kind: Kind) -> Self {
        Self::start_with(kind, &[]).await
    }

    /// A server with further options.
    pub(crate) async fn start_with(kind: Kind, options: &[String]) -> Self {
        let (port, options) = (free_port(), options.to_vec());
        let child = spawn(kind, port, &options);
        let server = Self { kind, options, child, port };
        server.wait().await;
        server
    }

    async fn wait(&self) {
        until("the server listens", || async { TcpStream::connect(("127.0.0.1", self.port)).is_ok() }).await;
    }

    /// Ends it at once, with all that it holds.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) async fn restart(&mut self) {
        self.child = spawn(self.kind, self.port, &self.options);
        self.wait().await;
    }

    /// Stops it as it stands: it answers nothing, and connections stay open.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap().success());
    }

    /// Removes everything.
    pub(crate) async fn empty(&self) {
        match self.kind {
            Kind::Redis => {
                redis::cmd("FLUSHALL").query_async::<()>(&mut self.redis().await).await.unwrap();
            }
            Kind::Memcached => {
                assert_eq!(self.memcached("flush_all\r\n", "OK\r\n"), "OK\r\n");
            }
        }
    }

    pub(crate) async fn redis(&self) -> MultiplexedConnection {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port)).unwrap();
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(10)));
        client.get_multiplexed_async_connection_with_config(&config).await.unwrap()
    }

    /// What Redis answers.
    pub(crate) async fn ask(&self, words: &[&str]) -> Value {
        let mut command = redis::cmd(words[0]);
        words[1..].iter().for_each(|w| {
            command.arg(*w);
        });
        command.query_async(&mut self.redis().await).await.unwrap()
    }

    /// What Memcached answers, up to the line that ends it.
    pub(crate) fn memcached(&self, command: &str, end: &str) -> String {
        use std::io::{Read, Write};
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(command.as_bytes()).unwrap();
        let (mut answer, mut piece) = (Vec::new(), [0; 65536]);
        while !answer.ends_with(end.as_bytes()) {
            let read = stream.read(&mut piece).unwrap();
            assert!(read > 0, "the server closed the connection");
            answer.extend_from_slice(&piece[..read]);
        }
        String::from_utf8(answer).unwrap()
    }

    /// The value of a key in Memcached.
    pub(crate) fn value(&self, key: &str) -> Option<String> {
        let answer = self.memcached(&format!("get {key}\r\n"), "END\r\n");
        let (_, rest) = answer.split_once("\r\n")?;
        rest.strip_suffix("\r\nEND\r\n").map(str::to_owned)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(kind: Kind, port: u16, options: &[String]) -> Child {
    let port = port.to_string();
    let mut command = match kind {
        Kind::Redis => {
            let mut command = Command::new("redis-server");
            command.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
            command
        }
        Kind::Memcached => {
            let mut command = Command::new("memcached");
            // as root it wants to be told so
            command.args(["-l", "127.0.0.1", "-p", &port, "-U", "0", "-u", "root"]);
            command
        }
    };
    let command = command.args(options).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap_or_else(|_| panic!("{kind:?} from Debian: run `make test-peers`"))
}

/// Free a moment ago: whoever takes it in between makes the server end, and the test fail.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A directory of this test alone.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("mirrors-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&path).unwrap();
    path
}
