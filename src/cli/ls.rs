//! `ls`, `cat`: what is in an image or a container, mounted or not.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use clap::Args;
use serde::Serialize;

use super::act::{Act, Around};
use super::fault::{Cause, Fault};
use super::place::{self, Place};
use super::print::{self, Column, Listing};
use super::{Context, inode, look, permit};
use crate::store::record::StoredPath;
use crate::sys::caps::TO_LOOK;
use crate::sys::dir::in_root::{Found, Last};
use crate::sys::dir::{self, Dir, FileType, Stat};

/// List what is in a directory of an image or a container
///
/// Neither has to be mounted, and nothing is mounted for others to see. Links lead to where they would inside.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ovlctl ls -l web:1.4:/etc
  ovlctl ls web-1.4")]
pub(super) struct Ls {
    /// The image or container, and the path in it: the root where none is given
    #[arg(value_name = "IMAGE|CONTAINER[:PATH]")]
    place: OsString,
    /// Print mode, owner, size and time too
    #[arg(short)]
    long: bool,
    #[command(flatten)]
    listing: Listing,
}

/// A row of `ls`.
#[derive(Debug, Serialize)]
struct EntryRow {
    name: StoredPath,
    r#type: &'static str,
    mode: u32,
    uid: u32,
    gid: u32,
    size: Option<u64>,
    /// RFC 3339, to the nanosecond.
    mtime: String,
    /// Where a symbolic link leads.
    target: Option<StoredPath>,
    /// Major and minor number of a device.
    device: Option<(u32, u32)>,
    /// How many names it has.
    links: u64,
    /// Values that are no text are escaped.
    xattrs: BTreeMap<String, String>,
    #[serde(skip)]
    letters: String,
}

const SHORT: &[Column<EntryRow>] = &[Column::Text("NAME", shown)];

const LONG: &[Column<EntryRow>] = &[
    Column::Text("MODE", |row| row.letters.clone()),
    Column::Text("OWNER", |row| format!("{}:{}", row.uid, row.gid)),
    Column::Text("SIZE", |row| match (row.size, row.device) {
        (Some(size), _) => print::amount(size),
        (None, Some((major, minor))) => format!("{major}:{minor}"),
        (None, None) => "-".to_owned(),
    }),
    Column::Text("MODIFIED", |row| modified(&row.mtime)),
    Column::Text("NAME", |row| match &row.target {
        Some(target) => format!("{} -> {}", shown(row), print::name(target.path().as_os_str().as_bytes())),
        None => shown(row),
    }),
];

/// To the minute, as ls(1) has it, unless somebody has said how times are to be.
fn modified(time: &str) -> String {
    match (look::time(), time.parse()) {
        (Some(form), Ok(time)) => print::moment(time, form),
        (Some(_), Err(_)) | (None, _) => time.get(..16).unwrap_or(time).replace('T', " "),
    }
}

fn shown(row: &EntryRow) -> String {
    print::name(row.name.path().as_os_str().as_bytes())
}

impl Act for Ls {
    fn around(&self) -> Around {
        Around::READING
    }

    fn run(&self, context: &Context) -> Result<(), Fault> {
        permit("list", TO_LOOK)?;
        let failed = |cause| Fault::new("list", print::name(self.place.as_bytes()), cause);
        let store = context.store()?;
        let rows = Place::find(&store, &self.place)
            .and_then(|place| place.look(&store, true, |root| entries(root, &place.path)))
            .map_err(failed)?;
        let short = Listing { no_headings: true, ..self.listing };
        if self.long {
            return print::rows(self.listing, LONG, shown, &rows);
        }
        print::rows(short, SHORT, shown, &rows)
    }
}

fn entries(root: &Dir, path: &[u8]) -> Result<Vec<EntryRow>, Cause> {
    // A link to a directory is followed only where that is asked for, as ls(1) does with -l.
    let found = place::existing(root, path, Last::Kept)?;
    let stat = found.stat().map_err(place::failed)?;
    let (found, stat) = if dir::kind(&stat) == FileType::Symlink {
        let there = root.find(path, Last::Followed).map_err(place::failed)?;
        let is_dir = |found: &Found| Ok(dir::kind(&found.stat()?) == FileType::Directory);
        match there {
            Some(there) if is_dir(&there).map_err(place::failed)? => {
                let stat = there.stat().map_err(place::failed)?;
                (there, stat)
            }
            Some(_) | None => (found, stat),
        }
    } else {
        (found, stat)
    };
    if dir::kind(&stat) != FileType::Directory {
        let trimmed = place::trimmed(path);
        let name = trimmed.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        return Ok(vec![row(name, &found, &stat).map_err(place::failed)?]);
    }
    let dir = found.open_dir().map_err(place::failed)?;
    let mut names = dir.names().map_err(place::failed)?;
    names.sort_unstable();
    let mut rows = Vec::with_capacity(names.len());
    for name in names {
        let found = dir.find(&name, Last::Kept).map_err(place::failed)?;
        let Some(found) = found else { continue };
        let stat = found.stat().map_err(place::failed)?;
        rows.push(row(&name, &found, &stat).map_err(place::failed)?);
    }
    Ok(rows)
}

fn row(name: &[u8], found: &Found, stat: &Stat) -> Result<EntryRow, crate::sys::CallFailed> {
    let kind = dir::kind(stat);
    let xattrs = found.xattrs()?.into_iter().map(|(key, value)| (print::name(&key), print::name(&value)));
    let is_device = matches!(kind, FileType::CharacterDevice | FileType::BlockDevice);
    Ok(EntryRow {
        name: StoredPath::of(name),
        r#type: inode::kind(stat),
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        size: inode::size(stat),
        mtime: inode::time(stat),
        target: if kind == FileType::Symlink { Some(StoredPath::of(&found.link()?)) } else { None },
        device: is_device.then(|| dir::device(stat)),
        links: inode::links(stat),
        xattrs: xattrs.collect(),
        letters: inode::mode(stat),
    })
}

/// Print files of an image or a container
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ovlctl cat web:1.4:/etc/os-release
  ovlctl cat web-1.4:/var/log/app.log | tail")]
pub(super) struct Cat {
    /// The image or container, and the path of a regular file in it
    #[arg(required = true, value_name = "IMAGE|CONTAINER:PATH")]
    places: Vec<OsString>,
}

impl Act for Cat {
    fn around(&self) -> Around {
        Around::READING
    }

    fn run(&self, context: &Context) -> Result<(), Fault> {
        permit("print", TO_LOOK)?;
        let store = context.store()?;
        Fault::each(&self.places, |text| {
            let printed = Place::find(&store, text).and_then(|place| {
                place.look(&store, true, |root| Ok(print::contents(&mut place::file(root, &place.path)?)))
            });
            printed.map_err(|cause| Fault::new("print", print::name(text.as_bytes()), cause))?
        })
    }
}
