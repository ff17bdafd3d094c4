//! What this kernel's overlayfs can do, found out by trying: versions lie, since distributions carry features back.

use std::os::fd::{AsFd, AsRawFd};

use rustix::io::Errno;

use super::CallFailed;
use super::dir::Dir;
use super::mount::FsContext;

/// How this kernel takes layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layers {
    /// As open directories, one by one (since Linux 6.13).
    Handles,
    /// As strings, one by one (since Linux 6.7).
    Strings,
    /// Only as one string of mount(2).
    Page,
}

/// Finds out how this kernel takes layers, by offering it `layer`. Nothing is made, and nothing stays.
pub fn layers(layer: &Dir) -> Result<Layers, CallFailed> {
    // Up to Linux 6.4 the new calls only gather a string for overlayfs' old parser, which takes any name at this stage.
    if FsContext::open("overlay")?.set_flag("ovlctl_no_such_option").is_ok() {
        return Ok(Layers::Page);
    }
    if FsContext::open("overlay")?.set_fd("lowerdir+", layer).is_ok() {
        return Ok(Layers::Handles);
    }
    let path = format!("/proc/self/fd/{}", layer.as_fd().as_raw_fd());
    match FsContext::open("overlay")?.set("lowerdir+", &path) {
        Ok(()) => Ok(Layers::Strings),
        Err(_) => Ok(Layers::Page),
    }
}

/// Why there is no overlayfs to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// The kernel has none, and no module of it.
    Overlay,
    /// The kernel lacks fsopen(2), so it is older than Linux 5.2, or a sandbox forbids it.
    NewCalls,
    /// This process may not mount.
    Permission,
}

impl Absent {
    /// Reads a failed fsopen(2).
    #[must_use]
    pub fn from_errno(errno: Errno) -> Option<Self> {
        match errno {
            Errno::NODEV => Some(Self::Overlay),
            Errno::NOSYS => Some(Self::NewCalls),
            Errno::PERM => Some(Self::Permission),
            _ => None,
        }
    }
}
