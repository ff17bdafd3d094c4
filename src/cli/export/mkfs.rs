//! Filesystems, made by their own programs of a tree that only those see.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::super::fault::{self, Cause};
use super::super::place::{self, LookFault};
use super::super::print;
use super::failed;
use crate::digest::Digest;
use crate::layer::walk::walk;
use crate::mount::container::Opened;
use crate::progress::Counter;
use crate::sys::dir::in_root::{Found, Last};
use crate::sys::dir::{self, FileType, Stat};
use crate::sys::{CallFailed, counted};

/// Which filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Ext4,
    Erofs,
    Squashfs,
}

/// What is to be made.
pub(super) struct Make {
    pub(super) kind: Kind,
    /// How large an ext4 is to be.
    pub(super) size: Option<u64>,
    /// What is exported: of it comes the filesystem's own id, where that is not to be random.
    pub(super) id: String,
    /// What counts the bytes that it has got.
    pub(super) counter: Arc<Counter>,
}

/// A file that has no name: the program gets it as its standard input.
const TARGET: &str = "/proc/self/fd/0";

/// With what all is written that is asked to be the same each time (reproducible-builds.org).
const EPOCH: &str = "SOURCE_DATE_EPOCH";

/// How often a filesystem that proved too small is made anew, half as large again.
const ATTEMPTS: usize = 5;

const MIB: u64 = 1 << 20;

/// The inode of an ext4's root, and the first that is not reserved (kernel, Documentation/filesystems/ext4).
const ROOT: u64 = 2;
const FIRST: u64 = 11;

/// How often is looked whether a program has ended.
const PAUSE: Duration = Duration::from_millis(20);

impl Kind {
    /// The program, and Debian's package that has it.
    fn program(self) -> (&'static str, &'static str) {
        match self {
            Self::Ext4 => ("mkfs.ext4", "e2fsprogs"),
            Self::Erofs => ("mkfs.erofs", "erofs-utils"),
            Self::Squashfs => ("mksquashfs", "squashfs-tools"),
        }
    }
}

impl Make {
    /// Makes the filesystem in `file`, which is empty.
    pub(super) fn run(&self, opened: &Opened, file: &File) -> Result<(), Cause> {
        let root = place::existing(opened.root(), b"/", Last::Kept)?;
        let weight = Weight::of(&root, self.kind).map_err(place::failed)?;
        weight.tell(self.kind);
        let target = file.try_clone().map_err(|e| failed(Path::new(TARGET), &e))?;
        let made = opened.attached(|tree| {
            Ok(match self.kind {
                Kind::Ext4 => self.ext4(tree, &target, &weight),
                Kind::Erofs => self.ends_well(&mut self.erofs(tree), &target),
                Kind::Squashfs => self.ends_well(&mut self.squashfs(tree), &target),
            })
        })?;
        made.map_err(|fault| match fault {
            MakeFault::Absent => {
                let (program, package) = self.kind.program();
                Cause::Lacking(format!("there is no {program} here: Debian has it in {package}"))
            }
            MakeFault::Said(said) => LookFault::Program(said).into(),
        })
    }

    fn ext4(&self, tree: &Path, target: &File, weight: &Weight) -> Result<(), MakeFault> {
        let mut size = self.size.unwrap_or_else(|| weight.size());
        for attempt in 1.. {
            target.set_len(0).and_then(|()| target.set_len(size)).map_err(|e| said(&e))?;
            let output = self.output(&mut self.mkfs_ext4(tree, weight), target)?;
            if output.status.success() {
                break;
            }
            let text = String::from_utf8_lossy(&output.stderr);
            let is_small = [
                "Could not allocate",
                "ould not expand",
                "too small",
                "size reported to be zero",
                "No space left",
                "out of",
            ]
            .iter()
            .any(|words| text.contains(words));
            if self.size.is_some() && is_small {
                let (size, needed) = (print::size(size), print::size(weight.size()));
                return Err(MakeFault::Said(format!("{size} are not enough for it: {needed} are")));
            }
            if !is_small || attempt == ATTEMPTS {
                return Err(self.said(&output));
            }
            size += size / 2;
        }
        let used = weight.is_in(target).map_err(|e| said(&e))?;
        self.dress(target, &weight.root, used)
    }

