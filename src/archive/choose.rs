//! Which of an archive's images is meant.
//!
//! Images of the same names for different platforms are variants of one image; between them the platform decides, the
//! machine's own where none is given. Between different images only the user can.

use std::fmt;
use std::str::FromStr;

use super::error::Error;
use super::images::Image;
use super::name::{self, BadName};
use super::platform::Platform;
use crate::digest::Digest;

/// So few hex digits may stand for a digest.
const SHORTEST_DIGEST: usize = 4;

/// So many names of an image are shown.
const MOST_NAMES: usize = 3;

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// The image, where it is named.
    pub image: Option<ImageRef>,
    /// The platform, where it is not the machine's own.
    pub platform: Option<Platform>,
}

/// How an image of an archive is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageRef {
    /// By its name, normalised; where none has it, what was typed may be the beginning of an id.
    Name(String),
    /// By its place in the archive, from 0.
    Index(usize),
    /// By the first hex digits of its id or its manifest's digest.
    Digest(String),
}

/// An image, as it is shown to be chosen from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its place in the archive: `@N`.
    pub index: usize,
    /// Its names.
    pub names: Vec<String>,
    /// What it runs on.
    pub platform: Platform,
    /// Its id.
    pub id: Digest,
}

impl FromStr for ImageRef {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        if let Some(Ok(index)) = text.strip_prefix('@').map(str::parse) {
            return Ok(Self::Index(index));
        }
        // All of a digest is no name, so it needs nothing before it.
        match text.strip_prefix("sha256:").or((text.len() == 64).then_some(text)) {
            Some(hex) if is_prefix(hex) => Ok(Self::Digest(hex.to_owned())),
            _ => name::normal(text).map(Self::Name),
        }
    }
}

fn is_prefix(hex: &str) -> bool {
    let digits = hex.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
    digits && (SHORTEST_DIGEST..=64).contains(&hex.len())
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Index(index) => write!(f, "@{index}"),
            Self::Digest(hex) => write!(f, "sha256:{hex}"),
        }
    }
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { index, names, platform, id } = self;
        match names.as_slice() {
            [] => write!(f, "@{index} {platform} {}", id.short()),
            names => {
                let more = names.len().saturating_sub(MOST_NAMES);
                write!(f, "@{index} '{}'", names[..names.len() - more].join("', '"))?;
                if more > 0 {
                    write!(f, " and {more} more names")?;
                }
                write!(f, " {platform} {}", id.short())
            }
        }
    }
}

/// Returns the one image that `choice` means.
pub(super) fn one<'a>(images: &'a [Image], choice: &Choice) -> Result<&'a Image, Error> {
    let numbers = meant(images, choice)?;
    match variant(images, &numbers, choice) {
        Some(nr) => sound(images, nr),
        None => Err(Error::Ambiguous(listed(images, numbers))),
    }
}

/// Returns all images that `choice` means, one of each that comes in variants.
pub(super) fn all<'a>(images: &'a [Image], choice: &Choice) -> Result<Vec<&'a Image>, Error> {
    if choice.image.is_some() {
        return one(images, choice).map(|image| vec![image]);
    }
    let mut left = meant(images, choice)?;
    let mut chosen = Vec::new();
    while let Some(&first) = left.first() {
        let same = |&nr: &usize| images[nr].names == images[first].names;
        let (group, others): (Vec<_>, Vec<_>) = left.iter().copied().partition(same);
        left = others;
        match variant(images, &group, choice) {
            Some(nr) => chosen.push(nr),
            // Without a name, several of one platform are as many images.
            None if images[first].names.is_empty() => chosen.extend(group),
            None => return Err(Error::Ambiguous(listed(images, group))),
        }
    }
    chosen.into_iter().map(|nr| sound(images, nr)).collect()
}

