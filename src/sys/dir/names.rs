//! The names in a directory.

use std::ops::ControlFlow;

use rustix::fs;

use super::{Dir, Result};

impl Dir {
    /// Returns the names in this directory, but `.` and `..`, in no order.
    pub fn names(&self) -> Result<Vec<Vec<u8>>> {
        let mut names = Vec::new();
        let _: ControlFlow<()> = self.each_name(|name| {
            names.push(name.to_owned());
            ControlFlow::Continue(())
        })?;
        Ok(names)
    }

    /// Calls `each` with every name in it, in no order, until it breaks off: for directories that may have more names than
    /// there is memory for. What was told may be removed meanwhile (readdir(3)).
    pub fn each_name<B>(&self, mut each: impl FnMut(&[u8]) -> ControlFlow<B>) -> Result<ControlFlow<B>> {
        let failed = |e| self.failed("getdents64", b"", e);
        for entry in fs::Dir::read_from(&self.fd).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let told = match entry.file_name().to_bytes() {
                b"." | b".." => ControlFlow::Continue(()),
                name => each(name),
            };
            if told.is_break() {
                return Ok(told);
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}
