//! A scene: a directory on a real filesystem, a store in it, and a mount namespace of its own.
//!
//! Namespaces belong to threads, so `cargo test` and nextest both do. When a scene ends it unmounts by `umount --all`,
//! proves what is in the store by `check --deep`, and sees to it that no mount and nothing half done is left.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use rustix::fs::Mode;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change, unmount,
};
use rustix::process::umask;
use tempfile::TempDir;

use super::image::{Image, docker, image};
use super::outcome::{Outcome, Said, without_times};
use super::tarball::Layer;
use super::tree::{self, Times, same};

/// Where scenes are set: not on tmpfs, which differs from what people use.
pub(super) const DEFAULT_DIR: &str = "/var/tmp";

/// Else every load would wait for a disk that all tests share.
const NO_SYNC: &str = "OVLCTL_NO_SYNC";

/// A place in which `ovlctl` is run.
#[must_use]
pub(crate) struct Scene {
    dir: TempDir,
    layers: Vec<Layer>,
}

impl Scene {
    /// Sets an empty scene.
    pub(crate) fn new() -> Self {
        assert!(rustix::process::geteuid().is_root(), "these tests mount: run them as root");
        // What tests write has the modes that they say, whatever those of who runs them are.
        umask(Mode::WGRP | Mode::WOTH);
        unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace of its own");
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
            .expect("private mounts");
        let parent = std::env::var_os("OVLCTL_TEST_DIR").unwrap_or_else(|| DEFAULT_DIR.into());
        let dir = tempfile::Builder::new()
            .prefix("ovlctl-test-")
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir_in(parent)
            .expect("a directory for the scene");
        hide_settings(dir.path());
        Self { dir, layers: Vec::new() }
    }

    /// A scene with this image in its store, out of an archive of this name.
    pub(crate) fn with(archive: &str, image: &Image) -> Self {
        let scene = Self::new();
        scene.save(archive, image);
        scene.run(&format!("load {archive}")).succeeds();
        scene
    }

    /// Sets an empty scene in memory, for what would wait for a disk a thousand times.
    pub(crate) fn in_memory() -> Self {
        let scene = Self::new();
        mount("tmpfs", scene.dir.path(), "tmpfs", MountFlags::empty(), None).expect("a tmpfs");
        scene
    }

    /// Puts a layer on the scene's image.
    pub(crate) fn layer(mut self, layer: Layer) -> Self {
        self.layers.push(layer);
        self
    }

    /// Mounts the scene's image twice: writable on `root`, and read-only on `ro`.
    #[track_caller]
    pub(crate) fn mounted(self) -> Self {
        self.write_image();
        self.run("mount image.tar root").succeeds();
        self.run("mount --read-only image.tar ro").succeeds();
        self
    }

    /// Checks that the scene's image is refused as hostile or damaged, for this reason, and that nothing of it is kept.
    #[track_caller]
    pub(crate) fn refused(self, reason: &str) {
        self.write_image();
        let said = self.run("load image.tar").fails(6).stderr;
        let line = said.trim_end();
        same("the reason", line.strip_prefix("ovlctl: cannot load image.tar: ").unwrap_or(line), reason);
        assert_eq!(self.kept_layers(), Vec::<String>::new(), "the store keeps layers of what it refused");
    }