/// Returns the numbers of the images that could be meant: never none.
fn meant(images: &[Image], choice: &Choice) -> Result<Vec<usize>, Error> {
    let everything = 0..images.len();
    let mut numbers: Vec<usize> = match &choice.image {
        Some(asked) => named(images, asked),
        // A signature beside an image makes no choice necessary.
        None if images.iter().any(|image| !image.artifact) => {
            everything.filter(|&nr| !images[nr].artifact).collect()
        }
        None => everything.collect(),
    };
    if let Some(asked) = choice.image.as_ref().filter(|_| numbers.is_empty()) {
        return Err(Error::NoSuchImage { asked: asked.to_string(), images: nearest(images, asked) });
    }
    if let Some(platform) = &choice.platform {
        let all = numbers.clone();
        numbers.retain(|&nr| platform.takes(&images[nr].platform));
        if numbers.is_empty() {
            let asked = choice.image.as_ref().map_or_else(String::new, |image| format!("{image} "));
            return Err(Error::NoSuchImage {
                asked: format!("{asked}{platform}"),
                images: listed(images, all),
            });
        }
    }
    Ok(numbers)
}

fn named(images: &[Image], asked: &ImageRef) -> Vec<usize> {
    let those =
        |is: &dyn Fn(&Image) -> bool| (0..images.len()).filter(|&nr| is(&images[nr])).collect::<Vec<_>>();
    let begins = |hex: &str| {
        those(&|image| {
            image.id.hex().starts_with(hex) || image.manifest.is_some_and(|m| m.hex().starts_with(hex))
        })
    };
    match asked {
        ImageRef::Index(index) => (*index < images.len()).then_some(*index).into_iter().collect(),
        ImageRef::Digest(hex) => begins(hex),
        ImageRef::Name(name) => {
            let exact = those(&|image| image.names.contains(name));
            let typed = name.strip_suffix(":latest").unwrap_or(name);
            if exact.is_empty() && is_prefix(typed) { begins(typed) } else { exact }
        }
    }
}

/// Returns the one image of several, if they are variants of one and the platform decides.
fn variant(images: &[Image], numbers: &[usize], choice: &Choice) -> Option<usize> {
    let &first = numbers.first()?;
    if numbers.len() == 1 {
        return Some(first);
    }
    let platforms: Vec<&Platform> = numbers.iter().map(|&nr| &images[nr].platform).collect();
    let distinct = (1..platforms.len()).all(|nr| !platforms[..nr].contains(&platforms[nr]));
    if !distinct || numbers.iter().any(|&nr| images[nr].names != images[first].names) {
        return None;
    }
    let wanted = choice.platform.clone().unwrap_or_else(Platform::machine);
    let exact = numbers.iter().find(|&&nr| images[nr].platform == wanted);
    let mut taken = numbers.iter().filter(|&&nr| wanted.takes(&images[nr].platform));
    match (exact, taken.next(), taken.next()) {
        (Some(&nr), _, _) | (None, Some(&nr), None) => Some(nr),
        (None, None, _) | (None, Some(_), Some(_)) => None,
    }
}

fn sound(images: &[Image], nr: usize) -> Result<&Image, Error> {
    let image = &images[nr];
    match &image.fault {
        None => Ok(image),
        Some(fault) if images.len() == 1 => Err(Error::Damaged(fault.clone())),
        Some(fault) => Err(Error::Damaged(format!("image @{nr}: {fault}"))),
    }
}

/// Lists images, those for this machine first.
fn listed(images: &[Image], mut numbers: Vec<usize>) -> Vec<Listed> {
    let machine = Platform::machine();
    numbers.sort_by_key(|&nr| (!machine.takes(&images[nr].platform), nr));
    let row = |nr: usize| {
        let Image { id, names, platform, .. } = &images[nr];
        Listed { index: nr, names: names.clone(), platform: platform.clone(), id: *id }
    };
    numbers.into_iter().map(row).collect()
}

