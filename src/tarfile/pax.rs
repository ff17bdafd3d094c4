//! PAX records: `LENGTH KEY=VALUE\n`, cut by their length.
//!
//! Never by the newline: an attribute's value may hold one, and could then forge a record.

use std::collections::HashSet;

use super::error::Reason;
use super::sparse::PaxSparse;

const XATTR: &[u8] = b"SCHILY.xattr.";

/// Names and values.
pub(super) type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// What PAX records say about one member; values are as written.
#[derive(Default)]
pub(super) struct Records<'a> {
    pub(super) path: Option<&'a [u8]>,
    pub(super) linkpath: Option<&'a [u8]>,
    pub(super) size: Option<&'a [u8]>,
    pub(super) uid: Option<&'a [u8]>,
    pub(super) gid: Option<&'a [u8]>,
    pub(super) mtime: Option<&'a [u8]>,
    pub(super) major: Option<&'a [u8]>,
    pub(super) minor: Option<&'a [u8]>,
    pub(super) sparse: PaxSparse<'a>,
    xattrs: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Records<'a> {
    /// Adds the records of one extended header; the last of a key holds, an empty value undoes those before.
    pub(super) fn read(&mut self, data: &'a [u8]) -> Result<(), Reason> {
        for record in split(data) {
            let Record { key, value, .. } = record?;
            if let Some(name) = key.strip_prefix(XATTR) {
                self.xattrs.push((name, value));
            } else if let Some(slot) = self.slot(key) {
                *slot = Some(value).filter(|value| !value.is_empty());
            } else if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
                self.sparse.record(key, value)?;
            }
        }
        Ok(())
    }

    fn slot(&mut self, key: &[u8]) -> Option<&mut Option<&'a [u8]>> {
        Some(match key {
            b"path" => &mut self.path,
            b"linkpath" => &mut self.linkpath,
            b"size" => &mut self.size,
            b"uid" => &mut self.uid,
            b"gid" => &mut self.gid,
            b"mtime" => &mut self.mtime,
            b"SCHILY.devmajor" => &mut self.major,
            b"SCHILY.devminor" => &mut self.minor,
            _ => return None,
        })
    }

    /// Returns the member's name; a sparse file's `path` is made up for tars that know no sparse files.
    pub(super) fn name(&self) -> Option<&'a [u8]> {
        self.sparse.name.or(self.path)
    }

    /// Returns the extended attributes, each name once, with its last value.
    pub(super) fn xattrs(&self) -> Result<Xattrs, Reason> {
        if let Some((name, _)) = self.xattrs.iter().find(|(name, _)| name.is_empty() || name.contains(&0)) {
            return Err(format!("'{}' is no name of an extended attribute", name.escape_ascii()).into());
        }
        let mut seen = HashSet::new();
        let mut last: Vec<_> = self.xattrs.iter().rev().filter(|(name, _)| seen.insert(*name)).collect();
        last.reverse();
        Ok(last.into_iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect())
    }
}

/// Returns of a global header's records those that say something about a member.
pub(super) fn lasting(data: &[u8]) -> Result<Vec<u8>, Reason> {
    let mut kept = Vec::new();
    for record in split(data) {
        let Record { key, whole, .. } = record?;
        // Not the sparse ones: they describe one file's data.
        if key.starts_with(XATTR) || Records::default().slot(key).is_some() {
            kept.extend_from_slice(whole);
        }
    }
    Ok(kept)
}

struct Record<'a> {
    key: &'a [u8],
    value: &'a [u8],
    whole: &'a [u8],
}

fn split(mut rest: &[u8]) -> impl Iterator<Item = Result<Record<'_>, Reason>> {
    std::iter::from_fn(move || {
        // Some writers count the padding to the header's size.
        if rest.iter().all(|byte| *byte == 0) {
            return None;
        }
        let record = first(rest);
        rest = record.as_ref().map_or(&[], |record| &rest[record.whole.len()..]);
        Some(record)
    })
}

