//! What `-o` says: overlayfs' own options, and flags of the mount.

use crate::sys::mount::Attributes;

/// Options of one mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    given: Vec<(String, Option<String>)>,
    flags: Attributes,
}

impl Default for Options {
    fn default() -> Self {
        Self { given: Vec::new(), flags: Attributes::empty() }
    }
}

/// An option that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadOption {
    /// The layers have arguments of their own.
    #[error("option '{0}' is not taken with -o: {instead} says it", instead = argument_for(.0))]
    Layers(String),
    /// Layers of the store are marked with `trusted.overlay.*`: overlayfs would show again what they remove.
    #[error(
        "option 'userxattr' makes overlayfs overlook what an image's layers remove: it is for --lower only"
    )]
    UserXattr,
    /// An option without a name.
    #[error("an option without a name in '{}'", .0.escape_debug())]
    Nameless(String),
    /// A flag that was given a value.
    #[error("option '{0}' takes no value")]
    Value(String),
}

fn argument_for(key: &str) -> &'static str {
    match key {
        "upperdir" => "--upper",
        "workdir" => "--work",
        _ => "--lower",
    }
}

/// What mount(8) calls the flags: name, what it sets, what it clears. Order matters: the last one wins.
const FLAGS: &[(&str, Attributes, Attributes)] = &[
    ("ro", Attributes::MOUNT_ATTR_RDONLY, NONE),
    ("rw", NONE, Attributes::MOUNT_ATTR_RDONLY),
    ("nosuid", Attributes::MOUNT_ATTR_NOSUID, NONE),
    ("suid", NONE, Attributes::MOUNT_ATTR_NOSUID),
    ("nodev", Attributes::MOUNT_ATTR_NODEV, NONE),
    ("dev", NONE, Attributes::MOUNT_ATTR_NODEV),
    ("noexec", Attributes::MOUNT_ATTR_NOEXEC, NONE),
    ("exec", NONE, Attributes::MOUNT_ATTR_NOEXEC),
    ("noatime", Attributes::MOUNT_ATTR_NOATIME, Attributes::MOUNT_ATTR_STRICTATIME),
    ("atime", NONE, ATIME),
    ("relatime", NONE, ATIME),
    ("strictatime", Attributes::MOUNT_ATTR_STRICTATIME, Attributes::MOUNT_ATTR_NOATIME),
    ("nodiratime", Attributes::MOUNT_ATTR_NODIRATIME, NONE),
    ("diratime", NONE, Attributes::MOUNT_ATTR_NODIRATIME),
    ("nosymfollow", Attributes::MOUNT_ATTR_NOSYMFOLLOW, NONE),
    ("symfollow", NONE, Attributes::MOUNT_ATTR_NOSYMFOLLOW),
    ("defaults", NONE, NONE),
];
const NONE: Attributes = Attributes::empty();
const ATIME: Attributes = Attributes::MOUNT_ATTR_NOATIME.union(Attributes::MOUNT_ATTR_STRICTATIME);

impl Options {
    /// Adds what one `-o` says: `name`, `name=value`, separated by commas; `\,` is a comma of a value.
    pub fn add(&mut self, text: &str) -> Result<(), BadOption> {
        for option in split(text) {
            if !option.is_empty() {
                self.add_one(&option)?;
            }
        }
        Ok(())
    }

