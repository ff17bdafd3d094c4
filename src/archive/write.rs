//! An archive that others read: an OCI layout in a tar, with the `manifest.json` by which `docker load` finds its images.
//!
//! Which documents there are, and the tar around them; the bytes of layers come from whoever has them. The same images make
//! the same bytes: no time, no owner and no order of this machine's goes in.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::name;
use super::platform::Platform;
use crate::digest::Digest;

/// How the layers of an archive are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Not at all: a layer's blob is the tar that its diff id is of.
    Plain,
    /// RFC 1952, which every tool reads.
    Gzip,
    /// RFC 8878.
    Zstd,
}

/// Which documents an archive has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// An OCI layout with a `manifest.json`, as `docker save` writes it since version 25.
    Docker,
    /// An OCI layout and nothing else.
    Oci,
}

/// A blob: its digest and how many bytes it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blob {
    /// The sha256 of its bytes.
    pub digest: Digest,
    /// How many these are.
    pub size: u64,
}

/// An image as the documents tell of it.
#[derive(Debug)]
pub struct Entry {
    /// Its config, whose digest is the image's id.
    pub config: Blob,
    /// What it runs on; nothing where nobody knows.
    pub platform: Option<Platform>,
    /// Its names, normal ones.
    pub names: Vec<String>,
    /// Its layers, the base first.
    pub layers: Vec<Blob>,
    /// How they are compressed.
    pub packing: Packing,
}

const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";

/// containerd's annotation: the name, whole.
const IMAGE_NAME: &str = "io.containerd.image.name";
/// The image-spec's: Docker and containerd have the tag here.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

impl Blob {
    /// Returns what `bytes` are as a blob.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self { digest: Digest::of(bytes), size: bytes.len() as u64 }
    }

    /// Returns where it lies in the archive.
    #[must_use]
    pub fn path(&self) -> String {
        format!("blobs/sha256/{}", self.digest.hex())
    }

    fn descriptor(&self, media_type: &str) -> Value {
        json!({"mediaType": media_type, "digest": self.digest, "size": self.size})
    }
}

impl Packing {
    fn layer_type(self) -> String {
        let suffix = match self {
            Self::Plain => "",
            Self::Gzip => "+gzip",
            Self::Zstd => "+zstd",
        };
        format!("{LAYER_TYPE}{suffix}")
    }
}

impl Entry {
    /// Returns its OCI manifest.
    #[must_use]
    pub fn manifest(&self) -> Vec<u8> {
        let layer_type = self.packing.layer_type();
        let layers: Vec<Value> = self.layers.iter().map(|layer| layer.descriptor(&layer_type)).collect();
        text(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": self.config.descriptor(CONFIG_TYPE),
            "layers": layers,
        }))
    }

    /// Its lines in the index: one a name, since a line has room for one.
    fn lines(&self) -> Vec<Value> {
        let mut line = Blob::of(&self.manifest()).descriptor(MANIFEST_TYPE);
        if let Some(platform) = &self.platform {
            line["platform"] = json!(platform);
        }
        if self.names.is_empty() {
            return vec![line];
        }
        let named = |name: &String| {
            let mut line = line.clone();
            let tag = name::tag(name).map(|tag| (REF_NAME.to_owned(), json!(tag)));
            line["annotations"] =
                [(IMAGE_NAME.to_owned(), json!(name::full(name)))].into_iter().chain(tag).collect();
            line
        };
        self.names.iter().map(named).collect()
    }

    fn docker(&self) -> Value {
        // One name that it does not take, and Docker takes nothing of the archive.
        let names: Vec<&String> = self.names.iter().filter(|name| name::is_docker_tag(name)).collect();
        let names = if names.is_empty() { Value::Null } else { json!(names) };
        let layers: Vec<String> = self.layers.iter().map(Blob::path).collect();
        json!({"Config": self.config.path(), "RepoTags": names, "Layers": layers})
    }
}

/// Returns the documents that name all `entries`, each with its name in the archive; their manifests are blobs.
#[must_use]
pub fn documents(form: Form, entries: &[Entry]) -> Vec<(&'static str, Vec<u8>)> {
    let lines: Vec<Value> = entries.iter().flat_map(Entry::lines).collect();
    let index = json!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": lines});
    let mut all = vec![(super::images::INDEX, text(&index))];
    if form == Form::Docker {
        let manifest: Vec<Value> = entries.iter().map(Entry::docker).collect();
        all.push((super::images::MANIFEST, text(&json!(manifest))));
    }
    all.push(("oci-layout", text(&json!({"imageLayoutVersion": "1.0.0"}))));
    all
}

fn text(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

/// An archive that is being written.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    /// How many bytes the file lacks that was begun last, and by how many it is to be padded.
    lacks: u64,
    padding: u64,
}

