//! Takes the steps of the story, and writes a mark to the disk after each.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use super::runner::say;
use crate::record::{Event, Finding, Verdict};
use crate::story::random::Random;
use crate::story::{ARCHIVES, Manner, PROGRAM, SECTOR, STORE, Step};

/// Where containers are mounted.
const MOUNTS: &str = "/m";
/// The partition for marks; the store's is the first.
const MARKS: u32 = 2;

/// Reads `/story`; there is none where facts are to be run.
pub(super) fn manner() -> io::Result<Option<Manner>> {
    match fs::read_to_string("/story") {
        Ok(text) => Ok(Some(serde_json::from_str(&text)?)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Has the kernel write back by itself much sooner than it likes to: then some of a step is on the disk, and some is not.
pub(super) fn hurry() -> io::Result<()> {
    let settings = [
        ("vm/dirty_expire_centisecs", "40"),
        ("vm/dirty_writeback_centisecs", "20"),
        ("fs/xfs/xfssyncd_centisecs", "100"),
    ];
    for (name, value) in settings {
        match fs::write(Path::new("/proc/sys").join(name), value) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            Ok(()) | Err(_) => {} // xfs is not there
        }
    }
    Ok(())
}

/// The options that make a filesystem commit often.
pub(super) fn mount_options(filesystem: &str) -> Option<&'static std::ffi::CStr> {
    matches!(filesystem, "ext4" | "btrfs").then_some(c"commit=1")
}

/// Waits for a partition of `disk`.
pub(super) fn partition(disk: &Path, number: u32) -> io::Result<PathBuf> {
    let path = PathBuf::from(format!("{}{number}", disk.display()));
    let since = Instant::now();
    while !path.exists() {
        if since.elapsed() > Duration::from_secs(20) {
            return Err(io::Error::other(format!("{} does not come", path.display())));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(path)
}

/// Tells the story on the filesystem at `place`, which is on `disk`.
pub(super) fn tell(manner: Manner, disk: &Path, place: &Path, events: &mut impl Write) {
    let disturbed = Arc::new(AtomicBool::new(false));
    let other = Other { seed: manner.seed, place: place.to_owned(), disturbs: Arc::clone(&disturbed) };
    thread::spawn(move || other.run());
    let mut random = Random::new(manner.seed);
    for (nr, step) in manner.steps().iter().enumerate() {
        let fact = format!("{:02} {}", nr + 1, step.name());
        say(events, &Event::Start { fact: fact.clone() });
        disturbed.store(random.below(2) == 0, Ordering::Relaxed);
        let since = Instant::now();
        let taken = take(*step, manner, place).and_then(|said| mark(disk, nr + 1).map(|()| said));
        let failed = taken.is_err();
        let verdict = match taken {
            Ok(saw) => Verdict::Pass { saw },
            Err(e) => Verdict::no_answer(e.to_string()),
        };
        let milliseconds = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        say(events, &Event::Done(Finding { fact, milliseconds, verdict, log: Vec::new() }));
        if failed {
            return;
        }
    }
}

/// Somebody else on the same filesystem, whose syncs come in the middle of a step: of its files and directories they leave
/// some on the disk, and others not.
struct Other {
    seed: u64,
    place: PathBuf,
    disturbs: Arc<AtomicBool>,
}

impl Other {
    fn run(&self) {
        let mut random = Random::new(self.seed);
        for nr in 0_u64.. {
            thread::sleep(Duration::from_millis(20 + random.below(250)));
            let sync = || {
                let mut file = File::create(self.place.join(format!("other-{}", nr % 8)))?;
                file.write_all(b"of somebody else")?;
                file.sync_all()
            };
            // One sync is as good as another: an error here would be one of the step too.
            if self.disturbs.load(Ordering::Relaxed) && sync().is_err() {
                return;
            }
        }
    }
}

fn take(step: Step, manner: Manner, place: &Path) -> io::Result<String> {
    if let Step::Write { container, file, text } = step {
        return write(&Path::new(MOUNTS).join(container).join(file), text).map(|()| String::new());
    }
    if let Step::MountArchive { container, .. } | Step::Mount { container, .. } = step {
        fs::create_dir_all(Path::new(MOUNTS).join(container))?;
    }
    let words = step.words(manner, Path::new(ARCHIVES), Path::new(MOUNTS)).expect("all others are verbs");
    let program = if Path::new(PROGRAM).exists() { PROGRAM } else { "/proc/self/exe" };
    let mut command = Command::new(program);
    let output = command.arg0("ovlctl").arg("--root").arg(place.join(STORE)).args(words).output()?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).trim().to_owned();
    if output.status.success() {
        Ok(said)
    } else {
        Err(io::Error::other(format!("{}: {said}", output.status)))
    }
}

/// Puts a file into place as a careful program does.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().expect("it lies in a container");
    let made: Vec<&Path> = folder.ancestors().take_while(|above| !above.exists()).collect();
    fs::create_dir_all(folder)?;
    let new = folder.join(".new");
    let mut file = File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    let named_anew = made.iter().filter_map(|folder| folder.parent());
    [folder].into_iter().chain(named_anew).try_for_each(|folder| File::open(folder)?.sync_all())
}

/// Writes a mark past all caches, and without a flush: it comes to lie in the log where it was made, and changes nothing else.
fn mark(disk: &Path, nr: usize) -> io::Result<()> {
    let flags = i32::try_from(OFlags::DIRECT.bits()).expect("a flag is a small number");
    let marks = File::options().write(true).custom_flags(flags).open(partition(disk, MARKS)?)?;
    let text = format!("MARK {nr}\n");
    let size = usize::try_from(SECTOR).expect("it is small");
    // Memory that starts on a sector, as O_DIRECT wants it.
    let mut buffer = vec![0_u8; 2 * size];
    let from = buffer.as_ptr().align_offset(size);
    buffer[from..][..text.len()].copy_from_slice(text.as_bytes());
    marks.write_all_at(&buffer[from..][..size], nr as u64 * SECTOR)
}
