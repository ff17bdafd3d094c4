//! System calls as values: printed as strace(1) would, or made. One description serves both, so that what
//! `ovlctl plan` shows is what `ovlctl mount` does.

use std::ffi::{CString, OsStr};
use std::fmt::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use nix::sched::CloneFlags;
use rustix::fs::{self, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    self, FsMountFlags, FsOpenFlags, MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
};

use super::CallFailed;
use super::dir::Dir;
use super::mount::{Attributes, OPTION_PAGE, said};

type Result<T> = std::result::Result<T, CallFailed>;

/// Stands for the file descriptor that an earlier call of the script gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot(pub usize);

/// Bytes that may name file descriptors whose numbers are known only when the calls are made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Text(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Bytes(Vec<u8>),
    Number(Slot),
}

impl Text {
    /// Adds bytes.
    #[must_use]
    pub fn and(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.push(bytes);
        self
    }

    /// Adds the number of a file descriptor.
    #[must_use]
    pub fn and_number(mut self, slot: Slot) -> Self {
        self.0.push(Part::Number(slot));
        self
    }

    /// Adds bytes in place.
    pub fn push(&mut self, bytes: impl AsRef<[u8]>) {
        match self.0.last_mut() {
            Some(Part::Bytes(last)) => last.extend_from_slice(bytes.as_ref()),
            Some(Part::Number(_)) | None => self.0.push(Part::Bytes(bytes.as_ref().to_owned())),
        }
    }

    /// Adds the number of a file descriptor in place.
    pub fn push_number(&mut self, slot: Slot) {
        self.0.push(Part::Number(slot));
    }

    /// Adds another text in place.
    pub fn append(&mut self, other: &Self) {
        for part in &other.0 {
            match part {
                Part::Bytes(bytes) => self.push(bytes),
                Part::Number(slot) => self.push_number(*slot),
            }
        }
    }

    /// Returns the text with a backslash before each of the `special` bytes.
    #[must_use]
    pub fn escaped(&self, special: &[u8]) -> Self {
        let mut escaped = Self::default();
        for part in &self.0 {
            match part {
                Part::Bytes(bytes) => {
                    for byte in bytes {
                        escaped.push(if special.contains(byte) { &b"\\"[..] } else { b"" });
                        escaped.push([*byte]);
                    }
                }
                Part::Number(slot) => escaped.push_number(*slot),
            }
        }
        escaped
    }

    /// Returns how long the text can become: a number has at most `digits` digits.
    #[must_use]
    pub fn longest(&self, digits: usize) -> usize {
        let part = |part: &Part| match part {
            Part::Bytes(bytes) => bytes.len(),
            Part::Number(_) => digits,
        };
        self.0.iter().map(part).sum()
    }

    fn with(&self, slots: &Slots) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in &self.0 {
            match part {
                Part::Bytes(some) => bytes.extend_from_slice(some),
                Part::Number(slot) => bytes.extend_from_slice(slots.number(*slot).to_string().as_bytes()),
            }
        }
        bytes
    }
}

impl<T: AsRef<[u8]>> From<T> for Text {
    fn from(bytes: T) -> Self {
        Self::default().and(bytes)
    }
}

/// The file descriptors that the calls gave so far: real ones, or the numbers they would have.
#[derive(Debug, Default)]
pub struct Slots(Vec<(usize, Held)>);

#[derive(Debug)]
enum Held {
    Real(OwnedFd),
    Told(i32),
}

impl Slots {
    /// Returns slots that hold nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts an open file into a slot.
    pub fn put(&mut self, slot: Slot, fd: OwnedFd) {
        self.close(slot);
        self.0.push((slot.0, Held::Real(fd)));
    }

    /// Takes the open file of a slot out.
    pub fn take(&mut self, slot: Slot) -> Option<OwnedFd> {
        let at = self.0.iter().position(|(nr, _)| *nr == slot.0)?;
        match self.0.swap_remove(at).1 {
            Held::Real(fd) => Some(fd),
            Held::Told(_) => None,
        }
    }

    /// Returns the open file of a slot.
    pub fn get(&self, slot: Slot) -> Result<&OwnedFd> {
        match self.0.iter().find(|(nr, _)| *nr == slot.0) {
            Some((_, Held::Real(fd))) => Ok(fd),
            Some((_, Held::Told(_))) | None => Err(CallFailed::new(format!("slot {}", slot.0), Errno::BADF)),
        }
    }

