//! DICOM services of Debian, each ended with its test.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{net::TcpStream, time};

/// Longest time that a service takes to listen.
const BEGINS: Duration = Duration::from_secs(30);

/// A program that has been started.
struct Program {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
}

impl Program {
    fn start(mut command: Command) -> Self {
        only_loopback();
        let name = format!("{command:?}");
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|e| panic!("{name}: {e}: run `make test-peers`"));
        let log = Arc::new(Mutex::new(Vec::new()));
        let (lines, kept) = (BufReader::new(child.stderr.take().unwrap()).lines(), Arc::clone(&log));
        // ends with the program
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| kept.lock().unwrap().push(line)));
        Self { child, log }
    }

    /// Waits until it listens there.
    async fn listens(&mut self, address: SocketAddr) {
        let begin = time::Instant::now();
        while TcpStream::connect(address).await.is_err() {
            assert_eq!(self.child.try_wait().unwrap(), None, "it has ended: {:?}", self.log.lock().unwrap());
            assert!(begin.elapsed() < BEGINS, "it does not listen: {:?}", self.log.lock().unwrap());
            time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// These services listen on all addresses: nobody else may be able to reach them.
fn only_loopback() {
    let devices = fs::read_to_string("/proc/net/dev").unwrap();
    let others: Vec<&str> =
        devices.lines().skip(2).filter_map(|l| l.split(':').next()).map(str::trim).filter(|n| *n != "lo").collect();
    assert!(others.is_empty(), "this network has more than loopback ({others:?}): run `make test-peers`");
}

/// A port where nobody listens.
fn free() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

/// An archive that checks by which title it is called.
pub(crate) struct Orthanc {
    program: Program,
    folder: PathBuf,
    pub(crate) dicom: SocketAddr,
    pub(crate) http: SocketAddr,
}

impl Orthanc {
    pub(crate) async fn start(title: &str) -> Self {
        let (dicom, http) = (free(), free());
        let folder = std::env::temp_dir().join(format!("medley-orthanc-{}-{}", std::process::id(), dicom.port()));
        fs::create_dir_all(&folder).unwrap();
        let configuration = serde_json::json!({
            "Name": "medley", "StorageDirectory": folder, "IndexDirectory": folder, "Plugins": [], "SaveJobs": false,
            "HttpPort": http.port(), "RemoteAccessAllowed": false,
            "DicomPort": dicom.port(), "DicomAet": title, "DicomCheckCalledAet": true,
        });
        let file = folder.join("orthanc.json");
        fs::write(&file, configuration.to_string()).unwrap();
        let mut command = Command::new("Orthanc");
        command.arg("--verbose").arg(file);
        let mut program = Program::start(command);
        program.listens(http).await;
        program.listens(dicom).await;
        Self { program, folder, dicom, http }
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> Vec<String> {
        self.program.log.lock().unwrap().clone()
    }
}

impl Drop for Orthanc {
    fn drop(&mut self) {
        // nothing is written any more
        let _ = self.program.child.kill();
        let _ = self.program.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// dcmtk's service of C-STORE and C-ECHO, for one association at a time.
pub(crate) struct Storescp {
    _program: Program,
    pub(crate) address: SocketAddr,
}

impl Storescp {
    pub(crate) async fn start(options: &[&str]) -> Self {
        let address = free();
        let mut command = Command::new("storescp");
        command.args(options).arg(address.port().to_string()).current_dir(std::env::temp_dir());
        let mut program = Program::start(command);
        program.listens(address).await;
        Self { _program: program, address }
    }
}
