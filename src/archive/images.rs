//! Which images an archive holds: those of `manifest.json`, then those that only `index.json` leads to.
//!
//! What makes one image unusable is kept with it, so that the others can be used; what makes the lists themselves
//! doubtful is an error.

use std::collections::HashMap;

use super::decode::Expected;
use super::docker;
use super::error::Error;
use super::files::{Bytes, Documents, Files};
use super::index::Index;
use super::oci::{self, Descriptor, Document, Manifest};
use super::platform::Platform;
use crate::digest::Digest;
use crate::limits::Limits;

/// An index in an index in an index: buildx and Docker nest once.
const DEEPEST: usize = 8;

/// More descriptors, and images that they lead to, than the indexes of an archive of a thousand images have. Ten indexes
/// that each name the next ten times would keep a reader busy for good.
const MOST_STEPS: usize = 20_000;

/// An image of an archive.
#[derive(Debug, Clone)]
pub struct Image {
    /// The sha256 of its config.
    pub id: Digest,
    /// Its names, as Docker shows them.
    pub names: Vec<String>,
    /// The sha256 of its OCI manifest, where the archive has one.
    pub manifest: Option<Digest>,
    /// What it runs on.
    pub platform: Platform,
    /// The exact bytes of its config.
    pub config: Vec<u8>,
    /// Its layers, the base first. None where the image cannot be used.
    pub layers: Vec<Layer>,
    /// Why it cannot be used.
    pub(super) fault: Option<String>,
    /// Whether it is something else in the shape of an image: a signature, a chart.
    pub(super) artifact: bool,
}

/// A layer of an image, and where its blob lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The sha256 of its uncompressed tar.
    pub diff_id: Digest,
    /// How many bytes its blob has.
    pub size: u64,
    pub(super) file: String,
    pub(super) expected: Expected,
}

impl Layer {
    /// Returns the digest that its blob should have, where the image names one.
    #[must_use]
    pub fn blob(&self) -> Option<Digest> {
        self.expected.digest
    }
}

/// What a manifest says of a layer.
struct Given {
    file: String,
    expected: Expected,
    media_type: Option<String>,
    urls: Vec<String>,
}

/// Returns the images of an archive.
pub(super) fn images(files: &Files, limits: &Limits) -> Result<Vec<Image>, Error> {
    let mut found = Found {
        files,
        documents: Documents::new(files, limits),
        images: Vec::new(),
        by_id: HashMap::new(),
        led: HashMap::new(),
        steps: 0,
        absent: None,
    };
    let (manifest, index) = (found.documents.named(MANIFEST)?, found.documents.named(INDEX)?);
    if let Some(text) = &manifest {
        for entry in docker::parse(text).map_err(Error::malformed(MANIFEST))? {
            found.add_entry(entry)?;
        }
    }
    if let Some(text) = &index {
        let descriptors = oci::index(text).map_err(Error::malformed(INDEX))?;
        found.follow(descriptors, &[], 0)?;
    }
    if !found.images.is_empty() {
        return Ok(found.images);
    }
    Err(match (found.absent, manifest.or(index)) {
        (Some(blob), _) => Error::NotAnImage(format!("{INDEX} leads to {blob}, which is not in the archive")),
        (None, Some(_)) => Error::NotAnImage(format!("neither {MANIFEST} nor {INDEX} names an image")),
        (None, None) => nothing_listed(files)?,
    })
}

pub(super) const MANIFEST: &str = "manifest.json";
pub(super) const INDEX: &str = "index.json";

/// Docker before 1.10 wrote nothing else.
const REPOSITORIES: &str = "repositories";

fn nothing_listed(files: &Files) -> Result<Error, Error> {
    let old = files.find(REPOSITORIES)?.is_some();
    let index = match files {
        Files::Folder(_) if !old => return Ok(Error::Directory),
        Files::Tar(index) if index.is_root_filesystem() => return Ok(Error::RootFilesystem),
        Files::Tar(index) => Some(index),
        Files::Folder(_) => None,
    };
    if let Some(folder) = index.and_then(|index| index.folder_with(&[MANIFEST, INDEX])) {
        return Ok(Error::InFolder(folder));
    }
    let why = if old {
        "no manifest.json, as Docker before 1.10 wrote it"
    } else if index.is_some_and(Index::is_empty) {
        "it holds no file"
    } else {
        "no manifest.json, no oci-layout"
    };
    Ok(Error::NotAnImage(why.to_owned()))
}

/// What was found so far.
struct Found<'a> {
    files: &'a Files,
    documents: Documents<'a>,
    images: Vec<Image>,
    by_id: HashMap<Digest, usize>,
    /// To which images each manifest and index leads: no blob is read twice, however often it is named.
    led: HashMap<Digest, Vec<usize>>,
    steps: usize,
    /// The first blob that an index names and the archive lacks.
    absent: Option<Digest>,
}

