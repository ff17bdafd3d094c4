//! Where an archive or a filesystem goes: to a file that is there when it is whole, or to standard output.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};
use std::path::{Path, PathBuf};

use super::fault::Cause;
use super::place::LookFault;
use crate::progress::Progress;
use crate::store;
use crate::sys::new_file::NewFile;
use crate::sys::{CallFailed, Errno};

/// Whoever reads an image may read its /etc/shadow: that is for root, as the store is.
const MODE: u32 = 0o600;

/// Where it goes.
#[derive(Debug)]
pub(super) enum Output {
    Stdout,
    File(NewFile),
}

impl Output {
    /// Begins a file, or takes standard output where none is named, or `-`; `what` is nothing for a terminal.
    pub(super) fn begin(path: Option<&Path>, what: &str) -> Result<Self, Cause> {
        let Some(path) = path.filter(|path| path.as_os_str() != "-") else {
            if io::stdout().is_terminal() {
                let reason =
                    format!("{what} is nothing for a terminal: give -o FILE, or redirect standard output");
                return Err(Cause::Usage(reason));
            }
            return Ok(Self::Stdout);
        };
        match NewFile::begin(path, MODE) {
            Err(failed) if failed.errno == Errno::EXIST => {
                Err(LookFault::InTheWay("it is no regular file").into())
            }
            begun => Ok(Self::File(begun.map_err(store::Error::from)?)),
        }
    }

    /// Returns what is to be written to.
    pub(super) fn writer(&self) -> BufWriter<Sink<'_>> {
        let sink = match self {
            Self::Stdout => Sink::Stdout(io::stdout().lock()),
            Self::File(new) => Sink::File(new.file()),
        };
        BufWriter::with_capacity(256 << 10, sink)
    }

    /// Lets the file be there, unless `progress` is to end: it may have been asked to while a slow disk was waited for.
    pub(super) fn keep(self, sync: bool, progress: &Progress) -> Result<(), Cause> {
        let Self::File(new) = self else { return Ok(()) };
        if sync {
            new.sync().map_err(store::Error::from)?;
        }
        progress.go_on().map_err(Cause::Output)?;
        Ok(new.keep(sync).map_err(store::Error::from)?)
    }
}

/// What takes the bytes.
#[derive(Debug)]
pub(super) enum Sink<'a> {
    Stdout(StdoutLock<'a>),
    File(&'a File),
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(out) => out.write(bytes),
            // As strace(1) calls it: who reads the archive's name alone may take this for the reading of a layer.
            Self::File(file) => file.write(bytes).map_err(|e| CallFailed::of_io("write", &e).into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(out) => out.flush(),
            Self::File(_) => Ok(()),
        }
    }
}

/// Refuses a file whose name says that it is compressed: nothing that `verb` writes is.
pub(super) fn named_as_it_is(path: &Path, verb: &str) -> Result<(), Cause> {
    let end = path.extension().and_then(|end| end.to_str()).unwrap_or_default();
    let program = match end {
        "gz" | "tgz" => "gzip",
        "xz" | "txz" => "xz",
        "zst" | "tzst" => "zstd",
        "bz2" | "tbz2" => "bzip2",
        "lz4" => "lz4",
        _ => return Ok(()),
    };
    Err(Cause::Usage(format!(
        "the file would not be compressed, as '.{end}' says: pipe it, `ovlctl {verb} … | {program} >FILE`"
    )))
}

/// Returns how the place is called in a message.
pub(super) fn shown(path: Option<&PathBuf>) -> String {
    match path.filter(|path| path.as_os_str() != "-") {
        Some(path) => path.display().to_string(),
        None => "standard output".to_owned(),
    }
}
