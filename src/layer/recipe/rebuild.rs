//! The tar again, from its recipe and the layer's tree.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};

use crc32fast::Hasher;

use super::{END, FILE, GONE, MAGIC, RUN};
use crate::sys::CallFailed;
use crate::sys::dir::Dir;
use crate::tarfile;

/// Why a tar cannot be made again as it was.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The recipe itself cannot be read.
    #[error("its recipe is damaged: {0}")]
    Recipe(io::Error),
    /// A file of the tree is missing, or is none any more.
    #[error("'{}' cannot be read", path.escape_ascii())]
    Unreadable {
        /// Where it is in the layer.
        path: Vec<u8>,
        /// Why not.
        source: CallFailed,
    },
    /// A file of the tree holds something else.
    #[error("the contents of '{}' are not those of the layer", path.escape_ascii())]
    Changed {
        /// Where it is in the layer.
        path: Vec<u8>,
    },
    /// The tar could not be written to where it was to go.
    #[error("{0}")]
    Output(io::Error),
}

/// More than the writer has in a frame: a chunk, and then a file in as many pieces as there may be.
const LARGEST_FRAME: u64 = 2 << 20;

/// A frame of that size needs no larger window.
const WINDOW_LOG: u32 = 21;

/// As many pieces as a sparse file may have.
const MOST_RUNS: usize = tarfile::Limits::DEFAULT.segments;

/// What a recipe says next.
enum Op {
    Run(u64),
    File { path: Vec<u8>, sum: u32, runs: Vec<(u64, u64)> },
    Gone { path: Vec<u8>, number: u64 },
    End,
}

/// Writes the tar of the layer in `diff` to `out`, by its recipe and the files that its [`DISPLACED`](super::DISPLACED)
/// has, if there is one.
///
/// A file that is not what it was goes to `wrong`, which may let the rest be made: then zeros stand where bytes are missing,
/// and whoever hashes the tar sees that it is another.
pub fn rebuild(
    recipe: &File,
    displaced: Option<&Dir>,
    diff: &Dir,
    out: &mut impl Write,
    wrong: &mut dyn FnMut(Fault) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let gone = displaced.map_or(Ok(HashMap::new()), |displaced| find_displaced(recipe, displaced))?;
    let mut recipe = Recipe::open(recipe)?;
    let mut buffer = vec![0; 128 << 10];
    let mut files = 0;
    while let Some(op) = recipe.next()? {
        match op {
            Op::Run(length) => recipe.copy(length, &mut buffer, out)?,
            Op::File { path, sum, runs } => {
                let source = match (displaced, gone.get(&files)) {
                    (Some(displaced), Some(number)) => displaced.open_file(number.to_string().as_bytes()),
                    _ => open(diff, &path),
                };
                let found = contents(source, &path, &runs, &mut buffer, out);
                let found =
                    found.and_then(|found| if found == sum { Ok(()) } else { Err(Fault::Changed { path }) });
                files += 1;
                match found {
                    Err(output @ Fault::Output(_)) => return Err(output),
                    Err(fault) => wrong(fault)?,
                    Ok(()) => {}
                }
            }
            Op::Gone { .. } => {}
            // Only who reads to the very end has zstd compare the last checksum.
            Op::End if recipe.next()?.is_none() => return Ok(()),
            Op::End => return Err(damaged("it goes on behind its end")),
        }
    }
    Err(damaged("it ends early"))
}

/// Writes the same tar to the empty file `out` with holes where contents of files are: enough to see what inodes the layer
/// has.
pub fn hollow(recipe: &File, out: &mut File) -> Result<(), Fault> {
    let mut recipe = Recipe::open(recipe)?;
    let mut buffer = vec![0; 128 << 10];
    let mut at = 0;
    while let Some(op) = recipe.next()? {
        match op {
            Op::Run(length) => {
                recipe.copy(length, &mut buffer, out)?;
                at += length;
            }
            Op::File { runs, .. } => {
                at += runs.iter().map(|(_, size)| size).sum::<u64>();
                out.seek(SeekFrom::Start(at)).map_err(Fault::Output)?;
            }
            Op::Gone { .. } => {}
            Op::End => return out.set_len(at).map_err(Fault::Output),
        }
    }
    Err(damaged("it ends early"))
}

