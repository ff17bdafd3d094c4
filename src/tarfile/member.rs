//! What a header and the PAX records before it say about one member. Pure.

use super::error::Reason;
use super::header::{Flag, Header};
use super::pax::Records;
use super::{Kind, Member, Time, number};

/// The kernel's device numbers have 12 bits for the major and 20 for the minor number (MINORBITS).
const MOST_MAJOR: u32 = (1 << 12) - 1;
const MOST_MINOR: u32 = (1 << 20) - 1;

/// Returns the member; where a record and the header disagree, the record holds.
///
/// Its `stored` is all that follows the header, with a sparse map that may lie in it.
pub(super) fn build(
    path: &[u8],
    header: &Header,
    flag: Flag,
    records: &Records,
    long_link: Option<Vec<u8>>,
) -> Result<Member, Reason> {
    if path.contains(&0) {
        return Err("a NUL is in its name".into());
    }
    let kind = kind(path, header, flag, records, long_link)?;
    let stored = match kind {
        // Links, devices and fifos carry no data, whatever they say: old tars repeat the file's size in its links.
        Kind::HardLink(_)
        | Kind::Symlink(_)
        | Kind::CharDevice { .. }
        | Kind::BlockDevice { .. }
        | Kind::Fifo => 0,
        // POSIX has a directory's size limit what it may hold; only the two old ways to mark one have data.
        Kind::Directory if flag == Flag::Directory => 0,
        Kind::Directory | Kind::File => size(records.size, header.size())?,
    };
    if records.sparse.is_some() && kind != Kind::File {
        return Err("a sparse map is for files".into());
    }
    let mode = number::field(header.mode()).ok_or("its mode is no number")?;
    Ok(Member {
        path: path.to_vec(),
        kind,
        mode: u32::try_from(mode & 0o7777).expect("12 bits"),
        uid: id(records.uid, header.uid(), "owner")?,
        gid: id(records.gid, header.gid(), "group")?,
        mtime: mtime(records.mtime, header.mtime())?,
        xattrs: records.xattrs()?,
        stored,
        sparse: None,
    })
}

fn kind(
    path: &[u8],
    header: &Header,
    flag: Flag,
    records: &Records,
    long_link: Option<Vec<u8>>,
) -> Result<Kind, Reason> {
    let target = || {
        let target =
            records.linkpath.map(<[u8]>::to_vec).or(long_link).unwrap_or_else(|| header.link().to_vec());
        if target.contains(&0) { Err(Reason::from("a NUL is in its target")) } else { Ok(target) }
    };
    let major = || device(records.major, header.major(), MOST_MAJOR, "major");
    let minor = || device(records.minor, header.minor(), MOST_MINOR, "minor");
    Ok(match flag {
        // V7 tars have no directories but by this.
        Flag::File if path.ends_with(b"/") => Kind::Directory,
        Flag::File | Flag::GnuSparse => Kind::File,
        Flag::HardLink => Kind::HardLink(target()?),
        Flag::Symlink => Kind::Symlink(target()?),
        Flag::CharDevice => Kind::CharDevice { major: major()?, minor: minor()? },
        Flag::BlockDevice => Kind::BlockDevice { major: major()?, minor: minor()? },
        Flag::Directory | Flag::GnuDump => Kind::Directory,
        Flag::Fifo => Kind::Fifo,
        Flag::Records | Flag::GlobalRecords | Flag::LongName | Flag::LongLink | Flag::VolumeLabel => {
            unreachable!("introduces no member")
        }
    })
}

/// Returns how many bytes follow a header; what no file can hold is refused.
///
/// A record is there for sizes beyond the field's eleven octal digits. One that contradicts the field without need would
/// have two readers see two different tars (CVE-2025-62518).
pub(super) fn size(record: Option<&[u8]>, field: &[u8]) -> Result<u64, Reason> {
    const MOST_OCTAL: u64 = (1 << 33) - 1;
    let Some(record) = record else { return length(number::field(field)) };
    let size = length(number::decimal(record))?;
    if size <= MOST_OCTAL && length(number::field(field)) != Ok(size) {
        return Err("its header and its PAX records disagree about its size".into());
    }
    Ok(size)
}

fn length(number: Option<i128>) -> Result<u64, Reason> {
    let number = number.ok_or("its size is no number")?;
    let length = i64::try_from(number).ok().and_then(|number| u64::try_from(number).ok());
    length.ok_or_else(|| "its size does not fit".into())
}

/// Numbers are never cut to 32 bits: 2^32 would be root's, and -1 means "leave as it is" to chown(2).
fn id(record: Option<&[u8]>, field: &[u8], whose: &str) -> Result<u32, Reason> {
    let id = either(record, field).ok_or_else(|| format!("its {whose} is no number"))?;
    let fits = u32::try_from(id).ok().filter(|id| *id != u32::MAX);
    fits.ok_or_else(|| format!("its {whose} {id} does not fit").into())
}

fn device(record: Option<&[u8]>, field: &[u8], most: u32, which: &str) -> Result<u32, Reason> {
    let number = either(record, field).ok_or_else(|| format!("its {which} number is no number"))?;
    let fits = u32::try_from(number).ok().filter(|number| *number <= most);
    fits.ok_or_else(|| format!("its {which} number {number} does not fit").into())
}

fn mtime(record: Option<&[u8]>, field: &[u8]) -> Result<Time, Reason> {
    let time = match record {
        Some(text) => number::time(text),
        None => number::field(field)
            .and_then(|seconds| i64::try_from(seconds).ok())
            .map(|seconds| Time { seconds, nanos: 0 }),
    };
    time.ok_or_else(|| "its time is no number that fits".into())
}

fn either(record: Option<&[u8]>, field: &[u8]) -> Option<i128> {
    record.map_or_else(|| number::field(field), number::decimal)
}
