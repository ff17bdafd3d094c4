//! Reads a tar from its first block to its last byte.

use std::io::BufRead;

use super::error::{Error, Reason};
use super::header::{BLOCK, Flag, Header};
use super::pax::{self, Records};
use super::sparse::{self, Map, MapIn, MapText, Plan};
use super::stream::Stream;
use super::{Kind, Limits, Member, Sparse, member};

/// Reads a tar, member by member, in one pass and with bounded memory.
///
/// After [`next`](Self::next), the member's stored data is had by [`fill`](Self::fill) and [`consume`](Self::consume);
/// what is left of it is passed over by the following `next`.
pub struct Reader<R> {
    stream: Stream<R>,
    limits: Limits,
    /// PAX records that hold for all members to come, the later ones behind.
    globals: Vec<u8>,
    pending: Pending,
    /// The name of the member whose data is being read.
    current: Vec<u8>,
    left: u64,
    padding: u64,
    ended: bool,
}

/// What came before a member's own header.
#[derive(Default)]
struct Pending {
    some: bool,
    records: Vec<u8>,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl<R: BufRead> Reader<R> {
    /// Reads the tar that begins at `input`'s next byte; no bytes at all are the empty tar.
    pub fn new(input: R, limits: Limits) -> Self {
        Self {
            stream: Stream { input, position: 0 },
            limits,
            globals: Vec::new(),
            pending: Pending::default(),
            current: Vec::new(),
            left: 0,
            padding: 0,
            ended: false,
        }
    }

    /// Returns the next member, or nothing at the end of the tar.
    ///
    /// The end is a block of zeros, whatever follows it, or the end of input where a header would begin.
    #[expect(
        clippy::should_implement_trait,
        reason = "data lies between the members, so this is no Iterator"
    )]
    pub fn next(&mut self) -> Result<Option<Member>, Error> {
        self.pass_data()?;
        if self.ended {
            return Ok(None);
        }
        let mut block = [0; BLOCK];
        while self.header_block(&mut block)? {
            let header = Header::parse(&block).map_err(|reason| self.damaged_header(reason))?;
            let flag = header.flag().map_err(|reason| Error::entry(&header.name(), reason))?;
            match flag {
                Flag::Records => self.take_records(&header)?,
                Flag::GlobalRecords => self.take_globals(&header)?,
                Flag::LongName => self.pending.name = Some(self.long_name(&header)?),
                Flag::LongLink => self.pending.link = Some(self.long_name(&header)?),
                Flag::VolumeLabel => {
                    self.pass_over(&header)?;
                    continue;
                }
                Flag::File
                | Flag::HardLink
                | Flag::Symlink
                | Flag::CharDevice
                | Flag::BlockDevice
                | Flag::Directory
                | Flag::Fifo
                | Flag::GnuSparse
                | Flag::GnuDump => return self.member(&header, flag).map(Some),
            }
            self.pending.some |= flag != Flag::GlobalRecords;
        }
        self.ended = true;
        if self.pending.some {
            return Err(self.damaged("ends after a member's extended header"));
        }
        Ok(None)
    }

    /// Returns how many bytes of the member's stored data are still to be read.
    pub fn data_left(&self) -> u64 {
        self.left
    }

    /// Returns how many bytes of the input have been read; after `next`, where the member's stored data begins.
    pub fn position(&self) -> u64 {
        self.stream.position
    }

    /// Returns the next run of the member's stored data, empty at its end.
    pub fn fill(&mut self) -> Result<&[u8], Error> {
        if self.left == 0 {
            return Ok(&[]);
        }
        let run = self.stream.fill()?;
        if run.is_empty() {
            return Err(Error::entry(&self.current, "the tar ends inside its data"));
        }
        let length = usize::try_from(self.left).map_or(run.len(), |left| left.min(run.len()));
        Ok(&run[..length])
    }

    /// Marks `n` bytes of what `fill` returned as read.
    pub fn consume(&mut self, n: usize) {
        self.left = self.left.checked_sub(n as u64).expect("no more than `fill` returned");
        self.stream.consume(n);
    }

    /// Returns the input, for a pipeline that takes the data from it by itself and tells by [`took`](Self::took).
    pub fn input_mut(&mut self) -> &mut R {
        &mut self.stream.input
    }

    /// Notes that `n` bytes of the member's stored data were taken from the input.
    pub fn took(&mut self, n: u64) {
        self.left = self.left.checked_sub(n).expect("no more than `data_left`");
        self.stream.position += n;
    }

    /// Reads to the end of input, past whatever follows the tar, and returns the input.
    pub fn finish(mut self) -> Result<R, Error> {
        self.stream.skip(u64::MAX)?;
        Ok(self.stream.input)
    }

    /// Reads the next block; returns whether it is a header's.
    fn header_block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, Error> {
        match self.stream.block(block)? {
            0 => Ok(false),
            BLOCK => Ok(block.iter().any(|byte| *byte != 0)),
            _ => Err(self.damaged("the tar ends inside a header")),
        }
    }

    fn damaged(&self, reason: impl Into<Reason>) -> Error {
        Error::damaged(self.stream.position, reason)
    }

    fn damaged_header(&self, reason: Reason) -> Error {
        Error::damaged(self.stream.position - BLOCK as u64, reason)
    }

    /// Passes over what is unread of the member's data and over its padding.
    fn pass_data(&mut self) -> Result<(), Error> {
        if !self.stream.skip(self.left + self.padding)? {
            return Err(Error::entry(&self.current, "the tar ends inside its data"));
        }
        (self.left, self.padding) = (0, 0);
        Ok(())
    }

    fn pass_over(&mut self, header: &Header) -> Result<(), Error> {
        let size =
            member::size(None, header.size()).map_err(|reason| Error::entry(&header.name(), reason))?;
        self.current = header.name();
        (self.left, self.padding) = (size, padding(size));
        self.pass_data()
    }

    /// Reads an extended header's data behind what is in `buffer`, of which it may make `records` bytes.
    fn extended(&mut self, header: &Header, mut buffer: Vec<u8>) -> Result<Vec<u8>, Error> {
        let most = self.limits.records;
        let size =
            member::size(None, header.size()).map_err(|reason| Error::entry(&header.name(), reason))?;
        if size > most || size + buffer.len() as u64 > most {
            return Err(Error::entry(
                &header.name(),
                format!("its extended header has more than {most} bytes"),
            ));
        }
        if !self.stream.read(size, &mut buffer)? || !self.stream.skip(padding(size))? {
            return Err(Error::entry(&header.name(), "the tar ends inside its extended header"));
        }
        Ok(buffer)
    }

    fn take_records(&mut self, header: &Header) -> Result<(), Error> {
        let before = std::mem::take(&mut self.pending.records);
        self.pending.records = self.extended(header, before)?;
        Ok(())
    }

    fn take_globals(&mut self, header: &Header) -> Result<(), Error> {
        let data = self.extended(header, Vec::new())?;
        let lasting = pax::lasting(&data).map_err(|reason| Error::entry(&header.name(), reason))?;
        self.globals.extend_from_slice(&lasting);
        let most = self.limits.global_records;
        if self.globals.len() > most {
            return Err(self.damaged(format!("its global records have more than {most} bytes")));
        }
        Ok(())
    }

    fn long_name(&mut self, header: &Header) -> Result<Vec<u8>, Error> {
        let mut name = self.extended(header, Vec::new())?;
        if let Some(end) = name.iter().position(|byte| *byte == 0) {
            name.truncate(end);
        }
        Ok(name)
    }

    /// Makes a member of its own header and of all that came before it.
    fn member(&mut self, header: &Header, flag: Flag) -> Result<Member, Error> {
        let Pending { records: raw, name, link, some: _ } = std::mem::take(&mut self.pending);
        let own = || name.clone().unwrap_or_else(|| header.name());
        let mut records = Records::default();
        for data in [&self.globals, &raw] {
            records.read(data).map_err(|reason| Error::entry(&own(), reason))?;
        }
        // Go's reader takes the long name, libarchive's and GNU's take the record: two different trees.
        for (record, long) in [(records.name(), &name), (records.linkpath, &link)] {
            if record.is_some() && long.as_deref().is_some_and(|long| record != Some(long)) {
                return Err(Error::entry(&own(), "its long name and its PAX records disagree"));
            }
        }
        self.current.clear();
        match records.name() {
            Some(name) => self.current.extend_from_slice(name),
            None => self.current = own(),
        }
        let made = member::build(&self.current, header, flag, &records, link);
        let made = made.and_then(|made| Ok((made, records.sparse.plan(self.limits.segments)?)));
        let (mut made, plan) = made.map_err(|reason| Error::entry(&self.current, reason))?;
        (self.left, self.padding) = (made.stored, padding(made.stored));
        match made.kind {
            Kind::File if flag == Flag::GnuSparse => made.sparse = Some(self.gnu_sparse(header)?),
            Kind::File => made.sparse = plan.map(|plan| self.pax_sparse(plan)).transpose()?,
            // What an incremental dump tells of a directory's names.
            Kind::Directory => self.pass_data()?,
            Kind::Symlink(_)
            | Kind::HardLink(_)
            | Kind::CharDevice { .. }
            | Kind::BlockDevice { .. }
            | Kind::Fifo => {}
        }
        made.stored = self.left;
        Ok(made)
    }

    /// Reads the map in a GNU header and in the blocks that continue it.
    fn gnu_sparse(&mut self, header: &Header) -> Result<Sparse, Error> {
        let mut map = Map::new(self.limits.segments);
        let gnu = header.gnu().ok_or_else(|| self.entry("its sparse format is unknown"))?;
        map.add_gnu(&gnu.sparse).map_err(|reason| self.entry(reason))?;
        let mut block = tar::GnuExtSparseHeader::new();
        let mut more = gnu.is_extended();
        while more {
            if self.stream.block(block.as_mut_bytes())? != BLOCK {
                return Err(self.entry("the tar ends inside its sparse map"));
            }
            map.add_gnu(&block.sparse).map_err(|reason| self.entry(reason))?;
            more = block.is_extended();
        }
        let size = sparse::size(&gnu.realsize);
        size.and_then(|size| map.finish(size, self.left)).map_err(|reason| self.entry(reason))
    }

    fn pax_sparse(&mut self, plan: Plan) -> Result<Sparse, Error> {
        let map = match plan.map {
            MapIn::Records(map) => map,
            MapIn::Data => self.map_in_data()?,
        };
        map.finish(plan.size, self.left).map_err(|reason| self.entry(reason))
    }

    /// Reads the map before the data, which fills whole blocks.
    fn map_in_data(&mut self) -> Result<Map, Error> {
        let mut map = MapText::new(self.limits.segments);
        let mut block = [0; BLOCK];
        let mut more = true;
        while more {
            if self.left < BLOCK as u64 {
                return Err(self.entry("its sparse map is longer than its data"));
            }
            if self.stream.block(&mut block)? != BLOCK {
                return Err(self.entry("the tar ends inside its sparse map"));
            }
            self.left -= BLOCK as u64;
            more = map.add(&block).map_err(|reason| self.entry(reason))?;
        }
        Ok(map.into_map())
    }

    fn entry(&self, reason: impl Into<Reason>) -> Error {
        Error::entry(&self.current, reason)
    }
}

/// How many bytes fill up the last block of `size` bytes.
fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}
