//! A member's name becomes a path inside the layer, or is refused. Pure.

use super::error::Refusal;

/// The longest name of one file, in bytes (NAME_MAX, linux/limits.h).
pub(super) const NAME_MAX: usize = 255;

/// The longest path, in bytes: PATH_MAX (linux/limits.h) counts the NUL at its end.
pub(super) const PATH_MAX: usize = 4095;

/// A path inside a layer: below its root, without `.`, `..` and empty components.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct EntryPath<'a> {
    parts: Vec<&'a [u8]>,
}

impl<'a> EntryPath<'a> {
    /// Reads a name as a tar has it: a leading `/` means the layer's root, and `a/../b` is `b`.
    pub(super) fn parse(name: &'a [u8]) -> Result<Self, Refusal> {
        if name.contains(&0) {
            return Err(Refusal::Nul);
        }
        if name.len() > PATH_MAX {
            return Err(Refusal::LongPath(name.len()));
        }
        let mut parts = Vec::with_capacity(8);
        for part in name.split(|&b| b == b'/') {
            match part {
                b"" | b"." => {}
                b".." => {
                    parts.pop().ok_or(Refusal::LeadsOut)?;
                }
                part if part.len() > NAME_MAX => return Err(Refusal::LongName(part.len())),
                part => parts.push(part),
            }
        }
        Ok(Self { parts })
    }

    /// Returns how many names it has; none for the root.
    pub(super) fn depth(&self) -> usize {
        self.parts.len()
    }

    /// Returns it as a path below the root, without `.` and `..`.
    pub(super) fn joined(&self) -> Vec<u8> {
        self.parts.join(&b'/')
    }

    /// Returns the directories on the way and the last component; `None` for the root.
    pub(super) fn split(&self) -> Option<(&[&'a [u8]], &'a [u8])> {
        self.parts.split_last().map(|(&name, parents)| (parents, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(name: &[u8]) -> Result<String, Refusal> {
        let path = EntryPath::parse(name)?;
        Ok(String::from_utf8(path.joined()).unwrap())
    }

    #[test]
    fn every_name_is_a_path_below_the_root() {
        for (name, path) in [
            ("etc/motd", "etc/motd"),
            ("./etc/motd", "etc/motd"),
            ("/etc//motd/", "etc/motd"),
            ("etc/../usr/./bin", "usr/bin"),
            ("...", "..."),
            ("./", ""),
            ("/", ""),
            ("", ""),
        ] {
            assert_eq!(joined(name.as_bytes()), Ok(path.to_owned()), "{name}");
        }
    }

    #[test]
    fn names_that_lead_out_are_refused() {
        for name in ["..", "../etc/passwd", "/..", "a/../../b", "a/b/../../.."] {
            assert_eq!(joined(name.as_bytes()), Err(Refusal::LeadsOut), "{name}");
        }
    }

    #[test]
    fn names_that_no_filesystem_holds_are_refused() {
        assert_eq!(joined(b"a\0b"), Err(Refusal::Nul));
        assert_eq!(joined(&[b'n'; 255]).map(|p| p.len()), Ok(255));
        assert_eq!(joined(&[b'n'; 256]), Err(Refusal::LongName(256)));
        assert_eq!(joined(&b"ab/".repeat(1365)).map(|p| p.len()), Ok(4094));
        assert_eq!(joined(&b"ab//".repeat(1024)), Err(Refusal::LongPath(4096)));
    }
}
