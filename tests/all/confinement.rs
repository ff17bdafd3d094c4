//! What the process may do that reads a stranger's archive: looked at from outside while it reads, and tried from inside.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, lchown, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ovlctl::sys::caps::TO_EXTRACT;
use ovlctl::sys::confine::{Reach, confine};
use ovlctl::sys::dir::{Dir, FileType};
use rustix::fs::{CWD, Mode, ioctl_ficlone, makedev, mknodat};
use rustix::io::Errno;
use rustix::mount::{
    FsOpenFlags, MountFlags, OpenTreeFlags, UnmountFlags, fsopen, mount, open_tree, unmount,
};
use rustix::process::{Pid, Signal, chroot, kill_process};

use crate::support::{Scene, image, layer, needs};

/// CHOWN 0, DAC_OVERRIDE 1, FOWNER 3, FSETID 4, SYS_ADMIN 21, MKNOD 27, SETFCAP 31 (linux/capability.h).
const LOADS: &str = "000000008820001b";

/// DAC_OVERRIDE alone.
const LOOKS: &str = "0000000000000002";

const NONE: &str = "0000000000000000";

/// A command that reads `pipe`, a fifo, and has just opened it; the archive goes into `input`.
struct Reading {
    command: Child,
    input: File,
}

fn reading(scene: &Scene, words: &str) -> Reading {
    let fifo = scene.path("pipe");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("a fifo");
    let mut command = scene.command(&words.split_whitespace().collect::<Vec<_>>());
    let command = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("ovlctl starts");
    // Returns when the other end is being opened.
    let input = OpenOptions::new().write(true).open(fifo).expect("somebody reads");
    Reading { command, input }
}

impl Reading {
    /// Returns the process that has the fifo open: the command, or the one that it started.
    fn process(&self, scene: &Scene) -> PathBuf {
        let command = PathBuf::from(format!("/proc/{}", self.command.id()));
        let children = command.join(format!("task/{}/children", self.command.id()));
        let children = fs::read_to_string(children).expect("it runs");
        let mut all: Vec<PathBuf> =
            children.split_whitespace().map(|pid| Path::new("/proc").join(pid)).collect();
        all.push(command);
        let reads = |process: &PathBuf| {
            let open = fs::read_dir(process.join("fd")).expect("it runs").flatten();
            open.flat_map(|fd| fs::read_link(fd.path())).any(|file| file == scene.path("pipe"))
        };
        let begun = Instant::now();
        loop {
            let found: Vec<PathBuf> = all.iter().filter(|process| reads(process)).cloned().collect();
            match &found[..] {
                [process] => return process.clone(),
                // It has the number a moment after we are woken.
                [] if begun.elapsed() < Duration::from_secs(60) => thread::yield_now(),
                [] => panic!("nobody reads the archive"),
                [..] => panic!("{found:?} read the archive"),
            }
        }
    }

    fn ends(mut self, archive: &[u8]) -> Option<i32> {
        self.input.write_all(archive).expect("it reads");
        drop(self.input);
        self.command.wait().expect("it is ours").code()
    }
}

