//! The scratch disk: a sparse file with the filesystem under test, made without privileges.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// What a disk of this filesystem is made with: the program, and its options from the best to the plainest.
///
/// A mkfs that is newer than the kernel makes what the kernel refuses, so those features are turned off by name; a mkfs
/// that is older does not know the name, and is asked again without.
fn programs(filesystem: &str) -> Option<(&'static str, &'static [&'static [&'static str]])> {
    match filesystem {
        "ext4" => Some((
            "mkfs.ext4",
            &[
                &["-q", "-F", "-O", "verity,^orphan_file,^metadata_csum_seed"],
                &["-q", "-F", "-O", "verity,^metadata_csum_seed"],
            ],
        )),
        "xfs" => Some((
            "mkfs.xfs",
            &[
                &["-q", "-f", "-i", "nrext64=0,exchange=0", "-n", "parent=0"],
                &["-q", "-f", "-i", "nrext64=0"],
                &["-q", "-f"],
            ],
        )),
        "btrfs" => Some(("mkfs.btrfs", &[&["-q", "-f", "-O", "^block-group-tree"], &["-q", "-f"]])),
        _ => None,
    }
}

/// Makes an image of `size` bytes; nothing for a filesystem that needs no disk.
pub(super) fn make(path: &Path, size: u64, filesystem: &str) -> io::Result<()> {
    let Some((program, attempts)) = programs(filesystem) else { return Ok(()) };
    let mut refusals = String::new();
    for options in attempts {
        File::create(path)?.set_len(size)?;
        let mut command = Command::new(program);
        command.args(*options).arg(path).stdin(Stdio::null());
        let output = command.output().map_err(|e| io::Error::new(e.kind(), format!("{program}: {e}")))?;
        if output.status.success() {
            return Ok(());
        }
        refusals += &format!("\n{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Err(io::Error::other(format!("no {filesystem} can be made:{refusals}")))
}