/// Lists all images, the one whose name is most like `asked` first.
fn nearest(images: &[Image], asked: &ImageRef) -> Vec<Listed> {
    let mut rows = listed(images, (0..images.len()).collect());
    let asked = asked.to_string();
    let distance = |name: &String| strsim::damerau_levenshtein(name, &asked);
    rows.sort_by_key(|row| row.names.iter().map(distance).min().unwrap_or(usize::MAX));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Images of these names and platforms; the id of each is the digest of its number.
    fn images(list: &[(&[&str], &str)]) -> Vec<Image> {
        let image = |(nr, (names, platform)): (usize, &(&[&str], &str))| Image {
            id: Digest::of(nr.to_string().as_bytes()),
            names: names.iter().map(|&name| name.to_owned()).collect(),
            manifest: Some(Digest::of(format!("manifest {nr}").as_bytes())),
            platform: platform.parse().unwrap(),
            config: Vec::new(),
            layers: Vec::new(),
            fault: None,
            artifact: false,
        };
        list.iter().enumerate().map(image).collect()
    }

    fn choice(image: &str, platform: &str) -> Choice {
        Choice { image: image.parse().ok(), platform: platform.parse().ok() }
    }

    fn number(images: &[Image], chosen: &Image) -> usize {
        images.iter().position(|image| image.id == chosen.id).unwrap()
    }

    fn chosen(images: &[Image], image: &str, platform: &str) -> Result<usize, String> {
        one(images, &choice(image, platform)).map(|one| number(images, one)).map_err(|e| e.to_string())
    }

    fn machine() -> String {
        Platform::machine().to_string()
    }

    #[test]
    fn the_only_image_needs_no_choice_whatever_it_runs_on() {
        assert_eq!(chosen(&images(&[(&[], "linux/s390x")]), "", ""), Ok(0));
    }

    #[test]
    fn an_image_is_named_in_many_ways() {
        let images = images(&[(&["a:1", "a:latest"], "linux/s390x"), (&["b:1"], "linux/s390x")]);
        let id = Digest::of(b"1");
        let manifest = Digest::of(b"manifest 1");
        for name in [
            "@1",
            "b:1",
            "docker.io/library/b:1",
            &id.to_string(),
            &id.hex(),
            &id.short(),
            &manifest.to_string(),
        ] {
            assert_eq!(chosen(&images, name, ""), Ok(1), "{name}");
        }
        assert_eq!(chosen(&images, "a", ""), Ok(0));
    }

    #[test]
    fn the_platform_decides_between_variants() {
        let machine = machine();
        let images = images(&[(&["a:1"], "linux/s390x"), (&["a:1"], &machine), (&["b:1"], "linux/s390x")]);
        assert_eq!(chosen(&images, "a:1", ""), Ok(1));
        assert_eq!(chosen(&images, "a:1", "linux/s390x"), Ok(0));
        assert_eq!(chosen(&images, "", &machine), Ok(1));
        let all = all(&images, &Choice::default()).unwrap();
        assert_eq!(all.into_iter().map(|image| number(&images, image)).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn the_plain_platform_comes_before_its_variants() {
        let images = images(&[(&["a:1"], "linux/amd64/v3"), (&["a:1"], "linux/amd64")]);
        assert_eq!(chosen(&images, "", "linux/amd64"), Ok(1));
        assert_eq!(chosen(&images, "", "linux/amd64/v3"), Ok(0));
    }

    #[test]
    fn between_different_images_only_the_user_can_choose() {
        let images = images(&[(&["a:1"], "linux/s390x"), (&[], &machine())]);
        let (a, b) = (Digest::of(b"0").short(), Digest::of(b"1").short());
        let listed = format!("2 images to choose from: @1 {} {b}, @0 'a:1' linux/s390x {a}", machine());
        assert_eq!(chosen(&images, "", ""), Err(listed));
    }

    #[test]
    fn names_the_nearest_of_those_there_are() {
        let images = images(&[(&["db:1"], "linux/s390x"), (&["web:1.4"], "linux/s390x")]);
        let (a, b) = (Digest::of(b"0").short(), Digest::of(b"1").short());
        let rows = format!("@1 'web:1.4' linux/s390x {b}, @0 'db:1' linux/s390x {a}");
        assert_eq!(chosen(&images, "wep:1.4", ""), Err(format!("no image 'wep:1.4' among {rows}")));
        assert!(chosen(&images, "@2", "").unwrap_err().starts_with("no image '@2' among "));
        assert!(
            chosen(&images, "db:1", "linux/arm")
                .unwrap_err()
                .starts_with("no image 'db:1 linux/arm/v7' among ")
        );
    }

    #[test]
    fn a_signature_beside_an_image_is_not_in_the_way() {
        let mut images = images(&[(&["a:1"], "linux/s390x"), (&["a.sig:latest"], "linux/s390x")]);
        images[1].artifact = true;
        assert_eq!(chosen(&images, "", ""), Ok(0));
        assert_eq!(chosen(&images, "@1", ""), Ok(1));
        assert_eq!(all(&images, &Choice::default()).unwrap().len(), 1);
    }
}