/// Returns how many bytes the tar of a recipe has.
pub fn length(recipe: &File) -> Result<u64, Fault> {
    let mut recipe = Recipe::open(recipe)?;
    let mut buffer = vec![0; 128 << 10];
    while let Some(op) = recipe.next()? {
        match op {
            Op::Run(length) => recipe.copy(length, &mut buffer, &mut io::sink())?,
            Op::File { .. } | Op::Gone { .. } => {}
            Op::End => return Ok(recipe.size),
        }
    }
    Err(damaged("it ends early"))
}

/// Returns which files, counted as the recipe has them, were displaced, and under which number.
fn find_displaced(recipe: &File, displaced: &Dir) -> Result<HashMap<u64, u64>, Fault> {
    let kept = displaced.names().map_err(|e| Fault::Recipe(e.into()))?.len();
    let mut paths = HashSet::new();
    Recipe::open(recipe)?.for_each(|_, op| {
        if let Op::Gone { path, .. } = op {
            paths.insert(path);
        }
        if paths.len() > kept {
            Err(damaged("it tells of more displaced files than there are"))
        } else {
            Ok(())
        }
    })?;
    // Of the paths in question, the last file that stood there.
    let (mut last, mut gone) = (HashMap::new(), HashMap::new());
    Recipe::open(recipe)?.for_each(|files, op| {
        match op {
            Op::File { path, .. } if paths.contains(&path) => drop(last.insert(path, files)),
            // A hard link's name may go too, whose contents are another's.
            Op::Gone { path, number } => gone.extend(last.remove(&path).map(|file| (file, number))),
            Op::File { .. } | Op::Run(_) | Op::End => {}
        }
        Ok(())
    })?;
    Ok(gone)
}

/// A recipe, read from its beginning.
struct Recipe<'a> {
    frames: Frames<'a>,
    size: u64,
}

impl<'a> Recipe<'a> {
    fn open(file: &'a File) -> Result<Self, Fault> {
        let mut recipe = Self { frames: Frames::open(file)?, size: 0 };
        if recipe.array()? != *MAGIC { Err(damaged("it is none")) } else { Ok(recipe) }
    }

    /// Calls `each` with every operation, and with how many files came before it.
    fn for_each(mut self, mut each: impl FnMut(u64, Op) -> Result<(), Fault>) -> Result<(), Fault> {
        let mut files = 0;
        while let Some(op) = self.next()? {
            if let Op::Run(length) = op {
                self.copy(length, &mut [0; 8 << 10], &mut io::sink())?;
            }
            let is_file = matches!(op, Op::File { .. });
            each(files, op)?;
            files += u64::from(is_file);
        }
        Ok(())
    }

    /// Reads the next operation; of a run, its bytes are to be read by `copy`.
    fn next(&mut self) -> Result<Option<Op>, Fault> {
        if self.frames.fill_buf().map_err(Fault::Recipe)?.is_empty() {
            return Ok(None);
        }
        let [op] = self.array()?;
        Ok(Some(match op {
            RUN => {
                let length = u32::from_le_bytes(self.array()?).into();
                self.count(length)?;
                Op::Run(length)
            }
            FILE => {
                let (path, sum) = (self.path()?, u32::from_le_bytes(self.array()?));
                Op::File { path, sum, runs: self.runs()? }
            }
            GONE => Op::Gone { path: self.path()?, number: self.number()? },
            END if self.number()? == self.size => Op::End,
            END => return Err(damaged("it is of a tar of another size")),
            _ => return Err(damaged("it has something unknown")),
        }))
    }

    fn runs(&mut self) -> Result<Vec<(u64, u64)>, Fault> {
        let count = u32::from_le_bytes(self.array()?);
        if count as usize > MOST_RUNS {
            return Err(damaged("it has a file of too many pieces"));
        }
        let mut runs = Vec::new();
        for _ in 0..count {
            let (offset, size) = (self.number()?, self.number()?);
            offset
                .checked_add(size)
                .filter(|end| *end < 1 << 63)
                .ok_or(damaged("it has a file beyond all bounds"))?;
            self.count(size)?;
            runs.push((offset, size));
        }
        Ok(runs)
    }

