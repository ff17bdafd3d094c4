//! Capabilities: which are missing, and giving up the others.

use caps::{CapSet, Capability, CapsHashSet};

/// A capability that a verb needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Mounts, and `trusted.*` attributes.
    SysAdmin,
    /// Files of other owners.
    Chown,
    /// Files that their mode would not let us write.
    DacOverride,
    /// Modes and times of other owners' files.
    Fowner,
    /// Setgid bits of other groups' files.
    Fsetid,
    /// Device nodes.
    Mknod,
    /// File capabilities.
    Setfcap,
}

/// What mounting needs.
pub const TO_MOUNT: &[Need] = &[Need::SysAdmin];

/// What reading other users' files needs.
pub const TO_READ: &[Need] = &[Need::DacOverride];

/// What looking into layers needs: files of any owner, overlayfs' marks on them, and a mount to see them by.
pub const TO_LOOK: &[Need] = &[Need::SysAdmin, Need::DacOverride];

/// What removing containers and deleting layers needs: asking the kernel who uses them, and files of any owner.
pub const TO_REMOVE: &[Need] = &[Need::SysAdmin, Need::DacOverride, Need::Fowner];

/// What writing layers needs.
pub const TO_EXTRACT: &[Need] =
    &[Need::SysAdmin, Need::Chown, Need::DacOverride, Need::Fowner, Need::Fsetid, Need::Mknod, Need::Setfcap];

impl Need {
    fn capability(self) -> Capability {
        match self {
            Self::SysAdmin => Capability::CAP_SYS_ADMIN,
            Self::Chown => Capability::CAP_CHOWN,
            Self::DacOverride => Capability::CAP_DAC_OVERRIDE,
            Self::Fowner => Capability::CAP_FOWNER,
            Self::Fsetid => Capability::CAP_FSETID,
            Self::Mknod => Capability::CAP_MKNOD,
            Self::Setfcap => Capability::CAP_SETFCAP,
        }
    }

    /// Returns the name as in capabilities(7).
    #[must_use]
    pub fn name(self) -> String {
        self.capability().to_string()
    }
}

/// Returns which of `needs` this thread does not have; none where the kernel does not tell.
#[must_use]
pub fn missing(needs: &[Need]) -> Vec<Need> {
    let has = |need: &Need| caps::has_cap(None, CapSet::Effective, need.capability()).unwrap_or(true);
    needs.iter().copied().filter(|need| !has(need)).collect()
}

/// Whether this process is in the user namespace that the kernel began with. In any other, capabilities are not worth what
/// they are called: no device can be made, no `trusted.*` attribute be written, no file be given to just any owner.
#[must_use]
pub fn are_real() -> bool {
    /// `PROC_USER_INIT_INO` in the kernel's include/linux/proc_ns.h.
    const INITIAL: u64 = 0xefff_fffd;
    rustix::fs::stat("/proc/self/ns/user").map_or(true, |namespace| namespace.st_ino == INITIAL)
}

/// Drops every capability of this thread, and of those that it starts, but `needs`.
///
/// Never before a mount: overlayfs does all its own work with the capabilities that its mounter had (overlayfs.rst,
/// "Permission model"), and with these few has no index, for one. A failure is no error: what is dropped here is what no
/// bug may use, not what the program relies on not having.
pub fn drop_all_but(needs: &[Need]) {
    let kept: CapsHashSet = needs.iter().map(|need| need.capability()).collect();
    // While there still is CAP_SETPCAP. Else running a program as root would bring all back (capabilities(7)).
    for other in caps::all().difference(&kept) {
        let _ = caps::drop(None, CapSet::Bounding, *other);
    }
    let empty = CapsHashSet::new();
    let _ = caps::clear(None, CapSet::Ambient);
    let _ = caps::set(None, CapSet::Inheritable, &empty);
    let _ =
        caps::set(None, CapSet::Effective, &kept).and_then(|()| caps::set(None, CapSet::Permitted, &kept));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capability_that_was_dropped_is_missing() {
        // Capabilities belong to a thread, and each test has its own.
        caps::clear(None, CapSet::Effective).unwrap();
        assert_eq!(missing(TO_MOUNT), [Need::SysAdmin]);
        assert_eq!(missing(TO_EXTRACT).len(), TO_EXTRACT.len());
        assert_eq!(Need::Setfcap.name(), "CAP_SETFCAP");
    }

    #[test]
    fn what_no_verb_needs_is_dropped() {
        drop_all_but(TO_EXTRACT);
        assert_eq!(missing(TO_EXTRACT), []);
        assert!(!caps::has_cap(None, CapSet::Permitted, Capability::CAP_NET_ADMIN).unwrap());
        assert!(!caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_MODULE).unwrap());
        assert!(!caps::has_cap(None, CapSet::Bounding, Capability::CAP_NET_ADMIN).unwrap());
    }
}
