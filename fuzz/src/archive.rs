//! `archive`: whole archives, their lists of images, and the layers' bytes.
//!
//! An input is a text, so that a mutation is a slip of somebody who writes manifests, and digests are right all the same:
//!
//! ```text
//! p                      how it is read: plain, gzip, zstd as a whole, or as a directory
//! =NAME                  a file of this name; the lines that follow are what it holds
//! =*                     a blob, which is called by its digest
//! =NAME>TARGET           a symbolic link; with `|` a hard link
//! ```
//!
//! `$N` in a text stands for the digest of the `N`th file, `#N` for its size.

use std::fs;
use std::io::{Read, Write};
use std::path::{Component, Path};

use ovlctl::archive::{Archive, Choice, Error, Image, Source, decoder, name};
use ovlctl::digest::Digest;
use ovlctl::sys::chain;

use crate::jail::{self, HERE, SECRET};
use crate::make::seal;

/// What is read of a layer.
const ENOUGH: u64 = 1 << 20;

/// Takes a text as above.
pub fn run(data: &[u8]) {
    let (form, text) = data.split_first().unwrap_or((&b'p', b""));
    let files = files(text);
    jail::run(|| open_all(*form, &files));
}

#[derive(Clone, Debug)]
struct Member {
    name: Vec<u8>,
    flag: u8,
    target: Vec<u8>,
    contents: Vec<u8>,
}

fn files(text: &[u8]) -> Vec<Member> {
    let mut files: Vec<Member> = Vec::new();
    let mut known: Vec<(Digest, usize)> = Vec::new();
    for section in sections(text) {
        let (head, contents) = match section.iter().position(|byte| *byte == b'\n') {
            Some(end) => (&section[..end], &section[end + 1..]),
            None => (section, &b""[..]),
        };
        let contents = filled_in(contents, &known);
        let digest = Digest::of(&contents);
        let mark = head.iter().position(|byte| matches!(byte, b'>' | b'|'));
        let (name, target) = mark.map_or((head, &b""[..]), |at| (&head[..at], &head[at + 1..]));
        let flag = mark.map_or(b'0', |at| if head[at] == b'>' { b'2' } else { b'1' });
        let name = if name == b"*" { blob_name(&digest) } else { filled_in(name, &known) };
        let target = filled_in(target, &known);
        known.push((digest, contents.len()));
        files.push(Member { name, flag, target, contents });
    }
    files
}

fn blob_name(digest: &Digest) -> Vec<u8> {
    format!("blobs/sha256/{}", digest.hex()).into_bytes()
}

/// Cuts a text at each `=` that begins a line.
fn sections(text: &[u8]) -> Vec<&[u8]> {
    let starts: Vec<usize> =
        (0..text.len()).filter(|&at| text[at] == b'=' && (at == 0 || text[at - 1] == b'\n')).collect();
    let ends = starts.iter().skip(1).copied().chain([text.len() + 1]);
    starts.iter().zip(ends).map(|(start, end)| &text[start + 1..end - 1]).collect()
}

/// Puts digests and sizes of what came before into a text; in a file's name, `$N` is a blob's.
fn filled_in(text: &[u8], known: &[(Digest, usize)]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut bytes = text.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let of = bytes.peek().and_then(|digit| known.get(usize::from(digit.checked_sub(b'0')?)));
        match (byte, of) {
            (b'$', Some((digest, _))) => out.extend(digest.to_string().into_bytes()),
            (b'%', Some((digest, _))) => out.extend(digest.hex().into_bytes()),
            (b'#', Some((_, size))) => out.extend(size.to_string().into_bytes()),
            _ => {
                out.push(byte);
                continue;
            }
        }
        bytes.next();
    }
    out
}

fn open_all(form: u8, files: &[Member]) {
    let home = Path::new(HERE);
    if form == b'd' {
        let layout = home.join("layout");
        lay_out(&layout, files);
        let opened = open(&layout);
        return opened.map_or_else(|e| is_told(&e), |archive| look_into(&archive));
    }
    let tar = tar(files);
    fs::write(home.join("plain"), &tar).expect("room for it");
    let plain = open(&home.join("plain"));
    let packed = match form {
        b'g' => gzip(&tar),
        b'z' => zstd::bulk::compress(&tar, 1).expect("it fits"),
        _ => return plain.map_or_else(|e| is_told(&e), |archive| look_into(&archive)),
    };
    fs::write(home.join("packed"), packed).expect("room for it");
    match (plain, open(&home.join("packed"))) {
        (Ok(plain), Ok(packed)) => {
            assert_eq!(listing(&plain), listing(&packed), "packed it holds something else");
            look_into(&packed);
        }
        (Err(plain), Err(packed)) => {
            is_told(&plain);
            is_told(&packed);
        }
        (plain, packed) => panic!("plain: {plain:?}, packed: {packed:?}"),
    }
}

