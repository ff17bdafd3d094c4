//! What comes through a pipe, or is compressed as a whole, goes by once: it is kept, or lent to who takes it.

use std::io::{self, Cursor};
use std::thread;

use super::*;

/// Opens an archive that comes through a pipe.
pub(super) fn arrived(bytes: Vec<u8>, spool: &Path) -> Result<Archive, Error> {
    received(bytes, spool, &mut Nobody)
}

fn received(bytes: Vec<u8>, spool: &Path, taker: &mut dyn Taker) -> Result<Archive, Error> {
    let (input, limits) = (SmallRuns(Cursor::new(bytes)), Limits::DEFAULT);
    let decoder = Decoder::new(Box::new(input), decode::Expected::default()).map_err(Error::reading)?;
    let decoder = decoder.bounded(Bound::of_archive(&limits), None);
    let files = Files::Tar(spool::index(decoder, spool, &limits, taker)?);
    Ok(Archive { images: images::images(&files, &limits)?, files, limits })
}

/// Gives its bytes in runs that end anywhere, as a pipe does.
struct SmallRuns(Cursor<Vec<u8>>);

impl Read for SmallRuns {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = buf.len().min(700);
        self.0.read(&mut buf[..n])
    }
}

/// Takes all that it is offered, and reads no more than `most` bytes of each, on another thread.
struct Takes {
    most: u64,
    took: Vec<(String, Vec<u8>)>,
}

impl Takes {
    fn all() -> Self {
        Self { most: u64::MAX, took: Vec::new() }
    }

    fn names(&self) -> Vec<&str> {
        self.took.iter().map(|(name, _)| name.as_str()).collect()
    }
}

impl Taker for Takes {
    fn wants(&mut self, name: &[u8], len: u64) -> bool {
        self.took.push((format!("{} {len}", name.escape_ascii()), Vec::new()));
        true
    }

    fn take(&mut self, bytes: Lent) -> usize {
        let mut bytes = bytes.take(self.most);
        let (_, took) = self.took.last_mut().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                let _ = bytes.read_to_end(took);
                drop(bytes);
            });
        });
        self.took.len() - 1
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

/// A tar that is too large to be kept without a question, and another such.
fn layer(letter: &str) -> String {
    let text = Tar::new().file(letter, &letter.repeat(5 << 20)).bytes();
    String::from_utf8(text).unwrap()
}

fn large() -> Tar {
    Tar::new()
        .file("1/layer.tar", &layer("a"))
        .file("a.json", &config("amd64", &[&layer("a"), "small", &layer("b"), &layer("a")]))
        .file("2/layer.tar", "small")
        .file("no-layer", &"long ".repeat(1 << 20))
        .file("3/layer.tar", &layer("b"))
        .symlink("4/layer.tar", "../1/layer.tar")
        .file(
            "manifest.json",
            r#"[{"Config": "a.json", "Layers": ["1/layer.tar", "2/layer.tar", "3/layer.tar", "4/layer.tar"]}]"#,
        )
}

#[test]
fn large_members_that_begin_as_tars_do_are_lent_and_all_others_kept() {
    let spool = tempfile::tempdir().unwrap();
    for bytes in [large().bytes(), gzip(&large().bytes())] {
        let mut taker = Takes::all();
        let archive = received(bytes, spool.path(), &mut taker).unwrap();
        let len = layer("a").len();
        assert_eq!(taker.names(), [format!("1/layer.tar {len}"), format!("3/layer.tar {len}")]);
        assert!(taker.took[0].1 == layer("a").as_bytes() && taker.took[1].1 == layer("b").as_bytes());
        let layers = &archive.images()[0].layers;
        let taken: Vec<_> = layers.iter().map(|layer| archive.taken(layer).unwrap()).collect();
        assert_eq!(taken, [Some(0), None, Some(1), Some(0)]);
        assert_eq!(layers[2].size, len as u64);
        assert_eq!(contents(&archive, &layers[1]), "small");
        assert_eq!(
            archive.open_layer(&layers[0], &Taken::default()).unwrap_err().to_string(),
            "'1/layer.tar' was not kept"
        );
    }
}

#[test]
fn what_a_taker_leaves_is_passed_over() {
    let spool = tempfile::tempdir().unwrap();
    for most in [0, 1, 1000, 3 << 20] {
        let mut taker = Takes { most, ..Takes::all() };
        let archive = received(large().bytes(), spool.path(), &mut taker).unwrap();
        assert_eq!(taker.took[1].1.len() as u64, most);
        assert_eq!(contents(&archive, &archive.images()[0].layers[1]), "small");
    }
}

#[test]
fn compressed_members_are_kept() {
    let spool = tempfile::tempdir().unwrap();
    let noise: String =
        (0..1_200_000_u64).map(|n| format!("{:x}", n.wrapping_mul(n ^ 0x9e37_79b9))).collect();
    let mut header = tar::Header::new_gnu();
    let packed = gzip(noise.as_bytes());
    assert!(packed.len() > 4 << 20, "{}", packed.len());
    header.set_size(packed.len() as u64);
    let mut tar = docker_save();
    tar.0.append_data(&mut header, "blob", &*packed).unwrap();
    let mut taker = Takes::all();
    let archive = received(tar.bytes(), spool.path(), &mut taker).unwrap();
    assert_eq!(taker.names(), [""; 0]);
    assert_eq!(archive.files.find("blob").unwrap().unwrap().len(), packed.len() as u64);
}

#[test]
fn an_archive_that_ends_while_it_is_lent_is_cut_short_or_damaged() {
    let spool = tempfile::tempdir().unwrap();
    let whole = large().bytes();
    for most in [0, u64::MAX] {
        let mut taker = Takes { most, ..Takes::all() };
        let error = received(whole[..3 << 20].to_vec(), spool.path(), &mut taker).unwrap_err();
        assert_eq!(error.to_string(), "the archive is cut short: it ends inside '1/layer.tar'");
        let packed = gzip(&whole);
        let error = received(packed[..packed.len() / 4].to_vec(), spool.path(), &mut taker).unwrap_err();
        assert!(error.to_string().starts_with("damaged gzip data"), "{error}");
    }
    assert_eq!(fs::read_dir(spool.path()).unwrap().count(), 0, "something was left in the spool");
}

#[test]
fn what_follows_the_tar_is_read_and_means_nothing() {
    let tar = docker_save().bytes();
    let long = [&tar[..], &vec![7; 3 << 20]].concat();
    assert_eq!(shown(&open(&long).unwrap()), ["web:1 linux/amd64 one two one"]);
    let mut damaged = gzip(&long);
    let checksum = damaged.len() - 8;
    damaged[checksum] ^= 1;
    let error = open(&damaged).unwrap_err().to_string();
    assert!(error.starts_with("damaged gzip data"), "{error}");
}
