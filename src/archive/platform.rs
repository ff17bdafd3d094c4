//! What an image runs on: operating system, architecture and its variant, in Go's words.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What an image runs on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// The operating system: `linux`.
    pub os: String,
    /// The processor: `amd64`, `arm64`, `arm`.
    pub architecture: String,
    /// Its variant, where there is more than the usual one: `v6` of `arm`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// A text that is no platform.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("'{}' is no platform: OS/ARCH or OS/ARCH/VARIANT is, as in linux/arm64", .0.escape_debug())]
pub struct NotAPlatform(String);

impl Platform {
    /// Makes a platform of its parts, each in any spelling that is in use.
    #[must_use]
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let (architecture, implied) = normal(&architecture.to_ascii_lowercase());
        let variant = variant.filter(|v| !v.is_empty()).map(str::to_ascii_lowercase);
        let variant = variant.or(implied.map(str::to_owned));
        // What every processor of an architecture has is no variant (containerd/platforms, normalizeArch).
        let usual = match architecture.as_str() {
            "amd64" => Some("v1"),
            "arm64" => Some("v8"),
            _ => None,
        };
        let variant = variant.filter(|v| Some(v.as_str()) != usual);
        Self { os: os.to_ascii_lowercase(), architecture, variant }
    }

    /// Returns the platform of this machine.
    #[must_use]
    pub fn machine() -> Self {
        let architecture = match std::env::consts::ARCH {
            "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
            "mips64" if cfg!(target_endian = "little") => "mips64le",
            other => other,
        };
        Self::new("linux", architecture, None)
    }

    /// Whether an image for `image` is one for this platform; without a variant, any of its variants is.
    #[must_use]
    pub fn takes(&self, image: &Self) -> bool {
        let variant = self.variant.is_none() || self.variant == image.variant;
        self.os == image.os && self.architecture == image.architecture && variant
    }
}

/// Returns Go's word for an architecture, and the variant that the word implies.
fn normal(architecture: &str) -> (String, Option<&'static str>) {
    let (word, variant) = match architecture {
        "x86_64" | "x86-64" => ("amd64", None),
        "i386" | "i486" | "i586" | "i686" | "x86" => ("386", None),
        "aarch64" => ("arm64", None),
        "arm" | "armhf" => ("arm", Some("v7")),
        "armel" => ("arm", Some("v6")),
        "loongarch64" => ("loong64", None),
        "powerpc64" => ("ppc64", None),
        "powerpc64le" => ("ppc64le", None),
        other => (other, None),
    };
    (word.to_owned(), variant)
}

impl FromStr for Platform {
    type Err = NotAPlatform;

    fn from_str(text: &str) -> Result<Self, NotAPlatform> {
        let parts: Vec<&str> = text.split('/').collect();
        let plain = |part: &&str| {
            !part.is_empty() && part.bytes().all(|c| c.is_ascii_alphanumeric() || b"._-".contains(&c))
        };
        match parts.as_slice() {
            [os, architecture] if parts.iter().all(plain) => Ok(Self::new(os, architecture, None)),
            [os, architecture, variant] if parts.iter().all(plain) => {
                Ok(Self::new(os, architecture, Some(variant)))
            }
            _ => Err(NotAPlatform(text.to_owned())),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os.escape_debug(), self.architecture.escape_debug())?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{}", variant.escape_debug()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn knows_the_spellings_in_use() {
        for (text, shown) in [
            ("linux/x86_64", "linux/amd64"),
            ("linux/amd64/v1", "linux/amd64"),
            ("Linux/AMD64/v3", "linux/amd64/v3"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/v6", "linux/arm/v6"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/i386", "linux/386"),
            ("linux/riscv64", "linux/riscv64"),
        ] {
            assert_eq!(platform(text).to_string(), shown);
        }
    }

    #[test]
    fn refuses_other_texts() {
        for text in ["", "amd64", "linux/", "/amd64", "linux/arm/v7/x", "linux/a\nb"] {
            assert!(text.parse::<Platform>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn takes_every_variant_unless_one_is_named() {
        for (wanted, image, taken) in [
            ("linux/amd64", "linux/amd64", true),
            ("linux/amd64", "linux/amd64/v3", true),
            ("linux/amd64/v3", "linux/amd64", false),
            ("linux/arm/v6", "linux/arm/v7", false),
            ("linux/arm64", "linux/amd64", false),
            ("windows/amd64", "linux/amd64", false),
        ] {
            assert_eq!(platform(wanted).takes(&platform(image)), taken, "{wanted} {image}");
        }
    }
}