    fn mkfs_ext4(&self, tree: &Path, weight: &Weight) -> Command {
        let mut command = self.command();
        command
            .args(["-q", "-F", "-b", "4096", "-I", "256", "-N"])
            .arg((weight.inodes + weight.inodes / 4 + 64).to_string());
        if let Some((_, uuid)) = self.fixed() {
            command.args(["-U", &uuid, "-E", &format!("hash_seed={uuid}")]);
        }
        command.arg("-d").arg(tree).arg(TARGET);
        command
    }

    /// Gives the root its owner, mode and time: mkfs.ext4 does so with all that is in it. Of that it also copies when it was
    /// changed and read in the store: where the same tree is to be the same filesystem, each inode has one time for both.
    fn dress(&self, target: &File, root: &Stat, used: u64) -> Result<(), MakeFault> {
        let mut script = Vec::new();
        let mut set = |inode: u64, field: &str, value: &str| {
            script.push(format!("set_inode_field <{inode}> {field} {value}\n"));
        };
        set(ROOT, "uid", &root.st_uid.to_string());
        set(ROOT, "gid", &root.st_gid.to_string());
        set(ROOT, "mode", &format!("0{:o}", root.st_mode));
        set(ROOT, "mtime", &format!("@{}", root.st_mtime));
        if let Some((epoch, _)) = self.fixed() {
            // They are numbered in the order in which they are made, without a gap.
            for inode in [ROOT].into_iter().chain(FIRST..=used) {
                for field in ["ctime", "atime"] {
                    set(inode, &format!("{field}_extra"), "0");
                    set(inode, field, &format!("@{epoch}"));
                }
            }
        }
        let output = self.debugfs(target, &script.concat()).map_err(|e| self.not_run(&e))?;
        // It ends well, whatever it could not do, and says its version first.
        let text = String::from_utf8_lossy(&output.stderr);
        match text.lines().find(|line| !line.starts_with("debugfs 1")) {
            Some(line) => Err(MakeFault::Said(format!("debugfs: {}", print::text(line)))),
            None => Ok(()),
        }
    }

    /// Has debugfs(8) do what `script` says, which it reads from its standard input. It has the file as its standard output, to
    /// which it repeats each line: so that can only be read, and opening it anew makes it the filesystem to be changed.
    fn debugfs(&self, target: &File, script: &str) -> io::Result<Output> {
        let file = File::open(format!("/proc/self/fd/{}", target.as_raw_fd()))?;
        let mut command = Command::new("debugfs");
        self.environment(&mut command);
        command.args(["-w", "-f", "-", "/proc/self/fd/1"]).stdin(Stdio::piped()).stdout(file);
        self.attend(&mut command, target, script)
    }

    fn erofs(&self, tree: &Path) -> Command {
        let mut command = self.command();
        command.args(["--quiet", "--preserve-mtime"]);
        if let Some((_, uuid)) = self.fixed() {
            command.args(["-U", &uuid]);
        }
        command.arg(TARGET).arg(tree);
        command
    }

    fn squashfs(&self, tree: &Path) -> Command {
        let mut command = self.command();
        command.arg(tree).arg(TARGET).args(["-noappend", "-no-progress", "-quiet"]);
        command
    }

    fn ends_well(&self, command: &mut Command, target: &File) -> Result<(), MakeFault> {
        let output = self.output(command, target)?;
        if output.status.success() { Ok(()) } else { Err(self.said(&output)) }
    }

