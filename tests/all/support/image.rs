//! Images out of layers, in the forms in which real tools write them.

use std::fs;
use std::io::Write;
use std::path::Path;

use ovlctl::digest::Digest;
use serde_json::{Value, json};

use super::tarball::{Layer, layer};

/// One image: a config and layers, base first.
#[must_use]
#[derive(Clone)]
pub(crate) struct Image {
    names: Vec<String>,
    layers: Vec<Vec<u8>>,
    platform: String,
    config: Value,
}

/// An image of this name (`""`: of none), without layers, for the platform of this machine.
pub(crate) fn image(name: &str) -> Image {
    let names = if name.is_empty() { Vec::new() } else { vec![name.to_owned()] };
    Image { names, layers: Vec::new(), platform: machine(), config: json!({}) }
}

/// The platform of this machine, as images spell it.
pub(crate) fn machine() -> String {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("linux/{architecture}")
}

impl Image {
    /// Puts a layer on top.
    pub(crate) fn layer(self, layer: &Layer) -> Self {
        self.layer_of_bytes(layer.tar())
    }

    /// Puts a layer on top that is this tar.
    pub(crate) fn layer_of_bytes(mut self, tar: Vec<u8>) -> Self {
        self.layers.push(tar);
        self
    }

    /// Puts `count` small layers on top: layer N has the file `fN`.
    pub(crate) fn layers(mut self, count: usize) -> Self {
        for nr in 0..count {
            self = self.layer(&layer().file(&format!("f{nr}"), &nr.to_string()));
        }
        self
    }

    /// Adds a name.
    pub(crate) fn named(mut self, name: &str) -> Self {
        self.names.push(name.to_owned());
        self
    }

    /// Says for which platform it is: `os/architecture[/variant]`.
    pub(crate) fn platform(mut self, platform: &str) -> Self {
        self.platform = platform.to_owned();
        self
    }

    /// Sets a field of the config's top level.
    pub(crate) fn config(mut self, key: &str, value: Value) -> Self {
        self.config[key] = value;
        self
    }

    /// Returns the diff id of each layer.
    pub(crate) fn diff_ids(&self) -> Vec<Digest> {
        self.layers.iter().map(|tar| Digest::of(tar)).collect()
    }

    /// Returns the chain id of each layer.
    pub(crate) fn chain_ids(&self) -> Vec<Digest> {
        let mut chain: Vec<Digest> = Vec::new();
        for diff_id in self.diff_ids() {
            chain.push(Digest::chain(chain.last(), &diff_id));
        }
        chain
    }

    /// Returns the image's id.
    pub(crate) fn id(&self) -> Digest {
        Digest::of(&self.config_bytes())
    }

    /// Returns the config as the archive holds it.
    pub(crate) fn config_bytes(&self) -> Vec<u8> {
        let mut config = json!({"config": {}});
        merge(&mut config, &self.platform_json());
        config["rootfs"] = json!({"type": "layers", "diff_ids": self.diff_ids()});
        merge(&mut config, &self.config);
        config.to_string().into()
    }

    fn platform_json(&self) -> Value {
        let parts: Vec<&str> = self.platform.split('/').collect();
        let mut platform = json!({"os": parts[0], "architecture": parts[1]});
        if let Some(variant) = parts.get(2) {
            platform["variant"] = json!(variant);
        }
        platform
    }

    fn manifest_json(&self, config: &str, layers: &[String]) -> Value {
        let names = if self.names.is_empty() { Value::Null } else { json!(self.names) };
        json!({"Config": config, "RepoTags": names, "Layers": layers})
    }

