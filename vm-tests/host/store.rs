//! The folder of one run: what each machine was, and what it found. Reports are made of it, then and later.
//!
//! ```text
//! RUN/run.json                  the program that was run, and the kernels it was run on
//! RUN/6.1-ext4/machine.json     one machine: a kernel and a filesystem
//!              findings.jsonl   one line a fact, written as it comes
//!              machine.log      what the emulator or the container tool said
//!              console-1.log    what the kernel wrote, a file each time it was booted
//! ```

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::vm::Kernel;
use crate::record::Finding;

/// Says where the folder is to those who report.
pub(crate) const VARIABLE: &str = "OVLCTL_LAB_RUN";

/// Where things are kept from run to run.
pub(super) fn cache() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let caches = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")))?;
    Some(caches.join("ovlctl"))
}

/// What a run was made with.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Run {
    /// This program, linked statically, so that it is a guest's init.
    pub(crate) program: PathBuf,
    /// The kernels that were booted.
    pub(crate) kernels: Vec<Kernel>,
    /// Kernels that were asked for and are not to be had: name and reason.
    pub(crate) missing: Vec<(String, String)>,
    /// Whether the harness is to be tested too.
    pub(crate) harness: bool,
}

/// One machine of a run, and what it was.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct About {
    /// The column's name: `6.1`, `native`.
    pub(crate) kernel: String,
    pub(crate) filesystem: String,
    /// What the kernel calls itself (uname's release and version).
    pub(crate) release: String,
    pub(crate) version: String,
    /// The package or the file that the kernel came from.
    pub(crate) source: String,
    /// The emulator, or the container tool.
    pub(crate) how: String,
    /// From the start of the emulator to the first event.
    pub(crate) boot_milliseconds: u64,
    pub(crate) milliseconds: u64,
}

/// A machine's part of the folder.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) about: About,
    pub(crate) findings: Vec<Finding>,
    pub(crate) folder: PathBuf,
}

impl Run {
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        fs::write(folder.join("run.json"), serde_json::to_vec_pretty(self)?)
    }

    pub(crate) fn read(folder: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&fs::read(folder.join("run.json"))?)?)
    }
}

/// Reads what all machines of a run found, in the order of their names.
pub(crate) fn parts(folder: &Path) -> io::Result<Vec<Part>> {
    let mut folders: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    folders.retain(|folder| folder.join("machine.json").exists());
    folders.sort();
    folders.iter().map(|folder| Part::read(folder)).collect()
}

impl About {
    /// Debian's release says `6.1.0-50-cloud-amd64`, and only its version `… Debian 6.1.176-1` which one that is.
    pub(crate) fn kernel_version(&self) -> String {
        let debian = self.version.split_once("Debian ").and_then(|(_, rest)| rest.split(' ').next());
        debian.map_or_else(|| self.release.clone(), |debian| format!("{} (Debian {debian})", self.release))
    }
}

impl Part {
    pub(super) fn read(folder: &Path) -> io::Result<Self> {
        let about = serde_json::from_slice(&fs::read(folder.join("machine.json"))?)?;
        let lines = fs::read_to_string(folder.join("findings.jsonl"))?;
        let findings = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        Ok(Self { about, findings, folder: folder.to_owned() })
    }
}

/// Writes a machine's part while it runs.
pub(super) struct Writer {
    folder: PathBuf,
    findings: File,
}

impl Writer {
    pub(super) fn new(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self { folder: folder.to_owned(), findings: File::create(folder.join("findings.jsonl"))? })
    }

    pub(super) fn add(&mut self, finding: &Finding) -> io::Result<()> {
        writeln!(self.findings, "{}", serde_json::to_string(finding)?)
    }

    pub(super) fn finish(self, about: &About) -> io::Result<()> {
        fs::write(self.folder.join("machine.json"), serde_json::to_vec_pretty(about)?)
    }
}
