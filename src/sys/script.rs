//! System calls as values: printed as strace(1) would, or made. One description serves both, so that what
//! `ovlctl plan` shows is what `ovlctl mount` does.

mod spelling;
mod text;

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use nix::sched::CloneFlags;
use rustix::fs::{self, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{self, FsMountFlags, FsOpenFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags};

use super::CallFailed;
use super::dir::Dir;
use super::mount::{Attributes, OPTION_PAGE, said};
use super::trace::{self, Level};

use spelling::as_mount_flags;

pub(super) use spelling::{REMOUNT, mount_flags, quoted};
pub use text::{Slot, Slots, Text};

type Result<T> = std::result::Result<T, CallFailed>;

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
    /// chown(2), chmod(2), setxattr(2) or utimensat(2)
    Set { path: Text, attribute: Attribute },
    /// fsopen(2)
    FsOpen { filesystem: &'static str, into: Slot },
    /// fsconfig(2), FSCONFIG_SET_FLAG, FSCONFIG_SET_STRING or FSCONFIG_SET_FD
    Configure { context: Slot, key: String, value: Value },
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
    /// mount(2), MS_REC|MS_PRIVATE: what is mounted below stays in this namespace.
    MakePrivate { path: Text },
    /// setns(2)
    SetNs { fd: Slot },
    /// chdir(2)
    ChangeDir { path: Text },
    /// mount(2)
    Mount { source: Text, target: Text, attributes: Attributes, data: Text },
}

/// Something that a directory has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribute {
    /// User and group.
    Owner(u32, u32),
    /// Permissions.
    Mode(u32),
    /// An extended attribute: name and value.
    Xattr(Vec<u8>, Vec<u8>),
    /// Access and modification time: seconds and nanoseconds.
    Time(i64, u32),
}

/// What an option of a filesystem is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing: it is there.
    Flag,
    /// A string.
    String(Text),
    /// An open file.
    Fd(Slot),
}

