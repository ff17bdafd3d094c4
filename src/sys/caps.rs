//! Capabilities: which are missing, and giving up the others.

use caps::{CapSet, Capability, CapsHashSet};
use rustix::io::Errno;

use super::CallFailed;

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
    /// Network devices.
    NetAdmin,
    /// Root directories, and mount namespaces with them.
    SysChroot,
}

/// What mounting needs.
pub const TO_MOUNT: &[Need] = &[Need::SysAdmin];

/// What a thread needs to go back to the mount namespace that it began in (setns(2)), besides what mounting needs.
pub const TO_RETURN: &[Need] = &[Need::SysChroot];

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
            Self::NetAdmin => Capability::CAP_NET_ADMIN,
            Self::SysChroot => Capability::CAP_SYS_CHROOT,
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

/// What a container has by default (moby, oci/caps/defaults.go).
const OF_CONTAINERS: [Capability; 14] = [
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_FSETID,
    Capability::CAP_FOWNER,
    Capability::CAP_MKNOD,
    Capability::CAP_NET_RAW,
    Capability::CAP_SETGID,
    Capability::CAP_SETUID,
    Capability::CAP_SETFCAP,
    Capability::CAP_SETPCAP,
    Capability::CAP_NET_BIND_SERVICE,
    Capability::CAP_SYS_CHROOT,
    Capability::CAP_KILL,
    Capability::CAP_AUDIT_WRITE,
];

/// Leaves this process, and what it becomes by execve(2), what a container has by default.
/// Errors are none to go on after: what is not dropped would be the strange program's.
pub fn keep_those_of_containers() -> Result<(), CallFailed> {
    let failed = |e: caps::errors::CapsError| CallFailed::new(format!("capset: {e}"), Errno::PERM);
    let kept: CapsHashSet = OF_CONTAINERS.into_iter().collect();
    let had = caps::read(None, CapSet::Bounding).map_err(failed)?;
    for capability in had.difference(&kept) {
        caps::drop(None, CapSet::Bounding, *capability).map_err(failed)?;
    }
    let permitted: CapsHashSet =
        caps::read(None, CapSet::Permitted).map_err(failed)?.intersection(&kept).copied().collect();
    caps::clear(None, CapSet::Ambient).map_err(failed)?;
    caps::clear(None, CapSet::Inheritable).map_err(failed)?;
    caps::set(None, CapSet::Effective, &permitted).map_err(failed)?;
    caps::set(None, CapSet::Permitted, &permitted).map_err(failed)
}

/// Makes this process another user's, for good where that is not root.
pub fn become_user(user: u32, group: u32, groups: &[u32]) -> Result<(), CallFailed> {
    use nix::unistd::{self, Gid, Uid};
    let failed = |call: &str, e: nix::errno::Errno| CallFailed::new(call, Errno::from_raw_os_error(e as i32));
    let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
    let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
    unistd::setgroups(&groups).map_err(|e| failed("setgroups", e))?;
    unistd::setresgid(group, group, group).map_err(|e| failed("setresgid", e))?;
    unistd::setresuid(user, user, user).map_err(|e| failed("setresuid", e))
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