impl Found<'_> {
    fn add_entry(&mut self, entry: docker::Entry) -> Result<(), Error> {
        let name = entry.config.escape_debug();
        let absent = || Error::Damaged(format!("{MANIFEST}: config '{name}' is not in the archive"));
        let config = self.documents.named(&entry.config)?.ok_or_else(absent)?;
        let id = Digest::of(&config);
        // A config may be called anything, and go-containerregistry's tests call some by another's id; but the name of a
        // blob is a promise.
        if blob_digest(&entry.config).is_some_and(|promised| promised != id) {
            return Err(Error::Damaged(format!("blob '{name}' has other contents")));
        }
        let layers = entry.layers.into_iter().map(|file| {
            let digest = blob_digest(&file);
            Given { file, expected: Expected { digest, size: None }, media_type: None, urls: Vec::new() }
        });
        let image = Image::new(self.files, config, layers.collect(), None)?;
        // Some tools write an entry for each name.
        if let Some(same) = self.by_id.get(&id).map(|&nr| &mut self.images[nr]) {
            if (&same.layers, &same.fault) == (&image.layers, &image.fault) {
                same.add_names(&entry.names);
                return Ok(());
            }
        }
        let nr = self.images.len();
        self.by_id.entry(id).or_insert(nr);
        self.images.push(Image { names: entry.names, ..image });
        Ok(())
    }

    /// Follows the descriptors of an index, depth first, and returns to which images they lead. A name given to an index
    /// is the name of every image in it.
    fn follow(
        &mut self,
        descriptors: Vec<Descriptor>,
        names: &[String],
        depth: usize,
    ) -> Result<Vec<usize>, Error> {
        if depth > DEEPEST {
            return Err(Error::Damaged(format!("{INDEX}: indexes are nested more than {DEEPEST} deep")));
        }
        let mut led = Vec::new();
        for descriptor in descriptors.into_iter().filter(|descriptor| !descriptor.attestation) {
            self.step(1)?;
            let own = descriptor.names.clone();
            let names = if own.is_empty() { names } else { &own };
            let numbers = match self.led.get(&descriptor.digest) {
                Some(known) => known.clone(),
                None => self.read(descriptor, names, depth)?,
            };
            self.step(numbers.len())?;
            numbers.iter().for_each(|&nr| self.images[nr].add_names(names));
            led.extend(numbers);
        }
        Ok(led)
    }

    fn step(&mut self, steps: usize) -> Result<(), Error> {
        self.steps += steps;
        if self.steps > MOST_STEPS {
            return Err(Error::Damaged(format!("{INDEX}: leads to more than {MOST_STEPS} blobs")));
        }
        Ok(())
    }

    /// Reads the blob of a descriptor and returns to which images it leads.
    fn read(&mut self, descriptor: Descriptor, names: &[String], depth: usize) -> Result<Vec<usize>, Error> {
        let digest = descriptor.digest;
        self.led.insert(digest, Vec::new());
        let Some(text) = self.blob(&descriptor)? else { return Ok(Vec::new()) };
        let media_type = descriptor.media_type.as_deref();
        let numbers = match oci::document(&text, media_type) {
            Ok(Document::Index(inner)) => self.follow(inner, names, depth + 1)?,
            Ok(Document::Manifest(manifest)) => {
                self.add_manifest(manifest, descriptor)?.into_iter().collect()
            }
            Ok(Document::Other) => Vec::new(),
            Err(_) if !media_type.is_none_or(oci::is_image_type) => Vec::new(),
            Err(fault) => return Err(Error::malformed(format_args!("blob {digest}"))(fault)),
        };
        self.led.insert(digest, numbers.clone());
        Ok(numbers)
    }

    fn add_manifest(&mut self, manifest: Manifest, by: Descriptor) -> Result<Option<usize>, Error> {
        if let Some(&nr) = self.by_id.get(&manifest.config.digest) {
            self.images[nr].manifest.get_or_insert(by.digest);
            return Ok(Some(nr));
        }
        let Some(config) = self.blob(&manifest.config)? else { return Ok(None) };
        let artifact = artifact(&manifest).map(str::to_owned);
        let layers = manifest.layers.into_iter().map(Given::from).collect();
        let mut image = Image::new(self.files, config, layers, by.platform)?;
        image.manifest = Some(by.digest);
        if let Some(kind) = artifact {
            image.artifact = true;
            image.fault = Some(format!("not an image: it is made of '{}'", kind.escape_debug()));
        }
        let nr = self.images.len();
        self.by_id.insert(image.id, nr);
        self.images.push(image);
        Ok(Some(nr))
    }

    /// Returns the contents of a document's blob, and notes where the archive lacks it.
    fn blob(&mut self, descriptor: &Descriptor) -> Result<Option<Vec<u8>>, Error> {
        let digest = descriptor.digest;
        let name = blob_name(&digest);
        let Some(found) = self.files.find(&name)? else {
            self.absent.get_or_insert(digest);
            return Ok(None);
        };
        let len = found.len();
        if let Some(size) = descriptor.size.filter(|&size| size != len) {
            return Err(Error::Damaged(format!("blob {digest}: {len} bytes long, the image says {size}")));
        }
        let text = self.documents.read(&name, found)?;
        if Digest::of(&text) != digest {
            return Err(Error::Damaged(format!("blob {digest} has other contents")));
        }
        Ok(Some(text))
    }
}

