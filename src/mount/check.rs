//! Every no that can be known before the kernel is asked, which mostly answers a bare EINVAL.

use std::path::Path;

use super::error::{Error, Role};
use super::plan::Plan;
use crate::sys::mount::Pinned;

/// Checks `plan`.
pub(super) fn check(_plan: &Plan) -> Result<(), Error> {
    Ok(())
}

/// Pins a directory that must be there.
pub(super) fn pin(role: Role, path: &Path) -> Result<Pinned, Error> {
    Pinned::open(path).map_err(|failed| {
        let path = path.to_owned();
        match failed.kind() {
            std::io::ErrorKind::NotFound => Error::Missing { role, path },
            std::io::ErrorKind::NotADirectory => Error::NotADirectory { role, path },
            _ => Error::Kernel(failed),
        }
    })
}
