//! One-layer OCI image archives, made from a directory without an image builder or registry.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::cache::{hex, text};

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What an image is called and how it starts.
#[derive(Clone, Debug)]
pub struct Image {
    /// Full name with tag, such as `localhost/medley:dev`.
    pub name: String,
    /// Program and arguments.
    pub entrypoint: Vec<String>,
    /// User, or user and group (`1000:1000`), that the program runs as; root when absent.
    pub user: Option<String>,
    /// Environment, as `NAME=value`. `PATH` is set to the usual directories unless given.
    pub env: Vec<String>,
}

impl Image {
    /// Writes the image with the content of `rootfs` as an OCI archive to `out`, which appears only when complete.
    /// Equal input gives an equal file: entries are sorted, owned by root and without times.
    ///
    /// # Errors
    /// When the name has no tag, `rootfs` holds something other than files, directories and links, or reading or
    /// writing fails.
    pub fn write(&self, rootfs: &Path, out: &Path) -> Result<()> {
        let (repository, tag) = self.name.rsplit_once(':').unwrap_or_default();
        if repository.is_empty() || tag.is_empty() || tag.contains('/') {
            bail!("image name `{}`: give it a tag, such as localhost/{}:1", self.name, self.name);
        }
        if self.entrypoint.is_empty() {
            bail!("image `{}`: the entrypoint is empty", self.name);
        }
        if let Some(entry) = self.env.iter().find(|entry| entry.split_once('=').is_none_or(|(name, _)| name.is_empty()))
        {
            bail!("image `{}`: environment entry `{entry}` is not NAME=value", self.name);
        }
        if !rootfs.is_dir() {
            bail!("image `{}`: `{}` is not a directory", self.name, rootfs.display());
        }
        let dir = out.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
        let scratch = Scratch::beside(out)?;
        self.write_into(rootfs, &scratch).with_context(|| format!("writing image {}", out.display()))?;
        fs::rename(scratch.0.join("archive"), out).with_context(|| format!("moving the image to {}", out.display()))
    }

    fn write_into(&self, rootfs: &Path, scratch: &Scratch) -> Result<()> {
        let layer_file = scratch.0.join("layer");
        let layer = write_layer(rootfs, &layer_file)?;
        let config = serde_json::to_vec(&self.config(&layer))?;
        let config_blob = Blob::of(&config);
        let manifest = serde_json::to_vec(&json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config_blob.descriptor("application/vnd.oci.image.config.v1+json"),
            "layers": [layer.descriptor("application/vnd.oci.image.layer.v1.tar")],
        }))?;
        let manifest_blob = Blob::of(&manifest);
        let mut entry = manifest_blob.descriptor("application/vnd.oci.image.manifest.v1+json");
        // containerd names the imported image after the first, other tools look at the second
        entry["annotations"] = json!({
            "io.containerd.image.name": self.name,
            "org.opencontainers.image.ref.name": self.name,
        });
        let index = serde_json::to_vec(&json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [entry],
        }))?;

        let file = BufWriter::new(File::create(scratch.0.join("archive"))?);
        let mut archive = tar::Builder::new(file);
        let mut append = |name: &str, size: u64, data: &mut dyn io::Read| -> io::Result<()> {
            archive.append_data(&mut header(tar::EntryType::Regular, 0o644, size), name, data)
        };
        append("oci-layout", 30, &mut br#"{"imageLayoutVersion":"1.0.0"}"#.as_slice())?;
        append("index.json", index.len() as u64, &mut index.as_slice())?;
        append(&manifest_blob.path(), manifest_blob.size, &mut manifest.as_slice())?;
        append(&config_blob.path(), config_blob.size, &mut config.as_slice())?;
        append(&layer.path(), layer.size, &mut File::open(&layer_file)?)?;
        archive.into_inner()?.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(())
    }

    fn config(&self, layer: &Blob) -> Value {
        let mut env = self.env.clone();
        if !env.iter().any(|entry| entry.starts_with("PATH=")) {
            env.insert(0, PATH.to_owned());
        }
        let mut run = json!({"Entrypoint": self.entrypoint, "Env": env});
        if let Some(user) = &self.user {
            run["User"] = json!(user);
        }
        json!({
            "architecture": architecture(),
            "os": "linux",
            "config": run,
            "rootfs": {"type": "layers", "diff_ids": [layer.digest()]},
        })
    }
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

struct Blob {
    sha256: String,
    size: u64,
}

impl Blob {
    fn of(content: &[u8]) -> Self {
        Self { sha256: hex(&Sha256::digest(content)), size: content.len() as u64 }
    }

    fn digest(&self) -> String {
        format!("sha256:{}", self.sha256)
    }

    fn path(&self) -> String {
        format!("blobs/sha256/{}", self.sha256)
    }

    fn descriptor(&self, media_type: &str) -> Value {
        json!({"mediaType": media_type, "digest": self.digest(), "size": self.size})
    }
}

