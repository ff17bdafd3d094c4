//! The same image becomes the same file, of whichever store it is exported.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::support::{Image, Scene, image, layer, needs};

/// With one of each kind, attributes that are not in order, and a directory that both layers have.
fn web() -> Image {
    let mut base = layer()
        .dir("./")
        .mode(0o1751)
        .owner(5, 6)
        .dir("app")
        .mode(0o2770)
        .owner(3, 70_000)
        .mtime(1001)
        .file("app/run", "run")
        .mode(0o4755)
        .mtime(1002)
        .xattr("user.z", b"1")
        .xattr("user.a", &[b'2'; 300])
        .xattr("user.k", b"3")
        .hardlink("app/again", "app/run")
        .symlink("link", &"x".repeat(100))
        .char_device("null", 1, 3)
        .fifo("pipe")
        .file("gone", "x")
        .file("large", &"large".repeat(50_000));
    for nr in (0..300).rev() {
        base = base.file(&format!("many/{}", nr * 7919 % 1000), "x");
    }
    image("web:1").layer(&base).layer(&layer().whiteout("gone").file("app/new", "new"))
}

/// Exports the image in each of these forms, and returns the files' bytes.
#[track_caller]
fn exported(scene: &Scene, forms: &[&str]) -> Vec<Vec<u8>> {
    let export = |form: &&str| {
        let name = format!("out.{form}");
        let mut command = scene.command(&["export", "web:1", "-o", &name]);
        let _ = scene.outcome(command.env("SOURCE_DATE_EPOCH", "1700000000")).succeeds();
        let bytes = fs::read(scene.path(&name)).expect("it was exported");
        fs::remove_file(scene.path(&name)).expect("it is there");
        bytes
    };
    forms.iter().map(export).collect()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock that is set").as_secs()
}

#[test]
fn same_image_is_the_same_file_of_each_store_with_a_fixed_time() {
    let programs = [("ext4", "mkfs.ext4"), ("erofs", "mkfs.erofs"), ("squashfs", "mksquashfs")];
    let made = programs.into_iter().filter(|(_, program)| needs::tool(program)).map(|(form, _)| form);
    let forms: Vec<&str> = ["tar", "cpio"].into_iter().chain(made).collect();
    let scene = Scene::with("web.tar", &web());
    let first = exported(&scene, &forms);
    let compare = |which: &str, other: &[Vec<u8>]| {
        for ((form, one), other) in forms.iter().zip(&first).zip(other) {
            assert!(one == other, "{form}, {which}");
        }
    };
    compare("once more", &exported(&scene, &forms));
    // Filesystems count these times in seconds.
    let loaded = now();
    while now() == loaded {
        thread::sleep(Duration::from_millis(20));
    }
    fs::rename(scene.store(), scene.path("first")).expect("nobody uses it");
    scene.run("load web.tar").succeeds();
    compare("another store", &exported(&scene, &forms));
}

#[test]
fn ext4_with_a_fixed_time_is_sound_and_has_no_other() {
    if !needs::tool("mkfs.ext4") {
        return;
    }
    let scene = Scene::with("web.tar", &web());
    let mut command = scene.command(&["export", "web:1", "-o", "web.ext4"]);
    let _ = scene.outcome(command.env("SOURCE_DATE_EPOCH", "1700000000")).succeeds();
    let mut tool = Command::new("sh");
    let stat = "e2fsck -fn web.ext4 && for path in / /app/run /many/0 /null /link /pipe /app/new; do \
                debugfs -R \"stat $path\" web.ext4; done 2>&1 | grep 'time: ' | sed 's/ --.*//; s/^ *//' | sort | uniq -c";
    tool.args(["-c", stat]).current_dir(scene.path(""));
    let said = scene.outcome(&mut tool).succeeds().stdout;
    let mut times: Vec<String> = said
        .lines()
        .filter(|line| line.contains("time:"))
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    times.sort();
    assert_eq!(
        times,
        [
            "1 mtime: 0x000003ea:00000000",
            "6 mtime: 0x00000000:00000000",
            "7 atime: 0x6553f100:00000000",
            "7 crtime: 0x6553f100:00000000",
            "7 ctime: 0x6553f100:00000000",
        ],
        "{said}"
    );
}
