//! What can go wrong with a mount, and what the user can do about it.

use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::holders::Holder;
use super::plan::{MAX_LOWER, Method};
use crate::sys::CallFailed;
use crate::sys::caps::Need;
use crate::sys::mount::OPTION_PAGE;

/// Why there is no mount, or no unmount.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are what the sentence names")]
pub enum Error {
    /// A plan without lower directories.
    #[error("no lower directory")]
    NoLower,
    /// More than overlayfs takes.
    #[error("{0} layers are too many: overlayfs takes at most {MAX_LOWER}")]
    TooManyLayers(usize),
    /// A directory that is not there.
    #[error("{}no such directory", named(*.role, .path, ": "))]
    Missing { role: Role, path: PathBuf },
    /// Something else where a directory should be.
    #[error("{}not a directory", named(*.role, .path, " is "))]
    NotADirectory { role: Role, path: PathBuf },
    /// A directory that was removed while somebody still holds it.
    #[error("{}removed meanwhile", named(*.role, .path, " has been "))]
    Removed { role: Role, path: PathBuf },
    /// One directory in two roles.
    #[error("{role} {} and {other_role} {} are the same directory", Shown(.path), Shown(.other))]
    Same { role: Role, path: PathBuf, other_role: Role, other: PathBuf },
    /// A directory inside another.
    #[error("{role} {} lies inside {outer_role} {}", Shown(.path), Shown(.outer))]
    Inside { role: Role, path: PathBuf, outer_role: Role, outer: PathBuf },
    /// Upper and work in different mounts.
    #[error("work directory {} does not lie in the same mount as upper directory {}", Shown(.work), Shown(.upper))]
    WorkElsewhere { work: PathBuf, upper: PathBuf },
    /// An upper directory that cannot be written.
    #[error("{role} {} is read-only", Shown(.path))]
    ReadOnly { role: Role, path: PathBuf },
    /// An upper directory on a filesystem that cannot be one.
    #[error("{} lies on {filesystem}, which cannot hold an upper directory", Shown(.path))]
    Unfit { path: PathBuf, filesystem: String },
    /// An upper or work directory of a live overlay.
    #[error("{} is already the {role} of {}", Shown(.path), whose(.by.as_deref()))]
    InUse { role: Role, path: PathBuf, by: Option<PathBuf> },
    /// What a volatile mount leaves, so that nobody trusts what it did not write.
    #[error("{} was last mounted with 'volatile': its changes may be incomplete", Shown(.upper))]
    Volatile { upper: PathBuf, marker: PathBuf },
    /// A target that shows an overlay already.
    #[error("{} is already the mount point of an overlay", Shown(.target))]
    Mounted { target: PathBuf },
    /// More options than mount(2) takes.
    #[error(
        "{layers} layers are too many for this method: their names take {bytes} bytes, mount(2) takes {OPTION_PAGE}"
    )]
    Page { layers: usize, bytes: usize },
    /// `links` without links.
    #[error("method 'links' is for layers of a store only")]
    NoLinks,
    /// A method that this kernel does not have.
    #[error("this kernel cannot take layers by method '{}'", .0.name())]
    NoMethod(Method),
    /// A kernel without overlayfs.
    #[error("this kernel has no overlayfs")]
    NoOverlay,
    /// A kernel without fsopen(2).
    #[error("this kernel is too old, or a sandbox keeps fsopen(2) from us: Linux 5.10 or newer is needed")]
    TooOld,
    /// Capabilities that are missing.
    #[error("{} missing", names(.0))]
    Capabilities(Vec<Need>),
    /// The kernel refused, and this is why.
    #[error("{reason}")]
    Explained {
        reason: String,
        hint: Option<String>,
        class: Class,
        #[source]
        failed: CallFailed,
    },
    /// The kernel refused, and nobody knows why.
    #[error(transparent)]
    Kernel(#[from] CallFailed),
    /// The mount is not what was asked for; it has been taken away again.
    #[error("the kernel mounted something else: {0}")]
    Mismatch(String),
    /// overlayfs could not use the work directory and went read-only; the mount has been taken away again.
    #[error("overlayfs can only mount it read-only{}", because(.said))]
    Frozen { work: PathBuf, said: Vec<String> },
    /// Nothing is mounted there.
    #[error("nothing is mounted on {}", Shown(.0))]
    NotMounted(PathBuf),
    /// Something else is mounted there.
    #[error("{} is a mount of {filesystem}, not of overlayfs", Shown(.target))]
    NotOverlay { target: PathBuf, filesystem: String },
    /// Somebody uses the mount.
    #[error("in use{}", held_by(.holders))]
    Busy { target: PathBuf, holders: Vec<Holder> },
    /// Anything else that could not be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What an error means for whoever runs ovlctl: its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// It did not work.
    Failed,
    /// No such mount.
    NotFound,
    /// Somebody uses it.
    InUse,
    /// This kernel or filesystem cannot.
    Unsupported,
}

/// What a directory is to an overlay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "overlayfs' own words")]
pub enum Role {
    Lower,
    Upper,
    Work,
    Target,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lower => "lower directory",
            Self::Upper => "upper directory",
            Self::Work => "work directory",
            Self::Target => "mount point",
        })
    }
}

