//! `cp`: files in and out of containers, and out of images.

use std::ffi::{OsStr, OsString};
use std::io::{BufReader, IsTerminal};
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

use clap::Args;

use super::act::{Act, Around};
use super::fault::{self, Cause, Fault};
use super::place::{self, LookFault, Place};
use super::{Context, permit, print};
use crate::layer::{extract, pack};
use crate::limits::Limits;
use crate::store::Store;
use crate::sys::caps::TO_EXTRACT;
use crate::sys::copy::Copy;
use crate::sys::dir::in_root::{Found, Last};
use crate::sys::dir::{self, Dir, FileType};
use crate::sys::{CallFailed, Errno};

/// Copy files between a container or an image and this machine
///
/// As `docker cp`: into DEST where that is a directory, else as DEST; `SRC/.` means what is in the directory SRC. A path of
/// a container needs no slash before it. Owners, modes, times, extended attributes, hard links, devices and holes are kept.
/// A container need not be mounted; an image can only be copied from.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ovlctl cp web:1.4:/etc/passwd .
  ovlctl cp ./app.conf web-1.4:/etc/
  ovlctl cp web-1.4:/var/log - | tar -t
  tar -c ./site | ovlctl cp - web-1.4:/srv")]
pub(super) struct Cp {
    /// CONTAINER:PATH, IMAGE:PATH, a path of this machine (with a slash or a dot first, where it has a colon), or - for a tar
    /// on standard input, which is unpacked in the directory DEST
    #[arg(value_name = "SRC")]
    from: OsString,
    /// CONTAINER:PATH, a path of this machine, or - for a tar on standard output, with holes as `export` writes them
    #[arg(value_name = "DEST")]
    to: OsString,
    /// Copy what SRC leads to where it is a symbolic link
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Keep owners: that is always done
    #[arg(short, long, hide = true)]
    archive: bool,
}

/// How much of a tar is read at once.
const BUFFER: usize = 256 << 10;

/// One end of a copy.
enum End {
    Inside(Box<Place>),
    Here(Vec<u8>),
}

impl Act for Cp {
    fn around(&self) -> Around {
        Around { after: None, ..Around::CHANGING }
    }

    fn run(&self, context: &Context) -> Result<(), Fault> {
        permit("copy", TO_EXTRACT)?;
        let object = format!("{} to {}", print::name(self.from.as_bytes()), print::name(self.to.as_bytes()));
        self.copy(context).map_err(|cause| Fault::new("copy", object, cause))
    }
}

impl Cp {
    fn copy(&self, context: &Context) -> Result<(), Cause> {
        let store = context.open_store()?;
        if self.to == "-" {
            let End::Inside(from) = End::find(&store, &self.from)? else {
                return Err(Cause::Usage("SRC must be CONTAINER:PATH or IMAGE:PATH".to_owned()));
            };
            return from.look(&store, true, |root| self.pack(root, &from.path));
        }
        if self.from == "-" {
            let End::Inside(to) = End::find(&store, &self.to)? else {
                return Err(Cause::Usage("DEST must be CONTAINER:PATH".to_owned()));
            };
            to.subject.refuse_to_change()?;
            return to.look(&store, false, |root| unpack(root, &to.path));
        }
        let mut copy = Copy::default();
        match (End::find(&store, &self.from)?, End::find(&store, &self.to)?) {
            (End::Inside(from), End::Here(to)) => {
                let here = Dir::open("/".as_ref()).map_err(place::failed)?;
                from.look(&store, true, |root| self.between(&mut copy, root, &from.path, &here, &to))?;
            }
            (End::Here(from), End::Inside(to)) => {
                to.subject.refuse_to_change()?;
                let here = Dir::open("/".as_ref()).map_err(place::failed)?;
                to.look(&store, false, |root| self.between(&mut copy, &here, &from, root, &to.path))?;
            }
            (End::Here(_), End::Here(_)) => {
                return Err(Cause::Usage("one of SRC and DEST must be CONTAINER:PATH".to_owned()));
            }
            (End::Inside(_), End::Inside(_)) => {
                return Err(Cause::Usage("copying between containers takes two steps".to_owned()));
            }
        }
        place::tell_unheld(&copy.unheld);
        Ok(())
    }

    /// Writes a tar in which what is copied has its own name.
    fn pack(&self, root: &Dir, path: &[u8]) -> Result<(), Cause> {
        let source = self.source(root, path)?;
        let name = place::trimmed(path);
        let name = name.rsplit(|&byte| byte == b'/').next().filter(|name| !name.is_empty());
        let left_out = print::tar(|out| pack::tree(&source, name.unwrap_or(b"."), true, out))?;
        place::tell_left_out(&left_out);
        Ok(())
    }

    fn source(&self, root: &Dir, path: &[u8]) -> Result<Found, Cause> {
        let followed = self.follow_link || path.ends_with(b"/") || path.ends_with(b"/.");
        place::existing(root, path, if followed { Last::Followed } else { Last::Kept })
    }

