//! The programs a cluster is made of: built once on a machine from pinned Go modules, then taken from the cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::cache;
use super::lock::Lock;
use super::process::{launcher, output};

// part of this program, so that it works from anywhere and can never disagree with the hash
const GO_MOD: &str = include_str!("../../cluster/tools/go.mod");
const GO_SUM: &str = include_str!("../../cluster/tools/go.sum");
const COREDNS_MAIN: &str = include_str!("../../cluster/tools/coredns/main.go");

/// One call of `go build`: packages that share most of what they import are built together.
struct Batch {
    /// The names of the programs.
    programs: &'static [&'static str],
    packages: &'static [&'static str],
}

/// etcd's package is called `server`, so its output needs a name of its own.
const BATCHES: [Batch; 5] = [
    Batch {
        programs: &["kube-apiserver", "kubectl"],
        packages: &["k8s.io/kubernetes/cmd/kube-apiserver", "k8s.io/kubernetes/cmd/kubectl"],
    },
    Batch {
        programs: &["kube-controller-manager", "kube-scheduler", "kwok"],
        packages: &[
            "k8s.io/kubernetes/cmd/kube-controller-manager",
            "k8s.io/kubernetes/cmd/kube-scheduler",
            "sigs.k8s.io/kwok/cmd/kwok",
        ],
    },
    Batch {
        programs: &["kube-proxy", "kubelet", "coredns"],
        packages: &["k8s.io/kubernetes/cmd/kube-proxy", "k8s.io/kubernetes/cmd/kubelet", "./coredns"],
    },
    Batch { programs: &["etcd"], packages: &["go.etcd.io/etcd/server/v3"] },
    Batch {
        programs: &["helm", "kubeconform"],
        packages: &["helm.sh/helm/v4/cmd/helm", "github.com/yannh/kubeconform/cmd/kubeconform"],
    },
];

/// All programs of the cache, by name.
pub const PROGRAMS: [&str; 11] = [
    "coredns",
    "etcd",
    "helm",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubeconform",
    "kubectl",
    "kubelet",
    "kwok",
];

/// grpcnotrace lets the linker drop unused methods; without DWARF the build cache is a fifth smaller.
const FLAGS: [&str; 3] = ["-buildvcs=false", "-tags=grpcnotrace", "-gcflags=all=-dwarf=false"];
/// Symbols are stripped, and Kubernetes' own version is set, which it otherwise reports as v0.0.0.
const LINK: &str = "-s -w";
const VERSION_PACKAGES: [&str; 2] = ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"];

/// The cache directory for exactly these modules and this recipe.
pub(super) fn home() -> Result<PathBuf> {
    let recipe = BATCHES.iter().flat_map(|batch| batch.programs.iter().chain(batch.packages));
    let recipe = recipe.chain(&FLAGS).chain([&LINK]).chain(&VERSION_PACKAGES);
    let platform = [std::env::consts::OS, std::env::consts::ARCH];
    let parts = [GO_MOD, GO_SUM, COREDNS_MAIN].into_iter().chain(recipe.copied()).chain(platform);
    Ok(cache::clusters()?.join(cache::short_hash(parts.map(str::as_bytes))))
}

/// Makes sure that all programs are in the cache and returns the directory that holds them. `progress` is told what
/// takes time. Several processes may ask at once: one builds, the others wait. Only the `cluster` program can build, since
/// it starts the compiler as itself; others find what it built.
///
/// # Errors
/// When Go is missing, a build fails, or the cache cannot be written.
pub fn ensure(progress: &mut dyn FnMut(&str)) -> Result<PathBuf> {
    let home = home()?;
    let bin = home.join("bin");
    if bin.is_dir() {
        return Ok(bin);
    }
    let lock = Lock::take(&cache::clusters()?.join("build.lock"), || {
        progress("another process is building the cluster's programs; waiting for it");
    })?;
    if bin.is_dir() {
        return Ok(bin);
    }
    // nobody else is building, so this can only be what a killed build left
    let scratch = home.with_extension("building");
    remove(&scratch)?;
    build(&scratch, progress)?;
    fs::create_dir_all(&home).with_context(|| format!("creating {}", home.display()))?;
    fs::rename(scratch.join("bin"), &bin).with_context(|| format!("moving the programs to {}", bin.display()))?;
    remove(&scratch)?;
    drop(lock);
    Ok(bin)
}

