//! Sparse files: GNU's old headers, and the three forms that GNU tar writes with PAX records.
//!
//! <https://www.gnu.org/software/tar/manual/html_section/Sparse-Formats.html>

use tar::GnuSparseHeader;

use super::error::Reason;
use super::{Sparse, number};

/// What the `GNU.sparse.*` records of a member say; values are as written.
#[derive(Default)]
pub(super) struct PaxSparse<'a> {
    /// The file's name; `path` then holds a made-up one.
    pub(super) name: Option<&'a [u8]>,
    major: Option<&'a [u8]>,
    minor: Option<&'a [u8]>,
    size: Option<&'a [u8]>,
    map: Option<&'a [u8]>,
    count: Option<&'a [u8]>,
    /// Offsets and lengths, by turns (0.0).
    numbers: Vec<&'a [u8]>,
}

/// What the records of a sparse file say, as far as they alone can.
pub(super) struct Plan {
    pub(super) map: MapIn,
    /// The file's length, holes included.
    pub(super) size: u64,
}

/// Where a sparse file's map is.
pub(super) enum MapIn {
    /// In the records: here it is (0.0 and 0.1).
    Records(Map),
    /// At the beginning of the member's data (1.0).
    Data,
}

impl<'a> PaxSparse<'a> {
    /// Takes one record; `key` is what follows `GNU.sparse.`.
    pub(super) fn record(&mut self, key: &[u8], value: &'a [u8]) -> Result<(), Reason> {
        match key {
            b"name" => self.name = Some(value).filter(|name| !name.is_empty()),
            b"major" => self.major = Some(value),
            b"minor" => self.minor = Some(value),
            b"size" | b"realsize" => self.size = Some(value),
            b"map" => self.map = Some(value),
            b"numblocks" => self.count = Some(value),
            b"offset" | b"numbytes" => {
                if (key == b"offset") != (self.numbers.len() % 2 == 0) {
                    return Err("its sparse map is out of order".into());
                }
                self.numbers.push(value);
            }
            _ => return Err(format!("record 'GNU.sparse.{}' is unknown", key.escape_ascii()).into()),
        }
        Ok(())
    }

    /// Returns whether the records speak of a sparse file at all.
    pub(super) fn is_some(&self) -> bool {
        let told = [self.major, self.minor, self.map, self.count].iter().any(Option::is_some);
        told || !self.numbers.is_empty()
    }

    /// Returns what is to be done, or nothing if the file is not sparse.
    pub(super) fn plan(&self, most: usize) -> Result<Option<Plan>, Reason> {
        let map = match (self.major, self.minor) {
            (Some(b"1"), Some(b"0")) => MapIn::Data,
            (Some(b"0"), Some(b"0" | b"1")) => MapIn::Records(self.map_in_records(most)?),
            (None, None) if self.is_some() => MapIn::Records(self.map_in_records(most)?),
            (None, None) => return Ok(None),
            (Some(_) | None, Some(_)) | (Some(_), None) => return Err("its sparse format is unknown".into()),
        };
        let size = unsigned(self.size.ok_or("its sparse map says no size")?)?;
        Ok(Some(Plan { map, size }))
    }

    fn map_in_records(&self, most: usize) -> Result<Map, Reason> {
        let listed = self.map.filter(|map| !map.is_empty());
        let listed = listed.into_iter().flat_map(|map| map.split(|byte| *byte == b','));
        let mut numbers = self.numbers.iter().copied().chain(listed);
        let mut map = Map::new(most);
        let mut pieces = 0;
        while let Some(offset) = numbers.next() {
            map.add(unsigned(offset)?, unsigned(numbers.next().ok_or("its sparse map is cut")?)?)?;
            pieces += 1;
        }
        if unsigned(self.count.ok_or("its sparse map has no length")?)? != pieces {
            return Err("its sparse map has another length than it says".into());
        }
        Ok(map)
    }
}

