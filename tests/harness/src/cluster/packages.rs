//! What the node profile takes from Debian: the container runtime and network tools.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::process::output;

/// Where administrators' programs are, whatever the caller's PATH says.
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A file the node profile needs and the Debian package that has it.
const NEEDED: [(&str, &str); 9] = [
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("runc", "runc"),
    ("nft", "nftables"),
    ("ip", "iproute2"),
    ("unshare", "util-linux"),
    ("mount", "mount"),
    ("/usr/lib/cni/ptp", "containernetworking-plugins"),
    ("/bin/busybox", "busybox-static"),
];

/// While this file says so, apt starts no services.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// The caller's PATH and the system's directories.
pub(super) fn search_path() -> String {
    match env::var("PATH") {
        Ok(path) if !path.is_empty() => format!("{path}:{SYSTEM_PATH}"),
        _ => SYSTEM_PATH.to_owned(),
    }
}

/// Makes sure that this machine can run the node profile: Linux, root, and the Debian packages, which are installed when
/// missing.
///
/// # Errors
/// When the machine cannot run the profile; the message says what to install or to use instead.
pub fn ensure(progress: &mut dyn FnMut(&str)) -> Result<()> {
    const INSTEAD: &str = "use a cluster of your own instead: KUBECONFIG=… CLUSTER=current";
    if env::consts::OS != "linux" {
        bail!("the node profile needs Linux; {INSTEAD}");
    }
    if !rustix::process::geteuid().is_root() {
        bail!("the node profile needs root (network namespaces, mounts, cgroups): run it as root, or {INSTEAD}");
    }
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if find("apt-get").is_none() {
        bail!("the node profile needs these packages (Debian's names): {list}. Install them, or {INSTEAD}");
    }
    progress(&format!("installing Debian packages: {list}"));
    install(&missing).with_context(|| format!("installing {list}: install them by hand, or {INSTEAD}"))?;
    match self::missing() {
        still if still.is_empty() => Ok(()),
        still => bail!("after installing them, programs of these packages are still not found: {}", still.join(" ")),
    }
}

fn missing() -> Vec<&'static str> {
    let mut packages: Vec<_> = NEEDED
        .iter()
        .filter(|(file, package)| match find(file) {
            None => true,
            // Debian's other busybox is dynamically linked and useless in an image without libraries
            Some(path) => *package == "busybox-static" && !is_static(&path),
        })
        .map(|(_, package)| *package)
        .collect();
    packages.dedup();
    packages
}

fn find(file: &str) -> Option<PathBuf> {
    let runnable =
        |path: &Path| fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
    if file.starts_with('/') {
        return Some(PathBuf::from(file)).filter(|path| runnable(path));
    }
    env::split_paths(&search_path()).map(|dir| dir.join(file)).find(|path| runnable(path))
}

/// A static ELF program names no interpreter (program header type 3).
fn is_static(path: &Path) -> bool {
    let Ok(elf) = fs::read(path) else {
        return false;
    };
    let number = |at: usize, len: usize| -> Option<usize> {
        let bytes = elf.get(at..at.checked_add(len)?)?;
        Some(bytes.iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
    };
    // 64-bit little-endian layout: table offset at 0x20, entry size at 0x36, entries at 0x38
    let headers = || -> Option<bool> {
        let (table, size, count) = (number(0x20, 8)?, number(0x36, 2)?, number(0x38, 2)?);
        for index in 0..count {
            if number(table.checked_add(index * size)?, 4)? == 3 {
                return Some(false);
            }
        }
        Some(true)
    };
    headers().unwrap_or(false)
}

fn install(packages: &[&str]) -> Result<()> {
    // the file is the administrator's if it is there already
    let policy = if Path::new(POLICY).exists() { None } else { Some(Policy::deny()?) };
    let apt = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").env("PATH", search_path());
        command
    };
    output(apt().args(["update", "-qq"]))?;
    output(apt().args(["install", "-y", "-qq", "--no-install-recommends"]).args(packages))?;
    drop(policy);
    Ok(())
}

/// Keeps apt from starting services for as long as it lives.
struct Policy;

impl Policy {
    fn deny() -> Result<Self> {
        fs::write(POLICY, "#!/bin/sh\nexit 101\n").with_context(|| format!("writing {POLICY}"))?;
        let policy = Self;
        fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755)).with_context(|| format!("writing {POLICY}"))?;
        Ok(policy)
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        // nothing can be done about a failure, and the install itself is over
        let _ = fs::remove_file(POLICY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamically_linked_program_is_told_from_other_files() {
        let dynamic = std::env::current_exe().unwrap();
        let elf = fs::read(&dynamic).unwrap();
        assert_eq!(&elf[..4], b"\x7fELF");
        assert!(!is_static(&dynamic));
        assert!(!is_static(Path::new("/proc/self/status")));
    }

    #[test]
    fn programs_are_found_by_name_and_by_path() {
        assert!(find("sh").is_some());
        assert!(find("/bin/sh").is_some());
        assert!(find("no-such-program").is_none());
    }
}
