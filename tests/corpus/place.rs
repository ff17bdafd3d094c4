//! Where one archive is mounted: a directory, a store and a mount namespace of its own.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nix::sched::{CloneFlags, unshare};
use ovlctl::digest::Digest;
use ovlctl::store::Store;
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};
use serde_json::json;
use tempfile::TempDir;

use crate::index::Case;

/// Not tmpfs, which differs from what people use.
const DEFAULT_DIR: &str = "/var/tmp";

/// A place for one mount.
pub(crate) struct Place {
    dir: TempDir,
}

/// A name of an image, its id, and the diff ids of its layers.
type Named = (Option<String>, String, Vec<Digest>);

/// What a failed mount said.
pub(crate) struct Refusal {
    code: Option<i32>,
    /// For people.
    pub(crate) text: String,
}

impl Refusal {
    /// Says whether this was a decision, rather than a crash.
    pub(crate) fn is_clean(&self) -> Result<(), String> {
        match self.code {
            Some(1..=100) if self.text.starts_with("ovlctl: ") => Ok(()),
            Some(_) | None => Err(format!("not a clean refusal: {:?}, {}", self.code, self.text)),
        }
    }
}

impl Place {
    pub(crate) fn new() -> Self {
        assert!(rustix::process::geteuid().is_root(), "these tests mount: run them as root");
        unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace of its own");
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
            .expect("private mounts");
        let parent = std::env::var_os("OVLCTL_TEST_DIR").unwrap_or_else(|| DEFAULT_DIR.into());
        let dir = tempfile::Builder::new().prefix("ovlctl-corpus-").tempdir_in(parent).expect("a directory");
        fs::create_dir(dir.path().join("root")).expect("mkdir");
        Self { dir }
    }

    /// Mounts the case's archive read-only; returns where.
    pub(crate) fn mount(&self, case: &Case) -> Result<PathBuf, Refusal> {
        let (source, root) = (self.source(case), self.dir.path().join("root"));
        let mut command = self.command();
        command.args(["mount", "--read-only"]);
        if let Some(image) = &case.image {
            command.args(["--image", image]);
        }
        let Output { status, stderr, .. } = command.arg(source).arg(&root).output().expect("ovlctl starts");
        let text = String::from_utf8_lossy(&stderr).trim().to_owned();
        if status.success() { Ok(root) } else { Err(Refusal { code: status.code(), text }) }
    }

    /// Unmounts, and says what is left.
    pub(crate) fn unmount(&self) -> Result<(), String> {
        let root = self.dir.path().join("root");
        if !is_mounted(&root) {
            return Ok(());
        }
        let output = self.command().arg("umount").arg(&root).output().expect("ovlctl starts");
        if !is_mounted(&root) {
            return Ok(());
        }
        // The failure is reported below; the directory is to be removed all the same.
        let _ = unmount(&root, UnmountFlags::DETACH);
        Err(format!("umount left the mount: {}", String::from_utf8_lossy(&output.stderr)))
    }

    /// Makes the tar of each layer again, from the layer's recipe and what is in the store.
    pub(crate) fn tars(&self) -> Result<(), String> {
        let store = Store::open(&self.dir.path().join("store")).map_err(|e| e.to_string())?;
        for layer in store.layers().map_err(|e| e.to_string())? {
            let mut tar = Vec::new();
            let made = store.tar(&layer.chain_id, &mut tar, &mut Err).map_err(|e| e.to_string())?;
            made.map_err(|fault| format!("layer {}: {fault}", layer.diff_id))?;
            if Digest::of(&tar) != layer.diff_id {
                return Err(format!("the recipe of layer {} makes another tar", layer.diff_id));
            }
        }
        Ok(())
    }