fn first(data: &[u8]) -> Result<Record<'_>, Reason> {
    parse(data).ok_or_else(|| "its PAX records are damaged".into())
}

fn parse(data: &[u8]) -> Option<Record<'_>> {
    // The limit on a header has 7 digits; leading zeros are not known to be written.
    const MOST_DIGITS: usize = 20;
    let space = data.iter().take(MOST_DIGITS + 1).position(|byte| *byte == b' ')?;
    let length = usize::try_from(super::number::decimal(&data[..space])?).ok()?;
    let whole = data.get(..length)?;
    let record = whole.get(space + 1..)?;
    let record = match record.strip_suffix(b"\n") {
        Some(record) => record,
        // libarchive, too, takes a last record that lacks its newline.
        None if length == data.len() => record,
        None => return None,
    };
    let equals = record.iter().position(|byte| *byte == b'=').filter(|at| *at > 0)?;
    let key = &record[..equals];
    (!key.contains(&0) || key.starts_with(XATTR)).then(|| Record { key, value: &record[equals + 1..], whole })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(data: &[u8]) -> Result<Records<'_>, Reason> {
        let mut records = Records::default();
        records.read(data)?;
        Ok(records)
    }

    #[test]
    fn a_newline_in_a_value_starts_no_record() {
        let data = b"44 SCHILY.xattr.user.a=\n19 path=etc/passwd\n\n15 path=honest\n";
        let records = read(data).unwrap();
        assert_eq!(records.path, Some(&b"honest"[..]));
        assert_eq!(records.xattrs().unwrap(), [(b"user.a".to_vec(), b"\n19 path=etc/passwd\n".to_vec())]);
    }

    #[test]
    fn a_value_may_hold_nul_and_equals_signs() {
        let records = read(b"29 SCHILY.xattr.user.a=\x01\0=\n\xff\n").unwrap();
        assert_eq!(records.xattrs().unwrap(), [(b"user.a".to_vec(), b"\x01\0=\n\xff".to_vec())]);
    }

    #[test]
    fn the_last_of_a_key_holds_and_an_empty_value_undoes_it() {
        let records = read(b"9 uid=12\n9 uid=13\n9 gid=12\n7 gid=\n").unwrap();
        assert_eq!((records.uid, records.gid), (Some(&b"13"[..]), None));
    }

    #[test]
    fn an_attribute_may_be_empty_and_is_listed_once() {
        let records =
            read(b"24 SCHILY.xattr.user.a=\n25 SCHILY.xattr.user.b=1\n25 SCHILY.xattr.user.b=2\n").unwrap();
        assert_eq!(
            records.xattrs().unwrap(),
            [(b"user.a".to_vec(), b"".to_vec()), (b"user.b".to_vec(), b"2".to_vec())]
        );
    }

    #[test]
    fn of_global_records_those_about_members_last() {
        assert_eq!(lasting(b"14 comment=ab\n9 uid=12\n21 GNU.sparse.size=9\n").unwrap(), b"9 uid=12\n");
    }

    #[test]
    fn lengths_are_believed_only_when_they_fit() {
        for (data, sound) in [
            (&b""[..], true),
            (b"\0\0\0", true),
            (b"9 uid=12\n\0\0", true),
            (b"4 x=", true),
            (b"8 uid=12\n", false),
            (b"11 uid=12\n", false),
            (b"9 uid=129 gid=12\n", false),
            (b"0 uid=12\n", false),
            (b"-9 uid=12\n", false),
            (b"99999999999999999999999 uid=12\n", false),
            (b"18446744073709551615 uid=1\n", false),
            (b"uid=12\n", false),
            (b"5 =1\n", false),
            (b"5 ab\n", false),
            (b"2 ", false),
            (b"9", false),
            (b"11 pa\0th=a\n", false),
        ] {
            assert_eq!(read(data).is_ok(), sound, "{}", data.escape_ascii());
        }
    }
}
