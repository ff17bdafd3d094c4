//! Which capabilities this process lacks.

use caps::{CapSet, Capability};

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
}
