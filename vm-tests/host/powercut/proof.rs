//! Whether a store is what was promised, after the power came back: the filesystem is mounted here, and ovlctl run on it, which
//! sees that the machine has started anew since.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use serde_json::Value;

use super::listing::list;
use crate::story::promised::{Files, Promised};
use crate::story::random::Random;
use crate::story::{self, STORE};

/// How long what runs in the background may take to end.
const PATIENCE: Duration = Duration::from_secs(300);

/// Where points are looked at, and with what.
#[derive(Clone)]
pub(super) struct Bench<'a> {
    /// The ovlctl under test, or this program, which is one too.
    pub(super) program: &'a Path,
    pub(super) filesystem: &'a str,
    pub(super) archives: &'a Path,
    /// What each image shows.
    pub(super) trees: BTreeMap<&'static str, String>,
    /// A folder in memory.
    pub(super) folder: PathBuf,
    /// Whether ovlctl is told that the machine has never been switched off: then it trusts what it should not.
    pub(super) same_boot: bool,
}

/// What was seen at one point.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// What was wrong.
    pub(super) faults: Vec<String>,
    /// How many images had to be there, and were.
    pub(super) images: usize,
    /// How many files of containers, snapshots and committed images were what they had to be.
    pub(super) files: usize,
    /// How many snapshots had to be there, and were, or had not to be, and were not.
    pub(super) snapshots: usize,
    /// How many images were mounted and compared, file by file.
    pub(super) trees: usize,
    /// How often the image of a container had to be loaded again.
    pub(super) reloads: usize,
    /// What the first commands said on stderr.
    pub(super) said: Vec<String>,
}

/// How ovlctl says that it threw away what was not on the disk.
const RECOVERED: &str = "was not yet on the disk when the machine went down";

impl Seen {
    /// Whether ovlctl threw something away.
    pub(super) fn has_recovered(&self) -> bool {
        self.said.iter().any(|line| line.contains(RECOVERED))
    }
}

/// What an ovlctl said.
struct Said {
    words: String,
    status: std::process::ExitStatus,
    stdout: String,
    stderr: String,
}

