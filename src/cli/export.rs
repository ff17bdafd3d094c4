//! `export`: the tree of an image or a container, for booting and for other tools.

mod folder;
mod mkfs;

use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use clap::{Args, ValueEnum};

use super::act::{Act, Around};
use super::fault::watch::{Talk, took};
use super::fault::{self, Cause, Fault};
use super::output::{self, Output};
use super::place::{self, LookFault, Subject};
use super::sync::Syncing;
use super::{Context, permit, print, waiting};
use crate::layer::walk::walk;
use crate::layer::{cpio, pack};
use crate::progress::{Counter, Counting, Piece, Progress, What};
use crate::store::Store;
use crate::sys::caps::{TO_EXTRACT, TO_LOOK};
use crate::sys::dir::in_root::{Found, Last};
use crate::sys::dir::{self, Dir, Stat};
use crate::sys::filesystem::read_size;
use crate::sys::{CallFailed, counted};

/// Write the tree of an image or a container, as it would be mounted
///
/// With owners, modes, extended attributes, hard links, devices and times, and nothing else: what is mounted inside is left
/// out. ext4, erofs and squashfs are made by their own programs (mkfs.ext4, mkfs.erofs, mksquashfs), for a machine to boot or
/// mount; a cpio is an initramfs, and has no extended attributes. A container may be mounted meanwhile.
///
/// With SOURCE_DATE_EPOCH, in seconds since 1970, an image becomes the same file each time, of whichever store, by the same
/// version of such a program; files with several extended attributes take stores on the same kind of filesystem, too.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ovlctl export web:1.4 -o web.ext4              # a root disk
  ovlctl export box -o box.cpio                  # an initramfs
  ovlctl export box | ssh host tar -xC /srv/box
  SOURCE_DATE_EPOCH=0 ovlctl export web:1.4 -o web.ext4  # the same bytes each time, of whichever store")]
pub(super) struct Export {
    #[arg(value_name = "IMAGE|CONTAINER")]
    name: String,
    /// The file: it appears, or replaces another, once it is whole; for dir, a directory that is not there yet, or empty.
    /// Standard output by default
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// What to write; by default what FILE's name ends with, or else a tar
    #[arg(short, long)]
    format: Option<Format>,
    /// How large the ext4 filesystem is to be (512M, 4G); by default a quarter larger than it must be
    #[arg(long, value_parser = size)]
    size: Option<u64>,
    /// Write the holes of files as zeros into a tar, for readers that know none: busybox, GNU cpio
    #[arg(long)]
    no_holes: bool,
    #[command(flatten)]
    sync: Syncing,
    #[command(flatten)]
    talk: Talk,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// With PAX records; holes of 1 MiB and more are as GNU tar writes them, which busybox takes for other files: --no-holes
    Tar,
    /// An initramfs; holes are zeros in it
    Cpio,
    /// A filesystem that can be written to
    Ext4,
    /// One that is read-only
    Erofs,
    /// One that is read-only and compressed
    Squashfs,
    /// Files in a directory
    Dir,
}

fn size(text: &str) -> Result<u64, String> {
    read_size(text).ok_or_else(|| format!("'{text}' is no size: 512M and 4G are"))
}

impl Format {
    /// Tells by the name of a file what it is to be; refuses a name that a tar would belie.
    fn of(path: &Path) -> Result<Self, Cause> {
        if path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/") {
            return Ok(Self::Dir);
        }
        Ok(match path.extension().and_then(|extension| extension.to_str()) {
            Some("cpio") => Self::Cpio,
            Some("ext4") => Self::Ext4,
            Some("erofs") => Self::Erofs,
            Some("squashfs" | "sqfs" | "sfs") => Self::Squashfs,
            Some(end @ ("img" | "raw" | "qcow2" | "iso")) => {
                let reason = format!("'.{end}' may be any disk: give --format ext4, erofs or squashfs");
                return Err(Cause::Usage(reason));
            }
            Some(_) | None => output::named_as_it_is(path, "export").map(|()| Self::Tar)?,
        })
    }
}

impl Act for Export {
    fn names(&mut self) -> Vec<&mut String> {
        vec![&mut self.name]
    }

    fn around(&self) -> Around {
        Around::READING
    }

    fn run(&self, context: &Context) -> Result<(), Fault> {
        let by_name = || self.output.as_deref().map_or(Ok(Format::Tar), Format::of);
        let format = self.format.map_or_else(by_name, Ok)?;
        permit("export", if format == Format::Dir { TO_EXTRACT } else { TO_LOOK })?;
        if self.size.is_some() && format != Format::Ext4 {
            return Err(Fault::usage("--size is for ext4: the others are as large as they must be"));
        }
        if self.no_holes && format != Format::Tar {
            return Err(Fault::usage("--no-holes is for a tar: a cpio has none, and the others keep them"));
        }
        let object = format!("'{}' to {}", self.name, output::shown(self.output.as_ref()));
        let since = Instant::now();
        let done = self.talk.during(|progress| {
            self.export(context, format, progress)?;
            Ok(progress.pieces().iter().map(Piece::done).sum())
        });
        let done: u64 = done.map_err(|cause| Fault::new("export", object, cause))?;
        if self.talk.is_shown() {
            self.talk.say(&format!("{} in {}", print::size(done), took(since.elapsed())));
        }
        Ok(())
    }
}

