//! What comes through a pipe, or is compressed as a whole, is kept and hashed meanwhile.

use std::io::{self, Cursor};

use super::*;

/// Opens an archive that comes through a pipe.
pub(super) fn arrived(bytes: Vec<u8>, spool: &Path) -> Result<Archive, Error> {
    let limits = Limits::DEFAULT;
    let input = Box::new(SmallRuns(Cursor::new(bytes)));
    let decoder = decode::Decoder::new(input, decode::Expected::default()).map_err(Error::reading)?;
    let decoder = decoder.bounded(Bound::of_archive(&limits), None);
    let files = Files::Tar(spool::index(decoder, spool, &limits)?);
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

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

#[test]
fn what_came_through_a_pipe_is_hashed_already() {
    let spool = tempfile::tempdir().unwrap();
    let long = "long ".repeat(300_000);
    let tar = docker_save().file("long", &long).file("none", "").bytes();
    for bytes in [tar.clone(), gzip(&tar)] {
        let archive = arrived(bytes, spool.path()).unwrap();
        for (name, text) in [("1/layer.tar", "one"), ("3/layer.tar", "one"), ("long", &long), ("none", "")] {
            let known = archive.files.find(name).unwrap().unwrap().digest;
            assert_eq!(known, Some(Digest::of(text.as_bytes())), "{name}");
        }
    }
    let path = spool.path().join("image.tar");
    fs::write(&path, &tar).unwrap();
    let in_place = Archive::open(&Source::Path(path), Path::new("/nonexistent"), &Limits::DEFAULT).unwrap();
    assert_eq!(in_place.files.find("long").unwrap().unwrap().digest, None, "anybody may change it");
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