/// A directory that is gone when this is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn beside(out: &Path) -> Result<Self> {
        let dir = PathBuf::from(format!("{}.{}.part", text(out)?, std::process::id()));
        fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
        Ok(Self(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // at worst a directory stays, whose name says what it was
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Counts and hashes what passes through.
struct Hashing<W> {
    to: W,
    hash: Sha256,
    size: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

fn write_layer(rootfs: &Path, out: &Path) -> Result<Blob> {
    let to = BufWriter::new(File::create(out)?);
    let mut layer = tar::Builder::new(Hashing { to, hash: Sha256::new(), size: 0 });
    add_dir(&mut layer, rootfs, Path::new(""))?;
    let mut hashing = layer.into_inner()?;
    hashing.flush()?;
    Ok(Blob { sha256: hex(&hashing.hash.finalize()), size: hashing.size })
}

fn add_dir<W: Write>(layer: &mut tar::Builder<W>, rootfs: &Path, dir: &Path) -> Result<()> {
    let full = rootfs.join(dir);
    let mut names = Vec::new();
    for entry in full.read_dir().with_context(|| format!("reading {}", full.display()))? {
        names.push(entry?.file_name());
    }
    names.sort();
    for name in names {
        let (path, full) = (dir.join(&name), full.join(&name));
        let meta = full.symlink_metadata().with_context(|| format!("reading {}", full.display()))?;
        let mode = meta.permissions().mode() & 0o7777;
        if meta.is_dir() {
            layer.append_data(&mut header(tar::EntryType::Directory, mode, 0), &path, io::empty())?;
            add_dir(layer, rootfs, &path)?;
        } else if meta.is_symlink() {
            layer.append_link(&mut header(tar::EntryType::Symlink, mode, 0), &path, full.read_link()?)?;
        } else if meta.is_file() {
            let file = File::open(&full).with_context(|| format!("reading {}", full.display()))?;
            layer.append_data(&mut header(tar::EntryType::Regular, mode, meta.len()), &path, file)?;
        } else {
            bail!("`{}` is neither a file, a directory nor a link", full.display());
        }
    }
    Ok(())
}

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read;

    use super::*;

    fn image() -> Image {
        Image {
            name: "localhost/thing:1".into(),
            entrypoint: vec!["/bin/thing".into(), "-v".into()],
            user: Some("1000:1000".into()),
            env: vec!["A=b".into()],
        }
    }

    fn rootfs() -> Scratch {
        let unique = format!("medley-oci-{}-{:?}", std::process::id(), std::thread::current().id());
        let dir = Scratch::beside(&std::env::temp_dir().join(unique)).unwrap();
        fs::create_dir_all(dir.0.join("root/bin")).unwrap();
        fs::write(dir.0.join("root/bin/thing"), "#!").unwrap();
        fs::set_permissions(dir.0.join("root/bin/thing"), fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink("thing", dir.0.join("root/bin/other")).unwrap();
        dir
    }

    fn entries(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        for entry in tar::Archive::new(archive).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut data = Vec::new();
            entry.read_to_end(&mut data).unwrap();
            found.insert(entry.path().unwrap().display().to_string(), data);
        }
        found
    }

    #[test]
    fn every_blob_is_named_after_its_content_and_the_references_hold() {
        let dir = rootfs();
        let out = dir.0.join("out.tar");
        image().write(&dir.0.join("root"), &out).unwrap();
        let files = entries(&fs::read(&out).unwrap());
        let blob = |descriptor: &Value| {
            let digest = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
            let data = &files[&format!("blobs/sha256/{digest}")];
            assert_eq!(hex(&Sha256::digest(data)), digest);
            assert_eq!(descriptor["size"], data.len());
            data.clone()
        };
        let json = |data: &[u8]| serde_json::from_slice::<Value>(data).unwrap();
        assert_eq!(json(&files["oci-layout"])["imageLayoutVersion"], "1.0.0");
        let index = json(&files["index.json"]);
        assert_eq!(index["manifests"][0]["annotations"]["io.containerd.image.name"], "localhost/thing:1");
        let manifest = json(&blob(&index["manifests"][0]));
        let config = json(&blob(&manifest["config"]));
        assert_eq!(config["config"]["Entrypoint"], json!(["/bin/thing", "-v"]));
        assert_eq!(config["config"]["User"], "1000:1000");
        assert_eq!(config["config"]["Env"], json!([PATH, "A=b"]));
        assert_eq!(config["rootfs"]["diff_ids"][0], manifest["layers"][0]["digest"]);
        let layer = blob(&manifest["layers"][0]);
        assert_eq!(entries(&layer)["bin/thing"], b"#!");
        let mut archive = tar::Archive::new(layer.as_slice());
        let modes: Vec<_> = archive.entries().unwrap().map(|e| e.unwrap().header().mode().unwrap()).collect();
        assert_eq!(modes.len(), 3);
        assert_eq!(modes[2], 0o755);
    }

    #[test]
    fn the_same_directory_gives_the_same_archive() {
        let dir = rootfs();
        let (one, two) = (dir.0.join("1.tar"), dir.0.join("2.tar"));
        image().write(&dir.0.join("root"), &one).unwrap();
        image().write(&dir.0.join("root"), &two).unwrap();
        assert!(fs::read(one).unwrap() == fs::read(two).unwrap());
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        let dir = rootfs();
        let refuse = |image: &Image, root: &str, want: &str| {
            let error = image.write(&dir.0.join(root), &dir.0.join("out.tar")).unwrap_err();
            assert!(format!("{error:#}").contains(want), "{error:#}");
            assert!(!dir.0.join("out.tar").exists());
        };
        refuse(&Image { name: "localhost:5000/thing".into(), ..image() }, "root", "give it a tag");
        refuse(&Image { entrypoint: vec![], ..image() }, "root", "entrypoint is empty");
        refuse(&Image { env: vec!["novalue".into()], ..image() }, "root", "`novalue` is not NAME=value");
        refuse(&image(), "missing", "is not a directory");
        let _socket = std::os::unix::net::UnixListener::bind(dir.0.join("root/socket")).unwrap();
        refuse(&image(), "root", "neither a file");
    }
}