    fn add_one(&mut self, option: &str) -> Result<(), BadOption> {
        let (key, value) = match option.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (option, None),
        };
        if key.is_empty() {
            return Err(BadOption::Nameless(option.to_owned()));
        }
        if matches!(key, "lowerdir" | "lowerdir+" | "datadir+" | "upperdir" | "workdir") {
            return Err(BadOption::Layers(key.to_owned()));
        }
        match FLAGS.iter().find(|(name, ..)| *name == key) {
            Some(_) if value.is_some() => Err(BadOption::Value(key.to_owned())),
            Some((_, set, clear)) => {
                self.flags = self.flags.difference(*clear).union(*set);
                Ok(())
            }
            None => {
                self.set(key, value);
                Ok(())
            }
        }
    }

    /// Sets one of overlayfs' options, whatever it was before.
    pub fn set(&mut self, key: &str, value: Option<&str>) {
        self.given.retain(|(given, _)| given != key);
        self.given.push((key.to_owned(), value.map(str::to_owned)));
    }

    /// Returns the value of an option, empty where it has none; `None` where it was not given.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let (_, value) = self.given.iter().find(|(given, _)| given == key)?;
        Some(value.as_deref().unwrap_or_default())
    }

    /// Returns overlayfs' own options that were given, as `-o` takes them.
    pub fn overlay(&self) -> impl Iterator<Item = String> {
        let escaped = |text: &str| text.replace('\\', r"\\").replace(',', r"\,");
        self.given.iter().map(move |(key, value)| match value {
            Some(value) => format!("{}={}", escaped(key), escaped(value)),
            None => escaped(key),
        })
    }

    /// Returns the flags of the mount.
    #[must_use]
    pub fn flags(&self) -> Attributes {
        self.flags
    }

    /// Whether the mount is to be read-only.
    #[must_use]
    pub fn read_only(&self) -> bool {
        self.flags.contains(Attributes::MOUNT_ATTR_RDONLY)
    }

    /// Returns overlayfs' options, those that decide what is seen always among them.
    ///
    /// Distributions build their kernels with other defaults, and a crafted layer can steer by redirects and metacopy
    /// files. A default is left out where it would contradict what was asked for (overlayfs.rst, ovl_fs_params_verify).
    #[must_use]
    pub fn resolved(&self) -> Vec<(String, Option<String>)> {
        let on = |key: &str| !matches!(self.get(key), None | Some("off"));
        let metacopy = on("metacopy") || on("verity");
        let mut all = Vec::new();
        let mut default = |key: &str, value: &str, contradicts: bool| {
            if self.get(key).is_none() && !contradicts {
                all.push((key.to_owned(), Some(value.to_owned())));
            }
        };
        default("index", "off", on("nfs_export"));
        default("metacopy", "off", metacopy);
        default("redirect_dir", "nofollow", metacopy);
        all.extend(self.given.iter().cloned());
        all
    }
}

/// Splits at commas that have no backslash before them; `\,` and `\\` become `,` and `\`.
fn split(text: &str) -> Vec<String> {
    let mut options = vec![String::new()];
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let Some(last) = options.last_mut() else { continue };
        match letter {
            ',' => options.push(String::new()),
            '\\' => last.push(letters.next_if(|next| matches!(next, ',' | '\\')).unwrap_or('\\')),
            other => last.push(other),
        }
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Options, BadOption> {
        let mut options = Options::default();
        options.add(text)?;
        Ok(options)
    }

    fn resolved(text: &str) -> String {
        let all = parsed(text).unwrap().resolved();
        let shown = all.iter().map(|(key, value)| match value {
            Some(value) => format!("{key}={value}"),
            None => key.clone(),
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_decides_semantics_is_always_said() {
        let table = [
            ("", "index=off metacopy=off redirect_dir=nofollow"),
            ("volatile,ro,nodev", "index=off metacopy=off redirect_dir=nofollow volatile"),
            ("metacopy=on", "index=off metacopy=on"),
            ("metacopy=off,redirect_dir=on", "index=off metacopy=off redirect_dir=on"),
            ("verity=on", "index=off verity=on"),
            ("verity=off", "index=off metacopy=off redirect_dir=nofollow verity=off"),
            ("nfs_export=on", "metacopy=off redirect_dir=nofollow nfs_export=on"),
            ("index=on,index=off", "metacopy=off redirect_dir=nofollow index=off"),
            (r"x=a\,b\\c\d,,y", r"index=off metacopy=off redirect_dir=nofollow x=a,b\c\d y"),
        ];
        for (text, all) in table {
            assert_eq!(resolved(text), all, "{text}");
        }
    }

    #[test]
    fn the_last_flag_wins() {
        let flags = |text| parsed(text).unwrap().flags();
        assert_eq!(flags("ro,nodev,rw"), Attributes::MOUNT_ATTR_NODEV);
        assert_eq!(flags("noatime,strictatime"), Attributes::MOUNT_ATTR_STRICTATIME);
        assert_eq!(flags("noatime,relatime,defaults"), Attributes::empty());
        assert!(parsed("ro").unwrap().read_only());
    }

    #[test]
    fn layers_are_no_options() {
        let table = [
            ("lowerdir=/a", "option 'lowerdir' is not taken with -o: --lower says it"),
            ("upperdir=/a", "option 'upperdir' is not taken with -o: --upper says it"),
            ("ro,workdir=/a", "option 'workdir' is not taken with -o: --work says it"),
            ("=x", "an option without a name in '=x'"),
            ("=\x1b[2J", "an option without a name in '=\\u{1b}[2J'"),
            ("ro=1", "option 'ro' takes no value"),
        ];
        for (text, error) in table {
            assert_eq!(parsed(text).unwrap_err().to_string(), error);
        }
    }
}
