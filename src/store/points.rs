//! Mount points for a root in which something is run.

use std::fs;
use std::path::PathBuf;

use super::Change;
use super::error::{Error, file, is_there};
use crate::layer::fresh_root;
use crate::sys::dir::Dir;
use crate::sys::path;

/// `proc`, `sys` and `dev` are mounted on; what is mounted on `resolv.conf` is this machine's.
const FOLDERS: [&str; 5] = ["", "proc", "sys", "dev", "etc"];
const FILES: [(&str, &str); 2] =
    [("etc/resolv.conf", ""), ("etc/hosts", "127.0.0.1\tlocalhost\n::1\tlocalhost\n")];

impl Change<'_> {
    /// Returns the layer that lies below all others where something is run: what is missing there would have to be made,
    /// and that would be a change of the container's.
    pub fn points(&self) -> Result<PathBuf, Error> {
        let path = self.layout().points();
        if is_there(&path)? {
            return Ok(path);
        }
        let fresh = self.stage.fresh();
        for name in FOLDERS {
            let folder = fresh.join(name);
            path::mkdir(&folder, 0o777).map_err(file(&folder))?;
            let dir = Dir::open(&folder)?;
            fresh_root(&dir)?;
            // Whatever the umask is.
            dir.chmod_self(0o755)?;
        }
        let dir = Dir::open(&fresh.join("etc"))?;
        for (name, text) in FILES {
            let path = fresh.join(name);
            fs::write(&path, text).map_err(file(&path))?;
            dir.chmod(name.trim_start_matches("etc/").as_bytes(), 0o644)?;
        }
        match path::rename(&fresh, &path) {
            // Another command was faster.
            Err(_) if is_there(&path)? => Ok(path),
            renamed => renamed.map(|()| path.clone()).map_err(file(&path)),
        }
    }
}