    fn output(&self, command: &mut Command, target: &File) -> Result<Output, MakeFault> {
        let started = target
            .try_clone()
            .and_then(|stdin| self.attend(command.stdin(stdin).stdout(Stdio::null()), target, ""));
        started.map_err(|e| self.not_run(&e))
    }

    fn not_run(&self, error: &io::Error) -> MakeFault {
        if error.kind() == ErrorKind::NotFound { MakeFault::Absent } else { said(error) }
    }

    /// Runs a program, with `script` where it reads a pipe, and counts meanwhile what is in `target`; it is ended where the work is
    /// to be.
    fn attend(&self, command: &mut Command, target: &File, script: &str) -> io::Result<Output> {
        let mut child = command.stderr(Stdio::piped()).spawn()?;
        let mut pipe = child.stderr.take().expect("it was asked for");
        let stdin = child.stdin.take();
        thread::scope(|scope| {
            // Why it reads no further it says itself.
            let write = move || stdin.map_or(Ok(()), |mut stdin| stdin.write_all(script.as_bytes()));
            thread::Builder::new().name("script".to_owned()).spawn_scoped(scope, write)?;
            let read = move || {
                let mut said = Vec::new();
                pipe.read_to_end(&mut said).map(|_| said)
            };
            let reader = thread::Builder::new().name("said".to_owned()).spawn_scoped(scope, read)?;
            let status = loop {
                if let Some(status) = child.try_wait()? {
                    break status;
                }
                if self.counter.is_cancelled() {
                    child.kill()?;
                }
                self.counter.set(target.metadata().map_or(0, |stat| stat.blocks() * 512));
                thread::sleep(PAUSE);
            };
            self.counter.set(target.metadata()?.blocks() * 512);
            let stderr = reader.join().unwrap_or_else(|_| Ok(Vec::new()))?;
            Ok(Output { status, stdout: Vec::new(), stderr })
        })
    }

    fn said(&self, output: &Output) -> MakeFault {
        let text = String::from_utf8_lossy(&output.stderr);
        let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with("mke2fs 1"));
        let line = line.map_or_else(|| output.status.to_string(), print::text);
        MakeFault::Said(format!("{}: {line}", self.kind.program().0))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.kind.program().0);
        self.environment(&mut command);
        command
    }

    /// Leaves a program nothing of this one's environment that could change what it makes.
    fn environment(&self, command: &mut Command) {
        let path = std::env::var("PATH").unwrap_or_default();
        command.env_clear().env("PATH", format!("{path}:/usr/sbin:/usr/bin:/sbin:/bin")).env("LC_ALL", "C");
        if let Some((epoch, _)) = self.fixed() {
            command.env(EPOCH, &epoch).env("E2FSPROGS_FAKE_TIME", &epoch);
        }
    }

    /// Returns the time that is to be written, and the id, where the same tree is to be the same filesystem.
    fn fixed(&self) -> Option<(String, String)> {
        let epoch = std::env::var(EPOCH).ok().filter(|epoch| epoch.parse::<u64>().is_ok())?;
        let digest = Digest::of(self.id.as_bytes()).hex();
        // RFC 9562, version 8: bits of one's own.
        let uuid = format!(
            "{}-{}-8{}-8{}-{}",
            &digest[..8],
            &digest[8..12],
            &digest[13..16],
            &digest[17..20],
            &digest[20..32]
        );
        Some((epoch, uuid))
    }
}

/// Why there is no filesystem.
enum MakeFault {
    Absent,
    Said(String),
}

fn said(error: &io::Error) -> MakeFault {
    MakeFault::Said(error.to_string())
}

/// What a tree takes, and what of it a filesystem cannot hold.
struct Weight {
    root: Stat,
    inodes: u64,
    /// In bytes, of data, of directories and of attributes that an inode has no room for.
    bytes: u64,
    has_lost_and_found: bool,
    /// How many access control lists, and the first path that has one.
    acls: usize,
    first_acl: Option<Vec<u8>>,
}

