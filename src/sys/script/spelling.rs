//! How strace(1) spells arguments.

use std::fmt::Write;

use rustix::mount::MountFlags;

use crate::sys::mount::Attributes;

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

/// MS_REMOUNT.
pub(in crate::sys) const REMOUNT: MountFlags = MountFlags::from_bits_retain(32);

/// Returns what mount(2) calls these flags.
pub(super) fn as_mount_flags(attributes: Attributes) -> MountFlags {
    let set = FLAGS.iter().filter(|(attribute, ..)| attributes.contains(*attribute));
    set.fold(MountFlags::empty(), |flags, (_, flag, _)| flags | *flag)
}

/// Names the flags of fsmount(2) as strace does: `MOUNT_ATTR_RDONLY|MOUNT_ATTR_NODEV`.
pub(super) fn attributes(attributes: Attributes) -> String {
    let set = FLAGS.iter().filter(|(attribute, ..)| attributes.contains(*attribute));
    joined(set.map(|(.., name)| format!("MOUNT_ATTR_{name}")))
}

/// Names the flags of mount(2) as strace does, by their bits: `MS_RDONLY|MS_NODEV`.
pub(in crate::sys) fn mount_flags(flags: MountFlags) -> String {
    let mut named: Vec<(&str, MountFlags)> = flags.iter_names().collect();
    // rustix has it, and keeps it to itself.
    named.extend(flags.contains(REMOUNT).then_some(("REMOUNT", REMOUNT)));
    named.sort_unstable_by_key(|(_, flag)| flag.bits());
    joined(named.iter().map(|(name, _)| format!("MS_{name}")))
}

fn joined(names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.collect();
    if names.is_empty() { "0".to_owned() } else { names.join("|") }
}

/// Quotes bytes as strace does: a C string literal.
pub(in crate::sys) fn quoted(bytes: &[u8]) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_have_their_names_in_both_calls() {
        let flags = Attributes::MOUNT_ATTR_RDONLY | Attributes::MOUNT_ATTR_NODEV;
        assert_eq!(attributes(flags), "MOUNT_ATTR_RDONLY|MOUNT_ATTR_NODEV");
        assert_eq!(attributes(Attributes::empty()), "0");
        assert_eq!(as_mount_flags(flags), MountFlags::RDONLY | MountFlags::NODEV);
    }

    #[test]
    fn flags_stand_in_the_order_of_their_bits() {
        let safe = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
        for (flags, shown) in [
            (safe, "MS_NOSUID|MS_NODEV|MS_NOEXEC"),
            (
                MountFlags::BIND | REMOUNT | safe | MountFlags::RDONLY,
                "MS_RDONLY|MS_NOSUID|MS_NODEV|MS_NOEXEC|MS_REMOUNT|MS_BIND",
            ),
            (MountFlags::BIND, "MS_BIND"),
            (MountFlags::empty(), "0"),
        ] {
            assert_eq!(mount_flags(flags), shown);
        }
    }
}
