//! The images of the real node itself: pause, busybox and CoreDNS, made from Debian's static busybox and the built CoreDNS.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::lock::Lock;
use super::oci::Image;
use super::process::output;
use super::{cache, programs};

/// A shell and the usual small tools, for tests and examples.
pub const BUSYBOX: &str = "localhost/busybox:1";
/// What holds a pod's namespaces.
pub(super) const PAUSE: &str = "localhost/pause:1";
const COREDNS: &str = "localhost/coredns:1";

/// Change it whenever the images are made differently from the same programs.
const RECIPE: &[u8] = b"1";
const SOURCE: &str = "/bin/busybox";

/// Makes sure that the images are in the cache and returns their archives.
///
/// # Errors
/// When busybox is missing or the cache cannot be written.
pub fn ensure(progress: &mut dyn FnMut(&str)) -> Result<Vec<PathBuf>> {
    let busybox =
        fs::read(SOURCE).with_context(|| format!("reading {SOURCE}: is the package busybox-static installed?"))?;
    let bin = programs::ensure(progress)?;
    let home = programs::home()?;
    // CoreDNS is a part of `home`'s own hash
    let dir = home.join(format!("images-{}", cache::short_hash([RECIPE, &busybox])));
    let archives = ["pause", "busybox", "coredns"].map(|name| dir.join(name).with_extension("tar"));
    if dir.is_dir() {
        return Ok(archives.into());
    }
    let _lock = Lock::take(&cache::clusters()?.join("build.lock"), || {
        progress("another process is making the images; waiting for it")
    })?;
    if !dir.is_dir() {
        progress("making the images of the node");
        let scratch = dir.with_extension("building");
        programs::remove(&scratch)?;
        make(&bin, &scratch.join("rootfs"), &scratch)?;
        programs::remove(&scratch.join("rootfs"))?;
        fs::rename(&scratch, &dir).with_context(|| format!("moving the images to {}", dir.display()))?;
    }
    Ok(archives.into())
}

fn make(bin: &Path, rootfs: &Path, out: &Path) -> Result<()> {
    let shell = rootfs.join("busybox");
    for dir in ["bin", "tmp", "etc"] {
        fs::create_dir_all(shell.join(dir)).with_context(|| format!("creating {}", shell.display()))?;
    }
    copy(Path::new(SOURCE), &shell.join("bin/busybox"))?;
    for applet in output(Command::new(SOURCE).arg("--list"))?.lines().filter(|applet| *applet != "busybox") {
        symlink("busybox", shell.join("bin").join(applet)).with_context(|| format!("linking {applet}"))?;
    }
    let dns = rootfs.join("coredns");
    fs::create_dir_all(&dns).with_context(|| format!("creating {}", dns.display()))?;
    copy(&bin.join("coredns"), &dns.join("coredns"))?;

    let image = |name: &str, entrypoint: &[&str]| Image {
        name: name.to_owned(),
        entrypoint: entrypoint.iter().map(|&part| part.to_owned()).collect(),
        user: None,
        env: Vec::new(),
    };
    image(BUSYBOX, &["/bin/sh"]).write(&shell, &out.join("busybox.tar"))?;
    image(PAUSE, &["/bin/sleep", "infinity"]).write(&shell, &out.join("pause.tar"))?;
    image(COREDNS, &["/coredns"]).write(&dns, &out.join("coredns.tar"))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("copying {} to {}", from.display(), to.display()))?;
    Ok(())
}