/// Returns what /proc tells of a process's privileges.
fn privileges(process: &Path) -> Vec<(String, String)> {
    let status = fs::read_to_string(process.join("status")).expect("it runs");
    let told = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp"];
    let fields = status.lines().filter_map(|line| line.split_once(":\t"));
    let fields = fields.filter(|(name, _)| told.contains(name));
    fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[track_caller]
fn has_only(process: &Path, capabilities: &str) {
    let expected = [
        ("CapInh", NONE),
        ("CapPrm", capabilities),
        ("CapEff", capabilities),
        ("CapBnd", capabilities),
        ("CapAmb", NONE),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
    ];
    let expected: Vec<(String, String)> =
        expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    assert_eq!(privileges(process), expected);
}

fn archive(scene: &Scene) -> Vec<u8> {
    scene.save("web.tar", &image("web").layer(&layer().file("a", "1")));
    scene.mkdir("root");
    fs::read(scene.path("web.tar")).expect("it was written")
}

#[test]
fn load_has_given_up_the_rest_when_it_opens_an_archive() {
    let scene = Scene::new();
    let archive = archive(&scene);
    let load = reading(&scene, "load pipe");
    has_only(&load.process(&scene), LOADS);
    assert_eq!(load.ends(&archive), Some(0));
}

#[test]
fn mount_leaves_the_reading_to_a_process_that_cannot_mount() {
    let scene = Scene::new();
    let archive = archive(&scene);
    let mount = reading(&scene, "mount --rm ./pipe root");
    let process = mount.process(&scene);
    assert_ne!(process, Path::new("/proc").join(mount.command.id().to_string()));
    has_only(&process, LOADS);
    assert_eq!(mount.ends(&archive), Some(0));
    scene.shows_at("root", "f 0644 a  1");
}

#[test]
fn plan_reads_with_no_capability_but_to_read() {
    let scene = Scene::new();
    let archive = archive(&scene);
    scene.run("load web.tar").succeeds();
    let plan = reading(&scene, "plan ./pipe root");
    has_only(&plan.process(&scene), LOOKS);
    assert_eq!(plan.ends(&archive), Some(0));
}

#[test]
fn repair_has_given_up_the_rest_when_it_opens_an_archive() {
    let scene = Scene::new();
    let archive = archive(&scene);
    scene.run("load web.tar").succeeds();
    let id = image("web").layer(&layer().file("a", "1")).chain_ids()[0].hex();
    fs::write(scene.path(&format!("store/overlay2/{id}/diff/a")), "2").unwrap();
    let repair = reading(&scene, "check --deep --repair --from pipe");
    has_only(&repair.process(&scene), LOADS);
    assert_eq!(repair.ends(&archive), Some(0));
}

#[test]
fn archive_on_standard_input_reaches_the_process_that_reads_it() {
    let scene = Scene::new();
    let archive = archive(&scene);
    scene.run_piped("mount - root", &archive).succeeds();
    scene.shows_at("root", "f 0644 a  1");
}

#[test]
fn archive_of_a_pipe_without_a_name_can_be_read() {
    let scene = Scene::new();
    archive(&scene);
    for verb in ["load <(cat web.tar)", "mount <(cat web.tar) root"] {
        let mut command = Command::new("bash");
        command.current_dir(scene.path("")).arg("-c").arg(format!("\"$0\" --root \"$1\" {verb}"));
        command.arg(env!("CARGO_BIN_EXE_ovlctl")).arg(scene.store());
        scene.outcome(&mut command).succeeds();
    }
    scene.shows_at("root", "f 0644 a  1");
}

#[test]
fn process_that_reads_ends_with_its_mount() {
    let scene = Scene::new();
    let archive = archive(&scene);
    let mut mount = reading(&scene, "mount ./pipe root");
    let process = mount.process(&scene);
    mount.input.write_all(&archive[..512]).unwrap();
    mount.command.kill().unwrap();
    mount.command.wait().unwrap();
    let begun = Instant::now();
    // Its parent is gone, and so nobody but init waits for it.
    while fs::read_link(process.join("exe")).is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it goes on alone");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn mount_says_that_the_process_that_reads_was_killed() {
    let scene = Scene::new();
    archive(&scene);
    let mount = reading(&scene, "mount ./pipe root");
    let reader = mount.process(&scene).file_name().unwrap().to_string_lossy().parse().unwrap();
    kill_process(Pid::from_raw(reader).unwrap(), Signal::TERM).unwrap();
    let output = mount.command.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "ovlctl: cannot mount ./pipe on root: the process that reads archives was ended by signal 15\n"
    );
    assert_eq!(scene.mounts(), Vec::<PathBuf>::new());
}

/// What an attempt came to.
fn refused<T>(attempt: std::io::Result<T>) -> Option<ErrorKind> {
    attempt.err().map(|error| error.kind())
}