fn build(scratch: &Path, progress: &mut dyn FnMut(&str)) -> Result<()> {
    let (source, bin) = (scratch.join("source"), scratch.join("bin"));
    write_source(&source)?;
    fs::create_dir_all(&bin).with_context(|| format!("creating {}", bin.display()))?;
    let version = kubernetes_version()?;
    let minor = version.split('.').nth(1).context("Kubernetes version without a minor number")?;
    let mut link = LINK.to_owned();
    for package in VERSION_PACKAGES {
        link += &format!(
            " -X {package}.gitVersion={version} -X {package}.gitMajor=1 -X {package}.gitMinor={minor} -X {package}.gitTreeState=clean"
        );
    }
    output(Command::new("go").arg("version"))
        .context("the cluster's programs are built with Go 1.26 or later: install it and put `go` on the PATH")?;
    progress(&format!(
        "building the cluster's programs (Kubernetes {version}); once on a machine, about 7 minutes on two cores"
    ));
    for (index, batch) in BATCHES.iter().enumerate() {
        let start = Instant::now();
        let names = batch.programs.join(", ");
        progress(&format!("building {names} ({} of {})", index + 1, BATCHES.len()));
        // launched, since a compiler that outlives a killed owner would write into the next build's directory
        let mut go = launcher(true)?;
        go.arg("go");
        go.current_dir(&source)
            .env("CGO_ENABLED", "0")
            .arg("build")
            .args(FLAGS)
            .arg(format!("-ldflags={link}"))
            .arg("-o");
        match batch.programs {
            [only] => go.arg(bin.join(only)),
            _ => go.arg(format!("{}/", cache::text(&bin)?)),
        };
        let status = go.args(batch.packages).stdin(Stdio::null()).status().context("starting a build")?;
        if !status.success() {
            bail!("building {names} failed ({status}); what `go build` said is above");
        }
        progress(&format!("built {names} in {} s", start.elapsed().as_secs()));
    }
    for program in PROGRAMS {
        if !bin.join(program).is_file() {
            bail!("`go build` left no program `{program}`: the list of packages and the list of programs disagree");
        }
    }
    Ok(())
}

fn write_source(dir: &Path) -> Result<()> {
    for (file, content) in [("go.mod", GO_MOD), ("go.sum", GO_SUM), ("coredns/main.go", COREDNS_MAIN)] {
        let path = dir.join(file);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
        }
        fs::write(&path, content).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// The version of Kubernetes that go.mod pins, such as `v1.36.3`.
pub(super) fn kubernetes_version() -> Result<&'static str> {
    GO_MOD
        .lines()
        .filter_map(|line| line.trim().strip_prefix("k8s.io/kubernetes "))
        .find_map(|rest| rest.split(' ').next())
        .context("cluster/tools/go.mod requires no k8s.io/kubernetes")
}

pub(super) fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", dir.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_batches_build_exactly_the_listed_programs() {
        let mut built: Vec<_> = BATCHES.iter().flat_map(|batch| batch.programs).copied().collect();
        built.sort_unstable();
        assert_eq!(built, PROGRAMS);
        for batch in &BATCHES {
            assert_eq!(batch.programs.len(), batch.packages.len());
        }
    }

    #[test]
    fn kubernetes_is_pinned_to_the_version_the_rust_types_are_made_for() {
        assert!(kubernetes_version().unwrap().starts_with("v1.36."));
    }
}