fn open(path: &Path) -> Result<Archive, Error> {
    Archive::open(
        &Source::Path(path.to_owned()),
        Path::new(HERE),
        &ovlctl::limits::Limits::DEFAULT,
        &ovlctl::progress::Progress::default(),
    )
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

/// Writes the files as a directory; those whose names lead elsewhere are left out.
fn lay_out(top: &Path, files: &[Member]) {
    use std::os::unix::ffi::OsStrExt;
    let path = |bytes: &[u8]| Path::new(std::ffi::OsStr::from_bytes(bytes)).to_owned();
    fs::create_dir(top).expect("a directory");
    for file in files {
        let name = path(&file.name);
        if file.name.contains(&0) || !name.components().all(|part| matches!(part, Component::Normal(_))) {
            continue;
        }
        let place = top.join(name);
        // A link on the way would lead out; a name may be too long, or taken.
        let Some(parent) = place.parent().filter(|parent| fs::create_dir_all(parent).is_ok()) else {
            continue;
        };
        if !parent.canonicalize().is_ok_and(|parent| parent.starts_with(top)) || place.is_symlink() {
            continue;
        }
        match file.flag {
            b'2' if !file.target.contains(&0) => {
                let _ = std::os::unix::fs::symlink(path(&file.target), place);
            }
            b'0' => {
                let _ = fs::write(place, &file.contents);
            }
            _ => {}
        }
    }
}

fn tar(files: &[Member]) -> Vec<u8> {
    let mut tar = Vec::new();
    for file in files {
        for (kind, name) in [(b'L', &file.name), (b'K', &file.target)] {
            if name.len() > 100 {
                append(&mut tar, kind, b"././@LongLink", b"", name);
            }
        }
        append(
            &mut tar,
            file.flag,
            &file.name,
            &file.target,
            if file.flag == b'0' { &file.contents } else { b"" },
        );
    }
    tar.resize(tar.len() + 1024, 0);
    tar
}

fn append(tar: &mut Vec<u8>, flag: u8, name: &[u8], link: &[u8], data: &[u8]) {
    let mut header = [0; 512];
    for (at, text) in [
        (0, &name[..name.len().min(100)]),
        (100, b"0000644"),
        (124, format!("{:011o}", data.len()).as_bytes()),
        (156, &[flag]),
        (157, &link[..link.len().min(100)]),
        (257, b"ustar\x0000"),
    ] {
        header[at..at + text.len()].copy_from_slice(text);
    }
    seal(&mut header);
    tar.extend(header);
    tar.extend(data);
    tar.resize(tar.len().next_multiple_of(512), 0);
}

fn listing(archive: &Archive) -> Vec<String> {
    let line = |image: &Image| {
        let layers: Vec<_> = image.layers.iter().map(|layer| (layer.diff_id, layer.size)).collect();
        format!("{} {:?} {:?} {} {layers:?}", image.id, image.names, image.manifest, image.platform)
    };
    archive.images().iter().map(line).collect()
}

/// Asks for everything that an archive tells.
fn look_into(archive: &Archive) {
    assert!(!archive.images().is_empty(), "never none");
    let mut choices = vec![Choice::default()];
    for (nr, image) in archive.images().iter().enumerate() {
        assert_eq!(image.id, Digest::of(&image.config));
        assert!(!contains(&image.config, SECRET.as_bytes()), "it is not the archive's");
        is_plain(&image.platform.to_string());
        for name in &image.names {
            is_plain(name);
            assert_eq!(name::normal(name).as_ref(), Ok(name), "a name that is not normal");
        }
        choices.push(Choice { image: format!("@{nr}").parse().ok(), platform: None });
        choices
            .push(Choice { image: image.names.first().and_then(|name| name.parse().ok()), platform: None });
        choices.push(Choice { image: None, platform: Some(image.platform.clone()) });
        choices.push(Choice { image: image.id.short().parse().ok(), platform: Some(image.platform.clone()) });
        layers(archive, image);
    }
    for choice in &choices {
        if let Err(error) = archive.choose(choice) {
            is_told(&error);
        }
        if let Err(error) = archive.choose_all(choice) {
            is_told(&error);
        }
    }
}

fn layers(archive: &Archive, image: &Image) {
    for layer in image.layers.iter().take(8) {
        let blob = match archive.open_layer(layer, &ovlctl::archive::Taken::default()) {
            Ok(blob) => blob,
            Err(error) => return is_told(&error),
        };
        assert_eq!(blob.stored(), layer.size);
        let mut bytes = Vec::new();
        match decoder(blob).and_then(|decoder| decoder.take(ENOUGH).read_to_end(&mut bytes)) {
            Ok(_) => assert!(!contains(&bytes, SECRET.as_bytes()), "it is not the archive's"),
            Err(error) => is_plain(&error.to_string()),
        }
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn is_told(error: &Error) {
    is_plain(&chain(error));
}

#[track_caller]
fn is_plain(text: &str) {
    assert!(!text.chars().any(char::is_control), "it would reach a terminal: {text:?}");
}
