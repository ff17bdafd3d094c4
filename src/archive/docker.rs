//! `manifest.json`, what `docker save` writes of the images in an archive.
//!
//! Text to structs; reads no file.

use super::json::{self, Malformed, Object};
use super::name;

/// One image of `manifest.json`. Its files are named as they are in the archive.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) config: String,
    pub(super) names: Vec<String>,
    pub(super) layers: Vec<String>,
}

/// What Docker once wrote for an image without a name.
const UNNAMED: &str = "<none>:<none>";

/// Reads `manifest.json`.
pub(super) fn parse(text: &[u8]) -> Result<Vec<Entry>, Malformed> {
    let value = json::parse(text)?;
    if value.is_null() {
        return Ok(Vec::new());
    }
    let entries = value.as_array().ok_or_else(|| Malformed::new("not a list of images"))?;
    entries.iter().map(|entry| Entry::of(Object::of(entry)?)).collect()
}

impl Entry {
    fn of(object: Object<'_>) -> Result<Self, Malformed> {
        let config = object.text("Config")?.ok_or_else(|| Malformed::new("an image without 'Config'"))?;
        let names = object.texts("RepoTags")?.into_iter().filter(|&name| name != UNNAMED);
        let names: Result<Vec<_>, _> = names.filter_map(|name| name::given(name).transpose()).collect();
        Ok(Self {
            config: config.to_owned(),
            names: names.map_err(|e| Malformed::new(e.to_string()))?,
            layers: object.texts("Layers")?.into_iter().map(str::to_owned).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(config: &str, names: &[&str], layers: &[&str]) -> Entry {
        let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        Entry { config: config.to_owned(), names: owned(names), layers: owned(layers) }
    }

    #[test]
    fn reads_what_docker_writes() {
        let text = br#"[{"Config": "abc.json", "RepoTags": ["docker.io/library/web:1", "web"],
                         "Layers": ["1/layer.tar", "2/layer.tar"], "LayerSources": {"x": {"size": 1}}}]"#;
        assert_eq!(
            parse(text),
            Ok(vec![entry("abc.json", &["web:1", "web:latest"], &["1/layer.tar", "2/layer.tar"])])
        );
    }

    #[test]
    fn reads_small_keys_and_null_lists() {
        let text = br#"[{"config": "a", "repoTags": null, "layers": null}, {"Config": "b"}]"#;
        assert_eq!(parse(text), Ok(vec![entry("a", &[], &[]), entry("b", &[], &[])]));
        assert_eq!(parse(b"null"), Ok(vec![]));
        assert_eq!(
            parse(br#"[{"Config": "a", "RepoTags": ["<none>:<none>"]}]"#),
            Ok(vec![entry("a", &[], &[])])
        );
    }

    #[test]
    fn refuses_what_is_no_manifest() {
        for (text, reason) in [
            ("{}", "not a list of images"),
            ("[1]", "not a JSON object"),
            ("[{}]", "an image without 'Config'"),
            (r#"[{"Config": "a", "config": "b"}]"#, "'Config' is given twice"),
            (r#"[{"Config": "a", "RepoTags": ["a b"]}]"#, "'a b' is no image's name: it has a ' '"),
            (r#"[{"Config": "a", "Layers": [1]}]"#, "'Layers' has an item that is no string"),
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap_err().to_string(), reason);
        }
    }
}
