//! The images of the story: small, with all that layers are made of, and with layers in common.

use std::path::Path;

use super::archive;
use image::{Image, docker, image};
use tarball::{Layer, layer};

#[path = "../../tests/all/support/image.rs"]
#[expect(dead_code, reason = "the tests of ovlctl need more of it")]
mod image;
#[path = "../../tests/all/support/tarball.rs"]
#[expect(dead_code, reason = "the tests of ovlctl need more of it")]
mod tarball;

/// Their names.
pub(crate) const NAMES: [&str; 5] = ["app:1", "app:2", "app:3", "tool:1", "gone:1"];

/// Returns the archive of each image, by name; they are others for each filesystem, as a mount of one in one store is taken for
/// one of the same image in another.
fn archives(filesystem: &str) -> Vec<(&'static str, Vec<u8>)> {
    let app = |name| image(name).layer(&base()).layer(&change());
    let images: [(&'static str, Image); 5] = [
        ("app:1", app("app:1").layer(&links()).layer(&files("one", 30))),
        ("app:2", app("app:2").layer(&large(2, 150 << 10)).layer(&files("two", 20))),
        ("app:3", image("app:3").layer(&base()).layer(&files("three", 25)).layer(&large(3, 90 << 10))),
        ("tool:1", image("tool:1").layer(&tool())),
        ("gone:1", image("gone:1").layer(&files("d", 15)).layer(&large(5, 120 << 10))),
    ];
    let archive = |image: Image| docker(&[image.config("author", filesystem.into())]).tar();
    images.map(|(name, image)| (name, archive(image))).into()
}

/// Writes the archives into a folder.
pub(crate) fn write(filesystem: &str, folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    archives(filesystem).into_iter().try_for_each(|(name, tar)| std::fs::write(archive(folder, name), tar))
}

fn base() -> Layer {
    let mut tree = layer()
        .dir("./")
        .mode(0o711)
        .dir("bin")
        .file_of_bytes(b"bin/su", &noise(1, 30 << 10))
        .mode(0o4755)
        .owner(0, 5)
        .dir("etc")
        .file("etc/conf", "of the base")
        .file("etc/issue", "to be removed")
        .xattr("user.k", b"v")
        .symlink("etc/link", "conf")
        .dir("srv")
        .file("srv/old", "old")
        .dir("tmp")
        .mode(0o1777)
        .fifo("tmp/pipe")
        .char_device("tmp/null", 1, 3)
        .file_of_bytes(b"lib/blob", &noise(2, 400 << 10))
        .hardlink("lib/same", "lib/blob");
    for nr in 0..40_u64 {
        tree = tree.file(&format!("usr/share/{nr}"), &format!("{nr}\n").repeat(40)).mtime(nr);
    }
    tree
}

fn change() -> Layer {
    let changed = layer().file("etc/conf", "changed").whiteout("etc/issue").whiteout("usr/share/3");
    changed
        .dir("srv")
        .opaque("srv")
        .file("srv/fresh", "fresh")
        .file_of_bytes(b"lib/more", &noise(3, 200 << 10))
}

/// What needs the layers below: a link to a file of theirs, and parents that only they describe.
fn links() -> Layer {
    layer().hardlink("lib/third", "lib/blob").file("usr/share/deep/er/est", "deep").symlink("usr/l", "share")
}

fn files(folder: &str, count: u64) -> Layer {
    (0..count).fold(layer().dir(folder).mode(0o750), |tree, nr| {
        tree.file_of_bytes(format!("{folder}/{nr}").as_bytes(), &noise(nr, 700 * nr))
    })
}

fn large(seed: u64, size: u64) -> Layer {
    layer().file_of_bytes(format!("opt/{seed}").as_bytes(), &noise(seed, size)).mode(0o600)
}

fn tool() -> Layer {
    layer().dir("bin").file_of_bytes(b"bin/tool", &noise(4, 100 << 10)).mode(0o755).file("etc/tool", "x")
}

/// Bytes that no filesystem finds the same elsewhere.
fn noise(seed: u64, len: u64) -> Vec<u8> {
    let mut random = super::random::Random::new(seed);
    (0..len).map(|_| random.next().to_le_bytes()[0]).collect()
}