impl Weight {
    /// What mkfs.ext4 is told to take for a block.
    const BLOCK: u64 = 4096;
    /// What of a block a directory uses for names, at least.
    const NAMES: u64 = 2048;

    fn of(root: &Found, kind: Kind) -> Result<Self, CallFailed> {
        let mut weight = Self {
            root: root.stat()?,
            inodes: 0,
            bytes: 0,
            has_lost_and_found: false,
            acls: 0,
            first_acl: None,
        };
        let mut seen = HashSet::new();
        let mut names = 0;
        walk(root, &mut |path, found, stat| {
            names += 16 + path.rsplit(|&byte| byte == b'/').next().unwrap_or_default().len() as u64;
            weight.has_lost_and_found |= path == b"lost+found";
            let is_directory = dir::kind(stat) == FileType::Directory;
            if stat.st_nlink > 1 && !is_directory && !seen.insert((stat.st_dev, stat.st_ino)) {
                return Ok(());
            }
            weight.inodes += 1;
            weight.bytes += if is_directory { Self::BLOCK } else { data(found, stat)? };
            let xattrs = found.xattrs()?;
            weight.bytes += if xattrs.is_empty() { 0 } else { Self::BLOCK };
            if kind == Kind::Squashfs && xattrs.iter().any(|(key, _)| key.starts_with(b"system.posix_acl_")) {
                weight.acls += 1;
                weight.first_acl.get_or_insert_with(|| path.to_owned());
            }
            Ok::<_, CallFailed>(())
        })?;
        weight.bytes += names.div_ceil(Self::NAMES) * Self::BLOCK;
        Ok(weight)
    }

    /// Returns how large a filesystem is to be: a quarter more than it takes, and a journal.
    fn size(&self) -> u64 {
        const INODE: u64 = 256;
        let takes = self.bytes + (self.inodes + self.inodes / 4) * INODE;
        (takes + takes / 4 + 32 * MIB).next_multiple_of(MIB)
    }

    fn tell(&self, kind: Kind) {
        if let (Kind::Squashfs, Some(path)) = (kind, &self.first_acl) {
            let path = print::name(path);
            let acls = counted(self.acls, "access control list");
            fault::warn(&format!("{acls} left out, first of '/{path}': squashfs has none"));
        }
    }

    /// Looks whether a filesystem has as many inodes as the tree, by its superblock (kernel, Documentation/filesystems/ext4).
    /// Returns how many it uses.
    fn is_in(&self, target: &File) -> io::Result<u64> {
        /// All that are reserved but the root's.
        const RESERVED: u64 = 9;
        let mut superblock = [0; 32];
        target.read_exact_at(&mut superblock, 1024)?;
        let number = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|nr| superblock[at + nr]));
        let used = u64::from(number(0).saturating_sub(number(16)));
        let wanted = self.inodes + RESERVED + u64::from(!self.has_lost_and_found);
        if used >= wanted {
            return Ok(used);
        }
        Err(io::Error::other(format!(
            "{} inodes of {} are in it",
            used.saturating_sub(RESERVED),
            self.inodes
        )))
    }
}

/// Returns how many bytes of blocks the data of an inode takes; those of a file with holes are looked for.
fn data(found: &Found, stat: &Stat) -> Result<u64, CallFailed> {
    let size = u64::try_from(stat.st_size).unwrap_or_default();
    let whole = size.next_multiple_of(Weight::BLOCK);
    let there = u64::try_from(stat.st_blocks).unwrap_or_default() * 512;
    if dir::kind(stat) != FileType::RegularFile || there >= size {
        return Ok(whole);
    }
    let file = found.open_file()?;
    let (mut bytes, mut at) = (0, 0);
    while let Some((start, end)) = dir::next_data(&file, at).map_err(|e| CallFailed::on("lseek", &file, e))? {
        bytes += (end - start).next_multiple_of(Weight::BLOCK) + Weight::BLOCK;
        at = end;
    }
    Ok(bytes.min(whole))
}