    /// The OCI manifest over layers packed so.
    pub(crate) fn oci_manifest(&self, packing: Packing) -> Vec<u8> {
        let layers: Vec<Value> = self
            .layers
            .iter()
            .map(|tar| {
                descriptor(
                    &format!("application/vnd.oci.image.layer.v1.tar{}", packing.suffix()),
                    &packing.pack(tar),
                )
            })
            .collect();
        json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json", &self.config_bytes()),
            "layers": layers,
        })
        .to_string()
        .into()
    }

    /// The line of an OCI index that names this image.
    pub(crate) fn oci_descriptor(&self, packing: Packing) -> Value {
        let mut line = descriptor(MANIFEST, &self.oci_manifest(packing));
        line["platform"] = self.platform_json();
        if let Some(name) = self.names.first() {
            line["annotations"] =
                json!({"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name});
        }
        line
    }

    /// Where an OCI layout has the layers packed so.
    pub(crate) fn layer_paths(&self, packing: Packing) -> Vec<String> {
        self.layers.iter().map(|tar| blob_path(&Digest::of(&packing.pack(tar)))).collect()
    }

    /// Adds config, layers and manifest to the blobs of an archive.
    pub(crate) fn oci_blobs(&self, packing: Packing, files: Files) -> Files {
        let files = files.blob(&self.config_bytes()).blob(&self.oci_manifest(packing));
        self.layers.iter().fold(files, |files, tar| files.blob(&packing.pack(tar)))
    }
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// How a layer is compressed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Packing {
    Plain,
    Gzip,
    Zstd,
    Xz,
    Bzip2,
}

impl Packing {
    /// Returns `bytes` packed.
    pub(crate) fn pack(self, bytes: &[u8]) -> Vec<u8> {
        let done = "a Vec takes all";
        match self {
            Self::Plain => bytes.to_vec(),
            Self::Gzip => {
                let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                gzip.write_all(bytes).expect(done);
                gzip.finish().expect(done)
            }
            Self::Zstd => zstd::encode_all(bytes, 1).expect(done),
            Self::Xz => {
                let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
                xz.write_all(bytes).expect(done);
                xz.finish().expect(done)
            }
            Self::Bzip2 => {
                let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
                bzip2.write_all(bytes).expect(done);
                bzip2.finish().expect(done)
            }
        }
    }

    fn suffix(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Gzip => "+gzip",
            Self::Zstd => "+zstd",
            Self::Xz => "+xz",
            Self::Bzip2 => "+bzip2",
        }
    }
}

/// The files of an archive, in their order; to be spoilt before they are written.
#[must_use]
#[derive(Clone, Default)]
pub(crate) struct Files(Vec<(String, Member)>);

#[derive(Clone)]
enum Member {
    File(Vec<u8>),
    Symlink(String),
}

impl Files {
    /// Adds a file, or puts it in the place of the one of that name.
    pub(crate) fn with(mut self, name: &str, contents: &[u8]) -> Self {
        let new = Member::File(contents.to_vec());
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = new,
            None => self.0.push((name.to_owned(), new)),
        }
        self
    }

    /// Adds a second file of that name if there is one.
    pub(crate) fn again(mut self, name: &str, contents: &[u8]) -> Self {
        self.0.push((name.to_owned(), Member::File(contents.to_vec())));
        self
    }

    /// Adds a symbolic link.
    pub(crate) fn link(mut self, name: &str, target: &str) -> Self {
        self.0.push((name.to_owned(), Member::Symlink(target.to_owned())));
        self
    }

    /// Adds a blob under its digest.
    pub(crate) fn blob(self, contents: &[u8]) -> Self {
        self.with(&blob_path(&Digest::of(contents)), contents)
    }

    /// Leaves a file out.
    pub(crate) fn without(mut self, name: &str) -> Self {
        let before = self.0.len();
        self.0.retain(|(known, _)| known != name);
        assert!(self.0.len() < before, "there is no {name} to leave out");
        self
    }

    /// Adds the files of `more` behind these.
    pub(crate) fn and(mut self, more: Self) -> Self {
        self.0.extend(more.0);
        self
    }

    /// Gives every file another name.
    pub(crate) fn renamed(mut self, rename: impl Fn(&str) -> String) -> Self {
        for (name, _) in &mut self.0 {
            *name = rename(name);
        }
        self
    }

    /// Changes the contents of all files whose name ends so.
    pub(crate) fn changed(mut self, end: &str, change: impl Fn(&[u8]) -> Vec<u8>) -> Self {
        for (_, member) in self.0.iter_mut().filter(|(name, _)| name.ends_with(end)) {
            if let Member::File(contents) = member {
                *contents = change(contents);
            }
        }
        self
    }

    /// Changes a JSON file.
    pub(crate) fn edit(self, name: &str, change: impl FnOnce(&mut Value)) -> Self {
        let mut value: Value = serde_json::from_slice(self.get(name)).expect("it is JSON");
        change(&mut value);
        self.with(name, value.to_string().as_bytes())
    }

    /// Returns a file's contents.
    pub(crate) fn get(&self, name: &str) -> &[u8] {
        match self.0.iter().find(|(known, _)| known == name) {
            Some((_, Member::File(contents))) => contents,
            Some((_, Member::Symlink(_))) | None => panic!("there is no file {name}"),
        }
    }

    /// Returns the archive.
    pub(crate) fn tar(&self) -> Vec<u8> {
        let tar = self.0.iter().fold(layer(), |tar, (name, member)| match member {
            Member::File(contents) => tar.file_of_bytes(name.as_bytes(), contents),
            Member::Symlink(target) => tar.symlink(name, target),
        });
        tar.tar()
    }

    /// Writes the files into a directory instead.
    pub(crate) fn write_to(&self, dir: &Path) {
        for (name, member) in &self.0 {
            let path = dir.join(name);
            fs::create_dir_all(path.parent().expect("it has a name")).expect("mkdir");
            match member {
                Member::File(contents) => fs::write(path, contents).expect("write"),
                Member::Symlink(target) => std::os::unix::fs::symlink(target, path).expect("symlink"),
            }
        }
    }
}