impl Bench<'_> {
    fn place(&self) -> PathBuf {
        self.folder.join("mounted")
    }

    fn target(&self) -> PathBuf {
        self.folder.join("target")
    }

    /// Looks at the filesystem in `image`, changing it.
    pub(super) fn examine(&self, image: &Path, promised: &Promised, seed: u64) -> io::Result<Seen> {
        let mut seen = Seen::default();
        fs::create_dir_all(self.place())?;
        fs::create_dir_all(self.target())?;
        if let Err(e) = self.mount(image) {
            seen.faults.push(format!("the filesystem is lost: {e}"));
            return Ok(seen);
        }
        let looked = self.look(promised, &mut Random::new(seed), &mut seen);
        self.ovlctl(&["umount", "--all"])?;
        self.unmount()?;
        looked.map(|()| seen)
    }

    fn look(&self, promised: &Promised, random: &mut Random, seen: &mut Seen) -> io::Result<()> {
        let store = self.place().join(STORE);
        if self.same_boot {
            pretend_same_boot(&store.join("boot"))?;
        }
        // Readers recover nothing, and cope all the same.
        for reader in ["images", "layers", "mounts"] {
            self.works(&[reader], seen)?;
        }
        self.images(promised, seen)?;
        // Whichever command comes first recovers.
        let archive = story::archive(self.archives, random.pick(&["app:1", "app:2", "gone:1"]));
        let archive = archive.to_string_lossy();
        let target = self.target();
        let target = target.to_string_lossy();
        match random.below(4) {
            0 => self.works(&["prune"], seen)?,
            1 => self.works(&["load", &archive], seen)?,
            2 => {
                self.works(&["mount", "--read-only", &archive, &target], seen)?
                    && self.works(&["umount", &target], seen)?
            }
            _ => self.works(&["check"], seen)?,
        };
        self.works(&["check", "--deep"], seen)?;
        let there = self.images(promised, seen)?;
        self.tree(&there, random, seen)?;
        self.containers(promised, seen)?;
        self.snapshots(promised, seen)?;
        for (image, files) in &promised.committed {
            self.shows(&["mount", "--read-only", *image], files, seen)?;
        }
        let archives = self.trees.keys().map(|image| story::archive(self.archives, image));
        let archives: Vec<String> = archives.map(|path| path.display().to_string()).collect();
        let mut load = vec!["load"];
        load.extend(archives.iter().map(String::as_str));
        self.works(&load, seen)?;
        self.works(&["check", "--deep"], seen)?;
        self.nothing_is_staged(seen)
    }

    /// Every image that was promised is there, under its names.
    fn images(&self, promised: &Promised, seen: &mut Seen) -> io::Result<BTreeSet<String>> {
        let rows = self.listed("images", seen)?;
        let names = rows.iter().filter_map(|row| row["name"].as_str());
        let names: BTreeSet<String> = names.map(str::to_owned).collect();
        for (image, promised) in &promised.images {
            let lost = promised.all_of.iter().find(|name| !names.contains(**name));
            if let Some(name) = lost {
                seen.faults.push(format!("the image {image} is lost, or its name {name}"));
            } else if !promised.one_of.iter().any(|name| names.contains(*name)) {
                seen.faults.push(format!("the image {image} is lost"));
            } else {
                seen.images += 1;
            }
        }
        Ok(names)
    }

    /// One of the images shows what it should.
    fn tree(&self, there: &BTreeSet<String>, random: &mut Random, seen: &mut Seen) -> io::Result<()> {
        let there: Vec<_> = self.trees.keys().filter(|image| there.contains(**image)).copied().collect();
        if there.is_empty() {
            return Ok(());
        }
        let image = random.pick(&there);
        let target = self.target();
        let target = target.to_string_lossy();
        if self.works(&["mount", "--read-only", image, &target], seen)? {
            seen.trees += 1;
            if let Some(difference) = difference(&self.trees[image], &list(&self.target())?) {
                seen.faults.push(format!("the image {image} shows another tree: {difference}"));
            }
            self.works(&["umount", &target], seen)?;
        }
        Ok(())
    }

    /// Every container that was promised is there, with its files.
    fn containers(&self, promised: &Promised, seen: &mut Seen) -> io::Result<()> {
        let rows = self.listed("mounts", seen)?;
        let target = self.target();
        let target = target.to_string_lossy();
        for (container, files) in &promised.containers {
            if !rows.iter().any(|row| row["name"] == **container) {
                seen.faults.push(format!("the container {container} is lost"));
                continue;
            }
            let image = story::image_of(container);
            if !promised.images.contains_key(image) {
                if self.ovlctl(&["mount", *container, &target])?.status.success() {
                    self.works(&["umount", container], seen)?;
                } else {
                    seen.reloads += 1;
                    let archive = story::archive(self.archives, image);
                    self.works(&["load", &archive.to_string_lossy()], seen)?;
                }
            }
            self.shows(&["mount", *container], files, seen)?;
        }
        Ok(())
    }

    /// Every snapshot that was promised is there, with its files, and none that was removed.
    fn snapshots(&self, promised: &Promised, seen: &mut Seen) -> io::Result<()> {
        let rows = self.listed("snapshots", seen)?;
        let is_there = |name: &str| rows.iter().any(|row| row["name"] == *name);
        for ((container, name), snapshot) in promised.snapshots.iter().filter(|(_, one)| one.synced) {
            let full = format!("{container}@{name}");
            if is_there(&full) {
                seen.snapshots += 1;
                self.shows(&["mount", &full], &snapshot.files, seen)?;
            } else {
                seen.faults.push(format!("the snapshot {full} is lost"));
            }
        }
        for (container, name) in &promised.gone {
            let full = format!("{container}@{name}");
            if is_there(&full) {
                seen.faults.push(format!("the snapshot {full} was removed, and is there"));
            } else {
                seen.snapshots += 1;
            }
        }
        Ok(())
    }

    /// What these words mount has these files.
    fn shows(&self, mount: &[&str], files: &Files, seen: &mut Seen) -> io::Result<()> {
        let target = self.target();
        let target = target.to_string_lossy();
        if !self.works(&[mount, &[&*target]].concat(), seen)? {
            return Ok(());
        }
        let what = mount.last().unwrap_or(&"");
        for (file, allowed) in files {
            let found = match fs::read(self.target().join(file)) {
                Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
                Err(e) if e.kind() == io::ErrorKind::NotFound => None,
                Err(e) => return Err(e),
            };
            match found {
                found if allowed.contains(&found.as_deref()) => seen.files += 1,
                Some(text) => seen.faults.push(format!("{what}: {file} holds {text:?}")),
                None => seen.faults.push(format!("{what}: {file} is lost")),
            }
        }
        self.works(&["umount", &target], seen)?;
        Ok(())
    }

    /// What was half done has gone, at the latest some time after the commands that saw it.
    fn nothing_is_staged(&self, seen: &mut Seen) -> io::Result<()> {
        let staging = self.place().join(STORE).join("staging");
        let since = Instant::now();
        loop {
            let left = match fs::read_dir(&staging) {
                Ok(entries) => entries.count(),
                Err(e) if e.kind() == io::ErrorKind::NotFound => 0,
                Err(e) => return Err(e),
            };
            if left == 0 {
                return Ok(());
            }
            // A store that cannot be opened cannot be swept either.
            if !seen.faults.is_empty() || since.elapsed() > PATIENCE {
                seen.faults.push(format!("{left} stages are left"));
                return Ok(());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn listed(&self, verb: &str, seen: &mut Seen) -> io::Result<Vec<Value>> {
        let said = self.ovlctl(&[verb, "--json"])?;
        match serde_json::from_str(&said.stdout) {
            Ok(rows) => Ok(rows),
            Err(_) => {
                seen.faults.push(said.fault());
                Ok(Vec::new())
            }
        }
    }

    /// Runs a command that has to succeed.
    fn works(&self, words: &[&str], seen: &mut Seen) -> io::Result<bool> {
        let said = self.ovlctl(words)?;
        if !said.status.success() {
            seen.faults.push(said.fault());
        }
        seen.said.extend(said.stderr.lines().map(str::to_owned));
        Ok(said.status.success())
    }

    fn ovlctl(&self, words: &[&str]) -> io::Result<Said> {
        let mut command = Command::new(self.program);
        command.arg0("ovlctl").arg("--root").arg(self.place().join(STORE)).args(words).env_clear();
        let output = command.output()?;
        Ok(Said {
            words: words.join(" "),
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    fn mount(&self, image: &Path) -> io::Result<()> {
        // Another of its points may be mounted at the same time elsewhere.
        let options = if self.filesystem == "xfs" { "loop,nouuid" } else { "loop" };
        let mut command = Command::new("mount");
        run(command.args(["-t", self.filesystem, "-o", options]).arg(image).arg(self.place()))
    }

    /// Ends the mount: what was started in the background may be about to end.
    fn unmount(&self) -> io::Result<()> {
        let since = Instant::now();
        while let Err(errno) = unmount(self.place(), UnmountFlags::empty()) {
            if errno != Errno::BUSY || since.elapsed() > PATIENCE {
                return Err(io::Error::other(format!("umount {}: {errno}", self.place().display())));
            }
            thread::sleep(Duration::from_millis(5));
        }
        if self.filesystem == "btrfs" {
            // The kernel remembers the latest generation of each btrfs, and does not mount an earlier one.
            run(Command::new("btrfs").args(["device", "scan", "--forget"]))?;
        }
        Ok(())
    }
}

impl Said {
    fn fault(&self) -> String {
        let said: Vec<&str> = self.stderr.lines().chain(self.stdout.lines()).take(6).collect();
        let short: String = self.words.chars().take(60).collect();
        format!("ovlctl {short}: {}: {}", self.status, said.join("; "))
    }
}

/// Makes ovlctl believe that the machine was never switched off.
fn pretend_same_boot(file: &Path) -> io::Result<()> {
    // Where a cut has lost it, nothing is believed.
    let Ok(text) = fs::read(file) else { return Ok(()) };
    let Ok(mut record) = serde_json::from_slice::<Value>(&text) else { return Ok(()) };
    record["boot"] = fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim_end().into();
    fs::write(file, record.to_string())
}

/// Loads every archive into a store of its own in `folder`, and lists what each shows.
pub(super) fn trees(
    program: &Path,
    archives: &Path,
    folder: &Path,
) -> io::Result<BTreeMap<&'static str, String>> {
    let target = folder.join("tree");
    fs::create_dir_all(&target)?;
    let ovlctl = |words: &[&Path]| {
        let mut command = Command::new(program);
        run(command.arg0("ovlctl").arg("--root").arg(folder.join("whole")).args(words))
    };
    let mut trees = BTreeMap::new();
    for image in story::images::NAMES {
        let archive = story::archive(archives, image);
        ovlctl(&["mount".as_ref(), "--read-only".as_ref(), &archive, &target])?;
        trees.insert(image, list(&target)?);
        ovlctl(&["umount".as_ref(), &target])?;
    }
    Ok(trees)
}

/// The first line that is in one of them only.
fn difference(expected: &str, found: &str) -> Option<String> {
    let missing = expected.lines().find(|line| !found.lines().any(|other| other == *line));
    let extra = found.lines().find(|line| !expected.lines().any(|other| other == *line));
    (missing.is_some() || extra.is_some())
        .then(|| format!("instead of {:?} there is {:?}", missing.unwrap_or("-"), extra.unwrap_or("-")))
}

pub(super) fn run(command: &mut Command) -> io::Result<()> {
    let output = command.output().map_err(|e| io::Error::new(e.kind(), format!("{command:?}: {e}")))?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim())))
}
