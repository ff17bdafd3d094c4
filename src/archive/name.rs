//! The names of images, as Docker shows them.

/// Docker's own bound for a name without its tag is 255 (distribution/reference, `RepositoryNameTotalLengthMax`), for a
/// tag 128; a digest may stand instead of the tag.
const LONGEST: usize = 255 + 1 + 128;

/// A name that no image can have.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadName {
    /// No name at all.
    #[error("an image's name cannot be empty")]
    Empty,
    /// Longer than Docker and the registries take.
    #[error("an image's name of {0} bytes is too long, {LONGEST} are the limit")]
    Long(usize),
    /// Parts that a path would be led astray by.
    #[error("'{}' is no image's name: a part of it is empty, '.' or '..'", .0.escape_debug())]
    Component(String),
    /// Something a terminal or a table would choke on.
    #[error("'{}' is no image's name: it has a '{}'", .0.escape_debug(), .1.escape_debug())]
    Character(String, char),
    /// What means the image of that digest, whoever else would like to be called so. Docker refuses these, too.
    #[error("'{0}' is no image's name: a digest is an image's own")]
    Digest(String),
    /// Something that means another thing on a command line.
    #[error("'{0}' is no image's name: it starts with '{1}'")]
    Start(String, char),
}

/// Returns `name` as Docker shows it: without the registry that is its default, and with a tag.
///
/// `docker.io/library/node` is `node:latest`. An OCI layout's `org.opencontainers.image.ref.name` often is a bare tag;
/// it is taken for a name like any other, since there is no better one.
pub fn normal(name: &str) -> Result<String, BadName> {
    if name.is_empty() {
        return Err(BadName::Empty);
    }
    if name.len() > LONGEST {
        return Err(BadName::Long(name.len()));
    }
    if let Some(bad) = name.chars().find(|c| !c.is_ascii_graphic()) {
        return Err(BadName::Character(name.to_owned(), bad));
    }
    // What is left would mean another image where it names a registry again: such a name stays as it is.
    let short = without_registry(name).filter(|short| without_registry(short).is_none()).unwrap_or(name);
    // `@3` means an image by its number, `./a` and `/a` are files, and `-a` is an option.
    if let Some(bad) = short.chars().next().filter(|c| !c.is_ascii_alphanumeric() && *c != '_') {
        return Err(BadName::Start(name.to_owned(), bad));
    }
    let (bare, _) = short.split_once([':', '@']).unwrap_or((short, ""));
    if bare == "sha256" || bare.len() == 64 && bare.bytes().all(|c| c.is_ascii_hexdigit()) {
        return Err(BadName::Digest(name.to_owned()));
    }
    if short.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(BadName::Component(name.to_owned()));
    }
    let last = short.rsplit('/').next().unwrap_or(short);
    let named = if last.contains([':', '@']) { short.to_owned() } else { format!("{short}:latest") };
    if named.len() > LONGEST { Err(BadName::Long(named.len())) } else { Ok(named) }
}

/// Returns the name that an archive gives to an image; nothing where it is a digest, which containerd's exports may have, for
/// the image is known by its own.
pub(super) fn given(name: &str) -> Result<Option<String>, BadName> {
    match normal(name) {
        Err(BadName::Digest(_)) => Ok(None),
        name => name.map(Some),
    }
}

/// Returns a normal name with its registry, as containerd has it; one that would then be read as another stays as it is.
#[must_use]
pub fn full(name: &str) -> String {
    let full = match name.split_once('/') {
        Some((first, _)) if is_registry(first) => name.to_owned(),
        Some(_) => format!("docker.io/{name}"),
        None => format!("docker.io/library/{name}"),
    };
    if normal(&full).as_deref() == Ok(name) { full } else { name.to_owned() }
}

/// Returns the tag of a normal name; `None` where a digest stands in its place.
#[must_use]
pub fn tag(name: &str) -> Option<&str> {
    let last = name.rsplit('/').next().unwrap_or(name);
    if last.contains('@') { None } else { last.rsplit_once(':').map(|(_, tag)| tag) }
}

/// Whether `docker load` takes a normal name: a repository in small letters, and a tag (distribution/reference, regexp.go).
#[must_use]
pub fn is_docker_tag(name: &str) -> bool {
    let Some(tag) = tag(name) else { return false };
    let repository = &name[..name.len() - tag.len() - 1];
    let path = match repository.split_once('/') {
        Some((first, rest)) if is_registry(first) => rest,
        Some(_) | None => repository,
    };
    let of_tag = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let tag_is_one = tag.len() <= 128 && !tag.starts_with(['.', '-']) && tag.bytes().all(of_tag);
    tag_is_one && repository.len() <= 255 && path.split('/').all(is_component)
}

/// Whether the first part of a name is a registry, and no part of a path (distribution/reference, `splitDockerDomain`).
fn is_registry(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':'])
}