/// What `docker save` wrote up to version 24: a folder a layer, and repeated layers as symbolic links.
pub(crate) fn docker_legacy(images: &[Image]) -> Files {
    let mut files = Files::default();
    let mut manifest = Vec::new();
    for image in images {
        let config = format!("{}.json", image.id().hex());
        let mut paths: Vec<String> = Vec::new();
        for (nr, tar) in image.layers.iter().enumerate() {
            let folder = Digest::of(format!("{config} {nr}").as_bytes()).hex();
            let path = format!("{folder}/layer.tar");
            files = files.with(&format!("{folder}/VERSION"), b"1.0");
            files = files.with(&format!("{folder}/json"), format!("{{\"id\":\"{folder}\"}}").as_bytes());
            files = match image.layers[..nr].iter().position(|earlier| earlier == tar) {
                Some(earlier) => files.link(&path, &format!("../{}", paths[earlier])),
                None => files.with(&path, tar),
            };
            paths.push(path);
        }
        files = files.with(&config, &image.config_bytes());
        manifest.push(image.manifest_json(&config, &paths));
    }
    files.with("manifest.json", json!(manifest).to_string().as_bytes()).with("repositories", b"{}")
}

/// What `docker save` writes since version 25: an OCI layout, and a `manifest.json` near the end that names its blobs.
pub(crate) fn docker(images: &[Image]) -> Files {
    let manifest: Vec<Value> = images
        .iter()
        .map(|image| {
            let layers: Vec<String> = image.diff_ids().iter().map(blob_path).collect();
            image.manifest_json(&blob_path(&image.id()), &layers)
        })
        .collect();
    oci(images, Packing::Plain)
        .with("manifest.json", json!(manifest).to_string().as_bytes())
        .with("repositories", b"{}")
}

/// An OCI layout with its layers packed so.
pub(crate) fn oci(images: &[Image], packing: Packing) -> Files {
    let lines: Vec<Value> = images.iter().map(|image| image.oci_descriptor(packing)).collect();
    let files = images.iter().fold(Files::default(), |files, image| image.oci_blobs(packing, files));
    files.with("index.json", &index(&lines)).with("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)
}

/// An OCI index with these lines.
pub(crate) fn index(lines: &[Value]) -> Vec<u8> {
    json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": lines})
        .to_string()
        .into()
}

/// How a manifest or an index names a blob.
pub(crate) fn descriptor(media_type: &str, contents: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(contents), "size": contents.len()})
}

/// Where a blob lies in an OCI layout.
pub(crate) fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn merge(into: &mut Value, from: &Value) {
    for (key, value) in from.as_object().expect("it is an object") {
        into[key] = value.clone();
    }
}