/// Runs `attempts` in a thread that is confined to the scene's directory `inside`, and may read `readable`.
fn confined<T: Send>(scene: &Scene, attempts: impl FnOnce() -> T + Send) -> T {
    let (inside, readable) = (scene.path("inside"), scene.path("readable"));
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let _confined = confine(TO_EXTRACT, &Reach { writes: &[&inside], reads: &[&readable] });
            attempts()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn outside_and_inside() -> Scene {
    let scene = Scene::new();
    for dir in ["inside", "inside/dir", "outside", "readable"] {
        scene.mkdir(dir);
    }
    for file in ["inside/file", "outside/file", "readable/file"] {
        scene.write(file, b"1");
    }
    scene
}

#[test]
fn nothing_outside_has_a_name() {
    let scene = outside_and_inside();
    let (outside, inside) = (scene.path("outside"), scene.path("inside"));
    symlink(&outside, inside.join("way-out")).unwrap();
    confined(&scene, || {
        let gone = Some(ErrorKind::NotFound);
        assert_eq!(refused(File::open("/etc/passwd")), gone);
        assert_eq!(refused(fs::read_dir("/etc")), gone);
        assert_eq!(refused(File::open("/proc/self/environ")), gone);
        assert_eq!(refused(File::open("/dev/null")), gone);
        assert_eq!(refused(fs::create_dir("/new")), Some(ErrorKind::ReadOnlyFilesystem));
        for outside in [outside.clone(), inside.join("way-out"), inside.join("../outside")] {
            let file = outside.join("file");
            assert_eq!(refused(File::open(&file)), gone, "{outside:?}");
            assert_eq!(refused(OpenOptions::new().write(true).open(&file)), gone);
            assert_eq!(refused(fs::write(outside.join("new"), "")), gone);
            assert_eq!(refused(fs::create_dir(outside.join("new"))), gone);
            assert_eq!(refused(symlink("x", outside.join("new"))), gone);
            assert_eq!(refused(fs::remove_file(&file)), gone);
            assert_eq!(refused(fs::rename(inside.join("file"), outside.join("new"))), gone);
            assert_eq!(refused(fs::hard_link(&file, inside.join("new"))), gone);
            assert_eq!(refused(fs::metadata(&file)), gone);
            assert_eq!(refused(fs::set_permissions(&file, Permissions::from_mode(0o777))), gone);
            assert_eq!(refused(lchown(&file, Some(1), Some(1))), gone);
            let node = mknodat(CWD, outside.join("new"), FileType::CharacterDevice, Mode::empty(), 0);
            assert_eq!(node, Err(Errno::NOENT));
        }
        let readable = scene.path("readable/file");
        assert_eq!(fs::read(&readable).unwrap(), b"1");
        let is_refused = |attempt| {
            matches!(refused(attempt), Some(ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied))
        };
        assert!(is_refused(fs::write(scene.path("readable/new"), "")));
        assert!(is_refused(OpenOptions::new().append(true).open(&readable).map(drop)));
        assert!(is_refused(fs::set_permissions(&readable, Permissions::from_mode(0o777))));
    });
    scene.shows_at("readable", "f 0644 file  1");
    scene.shows_at("outside", "f 0644 file  1");
}

#[test]
fn what_a_device_that_was_made_leads_to_is_out_of_reach() {
    let scene = outside_and_inside();
    confined(&scene, || {
        let null = scene.path("inside/null");
        mknodat(CWD, &null, FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(1, 3)).unwrap();
        assert_eq!(refused(File::open(&null)), Some(ErrorKind::PermissionDenied));
    });
}

/// Without that, what has no name there could still be opened by those who find a way to it.
#[test]
fn nothing_that_was_opened_before_leads_to_more() {
    if !needs::has("landlock") {
        return;
    }
    let scene = outside_and_inside();
    let outside = Dir::open(&scene.path("outside")).unwrap();
    confined(&scene, || {
        assert!(outside.create(b"new", 0o600).is_err());
        assert!(outside.open_file_beneath(b"file").is_err());
    });
}

#[test]
fn nothing_can_be_mounted_run_reached_or_signalled() {
    let scene = outside_and_inside();
    if !needs::has("call-filter") {
        return;
    }
    confined(&scene, || {
        let dir = scene.path("inside/dir");
        assert_eq!(mount("none", &dir, "tmpfs", MountFlags::empty(), None), Err(Errno::PERM));
        assert_eq!(unmount("/proc", UnmountFlags::DETACH), Err(Errno::PERM));
        assert_eq!(fsopen("overlay", FsOpenFlags::empty()).err(), Some(Errno::PERM));
        assert_eq!(open_tree(CWD, &dir, OpenTreeFlags::OPEN_TREE_CLONE).err(), Some(Errno::PERM));
        assert_eq!(chroot(&dir), Err(Errno::PERM));
        assert_eq!(nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUSER), Err(nix::errno::Errno::EPERM));
        let denied = Some(ErrorKind::PermissionDenied);
        assert_eq!(refused(Command::new("/bin/true").spawn()), denied, "clone(2)");
        assert_eq!(refused(TcpListener::bind("127.0.0.1:0")), denied);
        assert_eq!(refused(UdpSocket::bind("127.0.0.1:0")), denied);
        assert_eq!(refused(UnixStream::pair()), denied);
        let parent = rustix::process::getppid().expect("who runs the tests");
        assert_eq!(kill_process(parent, Signal::CONT), Err(Errno::PERM));
        assert_eq!(kill_process(rustix::process::getpid(), Signal::CONT), Ok(()), "itself it may end");
        let (from, to) = (File::open(scene.path("inside/file")), File::create(scene.path("inside/copy")));
        assert_eq!(ioctl_ficlone(to.unwrap(), from.unwrap()), Err(Errno::PERM), "ioctl(2)");
        assert_eq!(thread::spawn(|| 1).join().unwrap(), 1, "threads are needed");
    });
}