    fn close(&mut self, slot: Slot) {
        self.0.retain(|(nr, _)| *nr != slot.0);
    }

    fn number(&self, slot: Slot) -> i32 {
        match self.0.iter().find(|(nr, _)| *nr == slot.0) {
            Some((_, Held::Real(fd))) => fd.as_raw_fd(),
            Some((_, Held::Told(number))) => *number,
            None => -1,
        }
    }

    /// Gives a slot the lowest free number, as the kernel would in a process that has 0, 1 and 2.
    fn tell(&mut self, slot: Slot) -> i32 {
        self.close(slot);
        let taken: Vec<i32> = self.0.iter().map(|(nr, _)| self.number(Slot(*nr))).collect();
        let number = (3..).find(|number| !taken.contains(number)).unwrap_or_default();
        self.0.push((slot.0, Held::Told(number)));
        number
    }
}

/// How a directory is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// To be a layer: overlayfs takes O_PATH handles only since Linux 6.15.
    Read,
    /// To be named by, no more.
    Path,
    /// A file, to be read.
    File,
}

/// One system call with its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are the call's arguments, named as in its manual page")]
pub enum Call {
    /// open(2)
    Open { path: Text, how: How, into: Slot },
    /// close(2)
    Close { fd: Slot },
    /// mkdir(2)
    MakeDir { path: Text, mode: u32 },
    /// chown(2)
    Own { path: Text, uid: u32, gid: u32 },
    /// chmod(2)
    Mode { path: Text, mode: u32 },
    /// setxattr(2)
    Xattr { path: Text, key: Vec<u8>, value: Vec<u8> },
    /// utimensat(2)
    Times { path: Text, seconds: i64, nanos: u32 },
    /// fsopen(2)
    FsOpen { filesystem: &'static str, into: Slot },
    /// fsconfig(2), FSCONFIG_SET_FLAG
    SetFlag { context: Slot, key: String },
    /// fsconfig(2), FSCONFIG_SET_STRING
    SetString { context: Slot, key: String, value: Text },
    /// fsconfig(2), FSCONFIG_SET_FD
    SetFd { context: Slot, key: String, fd: Slot },
    /// fsconfig(2), FSCONFIG_CMD_CREATE
    Create { context: Slot },
    /// fsmount(2)
    FsMount { context: Slot, attributes: Attributes, into: Slot },
    /// move_mount(2)
    MoveMount { tree: Slot, onto: Slot },
    /// open_tree(2), OPEN_TREE_CLONE
    CloneTree { at: Slot, path: &'static str, into: Slot },
    /// unshare(2), CLONE_NEWNS: this thread gets a copy of all mounts, and a working directory of its own.
    Unshare,
    /// mount(2), MS_REC|MS_SLAVE: mounts made here stay here, while unmounts made there still arrive.
    Enslave,
    /// setns(2)
    SetNs { fd: Slot },
    /// chdir(2)
    ChangeDir { path: Text },
    /// mount(2)
    Mount { source: Text, target: Text, attributes: Attributes, data: Text },
}

impl Call {
    /// Makes the call.
    pub fn make(&self, slots: &mut Slots) -> Result<()> {
        self.try_make(slots).map_err(|errno| {
            let said = self.context().and_then(|slot| slots.get(slot).ok()).map(said).unwrap_or_default();
            CallFailed::new(self.show(slots), errno).saying(said)
        })
    }

    fn try_make(&self, slots: &mut Slots) -> Made {
        match self {
            Self::Open { path, how, into } => {
                slots.put(*into, fs::open(path.path(slots), how.flags(), Mode::empty())?);
            }
            Self::Close { fd } => slots.close(*fd),
            Self::MakeDir { path, mode } => fs::mkdir(path.path(slots), Mode::from_raw_mode(*mode))?,
            Self::Own { path, uid, gid } => path.dir(slots)?.chown_self(*uid, *gid).map_err(bare)?,
            Self::Mode { path, mode } => path.dir(slots)?.chmod_self(*mode).map_err(bare)?,
            Self::Xattr { path, key, value } => path.dir(slots)?.set_xattr_self(key, value).map_err(bare)?,
            Self::Times { path, seconds, nanos } => {
                path.dir(slots)?.set_times_self(*seconds, *nanos).map_err(bare)?;
            }
            Self::FsOpen { filesystem, into } => {
                slots.put(*into, mount::fsopen(*filesystem, FsOpenFlags::FSOPEN_CLOEXEC)?);
            }
            Self::SetFlag { context, key } => mount::fsconfig_set_flag(slots.fd(*context)?, key.as_str())?,
            Self::SetString { context, key, value } => {
                mount::fsconfig_set_string(slots.fd(*context)?, key.as_str(), c_string(value.with(slots))?)?;
            }
            Self::SetFd { context, key, fd } => {
                mount::fsconfig_set_fd(slots.fd(*context)?, key.as_str(), slots.fd(*fd)?)?;
            }
            Self::Create { context } => mount::fsconfig_create(slots.fd(*context)?)?,
            Self::FsMount { context, attributes, into } => {
                let flags = FsMountFlags::FSMOUNT_CLOEXEC;
                slots.put(*into, mount::fsmount(slots.fd(*context)?, flags, *attributes)?);
            }
            Self::MoveMount { tree, onto } => move_mount(slots.fd(*tree)?, slots.fd(*onto)?)?,
            Self::CloneTree { at, path, into } => {
                let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
                slots.put(*into, mount::open_tree(slots.fd(*at)?, *path, flags)?);
            }
            Self::Unshare => nix::sched::unshare(CloneFlags::CLONE_NEWNS).map_err(from_nix)?,
            Self::Enslave => {
                let flags = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
                mount::mount_change("/", flags)?;
            }
            Self::SetNs { fd } => {
                nix::sched::setns(slots.fd(*fd)?, CloneFlags::CLONE_NEWNS).map_err(from_nix)?;
            }
            Self::ChangeDir { path } => rustix::process::chdir(path.path(slots))?,
            Self::Mount { source, target, attributes, data } => {
                let data = data.with(slots);
                if data.len() > OPTION_PAGE {
                    return Err(Errno::TOOBIG);
                }
                let (source, data) = (c_string(source.with(slots))?, c_string(data)?);
                let flags = as_mount_flags(*attributes);
                mount::mount(source, target.path(slots), "overlay", flags, data.as_c_str())?;
            }
        }
        Ok(())
    }

    /// The filesystem context whose log may say more of a failure.
    fn context(&self) -> Option<Slot> {
        match self {
            Self::SetFlag { context, .. }
            | Self::SetString { context, .. }
            | Self::SetFd { context, .. }
            | Self::Create { context }
            | Self::FsMount { context, .. } => Some(*context),
            Self::Open { .. }
            | Self::Close { .. }
            | Self::MakeDir { .. }
            | Self::Own { .. }
            | Self::Mode { .. }
            | Self::Xattr { .. }
            | Self::Times { .. }
            | Self::FsOpen { .. }
            | Self::MoveMount { .. }
            | Self::CloneTree { .. }
            | Self::Unshare
            | Self::Enslave
            | Self::SetNs { .. }
            | Self::ChangeDir { .. }
            | Self::Mount { .. } => None,
        }
    }

    /// Prints the call and its outcome as strace would, giving slots the numbers that the kernel would give.
    #[must_use]
    pub fn told(&self, slots: &mut Slots) -> String {
        let call = self.show(slots);
        match self {
            Self::Open { into, .. }
            | Self::FsOpen { into, .. }
            | Self::FsMount { into, .. }
            | Self::CloneTree { into, .. } => format!("{call} = {}", slots.tell(*into)),
            Self::Close { fd } => {
                slots.close(*fd);
                format!("{call} = 0")
            }
            Self::MakeDir { .. }
            | Self::Own { .. }
            | Self::Mode { .. }
            | Self::Xattr { .. }
            | Self::Times { .. }
            | Self::SetFlag { .. }
            | Self::SetString { .. }
            | Self::SetFd { .. }
            | Self::Create { .. }
            | Self::MoveMount { .. }
            | Self::Unshare
            | Self::Enslave
            | Self::SetNs { .. }
            | Self::ChangeDir { .. }
            | Self::Mount { .. } => format!("{call} = 0"),
        }
    }

    fn show(&self, slots: &Slots) -> String {
        let quote = |text: &Text| quoted(&text.with(slots));
        let number = |slot: &Slot| slots.number(*slot);
        match self {
            Self::Open { path, how, .. } => format!("open({}, {})", quote(path), how.shown()),
            Self::Close { fd } => format!("close({})", number(fd)),
            Self::MakeDir { path, mode } => format!("mkdir({}, 0{mode:o})", quote(path)),
            Self::Own { path, uid, gid } => format!("chown({}, {uid}, {gid})", quote(path)),
            Self::Mode { path, mode } => format!("chmod({}, 0{mode:o})", quote(path)),
            Self::Xattr { path, key, value } => {
                format!("setxattr({}, {}, {}, {}, 0)", quote(path), quoted(key), quoted(value), value.len())
            }
            Self::Times { path, seconds, nanos } => {
                let time = format!("{{tv_sec={seconds}, tv_nsec={nanos}}}");
                format!("utimensat(AT_FDCWD, {}, [{time}, {time}], 0)", quote(path))
            }
            Self::FsOpen { filesystem, .. } => format!("fsopen({filesystem:?}, FSOPEN_CLOEXEC)"),
            Self::SetFlag { context, key } => {
                format!("fsconfig({}, FSCONFIG_SET_FLAG, {key:?}, NULL, 0)", number(context))
            }
            Self::SetString { context, key, value } => {
                format!("fsconfig({}, FSCONFIG_SET_STRING, {key:?}, {}, 0)", number(context), quote(value))
            }
            Self::SetFd { context, key, fd } => {
                format!("fsconfig({}, FSCONFIG_SET_FD, {key:?}, NULL, {})", number(context), number(fd))
            }
            Self::Create { context } => {
                format!("fsconfig({}, FSCONFIG_CMD_CREATE, NULL, NULL, 0)", number(context))
            }
            Self::FsMount { context, attributes, .. } => {
                format!(
                    "fsmount({}, FSMOUNT_CLOEXEC, {})",
                    number(context),
                    shown(*attributes, "MOUNT_ATTR_")
                )
            }
            Self::MoveMount { tree, onto } => {
                let flags = "MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH";
                format!("move_mount({}, \"\", {}, \"\", {flags})", number(tree), number(onto))
            }
            Self::CloneTree { at, path, .. } => {
                format!("open_tree({}, {path:?}, OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC)", number(at))
            }
            Self::Unshare => "unshare(CLONE_NEWNS)".to_owned(),
            Self::Enslave => "mount(NULL, \"/\", NULL, MS_REC|MS_SLAVE, NULL)".to_owned(),
            Self::SetNs { fd } => format!("setns({}, CLONE_NEWNS)", number(fd)),
            Self::ChangeDir { path } => format!("chdir({})", quote(path)),
            Self::Mount { source, target, attributes, data } => {
                let (source, target, data) = (quote(source), quote(target), quote(data));
                format!("mount({source}, {target}, \"overlay\", {}, {data})", shown(*attributes, "MS_"))
            }
        }
    }
}

type Made = std::result::Result<(), Errno>;

impl Text {
    fn path(&self, slots: &Slots) -> PathBuf {
        PathBuf::from(OsStr::from_bytes(&self.with(slots)))
    }

    fn dir(&self, slots: &Slots) -> std::result::Result<Dir, Errno> {
        Dir::open(&self.path(slots)).map_err(bare)
    }
}

impl Slots {
    fn fd(&self, slot: Slot) -> std::result::Result<BorrowedFd<'_>, Errno> {
        self.get(slot).map(AsFd::as_fd).map_err(bare)
    }
}

impl How {
    fn flags(self) -> OFlags {
        let flags = match self {
            Self::Read => OFlags::RDONLY | OFlags::DIRECTORY,
            Self::Path => OFlags::PATH | OFlags::DIRECTORY,
            Self::File => OFlags::RDONLY,
        };
        flags | OFlags::CLOEXEC
    }

