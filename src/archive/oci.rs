//! The documents of an OCI layout: indexes, manifests and configs, Docker's dialect of them too.
//!
//! Text to structs; reads no file.

use serde_json::Value;

use super::json::{self, Malformed, Object};
use super::name;
use super::platform::Platform;
use crate::digest::Digest;

type Result<T> = std::result::Result<T, Malformed>;

/// What one document says of another blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Descriptor {
    pub(super) media_type: Option<String>,
    pub(super) digest: Digest,
    pub(super) size: Option<u64>,
    pub(super) platform: Option<Platform>,
    /// The names that annotations give, normalised.
    pub(super) names: Vec<String>,
    /// Whether it is a statement about an image, and no image.
    pub(super) attestation: bool,
    /// Where else the blob may be got from.
    pub(super) urls: Vec<String>,
}

/// An image manifest.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) config: Descriptor,
    pub(super) layers: Vec<Descriptor>,
}

/// What a descriptor of an index leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Document {
    Index(Vec<Descriptor>),
    Manifest(Manifest),
    /// Something that images do not consist of.
    Other,
}

/// What of an image's config is needed to mount it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Config {
    pub(super) diff_ids: Vec<Digest>,
    pub(super) platform: Option<Platform>,
}

/// Whether a document of this type is an index or an image's manifest.
pub(super) fn is_image_type(media_type: &str) -> bool {
    Kind::of(media_type).is_some()
}

/// Whether a config of this type is an image's.
pub(super) fn is_config_type(media_type: &str) -> bool {
    matches!(
        media_type,
        "application/vnd.oci.image.config.v1+json" | "application/vnd.docker.container.image.v1+json"
    )
}

/// Reads `index.json`.
pub(super) fn index(text: &[u8]) -> Result<Vec<Descriptor>> {
    let value = json::parse(text)?;
    let object = Object::of(&value)?;
    not_both(object)?;
    descriptors(object, "manifests")
}

/// Reads the blob of a descriptor of an index.
pub(super) fn document(text: &[u8], described_as: Option<&str>) -> Result<Document> {
    let value = json::parse(text)?;
    let Ok(object) = Object::of(&value) else { return Ok(Document::Other) };
    not_both(object)?;
    agrees(object, described_as)?;
    if object.get("manifests")?.is_some() {
        return Ok(Document::Index(descriptors(object, "manifests")?));
    }
    match object.get("config")? {
        Some(config) => Ok(Document::Manifest(Manifest {
            config: Descriptor::of(config).map_err(|e| Malformed::new(format!("'config': {e}")))?,
            layers: descriptors(object, "layers")?,
        })),
        None if object.number("schemaVersion")? == Some(1) => {
            Err(Malformed::new("a manifest of schema version 1"))
        }
        None => Ok(Document::Other),
    }
}

/// Reads an image's config.
pub(super) fn config(text: &[u8]) -> Result<Config> {
    let value = json::parse(text)?;
    let object = Object::of(&value)?;
    let diff_ids = match object.object("rootfs")? {
        None => Vec::new(),
        Some(rootfs) => rootfs.texts("diff_ids")?,
    };
    let diff_ids = diff_ids.into_iter().map(digest).collect::<Result<_>>()?;
    Ok(Config { diff_ids, platform: platform(object)? })
}

/// A document that can be read as an index and as a manifest is two different images to two readers (CVE-2021-41190).
fn not_both(object: Object<'_>) -> Result<()> {
    let image = object.get("layers")?.is_some() || object.get("config")?.is_some();
    if image && object.get("manifests")?.is_some() {
        return Err(Malformed::new("both a manifest and an index"));
    }
    Ok(())
}

