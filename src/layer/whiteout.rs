//! How layers remove: OCI's `.wh.` names, and overlayfs' whiteouts and opaque marks.
//!
//! The only file with those spellings. OCI: image-spec, layer.md, "Whiteouts". Overlayfs:
//! Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories".

use crate::sys::CallFailed;
use crate::sys::dir::{Dir, FileType, Xattr};

use super::error::Refusal;

const PREFIX: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// AUFS keeps its own books under such names.
const BOOKKEEPING: &[u8] = b".wh..wh.";

/// A name that no entry can have; for what is on its way to its own name.
pub(super) const ASIDE: &[u8] = b".wh..wh.aside";

const OPAQUE_XATTR: &[u8] = b"trusted.overlay.opaque";

/// What overlayfs writes on an upper directory for itself.
const MARK: &[u8] = b"trusted.overlay.";
/// What becomes of an attribute of such a name that is set in the overlay itself, since Linux 6.7.
const ESCAPED_MARK: &[u8] = b"trusted.overlay.overlay.";
const REDIRECT_XATTR: &[u8] = b"trusted.overlay.redirect";
const METACOPY_XATTR: &[u8] = b"trusted.overlay.metacopy";

/// What an entry's last component says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Name<'a> {
    /// It names what the entry describes.
    Plain(&'a [u8]),
    /// It removes this name as the layers below have it.
    Whiteout(&'a [u8]),
    /// It hides all that the layers below have in this directory.
    Opaque,
}

/// Whether an entry is AUFS's own and no part of the layer.
pub(super) fn is_bookkeeping(parents: &[&[u8]], name: &[u8]) -> bool {
    let books = |part: &[u8]| part.starts_with(BOOKKEEPING);
    (books(name) && name != OPAQUE) || parents.iter().any(|part| books(part))
}

/// Whether nothing in a layer can have this name: entries of such names are left out, but links may lead there.
pub(super) fn is_reserved(name: &[u8]) -> bool {
    name.starts_with(BOOKKEEPING)
}

/// Reads the last component of an entry's path.
pub(super) fn read(name: &[u8]) -> Result<Name<'_>, Refusal> {
    if name == OPAQUE {
        return Ok(Name::Opaque);
    }
    match name.strip_prefix(PREFIX) {
        None => Ok(Name::Plain(name)),
        Some(b"" | b"." | b"..") => Err(Refusal::NoWhiteout),
        Some(gone) => Ok(Name::Whiteout(gone)),
    }
}

/// Makes overlayfs hide `name` of the layers below.
pub(super) fn place(dir: &Dir, name: &[u8]) -> Result<(), CallFailed> {
    dir.mknod(name, FileType::CharacterDevice, 0, (0, 0))
}

/// Makes overlayfs hide all that the layers below have in `dir`.
pub(super) fn mark_opaque(dir: &Dir) -> Result<(), CallFailed> {
    dir.set_xattr_self(OPAQUE_XATTR, b"y")
}

/// Whether overlayfs hides all that the layers below have in `dir`.
pub(super) fn is_opaque(dir: &Dir) -> Result<bool, CallFailed> {
    Ok(dir.xattr_self(OPAQUE_XATTR)?.as_deref() == Some(b"y"))
}

/// Returns the name under which the layers below have the rest of a renamed directory, or of a file's contents: beside
/// it, or, with a slash before it, from the root.
pub(super) fn redirect(xattrs: &[Xattr]) -> Option<&[u8]> {
    value(xattrs, REDIRECT_XATTR)
}

/// Whether a file is only metadata, and its contents are in a layer below.
pub(super) fn is_metadata_only(xattrs: &[Xattr]) -> bool {
    value(xattrs, METACOPY_XATTR).is_some()
}

fn value<'a>(xattrs: &'a [Xattr], wanted: &[u8]) -> Option<&'a [u8]> {
    xattrs.iter().find(|(key, _)| key == wanted).map(|(_, value)| value.as_slice())
}

/// Whether an attribute is overlayfs' own, and shown to nobody.
pub(super) fn is_own(key: &[u8]) -> bool {
    key.starts_with(MARK) && !key.starts_with(ESCAPED_MARK)
}

/// Returns the attributes that an overlay shows of an inode that has these.
pub(super) fn shown(xattrs: Vec<Xattr>) -> Vec<Xattr> {
    let shown = |(key, value): Xattr| match key.strip_prefix(ESCAPED_MARK) {
        Some(rest) => Some(([MARK, rest].concat(), value)),
        None => (!key.starts_with(MARK)).then_some((key, value)),
    };
    xattrs.into_iter().filter_map(shown).collect()
}

/// Returns the path by which a layer's tar removes `path`.
pub(super) fn removing(path: &[u8]) -> Vec<u8> {
    let at = path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    [&path[..at], PREFIX, &path[at..]].concat()
}

/// Whether a path would mean something else in a layer's tar.
pub(super) fn means_other(path: &[u8]) -> bool {
    path.split(|&byte| byte == b'/').any(|part| part.starts_with(PREFIX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_it_does() {
        for (name, meaning) in [
            ("motd", Ok(Name::Plain(b"motd"))),
            (".who", Ok(Name::Plain(b".who"))),
            (".wh.motd", Ok(Name::Whiteout(b"motd"))),
            (".wh..motd", Ok(Name::Whiteout(b".motd"))),
            (".wh....", Ok(Name::Whiteout(b"..."))),
            (".wh..wh..opq", Ok(Name::Opaque)),
            (".wh.", Err(Refusal::NoWhiteout)),
            (".wh..", Err(Refusal::NoWhiteout)),
            (".wh...", Err(Refusal::NoWhiteout)),
        ] {
            assert_eq!(read(name.as_bytes()), meaning, "{name}");
        }
    }

    #[test]
    fn what_removes_a_path_lies_beside_it() {
        assert_eq!(removing(b"etc/motd"), b"etc/.wh.motd");
        assert_eq!(removing(b"motd"), b".wh.motd");
        assert!(means_other(b"a/.wh.b/c") && !means_other(b"a/b.wh.c"));
    }

    #[test]
    fn an_overlay_shows_no_marks_but_those_that_were_set_in_it() {
        let xattrs = |keys: &[&str]| -> Vec<Xattr> {
            keys.iter().map(|key| (key.as_bytes().to_vec(), b"y".to_vec())).collect()
        };
        let written = xattrs(&[
            "trusted.overlay.origin",
            "trusted.overlay.overlay.opaque",
            "trusted.overlayed",
            "user.overlay.opaque",
        ]);
        assert_eq!(
            shown(written),
            xattrs(&["trusted.overlay.opaque", "trusted.overlayed", "user.overlay.opaque"])
        );
    }

    #[test]
    fn aufs_keeps_its_books_in_the_tar() {
        assert!(is_bookkeeping(&[], b".wh..wh.aufs"));
        assert!(is_bookkeeping(&[], b".wh..wh.plnk"));
        assert!(is_bookkeeping(&[b".wh..wh.plnk"], b"154.1"));
        assert!(!is_bookkeeping(&[b"etc"], b".wh..wh..opq"));
        assert!(!is_bookkeeping(&[b"etc"], b".wh.motd"));
    }
}