/// What a tar is made of (POSIX.1-2017, pax, "ustar Interchange Format").
const BLOCK: u64 = 512;

impl<W: Write> Writer<W> {
    /// Starts an archive.
    pub fn new(out: W) -> Self {
        Self { out, lacks: 0, padding: 0 }
    }

    /// Adds a file.
    pub fn file(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.begin(name, bytes.len() as u64)?;
        self.write_all(bytes)
    }

    /// Begins a file, whose `size` bytes are to be written next.
    pub fn begin(&mut self, name: &str, size: u64) -> io::Result<()> {
        self.end()?;
        // GNU's form has room for the size of a file of more than 8 GiB.
        let mut header = tar::Header::new_gnu();
        header.set_path(name)?;
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size);
        header.set_cksum();
        self.out.write_all(header.as_bytes())?;
        (self.lacks, self.padding) = (size, (BLOCK - size % BLOCK) % BLOCK);
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        if self.lacks > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it is shorter than was said"));
        }
        let padding = usize::try_from(std::mem::take(&mut self.padding)).expect("less than a block");
        self.out.write_all(&[0; BLOCK as usize][..padding])
    }

    /// Ends the archive, and returns what it was written to.
    pub fn finish(mut self) -> io::Result<W> {
        self.end()?;
        self.out.write_all(&[0; 2 * BLOCK as usize])?;
        self.out.flush()?;
        Ok(self.out)
    }
}

impl<W: Write> Write for Writer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.lacks {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is longer than was said"));
        }
        let written = self.out.write(bytes)?;
        self.lacks -= written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{Archive, Choice, Source};
    use crate::limits::Limits;

    fn archive(form: Form, names: &[&str]) -> Vec<u8> {
        let tar = [0; 1024];
        let config = json!({"os": "linux", "architecture": "arm64", "rootfs": {"type": "layers", "diff_ids": [Digest::of(&tar)]}});
        let entry = Entry {
            config: Blob::of(&text(&config)),
            platform: Some("linux/arm64".parse().unwrap()),
            names: names.iter().map(|&name| name.to_owned()).collect(),
            layers: vec![Blob::of(&tar)],
            packing: Packing::Plain,
        };
        let mut writer = Writer::new(Vec::new());
        for bytes in [&text(&config)[..], &tar, &entry.manifest()] {
            writer.file(&Blob::of(bytes).path(), bytes).unwrap();
        }
        for (name, bytes) in documents(form, &[entry]) {
            writer.file(name, &bytes).unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn what_was_written_is_read_with_all_its_names() {
        let names = [
            "web:1",
            "library/web:1",
            "localhost:5000/a/b:2",
            "Web:3",
            "node@sha256:03b62250a3cb",
            "docker.io/docker.io/a:latest",
        ];
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("x.tar");
        for form in [Form::Docker, Form::Oci] {
            for names in [&names[..], &[]] {
                std::fs::write(&file, archive(form, names)).unwrap();
                let read = Archive::open(
                    &Source::Path(file.clone()),
                    scratch.path(),
                    &Limits::DEFAULT,
                    &crate::progress::Progress::default(),
                )
                .unwrap();
                let image = read.choose(&Choice::default()).unwrap();
                let mut found: Vec<&str> = image.names.iter().map(String::as_str).collect();
                let mut names = names.to_vec();
                found.sort_unstable();
                names.sort_unstable();
                assert_eq!(found, names);
                assert_eq!(image.platform.to_string(), "linux/arm64");
                assert!(image.manifest.is_some());
            }
        }
    }

    #[test]
    fn docker_is_told_only_names_that_it_takes() {
        let text =
            String::from_utf8_lossy(&archive(Form::Docker, &["web:1", "Web:3", "a@sha256:03b62250a3cb"]))
                .into_owned();
        assert!(text.contains(r#""RepoTags":["web:1"]"#), "{text}");
        let text = String::from_utf8_lossy(&archive(Form::Docker, &["Web:3"])).into_owned();
        assert!(text.contains(r#""RepoTags":null"#), "{text}");
    }

    #[test]
    fn a_file_has_as_many_bytes_as_was_said() {
        let mut writer = Writer::new(Vec::new());
        writer.begin("a", 2).unwrap();
        writer.write_all(b"1").unwrap();
        assert!(writer.write_all(b"23").is_err());
        assert!(writer.begin("b", 0).is_err());
        writer.write_all(b"2").unwrap();
        assert_eq!(writer.finish().unwrap().len(), 512 * 4);
    }

    #[test]
    fn a_file_of_more_than_8_gib_has_its_size() {
        let mut writer = Writer::new(Vec::new());
        writer.begin("a", 1 << 40).unwrap();
        let header = tar::Header::from_byte_slice(&writer.out);
        assert_eq!(header.size().unwrap(), 1 << 40);
    }
}