/// Compares what the document is, and what it calls itself, with what led to it. Docker's words and OCI's are the same
/// here: tools that convert one to the other often leave one behind.
fn agrees(object: Object<'_>, described_as: Option<&str>) -> Result<()> {
    let own = object.text("mediaType")?;
    let (layers, manifests) = (object.get("layers")?.is_some(), object.get("manifests")?.is_some());
    let called = [described_as, own].into_iter().flatten();
    for (name, kind) in called.filter_map(|name| Some((name, Kind::of(name)?))) {
        if kind == Kind::Index && layers || kind == Kind::Manifest && manifests {
            return Err(Malformed::new(format!("is called '{name}', which it is not")));
        }
    }
    match (own, own.and_then(Kind::of), described_as, described_as.and_then(Kind::of)) {
        (Some(own), Some(is), Some(described), Some(should)) if is != should => {
            Err(Malformed::new(format!("calls itself '{own}', the index calls it '{described}'")))
        }
        _ => Ok(()),
    }
}

/// What a media type says a document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Index,
    Manifest,
}

impl Kind {
    fn of(media_type: &str) -> Option<Self> {
        match media_type {
            OCI_INDEX | DOCKER_LIST => Some(Self::Index),
            OCI_MANIFEST | DOCKER_MANIFEST => Some(Self::Manifest),
            _ => None,
        }
    }
}

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

fn descriptors(object: Object<'_>, key: &str) -> Result<Vec<Descriptor>> {
    let named = |(nr, value)| Descriptor::of(value).map_err(|e| Malformed::new(format!("'{key}' {nr}: {e}")));
    object.list(key)?.iter().enumerate().map(named).collect()
}

fn digest(text: &str) -> Result<Digest> {
    text.parse().map_err(|e: crate::digest::NotADigest| Malformed::new(e.to_string()))
}

fn platform(object: Object<'_>) -> Result<Option<Platform>> {
    let (os, architecture) = (object.text("os")?, object.text("architecture")?);
    let variant = object.text("variant")?;
    Ok(os.zip(architecture).map(|(os, architecture)| Platform::new(os, architecture, variant)))
}

impl Descriptor {
    fn of(value: &Value) -> Result<Self> {
        let object = Object::of(value)?;
        let named = object.object("platform")?;
        let unknown = match named {
            Some(platform) => platform.text("os")? == Some("unknown"),
            None => false,
        };
        let annotations = object.object("annotations")?;
        Ok(Self {
            media_type: object.text("mediaType")?.filter(|text| !text.is_empty()).map(str::to_owned),
            digest: digest(object.text("digest")?.ok_or_else(|| Malformed::new("no 'digest'"))?)?,
            size: object.number("size")?,
            platform: named.map(platform).transpose()?.flatten(),
            names: annotations.map(names).transpose()?.unwrap_or_default(),
            attestation: unknown || annotations.map(attests).transpose()?.unwrap_or_default(),
            urls: object.texts("urls")?.into_iter().map(str::to_owned).collect(),
        })
    }
}

/// The full name is containerd's and Docker's; `ref.name` is often only a tag, and a full one with Podman and Skopeo.
fn names(annotations: Object<'_>) -> Result<Vec<String>> {
    let full = annotations.text("io.containerd.image.name")?;
    let short = annotations.text("org.opencontainers.image.ref.name")?;
    let name = full.or(short).filter(|name| !name.is_empty());
    let name = name.map(name::given).transpose().map_err(|e| Malformed::new(e.to_string()))?;
    Ok(name.flatten().into_iter().collect())
}