#[test]
fn all_that_a_store_needs_can_be_done_inside() {
    let scene = outside_and_inside();
    confined(&scene, || {
        let inside = scene.path("inside");
        let (top, dir) = (Dir::open(&inside).unwrap(), Dir::open(&inside.join("dir")).unwrap());
        fs::DirBuilder::new().mode(0o700).create(inside.join("new")).unwrap();
        top.create(b"x", 0o600).unwrap().write_all(b"12").unwrap();
        OpenOptions::new().write(true).open(inside.join("x")).unwrap().set_len(1).unwrap();
        OpenOptions::new().write(true).truncate(true).open(inside.join("x")).unwrap();
        top.link(b"x", &dir, b"linked").unwrap();
        dir.rename(b"linked", &top, b"moved").unwrap();
        top.rename(b"new", &dir, b"new").unwrap();
        top.exchange(b"x", &dir, b"new").unwrap();
        dir.mknod(b"whiteout", FileType::CharacterDevice, 0, (0, 0)).unwrap();
        dir.mknod(b"char", FileType::CharacterDevice, 0o600, (1, 3)).unwrap();
        dir.mknod(b"block", FileType::BlockDevice, 0o600, (7, 0)).unwrap();
        dir.mknod(b"fifo", FileType::Fifo, 0o600, (0, 0)).unwrap();
        dir.symlink(b"anywhere", b"link").unwrap();
        for name in [&b"link"[..], b"char", b"fifo"] {
            dir.set_xattr(name, b"trusted.overlay.test", b"y").unwrap();
            dir.chown(name, 7, 8).unwrap();
            dir.set_times(name, 1, 2).unwrap();
        }
        dir.set_xattr_self(b"trusted.overlay.opaque", b"y").unwrap();
        top.set_xattr(
            b"moved",
            b"security.capability",
            &[1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        )
        .unwrap();
        dir.create_unnamed().unwrap().write_all(b"1").unwrap();
        File::create(inside.join("lock")).unwrap();
        ovlctl::sys::tree::remove(&top, b"dir").unwrap();
        assert_eq!(top.names().unwrap().len(), 4, "file, lock, moved, x");
    });
}