/// A sparse map in the making, ascending so far.
pub(super) struct Map {
    segments: Vec<(u64, u64)>,
    end: u64,
    stored: u64,
    most: usize,
}

impl Map {
    pub(super) fn new(most: usize) -> Self {
        Self { segments: Vec::new(), end: 0, stored: 0, most }
    }

    /// Adds the next piece; an empty one only tells where the file ends, as GNU tar writes it.
    pub(super) fn add(&mut self, offset: u64, length: u64) -> Result<(), Reason> {
        if offset < self.end {
            return Err("its sparse map overlaps or goes backwards".into());
        }
        self.end = offset.checked_add(length).ok_or("its sparse map is beyond all files")?;
        if length == 0 {
            return Ok(());
        }
        if self.segments.len() == self.most {
            return Err(format!("its sparse map has more than {} pieces", self.most).into());
        }
        self.segments.push((offset, length));
        self.stored += length; // at most `end`, since pieces do not overlap
        Ok(())
    }

    /// Adds the pieces of one old GNU header, which ends early at an empty field.
    pub(super) fn add_gnu(&mut self, pieces: &[GnuSparseHeader]) -> Result<(), Reason> {
        for piece in pieces.iter().take_while(|piece| piece.numbytes[0] != 0) {
            self.add(size(&piece.offset)?, size(&piece.numbytes)?)?;
        }
        Ok(())
    }

    /// Returns the finished map of a file of `size` bytes, of which `stored` are in the tar.
    pub(super) fn finish(self, size: u64, stored: u64) -> Result<Sparse, Reason> {
        if i64::try_from(size).is_err() {
            return Err("its size does not fit".into());
        }
        if self.end > size {
            return Err("its sparse map goes beyond its end".into());
        }
        if self.stored != stored {
            return Err(format!("its sparse map tells of {} bytes, {stored} are stored", self.stored).into());
        }
        Ok(Sparse { size, segments: self.segments })
    }
}

/// Reads the map that format 1.0 has before the data: decimal numbers, a line each.
pub(super) struct MapText {
    map: Map,
    /// The pieces still to come; not yet known before the first number.
    awaited: Option<u64>,
    offset: Option<u64>,
    digits: Vec<u8>,
}

impl MapText {
    pub(super) fn new(most: usize) -> Self {
        Self { map: Map::new(most), awaited: None, offset: None, digits: Vec::new() }
    }

    /// Takes one block and tells whether the map goes on in another.
    pub(super) fn add(&mut self, block: &[u8]) -> Result<bool, Reason> {
        const MOST_DIGITS: usize = 20;
        for byte in block {
            if *byte != b'\n' {
                if self.digits.len() == MOST_DIGITS {
                    return Err("its sparse map is no map".into());
                }
                self.digits.push(*byte);
                continue;
            }
            let number = unsigned(&self.digits)?;
            self.digits.clear();
            self.number(number)?;
            if self.awaited == Some(0) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn number(&mut self, number: u64) -> Result<(), Reason> {
        match (self.awaited, self.offset.take()) {
            (None, _) => self.awaited = Some(number),
            (Some(_), None) => self.offset = Some(number),
            (Some(awaited), Some(offset)) => {
                self.map.add(offset, number)?;
                self.awaited = Some(awaited - 1);
            }
        }
        Ok(())
    }

    pub(super) fn into_map(self) -> Map {
        self.map
    }
}

fn unsigned(text: &[u8]) -> Result<u64, Reason> {
    let number = number::decimal(text).and_then(|number| u64::try_from(number).ok());
    number.ok_or_else(|| "its sparse map holds no number".into())
}

/// A size in an old GNU header.
pub(super) fn size(field: &[u8]) -> Result<u64, Reason> {
    let number = number::field(field).and_then(|number| u64::try_from(number).ok());
    number.ok_or_else(|| "its sparse map holds no number".into())
}