    /// Returns the path of `name` in the scene.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Makes a directory.
    pub(crate) fn mkdir(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).expect("mkdir");
        path
    }

    /// Writes a file.
    pub(crate) fn write(&self, name: &str, contents: &[u8]) {
        fs::write(self.path(name), contents).expect("a file can be written");
    }

    /// Writes `docker save`'s archive of an image as `name`.
    pub(crate) fn save(&self, name: &str, image: &Image) {
        self.write(name, &docker(std::slice::from_ref(image)).tar());
    }

    /// Mounts a tmpfs of this size (`64k`, `8m`) on `name`.
    pub(crate) fn tmpfs(&self, name: &str, size: &str) -> PathBuf {
        let path = self.mkdir(name);
        let options = std::ffi::CString::new(format!("size={size},mode=0755")).expect("no NUL");
        mount("tmpfs", &path, "tmpfs", MountFlags::empty(), Some(options.as_c_str())).expect("a tmpfs");
        path
    }

    /// Mounts a new filesystem on `name`, of so many MiB in a file.
    pub(crate) fn disk(&self, name: &str, mkfs: &[&str], megabytes: u64) -> PathBuf {
        let file = self.path(&format!("{name}.img"));
        fs::File::create(&file).and_then(|new| new.set_len(megabytes << 20)).expect("a file of holes");
        host(Command::new(mkfs[0]).args(&mkfs[1..]).arg(&file));
        let path = self.mkdir(name);
        host(Command::new("mount").arg("-o").arg("loop").arg(&file).arg(&path));
        path
    }

    /// Runs `ovlctl` with these words after `--root STORE`, in the scene's directory and without an environment.
    pub(crate) fn run(&self, words: &str) -> Outcome {
        self.run_args(&words.split_whitespace().collect::<Vec<_>>())
    }

    /// The same, and syncs as it does for users.
    pub(crate) fn run_synced(&self, words: &str) -> Outcome {
        let mut command = self.command(&words.split_whitespace().collect::<Vec<_>>());
        self.outcome(command.env_remove(NO_SYNC))
    }

    /// The same in the first second of the second day of 1970: what it makes is the same each time.
    #[track_caller]
    pub(crate) fn at_a_time(&self, words: &str) -> Said {
        let mut command = self.command(&words.split_whitespace().collect::<Vec<_>>());
        self.outcome(command.env("SOURCE_DATE_EPOCH", "86400")).succeeds()
    }

    /// Runs `ovlctl` with these words and another store, `other`.
    pub(crate) fn elsewhere(&self, words: &str) -> Outcome {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ovlctl"));
        command.arg("--root").arg(self.path("other")).args(words.split_whitespace()).env_clear();
        self.outcome(command.env(NO_SYNC, "1").current_dir(self.dir.path()).stdin(Stdio::null()))
    }

    /// Plays a power cut: the store was made in another boot of the machine.
    pub(crate) fn power_cut(&self) {
        // A new file: another name may lead to the old one.
        let boot = self.store().join("boot");
        fs::remove_file(&boot).expect("a store has one");
        fs::write(boot, r#"{"format":1,"boot":"another"}"#).expect("a file can be written");
    }

    /// Runs `ovlctl` with arguments that may hold any bytes.
    pub(crate) fn run_args<S: AsRef<OsStr>>(&self, args: &[S]) -> Outcome {
        self.outcome(&mut self.command(args))
    }

    /// Runs `ovlctl`, which must succeed, and returns the bytes that it prints.
    #[track_caller]
    pub(crate) fn run_bytes(&self, words: &str) -> Vec<u8> {
        let mut command = self.command(&words.split_whitespace().collect::<Vec<_>>());
        let output = command.output().expect("ovlctl starts");
        self.said(&command, &output).succeeds();
        output.stdout
    }

    /// Runs `ovlctl` with these bytes on a pipe as its standard input.
    pub(crate) fn run_piped(&self, words: &str, input: &[u8]) -> Outcome {
        self.fed(self.command(&words.split_whitespace().collect::<Vec<_>>()), input)
    }

    /// Runs a prepared command with these bytes on a pipe as its standard input.
    pub(crate) fn fed(&self, mut command: Command, input: &[u8]) -> Outcome {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("ovlctl starts");
        let mut pipe = child.stdin.take().expect("it was asked for");
        // EPIPE: it may stop reading early, and what it then says is what the test looks at.
        let _ = pipe.write_all(input);
        drop(pipe);
        self.said(&command, &child.wait_with_output().expect("ovlctl ends"))
    }

    /// Returns the command that `run` would run.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ovlctl"));
        command.arg("--root").arg(self.store()).args(args);
        command.env_clear().env("COLUMNS", "100").env(NO_SYNC, "1");
        command.current_dir(self.dir.path()).stdin(Stdio::null());
        command
    }

    /// Runs a prepared command.
    pub(crate) fn outcome(&self, command: &mut Command) -> Outcome {
        let output = command.output().expect("ovlctl starts");
        self.said(command, &output)
    }

    /// Checks the whole mounted tree, as both mounts show it.
    #[track_caller]
    pub(crate) fn shows(&self, expected: &str) {
        self.shows_at("root", expected);
        self.shows_at("ro", expected);
    }

    /// Checks the whole mounted tree with the time of each inode.
    #[track_caller]
    pub(crate) fn shows_times(&self, expected: &str) {
        for name in ["root", "ro"] {
            same(name, &tree::list(&self.path(name), Times::Shown), expected);
        }
    }

    /// Checks one whole tree.
    #[track_caller]
    pub(crate) fn shows_at(&self, name: &str, expected: &str) {
        same(name, &self.tree(name), expected);
    }

    /// Lists a tree of the scene.
    pub(crate) fn tree(&self, name: &str) -> String {
        tree::list(&self.path(name), Times::Hidden)
    }

    /// Checks what the directory of the scene's layer `nr` (0 is the base) holds in the store.
    #[track_caller]
    pub(crate) fn layer_holds(&self, nr: usize, expected: &str) {
        let id = self.image().chain_ids()[nr].hex();
        self.shows_at(&format!("store/overlay2/{id}/diff"), expected);
    }

    /// Returns the scene's image.
    pub(crate) fn image(&self) -> Image {
        self.layers.iter().fold(image("image"), |image, layer| image.layer(layer))
    }

    /// Returns where the store is.
    pub(crate) fn store(&self) -> PathBuf {
        self.path("store")
    }

    /// Returns the directories of the store that are layers or containers, by id.
    pub(crate) fn kept_layers(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.store().join("overlay2")) else { return Vec::new() };
        let names = entries.map(|entry| entry.expect("readdir").file_name().to_string_lossy().into_owned());
        let mut ids: Vec<String> = names.filter(|name| name.len() == 64).collect();
        ids.sort();
        ids
    }

    /// Returns what is mounted in the scene, in the order in which it was.
    pub(crate) fn mounts(&self) -> Vec<PathBuf> {
        // Not /proc/self: that is the main thread, which has another namespace.
        let table = fs::read_to_string("/proc/thread-self/mountinfo").expect("mountinfo");
        let targets = table.lines().filter_map(|line| line.split(' ').nth(4)).map(unescape);
        targets.filter(|target| target.starts_with(self.dir.path())).collect()
    }

    fn write_image(&self) {
        self.mkdir("root");
        self.mkdir("ro");
        self.save("image.tar", &self.image());
    }

    fn said(&self, command: &Command, output: &Output) -> Outcome {
        let text = |bytes| self.placeholders(&String::from_utf8_lossy(bytes));
        Outcome {
            command: format!("{command:?}"),
            code: output.status.code(),
            said: Said { stdout: text(&output.stdout), stderr: text(&output.stderr) },
        }
    }

    fn placeholders(&self, text: &str) -> String {
        let dir = self.dir.path().to_string_lossy();
        without_times(&text.replace(&format!("{dir}/store"), "[STORE]").replace(&*dir, "[DIR]"))
    }

    /// Waits until the background has deleted what was removed.
    #[track_caller]
    pub(crate) fn swept(&self) {
        assert!(self.is_swept(), "nobody deletes {:?}", self.staged());
    }

    /// The same; whether it has.
    pub(crate) fn is_swept(&self) -> bool {
        let begun = Instant::now();
        while !self.staged().is_empty() {
            if begun.elapsed() > Duration::from_secs(60) {
                return false;
            }
            thread::sleep(Duration::from_millis(5));
        }
        true
    }

    /// Returns what of the store is being made or deleted.
    pub(crate) fn staged(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.store().join("staging")) else { return Vec::new() };
        entries.map(|entry| entry.expect("readdir").path()).collect()
    }

    /// Unmounts all that is mounted in the scene.
    pub(crate) fn let_go(&self) {
        for target in self.mounts().iter().rev().filter(|target| *target != self.dir.path()) {
            // A scene that failed may have anything here; the directory's removal tells of what stays.
            let _ = unmount(target, UnmountFlags::DETACH);
        }
    }

    /// Returns where overlays are mounted in the scene.
    pub(crate) fn overlays(&self) -> Vec<PathBuf> {
        let table = fs::read_to_string("/proc/thread-self/mountinfo").expect("mountinfo");
        let overlays = table.lines().filter(|line| line.contains(" - overlay "));
        let targets = overlays.filter_map(|line| line.split(' ').nth(4)).map(unescape);
        targets.filter(|target| target.starts_with(self.dir.path())).collect()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        if !failed && self.store().exists() {
            for words in ["umount --all", "check --deep"] {
                let outcome = self.run(words);
                assert_eq!(outcome.code, Some(0), "{words}: {}{}", outcome.said.stdout, outcome.said.stderr);
            }
        }
        let left = self.overlays();
        self.let_go();
        if !failed {
            assert_eq!(left, Vec::<PathBuf>::new(), "mounts that `umount --all` left");
            self.swept();
        }
        // Where it is in memory.
        let _ = unmount(self.dir.path(), UnmountFlags::DETACH);
    }
}

/// Runs a program of the host's, which must succeed, and returns what it prints.
#[track_caller]
pub(crate) fn host(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Hides what is configured on this machine from all that runs in this mount namespace.
fn hide_settings(dir: &Path) {
    const SETTINGS: &str = "/etc/ovlctl.toml";
    if Path::new(SETTINGS).exists() {
        let nothing = dir.join("no-settings");
        fs::write(&nothing, "").expect("a file can be written");
        mount_bind(&nothing, SETTINGS).expect("a file can be mounted");
        fs::remove_file(nothing).expect("what is mounted stays");
    }
}

/// Undoes mountinfo's `\040` for a space, and its likes.
fn unescape(field: &str) -> PathBuf {
    let mut path = field.to_owned();
    for (escaped, plain) in [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")] {
        path = path.replace(escaped, plain);
    }
    Path::new(&path).to_owned()
}