impl Export {
    fn export(&self, context: &Context, format: Format, progress: &Progress) -> Result<(), Cause> {
        let store = context.open_store()?;
        let subject = Subject::find(&store, &self.name)?;
        let _held = store.hold(&mut waiting())?;
        let kind = match format {
            Format::Tar | Format::Cpio => return self.archive(&store, &subject, format, progress),
            Format::Dir => return self.directory(&store, &subject, progress),
            Format::Ext4 => mkfs::Kind::Ext4,
            Format::Erofs => mkfs::Kind::Erofs,
            Format::Squashfs => mkfs::Kind::Squashfs,
        };
        let Output::File(new) = Output::begin(Some(self.file()?), "a filesystem")? else {
            return Err(no_stream());
        };
        let counter = progress.begin(What::Filesystem, None);
        let make = mkfs::Make { kind, size: self.size, id: id(&subject), counter: Arc::clone(&counter) };
        subject.open(&store, true, |opened| make.run(opened, new.file()))?;
        counter.end();
        Output::File(new).keep(self.sync.is_wanted(), progress)
    }

    fn archive(
        &self,
        store: &Store,
        subject: &Subject,
        format: Format,
        progress: &Progress,
    ) -> Result<(), Cause> {
        let output = Output::begin(self.output.as_deref(), "an archive")?;
        subject.open(store, true, |opened| {
            let root = place::existing(opened.root(), b"/", Last::Kept)?;
            let counter = self.begin(&root, progress, pack::size)?;
            let out = Counting { inner: output.writer(), counter: Arc::clone(&counter) };
            if format == Format::Tar {
                place::tell_left_out(&pack::tree(&root, b".", !self.no_holes, out).map_err(LookFault::from)?);
                counter.end();
                return Ok(());
            }
            tell_lost(&cpio::tree(&root, out).map_err(LookFault::from)?);
            counter.end();
            tell_init(opened.root())
        })?;
        output.keep(self.sync.is_wanted(), progress)
    }

    /// Tells of the tree; how large it is, only where somebody sees that, for it must be looked for.
    fn begin(
        &self,
        root: &Found,
        progress: &Progress,
        size: fn(&Stat) -> u64,
    ) -> Result<Arc<Counter>, Cause> {
        let weighed = self.talk.is_shown().then(|| weigh(root, size)).transpose();
        Ok(progress.begin(What::Tree, weighed.map_err(place::failed)?))
    }

    fn directory(&self, store: &Store, subject: &Subject, progress: &Progress) -> Result<(), Cause> {
        let target = folder::Target::begin(self.file()?)?;
        let unheld = subject.open(store, true, |opened| {
            let root = place::existing(opened.root(), b"/", Last::Kept)?;
            let counter = self.begin(&root, progress, dir::contents)?;
            let unheld = target.fill(&root, &counter)?;
            counter.end();
            Ok(unheld)
        })?;
        place::tell_unheld(&unheld);
        target.keep(self.sync.is_wanted(), progress)
    }

    fn file(&self) -> Result<&Path, Cause> {
        self.output.as_deref().filter(|path| path.as_os_str() != "-").ok_or_else(no_stream)
    }
}

/// Sums up what the inodes of a tree are in bytes, each once.
fn weigh(root: &Found, size: fn(&Stat) -> u64) -> Result<u64, CallFailed> {
    let (mut seen, mut bytes) = (HashSet::new(), 0);
    walk(root, &mut |_, _, stat| {
        let is_first = stat.st_nlink < 2 || seen.insert((stat.st_dev, stat.st_ino));
        bytes += if is_first { size(stat) } else { 0 };
        Ok::<_, CallFailed>(())
    })?;
    Ok(bytes)
}

fn no_stream() -> Cause {
    Cause::Usage("only a tar and a cpio can go to standard output: give -o FILE".to_owned())
}

/// What is exported, for a filesystem's own id: an image always has the same.
fn id(subject: &Subject) -> String {
    match subject {
        Subject::Image(image) => image.record.id.to_string(),
        Subject::Container(container) => container.id.clone(),
        Subject::Snapshot(_, snapshot) => snapshot.id.clone(),
    }
}

fn tell_lost(lost: &cpio::Lost) {
    if let Some((path, key)) = &lost.first {
        let (path, key) = (print::name(path), print::name(key));
        let count = counted(lost.xattrs, "extended attribute");
        fault::warn(&format!("{count} left out, first '{key}' of '{path}': cpio has none"));
    }
    if lost.times > 0 {
        fault::warn(&format!(
            "{} times before 1970 or after 2106 are other ones: cpio has 32 bits",
            lost.times
        ));
    }
}

/// Says what a kernel needs to be told that gets this as its initramfs.
fn tell_init(root: &Dir) -> Result<(), Cause> {
    let is_there =
        |path: &[u8]| Ok::<_, Cause>(root.find(path, Last::Followed).map_err(place::failed)?.is_some());
    if is_there(b"init")? {
        return Ok(());
    }
    let mut hint =
        "there is no /init: as an initramfs it needs `rdinit=PROGRAM` on the kernel's command line"
            .to_owned();
    for program in ["/sbin/init", "/bin/sh"] {
        if is_there(&program.as_bytes()[1..])? {
            hint = hint.replace("PROGRAM", program);
            break;
        }
    }
    fault::say(&format!("hint: {hint}"));
    Ok(())
}

/// Takes a file that could not be read or written for what went wrong.
fn failed(path: &Path, error: &std::io::Error) -> Cause {
    let what = if error.kind() == ErrorKind::NotFound { "is not there" } else { "cannot be used" };
    LookFault::Program(format!("{} {what}: {error}", path.display())).into()
}