    fn shown(self) -> &'static str {
        match self {
            Self::Read => "O_RDONLY|O_DIRECTORY|O_CLOEXEC",
            Self::Path => "O_PATH|O_DIRECTORY|O_CLOEXEC",
            Self::File => "O_RDONLY|O_CLOEXEC",
        }
    }
}

/// Attaches a detached mount to a pinned directory.
fn move_mount(tree: BorrowedFd<'_>, onto: BorrowedFd<'_>) -> Made {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    mount::move_mount(tree, "", onto, "", flags)
}

/// The names that fsmount(2) and mount(2) have for the same flags of a mount.
const FLAGS: &[(Attributes, MountFlags, &str)] = &[
    (Attributes::MOUNT_ATTR_RDONLY, MountFlags::RDONLY, "RDONLY"),
    (Attributes::MOUNT_ATTR_NOSUID, MountFlags::NOSUID, "NOSUID"),
    (Attributes::MOUNT_ATTR_NODEV, MountFlags::NODEV, "NODEV"),
    (Attributes::MOUNT_ATTR_NOEXEC, MountFlags::NOEXEC, "NOEXEC"),
    (Attributes::MOUNT_ATTR_NOATIME, MountFlags::NOATIME, "NOATIME"),
    (Attributes::MOUNT_ATTR_STRICTATIME, MountFlags::STRICTATIME, "STRICTATIME"),
    (Attributes::MOUNT_ATTR_NODIRATIME, MountFlags::NODIRATIME, "NODIRATIME"),
    (Attributes::MOUNT_ATTR_NOSYMFOLLOW, MountFlags::NOSYMFOLLOW, "NOSYMFOLLOW"),
];