impl Image {
    fn new(
        files: &Files,
        config: Vec<u8>,
        layers: Vec<Given>,
        platform: Option<Platform>,
    ) -> Result<Self, Error> {
        let read = oci::config(&config);
        let told = platform.or_else(|| read.as_ref().ok().and_then(|config| config.platform.clone()));
        let usable = match read {
            Ok(read) => usable(files, &read.diff_ids, layers)?,
            Err(fault) => Err(format!("its config: {fault}")),
        };
        let (layers, fault) = match usable {
            Ok(layers) => (layers, None),
            Err(fault) => (Vec::new(), Some(fault)),
        };
        Ok(Self {
            id: Digest::of(&config),
            names: Vec::new(),
            manifest: None,
            platform: told.unwrap_or_else(|| Platform::new("linux", "unknown", None)),
            config,
            layers,
            fault,
            artifact: false,
        })
    }

    fn add_names(&mut self, names: &[String]) {
        for name in names {
            if !self.names.contains(name) {
                self.names.push(name.clone());
            }
        }
    }
}

/// Matches the layers with their diff ids, or says why they make no image.
fn usable(
    files: &Files,
    diff_ids: &[Digest],
    layers: Vec<Given>,
) -> Result<Result<Vec<Layer>, String>, Error> {
    let (named, given) = (diff_ids.len(), layers.len());
    if named != given {
        return Ok(Err(format!("the config names {named} layers, the manifest {given}")));
    }
    let mut matched = Vec::with_capacity(given);
    for (nr, (layer, &diff_id)) in layers.into_iter().zip(diff_ids).enumerate() {
        let found = files.find(&layer.file)?;
        match layer.checked(found) {
            Ok((size, layer)) => {
                matched.push(Layer { diff_id, size, file: layer.file, expected: layer.expected });
            }
            Err(fault) => return Ok(Err(format!("layer {} of {given}: {fault}", nr + 1))),
        }
    }
    Ok(Ok(matched))
}

impl Given {
    fn checked(self, found: Option<Bytes>) -> Result<(u64, Self), String> {
        let media_type = self.media_type.as_deref().unwrap_or_default();
        if media_type.ends_with("+encrypted") {
            return Err("it is encrypted".to_owned());
        }
        let Some(found) = found else {
            let name = self.expected.digest.map_or_else(|| self.file.clone(), |digest| digest.to_string());
            let name = name.escape_debug();
            let foreign = media_type.contains("foreign") || media_type.contains("nondistributable");
            return Err(match self.urls.first() {
                Some(url) => format!("{name} is not in the archive, only at {}", url.escape_debug()),
                None if foreign => format!("{name} is a foreign layer, which is not in the archive"),
                None => format!("{name} is not in the archive"),
            });
        };
        match self.expected.size {
            Some(size) if size != found.len() => {
                Err(format!("{} bytes long, the image says {size}", found.len()))
            }
            _ => Ok((found.len(), self)),
        }
    }
}

impl From<Descriptor> for Given {
    fn from(layer: Descriptor) -> Self {
        Self {
            file: blob_name(&layer.digest),
            expected: Expected { digest: Some(layer.digest), size: layer.size },
            media_type: layer.media_type,
            urls: layer.urls,
        }
    }
}

/// Returns the media type that shows that `manifest` is of something else than an image.
fn artifact(manifest: &Manifest) -> Option<&str> {
    let config = manifest.config.media_type.as_deref().filter(|text| !oci::is_config_type(text));
    let mut layers = manifest.layers.iter().filter_map(|layer| layer.media_type.as_deref());
    config.or_else(|| layers.find(|text| !text.contains("tar")))
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Returns the digest that the name of a blob promises.
fn blob_digest(name: &str) -> Option<Digest> {
    let hex = name.trim_start_matches("./").strip_prefix("blobs/sha256/")?;
    Digest::from_hex(hex).ok()
}