impl Error {
    /// Returns what the error means to the caller.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::InUse { .. } | Self::Mounted { .. } | Self::Busy { .. } => Class::InUse,
            Self::NotMounted(_) => Class::NotFound,
            Self::TooManyLayers(_)
            | Self::Unfit { .. }
            | Self::Page { .. }
            | Self::NoMethod(_)
            | Self::NoOverlay
            | Self::TooOld => Class::Unsupported,
            Self::Explained { class, .. } => *class,
            Self::NoLower
            | Self::Missing { .. }
            | Self::NotADirectory { .. }
            | Self::Removed { .. }
            | Self::Same { .. }
            | Self::Inside { .. }
            | Self::WorkElsewhere { .. }
            | Self::ReadOnly { .. }
            | Self::Volatile { .. }
            | Self::NoLinks
            | Self::Capabilities(_)
            | Self::Kernel(_)
            | Self::Mismatch(_)
            | Self::Frozen { .. }
            | Self::NotOverlay { .. }
            | Self::Io(_) => Class::Failed,
        }
    }

    /// Returns what the user can do, one line.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::TooManyLayers(_) => {
                "the limit is the kernel's own (OVL_MAX_STACK): `ovlctl squash IMAGE` merges an image's"
                    .to_owned()
            }
            Self::Missing { path, .. } => format!("mkdir -p {}", quoted(path)),
            Self::Inside { role: Role::Upper, outer_role: Role::Lower, .. } => {
                "the kernel would take it, and show the changes twice: give an upper directory elsewhere"
                    .to_owned()
            }
            Self::WorkElsewhere { upper, .. } => {
                format!("make it beside the upper directory: {}", beside(upper))
            }
            Self::Unfit { .. } => "give --upper a directory on ext4, xfs or btrfs".to_owned(),
            Self::InUse { by: Some(by), .. } => format!("ovlctl umount {}", quoted(by)),
            Self::InUse { by: None, .. } => {
                "its mount is in another namespace, or was unmounted lazily and has open files".to_owned()
            }
            Self::Volatile { marker, .. } => format!("to use it nevertheless: rm -r {}", quoted(marker)),
            Self::Mounted { target } => format!("ovlctl umount {}", quoted(target)),
            Self::Page { .. } => "use another --method: all others take 500 layers".to_owned(),
            Self::NoMethod(_) => "leave --method out: one that works is found by trying".to_owned(),
            Self::NoOverlay => "modprobe overlay".to_owned(),
            Self::Capabilities(_) => "run it as root: sudo ovlctl".to_owned(),
            Self::Explained { hint, .. } => return hint.clone(),
            // Only mount(2) and the new calls have reasons of overlayfs' own.
            Self::Kernel(failed) if !failed.call.starts_with(['f', 'm']) => return None,
            Self::Kernel(_) => {
                "the kernel writes its reason only to its log: dmesg | grep overlayfs".to_owned()
            }
            Self::Frozen { work, .. } => {
                format!("it could not clean its work directory: look into {}", quoted(&work.join("work")))
            }
            Self::Busy { target, holders } if holders.is_empty() => {
                format!("fuser -vm {} shows by whom", quoted(target))
            }
            Self::Busy { target, .. } => format!("ovlctl umount --lazy {}", quoted(target)),
            Self::NoLower
            | Self::NotADirectory { .. }
            | Self::Removed { .. }
            | Self::Same { .. }
            | Self::Inside { .. }
            | Self::ReadOnly { .. }
            | Self::NoLinks
            | Self::TooOld
            | Self::Mismatch(_)
            | Self::NotMounted(_)
            | Self::NotOverlay { .. }
            | Self::Io(_) => return None,
        })
    }
}

fn beside(upper: &Path) -> String {
    quoted(&upper.with_file_name("work"))
}

/// Names a directory, but for the mount point: whoever asked for the mount has just been told of it.
fn named(role: Role, path: &Path, link: &str) -> String {
    match role {
        Role::Target => String::new(),
        Role::Lower | Role::Upper | Role::Work => format!("{role} {}{link}", Shown(path)),
    }
}

fn whose(by: Option<&Path>) -> String {
    by.map_or_else(|| "another mount".to_owned(), |target| Shown(target).to_string())
}

fn names(missing: &[Need]) -> String {
    missing.iter().map(|need| need.name()).collect::<Vec<_>>().join(", ")
}

fn because(said: &[String]) -> String {
    said.first().map(|first| format!(": {first}")).unwrap_or_default()
}

pub(super) fn held_by(holders: &[Holder]) -> String {
    let shown: Vec<String> = holders.iter().map(ToString::to_string).collect();
    if shown.is_empty() { String::new() } else { format!(" by {}", shown.join(", ")) }
}

/// A path in a sentence: as it is, or escaped where it would break the line.
#[derive(Debug)]
pub(super) struct Shown<P>(pub(super) P);

impl<P: AsRef<Path>> fmt::Display for Shown<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.0.as_ref();
        match path.to_str().filter(|text| !text.chars().any(char::is_control)) {
            Some(text) => f.write_str(text),
            None => write!(f, "{}", path.as_os_str().as_bytes().escape_ascii()),
        }
    }
}

/// A path in a command to paste: quoted for the shell where it needs to be.
pub(super) fn quoted(path: &Path) -> String {
    let text = Shown(path).to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+@%:,=".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}