fn as_mount_flags(attributes: Attributes) -> MountFlags {
    let set = FLAGS.iter().filter(|(attribute, ..)| attributes.contains(*attribute));
    set.fold(MountFlags::empty(), |flags, (_, flag, _)| flags | *flag)
}

fn shown(attributes: Attributes, prefix: &str) -> String {
    let set = FLAGS.iter().filter(|(attribute, ..)| attributes.contains(*attribute));
    let names: Vec<String> = set.map(|(.., name)| format!("{prefix}{name}")).collect();
    if names.is_empty() { "0".to_owned() } else { names.join("|") }
}

/// Quotes bytes as strace does: a C string literal.
fn quoted(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => {
                text.push('\\');
                text.push(char::from(byte));
            }
            b'\n' => text.push_str("\\n"),
            b'\t' => text.push_str("\\t"),
            b' '..=b'~' => text.push(char::from(byte)),
            // Three octal digits, so that a digit that follows is not taken for one more.
            other => write!(text, "\\{other:03o}").unwrap_or_default(),
        }
    }
    text.push('"');
    text
}

fn c_string(bytes: Vec<u8>) -> std::result::Result<CString, Errno> {
    CString::new(bytes).map_err(|_| Errno::INVAL)
}

fn bare(failed: CallFailed) -> Errno {
    failed.errno
}