/// BuildKit's mark for what it says of an image it built.
fn attests(annotations: Object<'_>) -> Result<bool> {
    Ok(annotations.text("vnd.docker.reference.type")? == Some("attestation-manifest"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn read(text: &str) -> Result<Document> {
        document(text.replace("$A", A).as_bytes(), None)
    }

    fn descriptor() -> Descriptor {
        Descriptor {
            media_type: None,
            digest: A.parse().unwrap(),
            size: None,
            platform: None,
            names: vec![],
            attestation: false,
            urls: vec![],
        }
    }

    #[test]
    fn reads_an_index() {
        let text = r#"{"manifests": [
            {"digest": "$A", "size": 7, "mediaType": "m", "platform": {"os": "linux", "architecture": "arm", "variant": "v7"},
             "annotations": {"io.containerd.image.name": "docker.io/library/web:1", "org.opencontainers.image.ref.name": "1"}},
            {"digest": "$A", "platform": {"os": "unknown", "architecture": "unknown"}},
            {"digest": "$A", "annotations": {"vnd.docker.reference.type": "attestation-manifest"}},
            {"digest": "$A", "annotations": {"org.opencontainers.image.ref.name": "1"}}]}"#;
        let unknown = Some(Platform::new("unknown", "unknown", None));
        let expected = vec![
            Descriptor {
                media_type: Some("m".into()),
                size: Some(7),
                platform: Some("linux/arm".parse().unwrap()),
                names: vec!["web:1".into()],
                ..descriptor()
            },
            Descriptor { platform: unknown, attestation: true, ..descriptor() },
            Descriptor { attestation: true, ..descriptor() },
            Descriptor { names: vec!["1:latest".into()], ..descriptor() },
        ];
        assert_eq!(read(text), Ok(Document::Index(expected.clone())));
        assert_eq!(index(text.replace("$A", A).as_bytes()), Ok(expected));
        assert_eq!(index(b"{}"), Ok(vec![]));
    }

    #[test]
    fn reads_a_manifest() {
        let layer = Descriptor { urls: vec!["https://a/b".into()], ..descriptor() };
        assert_eq!(
            read(r#"{"config": {"digest": "$A"}, "layers": [{"digest": "$A", "urls": ["https://a/b"]}]}"#),
            Ok(Document::Manifest(Manifest { config: descriptor(), layers: vec![layer] }))
        );
        assert_eq!(
            read(r#"{"config": {"digest": "$A"}, "layers": null}"#),
            Ok(Document::Manifest(Manifest { config: descriptor(), layers: vec![] }))
        );
        assert_eq!(read(r#"{"blobs": [], "subject": {}}"#), Ok(Document::Other));
    }

    #[test]
    fn refuses_what_readers_would_disagree_on() {
        for (text, reason) in [
            (r#"{"manifests": [], "layers": []}"#, "both a manifest and an index"),
            (r#"{"manifests": [], "config": {"digest": "$A"}}"#, "both a manifest and an index"),
            (r#"{"schemaVersion": 1, "fsLayers": []}"#, "a manifest of schema version 1"),
            (r#"{"manifests": [{"size": 1}]}"#, "'manifests' 0: no 'digest'"),
            (r#"{"manifests": [{"digest": "../x"}]}"#, "'manifests' 0: '../x' is no sha256 digest"),
            (
                r#"{"manifests": [{"digest": "$A", "size": -1}]}"#,
                "'manifests' 0: 'size' is -1, not a whole number from 0",
            ),
        ] {
            assert_eq!(read(text).unwrap_err().to_string(), reason);
        }
    }

    #[test]
    fn a_document_is_what_led_to_it() {
        let index = "application/vnd.oci.image.index.v1+json";
        let manifest = "application/vnd.oci.image.manifest.v1+json";
        let list = r#"{"mediaType": "application/vnd.docker.distribution.manifest.list.v2+json"}"#;
        for (text, described_as, reason) in [
            (
                list,
                manifest,
                "calls itself 'application/vnd.docker.distribution.manifest.list.v2+json', \
                 the index calls it 'application/vnd.oci.image.manifest.v1+json'",
            ),
            (
                r#"{"layers": []}"#,
                index,
                "is called 'application/vnd.oci.image.index.v1+json', which it is not",
            ),
            (
                r#"{"manifests": []}"#,
                manifest,
                "is called 'application/vnd.oci.image.manifest.v1+json', which it is not",
            ),
        ] {
            assert_eq!(document(text.as_bytes(), Some(described_as)).unwrap_err().to_string(), reason);
        }
        assert_eq!(document(list.as_bytes(), Some(index)), Ok(Document::Other), "Docker's word for it");
    }

    #[test]
    fn reads_what_a_config_says_of_layers_and_platform() {
        let text =
            r#"{"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": ["$A"]}}"#;
        assert_eq!(
            config(text.replace("$A", A).as_bytes()),
            Ok(Config { diff_ids: vec![A.parse().unwrap()], platform: Some("linux/amd64".parse().unwrap()) })
        );
        assert_eq!(config(b"{}"), Ok(Config { diff_ids: vec![], platform: None }));
        assert_eq!(config(b"[]").unwrap_err().to_string(), "not a JSON object");
    }
}
