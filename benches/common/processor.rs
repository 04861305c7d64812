//! What processes have used, as Linux tells it.

use std::fs;

use crate::support::stage::Stage;

/// Processor time of a process so far, in seconds; proc(5) counts it in hundredths.
pub(crate) fn seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // the program's name, in brackets, may hold spaces
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks = |place: usize| fields[place].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / 100.0
}

/// Processor time of everything that works for a run, in seconds: the control plane, this bench (its loader and its fake
/// kubelet), and the operator, where there is one.
pub(crate) fn of_all(stage: &Stage, operator: Option<u32>) -> f64 {
    let plane = ["etcd", "apiserver", "controller-manager", "scheduler"].into_iter();
    let plane = plane.map(|name| u32::try_from(stage.cluster.pid(name).unwrap()).unwrap());
    plane.chain([std::process::id()]).chain(operator).map(seconds).sum()
}

/// Resident memory of a process in MiB.
pub(crate) fn resident_mib(pid: u32) -> f64 {
    memory(pid, "VmRSS:")
}

/// The most memory that was ever resident of a process, in MiB.
pub(crate) fn peak_mib(pid: u32) -> f64 {
    memory(pid, "VmHWM:")
}

fn memory(pid: u32, field: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix(field)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}

/// How many sockets a process has open.
pub(crate) fn sockets(pid: u32) -> usize {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    // one that is closed meanwhile has no link any more
    open.filter(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.as_os_str().as_encoded_bytes().starts_with(b"socket:")))
        .count()
}