fn from_nix(errno: nix::errno::Errno) -> Errno {
    Errno::from_raw_os_error(errno as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_told_with_the_numbers_the_kernel_would_give() {
        let (layer, context) = (Slot(0), Slot(1));
        let script = [
            Call::FsOpen { filesystem: "overlay", into: context },
            Call::Open { path: Text::from("/a \"b\"\n\u{e9}1"), how: How::Read, into: layer },
            Call::SetFd { context, key: "lowerdir+".to_owned(), fd: layer },
            Call::Close { fd: layer },
            Call::Open { path: Text::from("/b"), how: How::Path, into: layer },
            Call::ChangeDir { path: Text::from("/proc/self/fd/").and_number(layer) },
        ];
        let mut slots = Slots::new();
        let told: Vec<String> = script.iter().map(|call| call.told(&mut slots)).collect();
        assert_eq!(
            told,
            [
                r#"fsopen("overlay", FSOPEN_CLOEXEC) = 3"#,
                r#"open("/a \"b\"\n\303\2511", O_RDONLY|O_DIRECTORY|O_CLOEXEC) = 4"#,
                r#"fsconfig(3, FSCONFIG_SET_FD, "lowerdir+", NULL, 4) = 0"#,
                "close(4) = 0",
                r#"open("/b", O_PATH|O_DIRECTORY|O_CLOEXEC) = 4"#,
                r#"chdir("/proc/self/fd/4") = 0"#,
            ]
        );
    }

    #[test]
    fn flags_have_their_names_in_both_calls() {
        let flags = Attributes::MOUNT_ATTR_RDONLY | Attributes::MOUNT_ATTR_NODEV;
        assert_eq!(shown(flags, "MS_"), "MS_RDONLY|MS_NODEV");
        assert_eq!(shown(flags, "MOUNT_ATTR_"), "MOUNT_ATTR_RDONLY|MOUNT_ATTR_NODEV");
        assert_eq!(shown(Attributes::empty(), "MS_"), "0");
        assert_eq!(as_mount_flags(flags), MountFlags::RDONLY | MountFlags::NODEV);
    }
}
