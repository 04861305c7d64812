//! DICOM services of Debian, each ended with its test.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
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
        Self::with(title, &[]).await
    }

    /// With its plugins that Debian has in these files.
    pub(crate) async fn with(title: &str, plugins: &[&str]) -> Self {
        let (dicom, http) = (free(), free());
        let folder = std::env::temp_dir().join(format!("medley-orthanc-{}-{}", std::process::id(), dicom.port()));
        fs::create_dir_all(&folder).unwrap();
        let configuration = serde_json::json!({
            "Name": "medley", "StorageDirectory": folder, "IndexDirectory": folder, "Plugins": plugins, "SaveJobs": false,
            "HttpPort": http.port(), "RemoteAccessAllowed": false,
            "DicomPort": dicom.port(), "DicomAet": title, "DicomCheckCalledAet": true,
            // it takes queries from those that it knows alone
            "DicomModalities": {"medley": ["MEDLEY", "127.0.0.1", 4242]},
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

    /// Sends it the studies of `tests/peers/dicom/files.py`.
    pub(crate) fn store_studies(&self, title: &str) {
        let files = self.folder.join("studies");
        write_files("studies", &files);
        let mut command = Command::new("storescu");
        let port = self.dicom.port().to_string();
        command.args(["-aec", title, "+sd", "127.0.0.1", &port]).arg(files);
        assert!(command.status().unwrap().success(), "{command:?}");
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

/// dcmtk's service of worklists. It has one for each folder, whose name is the AE title by which it is called.
pub(crate) struct Wlmscpfs {
    _program: Program,
    folder: PathBuf,
    pub(crate) address: SocketAddr,
}

impl Wlmscpfs {
    pub(crate) async fn start(title: &str) -> Self {
        let address = free();
        let folder = std::env::temp_dir().join(format!("medley-worklist-{}-{}", std::process::id(), address.port()));
        write_files("worklist", &folder.join(title));
        let mut command = Command::new("wlmscpfs");
        command.args(["--single-process", "--disable-file-reject", "--data-files-path"]).arg(&folder);
        command.arg(address.port().to_string());
        let mut program = Program::start(command);
        program.listens(address).await;
        Self { _program: program, folder, address }
    }
}

impl Drop for Wlmscpfs {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Writes DICOM files into a folder.
fn write_files(what: &str, folder: &Path) {
    let python = std::env::var("MEDLEY_DICOM_PYTHON").expect("MEDLEY_DICOM_PYTHON: run `make test-peers`");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/dicom/files.py");
    let mut command = Command::new(python);
    command.args(["-W", "ignore", script, what]).arg(folder);
    assert!(command.status().unwrap().success(), "{command:?}");
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