    /// Saves all images, loads that in another store, and says what is not the same there.
    pub(crate) fn saves(&self) -> Result<(), String> {
        let images = self.images("store")?;
        if images.is_empty() {
            return Ok(());
        }
        let names = images.iter().map(|(name, id, _)| name.as_ref().unwrap_or(id));
        let saved = self.dir.path().join("saved.tar");
        self.succeeds(self.command().arg("save").args(names).arg("-o").arg(&saved))?;
        self.succeeds(self.command_in("other").arg("load").arg(&saved))?;
        let loaded = self.images("other")?;
        if loaded == images { Ok(()) } else { Err(format!("saved as {images:?}, loaded as {loaded:?}")) }
    }

    /// Returns all images, once for each name.
    fn images(&self, store: &str) -> Result<Vec<Named>, String> {
        if !self.dir.path().join(store).exists() {
            return Ok(Vec::new());
        }
        let store = Store::open(&self.dir.path().join(store)).map_err(|e| e.to_string())?;
        let mut rows = Vec::new();
        for image in store.images().map_err(|e| e.to_string())? {
            let layers: Vec<Digest> = image.record.layers.iter().map(|layer| layer.diff_id).collect();
            let id = image.record.id.to_string();
            let names =
                if image.names.is_empty() { vec![None] } else { image.names.into_iter().map(Some).collect() };
            rows.extend(names.into_iter().map(|name| (name, id.clone(), layers.clone())));
        }
        Ok(rows)
    }

    fn succeeds(&self, command: &mut Command) -> Result<(), String> {
        let output = command.output().expect("ovlctl starts");
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() { Ok(()) } else { Err(format!("{command:?}: {said}")) }
    }

    fn command(&self) -> Command {
        self.command_in("store")
    }

    fn command_in(&self, store: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ovlctl"));
        command.arg("--root").arg(self.dir.path().join(store)).env_clear();
        command.env("OVLCTL_NO_SYNC", "1").env("OVLCTL_CONFIG", "");
        command
    }

    /// Returns what is to be mounted: the archive, or an image made of the layer.
    fn source(&self, case: &Case) -> PathBuf {
        if !case.is_layer {
            return case.source.clone();
        }
        let layer =
            fs::read(&case.source).unwrap_or_else(|fault| panic!("{}: {fault}", case.source.display()));
        let image = self.dir.path().join("one.tar");
        fs::write(&image, image_of(&layer)).expect("an archive can be written");
        image
    }
}

/// An image archive of one layer, which stays packed as it is.
fn image_of(layer: &[u8]) -> Vec<u8> {
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(&unpacked(layer))]},
    });
    let manifest = json!([{"Config": "config.json", "RepoTags": ["corpus:one"], "Layers": ["layer.tar"]}]);
    let mut tar = tar::Builder::new(Vec::new());
    let (config, manifest) = (config.to_string(), manifest.to_string());
    for (name, data) in
        [("config.json", config.as_bytes()), ("layer.tar", layer), ("manifest.json", manifest.as_bytes())]
    {
        let mut header = tar::Header::new_ustar();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, data).expect("a Vec takes all");
    }
    tar.into_inner().expect("a Vec takes all")
}

/// Undoes the packing that the first bytes tell of; what cannot be unpacked stays as it is, for ovlctl to refuse.
fn unpacked(data: &[u8]) -> Vec<u8> {
    let mut reader: Box<dyn Read + '_> = match data {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(data)),
        [b'B', b'Z', b'h', ..] => Box::new(bzip2::read::MultiBzDecoder::new(data)),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Box::new(liblzma::read::XzDecoder::new_multi_decoder(data)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            Box::new(zstd::Decoder::new(data).expect("a Vec can be read"))
        }
        _ => Box::new(data),
    };
    let mut out = Vec::new();
    match reader.read_to_end(&mut out) {
        Ok(_) => out,
        Err(_) => data.to_vec(),
    }
}

fn is_mounted(path: &Path) -> bool {
    // Not /proc/self: that is the main thread, which has another namespace.
    let table = fs::read_to_string("/proc/thread-self/mountinfo").expect("mountinfo");
    table.lines().any(|line| line.split(' ').nth(4) == path.to_str())
}