    /// Copies from a path of one root to a path of another.
    fn between(&self, copy: &mut Copy, from: &Dir, path: &[u8], to: &Dir, dest: &[u8]) -> Result<(), Cause> {
        let source = self.source(from, path)?;
        let is_dir = is_directory(&source)?;
        if path.ends_with(b"/") && !is_dir {
            return Err(LookFault::NotADirectory(place::trimmed(path)).into());
        }
        let name = place::trimmed(path);
        let name = name.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        let only_contents = is_dir && (path.ends_with(b"/.") || matches!(name, b"" | b".." | b"."));
        let done = match destination(to, dest)? {
            Destination::Directory(dir) if only_contents => copy.contents(&source, &dir),
            Destination::Directory(dir) => copy.tree(&source, &dir, name),
            Destination::File(..) if is_dir || dest.ends_with(b"/") => {
                return Err(LookFault::NotADirectory(place::trimmed(dest)).into());
            }
            Destination::New(..) if dest.ends_with(b"/") && !is_dir => {
                return Err(LookFault::NotADirectory(place::trimmed(dest)).into());
            }
            Destination::File(dir, name) | Destination::New(dir, name) => copy.tree(&source, &dir, &name),
        };
        done.map_err(refused)
    }
}

/// Unpacks the tar on standard input in a directory.
fn unpack(root: &Dir, path: &[u8]) -> Result<(), Cause> {
    existing_directory(root, path)?;
    let input = std::io::stdin();
    if input.is_terminal() {
        return Err(Cause::Usage("a tar is to come on standard input, which is a terminal".to_owned()));
    }
    let input = BufReader::with_capacity(BUFFER, input.lock());
    let left_out = extract::tar(input, root, path, &Limits::DEFAULT).map_err(LookFault::from)?;
    left_out.sentences().iter().for_each(|sentence| fault::warn(sentence));
    Ok(())
}

impl End {
    fn find(store: &Store, text: &OsStr) -> Result<Self, Cause> {
        let bytes = text.as_bytes();
        if bytes.starts_with(b"/") || bytes.starts_with(b".") || !bytes.contains(&b':') {
            let here = std::env::current_dir().map_err(|e| place::failed(CallFailed::of_io("getcwd", &e)))?;
            // The dot at the end means something, and Path would lose it.
            let path = [here.as_os_str().as_bytes(), b"/", bytes].concat();
            return Ok(Self::Here(if bytes.starts_with(b"/") { bytes.to_owned() } else { path }));
        }
        Ok(Self::Inside(Box::new(Place::find(store, text)?)))
    }
}

/// What is at the end of a path that is copied to.
enum Destination {
    Directory(Rc<Dir>),
    /// Something to be replaced: the directory that it is in, and its name.
    File(Rc<Dir>, Vec<u8>),
    /// Nothing yet.
    New(Rc<Dir>, Vec<u8>),
}

/// Finds out what `path` leads to, which may not be there, but its directory must.
fn destination(root: &Dir, path: &[u8]) -> Result<Destination, Cause> {
    /// MAXSYMLINKS in the kernel.
    const MOST_LINKS: usize = 40;
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        if let Some(found) = root.find(&path, Last::Followed).map_err(place::failed)? {
            if is_directory(&found)? {
                return Ok(Destination::Directory(Rc::new(found.open_dir().map_err(place::failed)?)));
            }
        }
        let (above, name) = split(&path);
        let parent = existing_directory(root, above)?;
        let Some(found) = parent.find(name, Last::Kept).map_err(place::failed)? else {
            return Ok(Destination::New(parent, name.to_owned()));
        };
        if dir::kind(&found.stat().map_err(place::failed)?) != FileType::Symlink {
            return Ok(Destination::File(parent, name.to_owned()));
        }
        let target = found.link().map_err(place::failed)?;
        path = if target.starts_with(b"/") { target } else { [above, b"/", &target].concat() };
    }
    Err(LookFault::Tangled.into())
}

/// Splits off the last component, slashes behind it left out.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let end = path.iter().rposition(|&byte| byte != b'/').map_or(0, |last| last + 1);
    let slash = path[..end].iter().rposition(|&byte| byte == b'/');
    (&path[..slash.unwrap_or(0)], &path[slash.map_or(0, |slash| slash + 1)..end])
}

fn existing_directory(root: &Dir, path: &[u8]) -> Result<Rc<Dir>, Cause> {
    let found = place::existing(root, path, Last::Followed)?;
    if !is_directory(&found)? {
        return Err(LookFault::NotADirectory(place::trimmed(path)).into());
    }
    Ok(Rc::new(found.open_dir().map_err(place::failed)?))
}

fn is_directory(found: &Found) -> Result<bool, Cause> {
    Ok(dir::kind(&found.stat().map_err(place::failed)?) == FileType::Directory)
}

/// Says which of two kinds was in the way.
fn refused(failed: CallFailed) -> Cause {
    match failed.errno {
        Errno::ISDIR => LookFault::InTheWay("a directory is where a file is to be").into(),
        Errno::NOTDIR => LookFault::InTheWay("a file is where a directory is to be").into(),
        Errno::ROFS => LookFault::InTheWay("it is mounted read-only").into(),
        _ => place::failed(failed),
    }
}