    fn count(&mut self, size: u64) -> Result<(), Fault> {
        self.size = self.size.checked_add(size).ok_or(damaged("it is of a tar beyond all bounds"))?;
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let mut bytes = [0; N];
        self.frames.read_exact(&mut bytes).map_err(Fault::Recipe)?;
        Ok(bytes)
    }

    fn number(&mut self) -> Result<u64, Fault> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn path(&mut self) -> Result<Vec<u8>, Fault> {
        let mut path = vec![0; u16::from_le_bytes(self.array()?).into()];
        self.frames.read_exact(&mut path).map_err(Fault::Recipe)?;
        Ok(path)
    }

    fn copy(&mut self, mut left: u64, buffer: &mut [u8], out: &mut impl Write) -> Result<(), Fault> {
        while left > 0 {
            let most = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
            self.frames.read_exact(&mut buffer[..most]).map_err(Fault::Recipe)?;
            out.write_all(&buffer[..most]).map_err(Fault::Output)?;
            left -= most as u64;
        }
        Ok(())
    }
}

/// A recipe's bytes, a whole frame at a time: none is used before its checksum was compared, for a flipped bit may have it
/// tell of more bytes than there are disks.
struct Frames<'a> {
    /// What is left; nothing once reading has failed.
    file: Option<BufReader<&'a File>>,
    frame: Vec<u8>,
    used: usize,
}

impl<'a> Frames<'a> {
    fn open(mut file: &'a File) -> Result<Self, Fault> {
        file.rewind().map_err(Fault::Recipe)?;
        Ok(Self { file: Some(BufReader::new(file)), frame: Vec::new(), used: 0 })
    }
}

impl BufRead for Frames<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        // A frame may be empty, or one that is to be skipped.
        while self.used == self.frame.len() {
            let Some(mut file) = self.file.take() else { break };
            if file.fill_buf()?.is_empty() {
                break;
            }
            let mut decoder = zstd::Decoder::with_buffer(file)?.single_frame();
            decoder.window_log_max(WINDOW_LOG)?;
            (self.used, self.frame) = (0, Vec::new());
            decoder.by_ref().take(LARGEST_FRAME + 1).read_to_end(&mut self.frame)?;
            if self.frame.len() as u64 > LARGEST_FRAME {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "it has a frame of more than 2 MiB"));
            }
            self.file = Some(decoder.finish());
        }
        Ok(&self.frame[self.used..])
    }

    fn consume(&mut self, n: usize) {
        self.used += n;
    }
}

impl Read for Frames<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(buf)?;
        self.consume(n);
        Ok(n)
    }
}

/// Opens a file of the tree, whatever became of the directories on the way.
fn open(diff: &Dir, path: &[u8]) -> Result<File, CallFailed> {
    match path.iter().rposition(|&b| b == b'/') {
        None => diff.open_file(path),
        Some(slash) => diff.open_beneath(&path[..slash])?.open_file(&path[slash + 1..]),
    }
}

/// Writes a file's runs to `out`, and returns their sum.
fn contents(
    mut file: Result<File, CallFailed>,
    path: &[u8],
    runs: &[(u64, u64)],
    buffer: &mut [u8],
    out: &mut impl Write,
) -> Result<u32, Fault> {
    let mut sum = Hasher::new();
    for (offset, size) in runs {
        if let Ok(file) = &mut file {
            file.seek(SeekFrom::Start(*offset)).map_err(|e| unreadable(path, "lseek", &e))?;
        }
        let mut left = *size;
        while left > 0 {
            let most = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
            let read = match &mut file {
                Ok(file) => file.read(&mut buffer[..most]).map_err(|e| unreadable(path, "read", &e))?,
                Err(_) => 0,
            };
            let read = if read == 0 {
                buffer[..most].fill(0);
                most
            } else {
                read
            };
            sum.update(&buffer[..read]);
            out.write_all(&buffer[..read]).map_err(Fault::Output)?;
            left -= read as u64;
        }
    }
    file.map(|_| sum.finalize()).map_err(|source| Fault::Unreadable { path: path.to_owned(), source })
}

fn unreadable(path: &[u8], call: &'static str, e: &io::Error) -> Fault {
    Fault::Unreadable { path: path.to_owned(), source: CallFailed::of_io(call, e) }
}

fn damaged(why: &'static str) -> Fault {
    Fault::Recipe(io::Error::new(io::ErrorKind::InvalidData, why))
}