/// Small letters and digits, with one dot, one or two underscores or any number of dashes between them.
fn is_component(part: &str) -> bool {
    let is_alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let between =
        |run: &str| run.is_empty() || matches!(run, "." | "_" | "__") || run.bytes().all(|b| b == b'-');
    let ends = [part.bytes().next(), part.bytes().next_back()];
    ends.into_iter().all(|end| end.is_some_and(is_alphanumeric))
        && part.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()).all(between)
}

/// Returns what follows the registry that is Docker's default, if the name begins with it.
fn without_registry(name: &str) -> Option<&str> {
    let registries = ["docker.io/", "index.docker.io/"];
    let rest = registries.iter().find_map(|registry| name.strip_prefix(registry))?;
    Some(rest.strip_prefix("library/").unwrap_or(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalises_as_docker_does() {
        for (name, shown) in [
            ("node", "node:latest"),
            ("node:20-slim", "node:20-slim"),
            ("docker.io/library/node:20", "node:20"),
            ("docker.io/grafana/grafana", "grafana/grafana:latest"),
            ("index.docker.io/library/node", "node:latest"),
            ("localhost:5000/app", "localhost:5000/app:latest"),
            ("quay.io/a/b:0.1", "quay.io/a/b:0.1"),
            ("library/node", "library/node:latest"),
            ("v1", "v1:latest"),
            ("hello@sha256:03b62250a3cb", "hello@sha256:03b62250a3cb"),
            ("docker.io/docker.io/a", "docker.io/docker.io/a:latest"),
            ("docker.io/library/index.docker.io/a:1", "docker.io/library/index.docker.io/a:1"),
        ] {
            assert_eq!(normal(name).as_deref(), Ok(shown));
            assert_eq!(normal(shown).as_deref(), Ok(shown), "twice");
        }
    }

    #[test]
    fn a_full_name_means_the_same() {
        for (name, whole, tagged) in [
            ("web:1", "docker.io/library/web:1", Some("1")),
            ("a/b:1.0-rc_2", "docker.io/a/b:1.0-rc_2", Some("1.0-rc_2")),
            ("localhost/a:1", "localhost/a:1", Some("1")),
            ("localhost:5000/a:1", "localhost:5000/a:1", Some("1")),
            ("library/web:1", "library/web:1", Some("1")),
            ("docker.io/docker.io/a:1", "docker.io/docker.io/a:1", Some("1")),
            ("web@sha256:03b62250a3cb", "docker.io/library/web@sha256:03b62250a3cb", None),
        ] {
            assert_eq!(full(name), whole);
            assert_eq!(normal(whole).as_deref(), Ok(name));
            assert_eq!(tag(name), tagged);
        }
    }

    #[test]
    fn knows_what_docker_takes() {
        for name in ["web:1", "a/b.c_d__e---f/g0:V1.0-rc_2", "Registry.example:5000/a:1", "localhost/a:_"] {
            assert!(is_docker_tag(name), "{name}");
        }
        for name in [
            "Web:1",
            "a/B:1",
            "a..b:1",
            "a___b:1",
            "-a:1",
            "a-:1",
            "a:.1",
            "a:-",
            "a:x+y",
            "a@sha256:03b62250a3cb",
            "a+b:1",
        ] {
            assert!(!is_docker_tag(name), "{name}");
        }
    }

    #[test]
    fn refuses_what_no_image_is_called() {
        for (name, reason) in [
            ("", "an image's name cannot be empty"),
            (
                "docker.io/library/",
                "'docker.io/library/' is no image's name: a part of it is empty, '.' or '..'",
            ),
            ("a/../b", "'a/../b' is no image's name: a part of it is empty, '.' or '..'"),
            ("a\u{1b}[31m", "'a\\u{1b}[31m' is no image's name: it has a '\\u{1b}'"),
            ("@1", "'@1' is no image's name: it starts with '@'"),
            ("sha256:0123", "'sha256:0123' is no image's name: a digest is an image's own"),
            (
                "docker.io/sha256:0123",
                "'docker.io/sha256:0123' is no image's name: a digest is an image's own",
            ),
            ("docker.io/-v", "'docker.io/-v' is no image's name: it starts with '-'"),
            ("docker.io/library/@1", "'docker.io/library/@1' is no image's name: it starts with '@'"),
            ("a b", "'a b' is no image's name: it has a ' '"),
        ] {
            assert_eq!(normal(name).unwrap_err().to_string(), reason);
        }
        assert_eq!(given("sha256:0123"), Ok(None));
        assert_eq!(given("web"), Ok(Some("web:latest".to_owned())));
        assert_eq!(normal(&"x".repeat(400)), Err(BadName::Long(400)));
        assert_eq!(normal(&"x".repeat(LONGEST)), Err(BadName::Long(LONGEST + 7)), "with its tag");
        let digest = "0123456789abcdef".repeat(4);
        assert_eq!(normal(&digest), Err(BadName::Digest(digest.clone())));
        assert_eq!(normal(&digest[1..]), Ok(format!("{}:latest", &digest[1..])));
    }
}
