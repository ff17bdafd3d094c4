//! Large holes of files stay holes in the tar of a tree, and in no layer.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::Command;

use crate::support::{Scene, image, layer, needs};

const MIB: u64 = 1 << 20;

/// A container `box`, mounted on `root`, with holes between what some files have.
fn scene() -> Scene {
    let scene = Scene::new();
    scene.mkdir("root");
    scene.mkdir("x");
    scene.save("web.tar", &image("web:1").layer(&layer().file("a", "1")));
    scene.run("mount --name box web.tar root").succeeds();
    let dir = scene.path("root").join("d".repeat(80));
    fs::create_dir(&dir).expect("it works");
    let make = |path: &Path, size: u64, pieces: &[(u64, &str)]| {
        let file = File::create(path).expect("it works");
        file.set_len(size).expect("it works");
        pieces.iter().for_each(|(at, text)| file.write_all_at(text.as_bytes(), *at).expect("it works"));
    };
    make(
        &dir.join("n".repeat(200)),
        40 * MIB + 3,
        &[(0, "begin"), (20 * MIB + 700, "middle"), (40 * MIB, "end")],
    );
    make(&dir.join("ends-with-a-hole"), 30 * MIB + 1, &[(9 * MIB, "x")]);
    make(&dir.join("nothing-but-a-hole"), 30 * MIB, &[]);
    make(&dir.join("small"), 200_000, &[(100_000, "x")]);
    fs::hard_link(dir.join("ends-with-a-hole"), scene.path("root/other-name")).expect("it works");
    scene
}

/// Whether two trees have the same, and files in the first as few blocks as in the second.
#[track_caller]
fn same(scene: &Scene, one: &str, other: &str) {
    assert_eq!(scene.tree(one), scene.tree(other));
    for dir in fs::read_dir(scene.path(other)).expect("it works") {
        let dir = dir.expect("it works").file_name();
        let Ok(files) = fs::read_dir(scene.path(other).join(&dir)) else { continue };
        for file in files {
            let name = Path::new(&dir).join(file.expect("it works").file_name());
            let [is, was] =
                [one, other].map(|tree| fs::metadata(scene.path(tree).join(&name)).expect("it works"));
            // What is less than 1 MiB is written out.
            assert!(is.blocks() * 512 <= was.blocks() * 512 + MIB / 2, "{name:?}: {} blocks", is.blocks());
        }
    }
}

#[test]
fn holes_come_out_of_an_exported_tar_as_holes() {
    let scene = scene();
    let tar = scene.run_bytes("export box");
    assert!(tar.len() < 1 << 20, "{} bytes", tar.len());
    assert_eq!(tar, scene.run_bytes("export box"), "always the same");
    scene.write("box.tar", &tar);
    let mut gnu = Command::new("tar");
    let _ = scene.outcome(gnu.args(["-xpf", "box.tar", "-C", "x"]).current_dir(scene.path(""))).succeeds();
    same(&scene, "x", "root");
    // And so they come in again.
    scene.save("again.tar", &image("again:1").layer_of_bytes(tar));
    scene.mkdir("again");
    scene.run("mount --read-only again.tar again").succeeds();
    same(&scene, "again", "root");
    scene.run("umount again").succeeds();
    let tar = scene.run_bytes("cp box:/ -");
    assert!(tar.len() < 1 << 20, "{} bytes", tar.len());
}

#[test]
fn other_readers_of_tars_find_the_same_files() {
    let scene = scene();
    scene.run("export box -o holes.tar").succeeds();
    scene.run("export box --no-holes -o zeros.tar").succeeds();
    let python = "import tarfile; tarfile.open('../holes.tar').extractall('.')";
    let read = [
        ("bsdtar", &["-xpf", "../holes.tar"][..]),
        ("python3", &["-c", python]),
        ("tar", &["-xpf", "../zeros.tar"]),
        ("busybox", &["tar", "-xpf", "../zeros.tar"]),
    ];
    for (program, words) in read {
        if !needs::tool(program) {
            continue;
        }
        let place = scene.mkdir(program);
        let mut command = Command::new(program);
        let _ = scene.outcome(command.args(words).current_dir(&place)).succeeds();
        crate::support::tree::same(program, &scene.tree(program), &scene.tree("root"));
        fs::remove_dir_all(place).expect("it is there");
    }
}

#[test]
fn layers_have_none() {
    let scene = scene();
    let whole = usize::try_from(100 * MIB).unwrap();
    let tar = scene.run_bytes("diff --tar box");
    assert!(tar.len() > whole, "{} bytes", tar.len());
    scene.run("commit box web:2").succeeds();
    scene.run("save web:2 -o saved.tar").succeeds();
    assert!(fs::metadata(scene.path("saved.tar")).unwrap().len() > 100 * MIB);
}
