//! What the machine needs for a layer at the least: the parts of the floor, one by one.
//!
//! ```text
//! floor layers SCRATCH TAR...    the seconds to unpack these layers (plain, gzip or zstd) below SCRATCH
//! floor mount SCRATCH LOWER...   the seconds that the kernel alone takes to mount these directories, and to unmount
//! ```
//!
//! Each part is done in the cheapest way that is known. All answers are JSON: of layers there are two. `alone` is the
//! processor time of one thread while nothing else works, over the number of processors. `together` is the time on the wall
//! of a thread on each of them, all doing the same at once, over their number: processors share caches and memory, and a
//! virtual machine's are not always there, so that none is as fast beside the others as it is alone.

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use ovlctl::archive::blob::{self, Blob};
use ovlctl::digest::Hasher;
use ovlctl::sys::dir::{self, Dir};
use ovlctl::sys::mount::{self, Attributes};
use ovlctl::sys::script::{Call, How, Slot, Slots, Text, Value};
use ovlctl::sys::tree;
use ovlctl::tarfile::{Kind, Limits, Member, Reader};
use rustix::time::{ClockId, clock_gettime};

/// How many mounts are tried; the fastest counts.
const MOUNTS: usize = 30;

const BLOCK: usize = 512 << 10;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> Result<()> {
    let arguments: Vec<PathBuf> =
        std::env::args_os().skip(1).filter(|a| a != "--bench").map(PathBuf::from).collect();
    let Some((verb, rest)) = arguments.split_first() else { return Ok(()) };
    let Some((scratch, paths)) = rest.split_first() else { return Err("no directory to work in".into()) };
    let answer = match verb.to_str() {
        Some("layers") => {
            let layers = layers(scratch, paths)?;
            format!("{{\"alone\": {}, \"together\": {}}}", json(&layers.alone), json(&layers.together))
        }
        Some("mount") => json(&mounts(scratch, paths)?),
        _ => return Err("floor layers|mount SCRATCH PATH...".into()),
    };
    writeln!(io::stdout(), "{answer}")?;
    Ok(())
}

type Parts = Vec<(&'static str, f64)>;

fn json(parts: &Parts) -> String {
    let parts: Vec<String> = parts.iter().map(|(name, seconds)| format!("{name:?}: {seconds:.6}")).collect();
    format!("{{{}}}", parts.join(", "))
}

/// A measure of the floor, for one load.
struct Layers {
    alone: Parts,
    together: Parts,
}

/// One part's work, given by the number of the thread that does it.
type Work<'a> = &'a (dyn Fn(usize) -> Result<()> + Sync);

fn layers(scratch: &Path, paths: &[PathBuf]) -> Result<Layers> {
    let processors = thread::available_parallelism()?.get().min(2);
    let image = Image(paths.iter().map(|path| Layer::read(path)).collect::<Result<_>>()?);
    let alone = image.parts(scratch, |work| Ok(alone(work)? / processors as f64))?;
    let together = image.parts(scratch, |work| Ok(together(processors, work)? / processors as f64))?;
    Ok(Layers { alone, together })
}

/// Returns the processor seconds that this thread takes for it.
fn alone(work: Work) -> Result<f64> {
    let seconds = || {
        let now = clock_gettime(ClockId::ThreadCPUTime);
        now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
    };
    let before = seconds();
    work(0)?;
    Ok(seconds() - before)
}

/// Returns the seconds until so many threads have all done it.
fn together(threads: usize, work: Work) -> Result<f64> {
    let before = Instant::now();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|nr| scope.spawn(move || work(nr))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
    })?;
    Ok(before.elapsed().as_secs_f64())
}

/// A layer, with its tar in memory.
struct Layer<'a> {
    path: &'a Path,
    compressed: bool,
    tar: Vec<u8>,
    members: Vec<Placed>,
}

impl<'a> Layer<'a> {
    fn read(path: &'a Path) -> Result<Self> {
        let mut tar = Vec::new();
        blob::decoder(Blob::of_file(File::open(path)?)?)?.read_to_end(&mut tar)?;
        let compressed = tar.len() as u64 != fs::metadata(path)?.len();
        let members = members(&tar)?;
        Ok(Self { path, compressed, tar, members })
    }
}

struct Image<'a>(Vec<Layer<'a>>);

impl Image<'_> {
    fn parts(&self, scratch: &Path, measure: impl Fn(Work) -> Result<f64>) -> Result<Parts> {
        let each = |work: &dyn Fn(&Layer) -> Result<()>| self.0.iter().try_for_each(work);
        let compressed = |work: &dyn Fn(&Layer) -> Result<()>| {
            self.0.iter().filter(|layer| layer.compressed).try_for_each(work)
        };
        let read = measure(&|_| each(&|layer| read(&mut File::open(layer.path)?)))?;
        let (mut inflate, mut stored) = (0.0, 0.0);
        if self.0.iter().any(|layer| layer.compressed) {
            inflate = measure(&|_| compressed(&|layer| read_decoded(layer.path)))? - read;
            stored = measure(&|_| compressed(&|layer| hash(&fs::read(layer.path)?)))? - read;
        }
        let hashed = measure(&|_| each(&|layer| hash(&layer.tar)))?;
        let create = in_trees(scratch, &measure, |tree| self.make(tree, false))?;
        let filled = in_trees(scratch, &measure, |tree| self.make(tree, true))?;
        Ok(vec![
            ("read", read),
            ("inflate", inflate),
            ("hash stored bytes", stored),
            ("hash", hashed),
            ("create", create),
            ("copy", filled - create),
        ])
    }

    /// Makes the inodes of each layer in a directory of its own, with their contents or without.
    fn make(&self, tree: &Dir, filled: bool) -> Result<()> {
        for (nr, layer) in self.0.iter().enumerate() {
            let name = nr.to_string();
            tree.mkdir(name.as_bytes(), 0o700)?;
            let root = tree.open_dir(name.as_bytes())?;
            make(&root, &layer.members, filled.then_some(layer.tar.as_slice()))?;
        }
        Ok(())
    }
}