impl Call {
    /// Makes the call.
    pub fn make(&self, slots: &mut Slots) -> Result<()> {
        let shown = trace::tells(Level::Calls).then(|| self.show(slots));
        let made = self.try_make(slots);
        let number = self.into().filter(|_| made.is_ok()).map_or(0, |slot| slots.number(slot));
        let made = match shown {
            Some(shown) => trace::call(made.map(|()| number), || shown).map(|_| ()),
            None => made,
        };
        made.map_err(|errno| {
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
            Self::Set { path, attribute } => attribute.set(&path.dir(slots)?).map_err(|e| e.errno)?,
            Self::FsOpen { filesystem, into } => {
                slots.put(*into, mount::fsopen(*filesystem, FsOpenFlags::FSOPEN_CLOEXEC)?);
            }
            Self::Configure { context, key, value } => value.configure(slots.fd(*context)?, key, slots)?,
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
            Self::MakePrivate { path } => {
                let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
                mount::mount_change(path.path(slots), flags)?;
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
            Self::Configure { context, .. } | Self::Create { context } | Self::FsMount { context, .. } => {
                Some(*context)
            }
            Self::Open { .. }
            | Self::Close { .. }
            | Self::MakeDir { .. }
            | Self::Set { .. }
            | Self::FsOpen { .. }
            | Self::MoveMount { .. }
            | Self::CloneTree { .. }
            | Self::Unshare
            | Self::MakePrivate { .. }
            | Self::SetNs { .. }
            | Self::ChangeDir { .. }
            | Self::Mount { .. } => None,
        }
    }

    /// Prints the call and its outcome as strace would, giving slots the numbers that the kernel would give.
    #[must_use]
    pub fn told(&self, slots: &mut Slots) -> String {
        let call = self.show(slots);
        let outcome = self.into().map_or(0, |slot| slots.tell(slot));
        if let Self::Close { fd } = self {
            slots.close(*fd);
        }
        format!("{call} = {outcome}")
    }

    /// The slot of the file that the call opens.
    fn into(&self) -> Option<Slot> {
        match self {
            Self::Open { into, .. }
            | Self::FsOpen { into, .. }
            | Self::FsMount { into, .. }
            | Self::CloneTree { into, .. } => Some(*into),
            Self::Close { .. }
            | Self::MakeDir { .. }
            | Self::Set { .. }
            | Self::Configure { .. }
            | Self::Create { .. }
            | Self::MoveMount { .. }
            | Self::Unshare
            | Self::MakePrivate { .. }
            | Self::SetNs { .. }
            | Self::ChangeDir { .. }
            | Self::Mount { .. } => None,
        }
    }

    fn show(&self, slots: &Slots) -> String {
        let quote = |text: &Text| quoted(&text.with(slots));
        let number = |slot: &Slot| slots.number(*slot);
        match self {
            Self::Open { path, how, .. } => format!("open({}, {})", quote(path), how.shown()),
            Self::Close { fd } => format!("close({})", number(fd)),
            Self::MakeDir { path, mode } => format!("mkdir({}, 0{mode:o})", quote(path)),
            Self::Set { path, attribute } => attribute.show(&quote(path)),
            Self::FsOpen { filesystem, .. } => format!("fsopen({filesystem:?}, FSOPEN_CLOEXEC)"),
            Self::Configure { context, key, value } => {
                format!("fsconfig({}, {})", number(context), value.show(key, slots))
            }
            Self::Create { context } => {
                format!("fsconfig({}, FSCONFIG_CMD_CREATE, NULL, NULL, 0)", number(context))
            }
            Self::FsMount { context, attributes, .. } => {
                let attributes = spelling::attributes(*attributes);
                format!("fsmount({}, FSMOUNT_CLOEXEC, {attributes})", number(context))
            }
            Self::MoveMount { tree, onto } => {
                let flags = "MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH";
                format!("move_mount({}, \"\", {}, \"\", {flags})", number(tree), number(onto))
            }
            Self::CloneTree { at, path, .. } => {
                format!("open_tree({}, {path:?}, OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC)", number(at))
            }
            Self::Unshare => "unshare(CLONE_NEWNS)".to_owned(),
            Self::MakePrivate { path } => {
                format!("mount(NULL, {}, NULL, MS_REC|MS_PRIVATE, NULL)", quote(path))
            }
            Self::SetNs { fd } => format!("setns({}, CLONE_NEWNS)", number(fd)),
            Self::ChangeDir { path } => format!("chdir({})", quote(path)),
            Self::Mount { source, target, attributes, data } => {
                let (source, target, data) = (quote(source), quote(target), quote(data));
                let flags = mount_flags(as_mount_flags(*attributes));
                format!("mount({source}, {target}, \"overlay\", {flags}, {data})")
            }
        }
    }
}

type Made = std::result::Result<(), Errno>;

impl Attribute {
    fn set(&self, dir: &Dir) -> Result<()> {
        match self {
            Self::Owner(uid, gid) => dir.chown_self(*uid, *gid),
            Self::Mode(mode) => dir.chmod_self(*mode),
            Self::Xattr(key, value) => dir.set_xattr_self(key, value),
            Self::Time(seconds, nanos) => dir.set_times_self(*seconds, *nanos),
        }
    }

    fn show(&self, path: &str) -> String {
        match self {
            Self::Owner(uid, gid) => format!("chown({path}, {uid}, {gid})"),
            Self::Mode(mode) => format!("chmod({path}, 0{mode:o})"),
            Self::Xattr(key, value) => {
                format!("setxattr({path}, {}, {}, {}, 0)", quoted(key), quoted(value), value.len())
            }
            Self::Time(seconds, nanos) => {
                let time = format!("{{tv_sec={seconds}, tv_nsec={nanos}}}");
                format!("utimensat(AT_FDCWD, {path}, [{time}, {time}], 0)")
            }
        }
    }
}

impl Value {
    fn configure(&self, context: BorrowedFd<'_>, key: &str, slots: &Slots) -> Made {
        match self {
            Self::Flag => mount::fsconfig_set_flag(context, key),
            Self::String(value) => mount::fsconfig_set_string(context, key, c_string(value.with(slots))?),
            Self::Fd(fd) => mount::fsconfig_set_fd(context, key, slots.fd(*fd)?),
        }
    }

    fn show(&self, key: &str, slots: &Slots) -> String {
        match self {
            Self::Flag => format!("FSCONFIG_SET_FLAG, {key:?}, NULL, 0"),
            Self::String(value) => {
                format!("FSCONFIG_SET_STRING, {key:?}, {}, 0", quoted(&value.with(slots)))
            }
            Self::Fd(fd) => format!("FSCONFIG_SET_FD, {key:?}, NULL, {}", slots.number(*fd)),
        }
    }
}

impl Text {
    fn path(&self, slots: &Slots) -> PathBuf {
        PathBuf::from(OsStr::from_bytes(&self.with(slots)))
    }

    fn dir(&self, slots: &Slots) -> std::result::Result<Dir, Errno> {
        Dir::open(&self.path(slots)).map_err(|e| e.errno)
    }
}

impl Slots {
    fn fd(&self, slot: Slot) -> std::result::Result<BorrowedFd<'_>, Errno> {
        self.get(slot).map(AsFd::as_fd).map_err(|e| e.errno)
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

fn c_string(bytes: Vec<u8>) -> std::result::Result<CString, Errno> {
    CString::new(bytes).map_err(|_| Errno::INVAL)
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
            Call::Configure { context, key: "lowerdir+".to_owned(), value: Value::Fd(layer) },
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
}
