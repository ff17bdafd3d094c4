//! Who may have written a file: what root goes by, only root may change.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::sys::caps;

/// Bits of a mode.
const OTHERS_WRITE: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// Whether this process is root, of the machine and not of a user namespace only: in there files of root's are nobody's.
pub(super) fn matters() -> bool {
    crate::sys::creates_as().0 == 0 && caps::are_real()
}

/// Returns what others than root could change, or put another in its place: the open file, or a directory above it (as
/// ssh does with `StrictModes`). In a directory that is sticky, as /tmp is, nobody renames what is root's.
pub(super) fn untrusted(path: &Path, open: &File) -> io::Result<Option<PathBuf>> {
    if !is_ours(&open.metadata()?) {
        return Ok(Some(path.to_owned()));
    }
    // Both: where the name stands, and, where that is a link, what it leads to.
    for path in [std::path::absolute(path)?, fs::canonicalize(path)?] {
        for folder in path.ancestors().skip(1) {
            let known = fs::metadata(folder)?;
            if known.uid() != 0 || (!is_ours(&known) && known.mode() & STICKY == 0) {
                return Ok(Some(folder.to_owned()));
            }
        }
    }
    Ok(None)
}

/// With an access control list the group's bits are its mask (acl(5)), so those whom it names are seen too.
fn is_ours(known: &Metadata) -> bool {
    known.uid() == 0 && known.mode() & OTHERS_WRITE == 0
}