/// Measures `work` in an empty directory for each thread.
fn in_trees(
    scratch: &Path,
    measure: impl Fn(Work) -> Result<f64>,
    work: impl Fn(&Dir) -> Result<()> + Sync,
) -> Result<f64> {
    let scratch = Dir::open(scratch)?;
    let name = b"floor";
    tree::remove(&scratch, name)?;
    scratch.mkdir(name, 0o700)?;
    let trees = scratch.open_dir(name)?;
    let seconds = measure(&|nr| {
        let nr = nr.to_string();
        trees.mkdir(nr.as_bytes(), 0o700)?;
        work(&trees.open_dir(nr.as_bytes())?)
    })?;
    tree::remove(&scratch, name)?;
    Ok(seconds)
}

fn read(from: &mut dyn Read) -> Result<()> {
    let mut buffer = vec![0; BLOCK];
    while from.read(&mut buffer)? > 0 {
        black_box(&buffer);
    }
    Ok(())
}

fn read_decoded(path: &Path) -> Result<()> {
    read(&mut blob::decoder(Blob::of_file(File::open(path)?)?)?)
}

fn hash(bytes: &[u8]) -> Result<()> {
    let mut hasher = Hasher::default();
    for block in bytes.chunks(BLOCK) {
        hasher.update(block);
    }
    black_box(hasher.finish());
    Ok(())
}

/// A member and where its data lies in the tar.
type Placed = (Member, usize);

fn members(tar: &[u8]) -> Result<Vec<Placed>> {
    let mut members = Vec::new();
    let mut reader = Reader::new(tar, Limits::default());
    while let Some(member) = reader.next()? {
        members.push((member, usize::try_from(reader.position())?));
    }
    Ok(members)
}

/// Makes all inodes, in one directory after the other, with as few calls as there can be.
fn make(root: &Dir, members: &[Placed], tar: Option<&[u8]>) -> Result<()> {
    let mut here: (&[u8], Dir) = (b"", root.again()?);
    for (member, at) in members {
        let path = member.path.strip_suffix(b"/").unwrap_or(&member.path);
        let end = path.iter().rposition(|&b| b == b'/');
        let (parent, name) = end.map_or((&b""[..], path), |end| (&path[..end], &path[end + 1..]));
        if here.0 != parent {
            here = (parent, root.open_beneath(parent)?);
        }
        let (dir, seconds, nanos) = (&here.1, member.mtime.seconds, member.mtime.nanos);
        match &member.kind {
            Kind::Directory => {
                dir.mkdir(name, member.mode)?;
                dir.set_times(name, seconds, nanos)?;
            }
            Kind::File => {
                let mut file = dir.create(name, member.mode)?;
                if let Some(tar) = tar {
                    file.write_all(&tar[*at..*at + usize::try_from(member.stored)?])?;
                }
                dir::set_times(&file, seconds, nanos)?;
            }
            Kind::Symlink(target) => {
                dir.symlink(target, name)?;
                dir.set_times(name, seconds, nanos)?;
            }
            Kind::HardLink(target) => root.link(target, dir, name)?,
            Kind::CharDevice { .. } | Kind::BlockDevice { .. } | Kind::Fifo => {}
        }
    }
    Ok(())
}

/// Mounts as `ovlctl` does, by a handle a lower directory; counts only the calls.
fn mounts(scratch: &Path, lowers: &[PathBuf]) -> Result<Parts> {
    mount::own_mount_namespace()?;
    let paths = ["upper", "work", "merged"].map(|name| scratch.join(name));
    let (mut mounting, mut unmounting) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..MOUNTS {
        for path in &paths {
            fs::create_dir_all(path)?;
        }
        let calls = calls(lowers, &paths);
        let mut slots = Slots::default();
        let before = Instant::now();
        for call in &calls {
            call.make(&mut slots)?;
        }
        drop(slots);
        mounting = mounting.min(before.elapsed().as_secs_f64());
        let before = Instant::now();
        mount::unmount(&paths[2], false)?;
        unmounting = unmounting.min(before.elapsed().as_secs_f64());
        for path in &paths {
            fs::remove_dir_all(path)?;
        }
    }
    Ok(vec![("mount", mounting), ("umount", unmounting)])
}

fn calls(lowers: &[PathBuf], [upper, work, target]: &[PathBuf; 3]) -> Vec<Call> {
    let text = |path: &Path| Text::default().and(path.as_os_str().as_encoded_bytes());
    let open = |path: &Path, into| Call::Open { path: text(path), how: How::Read, into };
    let (context, tree, onto, handle) = (Slot(0), Slot(1), Slot(2), Slot(3));
    let set = |key: &str, value| Call::Configure { context, key: key.to_owned(), value };
    let mut calls = vec![open(target, onto), Call::FsOpen { filesystem: "overlay", into: context }];
    for lower in lowers {
        calls.push(open(lower, handle));
        calls.push(set("lowerdir+", Value::Fd(handle)));
        calls.push(Call::Close { fd: handle });
    }
    calls.push(set("upperdir", Value::String(text(upper))));
    calls.push(set("workdir", Value::String(text(work))));
    calls.push(Call::Create { context });
    calls.push(Call::FsMount { context, attributes: Attributes::empty(), into: tree });
    calls.push(Call::MoveMount { tree, onto });
    calls
}
