//! `mount.ovlctl` and `umount.ovlctl`: what mount(8) and umount(8) start for a filesystem of the type `ovlctl`, as in a
//! line of fstab(5).
//!
//! Both are other names of this program. What they are asked becomes a command line of `ovlctl`, and how that ends becomes
//! what mount(8) knows ("EXTERNAL HELPERS", "EXIT STATUS").

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// What went wrong with what was asked.
const WRONG: u8 = 1;
/// It could not be mounted or unmounted.
const FAILED: u8 = 32;

/// Options that are for mount(8), systemd.mount(5) or whoever reads fstab(5), and nothing of a mount.
const OTHERS: &[&str] =
    &["auto", "noauto", "user", "nouser", "users", "owner", "group", "_netdev", "nofail", "defaults"];

/// Which of the two this program was called as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Helper {
    Mount,
    Umount,
}

impl Helper {
    /// Reads the name that this program was called by.
    pub(super) fn called(program: &OsStr) -> Option<Self> {
        match Path::new(program).file_name()?.to_str()? {
            "mount.ovlctl" => Some(Self::Mount),
            "umount.ovlctl" => Some(Self::Umount),
            _ => None,
        }
    }

    /// Returns the command line of `ovlctl` that does what was asked; what is asked only for show is nothing to do.
    pub(super) fn translated(self, words: &[OsString]) -> Result<Option<Vec<OsString>>, String> {
        let asked = Asked::read(words)?;
        let (Some(place), true) =
            (asked.places.last(), asked.places.len() == if self == Self::Mount { 2 } else { 1 })
        else {
            return Err(match self {
                Self::Mount => "usage: mount.ovlctl SOURCE DIR [-sfnv] [-o OPTION[,OPTION…]]".to_owned(),
                Self::Umount => "usage: umount.ovlctl DIR [-flnrv]".to_owned(),
            });
        };
        if asked.fake {
            return Ok(None);
        }
        let told = std::iter::repeat_n(OsString::from("--verbose"), asked.verbose);
        if self == Self::Umount {
            let lazily = asked.lazily.then(|| OsString::from("--lazy"));
            let line = ["ovlctl".into(), "umount".into()].into_iter().chain(told).chain(lazily);
            return Ok(Some(line.chain([place.clone()]).collect()));
        }
        let mut line: Vec<OsString> = vec!["ovlctl".into(), "mount".into(), "--as-helper".into()];
        line.extend(told);
        line.extend(options(&asked.options, place));
        line.extend(["--".into(), asked.places[0].clone(), place.clone()]);
        Ok(Some(line))
    }

    /// Returns the exit code that mount(8) knows.
    pub(super) fn exit(code: u8) -> u8 {
        match code {
            0 => 0,
            2 => WRONG,
            _ => FAILED,
        }
    }
}

/// A helper's command line.
#[derive(Debug, Default)]
struct Asked {
    places: Vec<OsString>,
    options: Vec<u8>,
    fake: bool,
    lazily: bool,
    verbose: usize,
}

impl Asked {
    fn read(words: &[OsString]) -> Result<Self, String> {
        let mut asked = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let bytes = word.as_bytes();
            if bytes.first() != Some(&b'-') || bytes.len() == 1 {
                asked.places.push(word.clone());
                continue;
            }
            let mut letters = bytes[1..].iter().copied();
            while let Some(letter) = letters.next() {
                match letter {
                    b'f' => asked.fake = true,
                    b'l' => asked.lazily = true,
                    b'v' => asked.verbose += 1,
                    // Nothing to be sloppy about, no mtab to write, and no way to remount for umount.
                    b's' | b'n' | b'r' => {}
                    b'o' | b't' | b'N' => {
                        let rest: Vec<u8> = letters.by_ref().collect();
                        let value = if rest.is_empty() {
                            words.next().map(|word| word.as_bytes().to_vec())
                        } else {
                            Some(rest)
                        };
                        let value = value.ok_or_else(|| format!("-{} wants a value", letter as char))?;
                        match letter {
                            b'o' => asked.options = [&asked.options[..], b",", &value].concat(),
                            b'N' => return Err("-N: another mount namespace is not entered".to_owned()),
                            _ => {}
                        }
                    }
                    other => return Err(format!("unknown option -{}", (other as char).escape_default())),
                }
            }
        }
        // With -f umount means: by force.
        asked.fake = asked.fake && asked.places.len() == 2;
        Ok(asked)
    }
}

/// Makes options of fstab(5) arguments of `ovlctl mount`. A container is called after its place where nothing else is said,
/// so that it comes back at the next boot.
fn options(text: &[u8], place: &OsStr) -> Vec<OsString> {
    let (mut line, mut rest, mut named, mut goes) = (Vec::new(), Vec::new(), false, false);
    for option in split(text) {
        let (key, value) = match option.iter().position(|&byte| byte == b'=') {
            Some(at) => (&option[..at], Some(&option[at + 1..])),
            None => (&option[..], None),
        };
        let key = String::from_utf8_lossy(key);
        let argument = |name: &str, value: &[u8]| OsString::from_vec([name.as_bytes(), b"=", value].concat());
        match (&*key, value) {
            ("", None) => {}
            ("ro", None) => goes = true,
            ("rw", None) => goes = false,
            ("rm", None) => line.push("--rm".into()),
            ("name", Some(value)) => {
                named = true;
                line.push(argument("--name", value));
            }
            ("root" | "image" | "platform" | "at-layer" | "upper", Some(value)) => {
                line.push(argument(&format!("--{key}"), value));
            }
            (key, _) if OTHERS.contains(&key) || key.starts_with("x-") || key.starts_with("X-") => {}
            ("comment" | "uhelper" | "helper", Some(_)) => {}
            _ => rest.push(option),
        }
    }
    if goes {
        line.push("--read-only".into());
    } else if !named {
        line.push(OsString::from(format!("--name={}", after(place))));
    }
    for option in rest {
        line.extend(["-o".into(), OsString::from_vec(escaped(&option))]);
    }
    line
}

/// Makes a container's name of a place, as systemd-escape(1) begins to: `/mnt/root` becomes `mnt-root`.
fn after(place: &OsStr) -> String {
    let text = place.to_string_lossy();
    let clean = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '.') { c } else { '-' };
    let name: String = text.trim_matches('/').chars().map(clean).collect();
    if name.starts_with(|c: char| c.is_ascii_alphanumeric()) { name } else { format!("at{name}") }
}

/// Splits at commas, except those in double quotes, which mount(8) lets a value stand in.
fn split(text: &[u8]) -> Vec<Vec<u8>> {
    let mut all = vec![Vec::new()];
    let mut quoted = false;
    for &byte in text {
        match byte {
            b'"' => quoted = !quoted,
            b',' if !quoted => all.push(Vec::new()),
            other => all.last_mut().expect("it never shrinks").push(other),
        }
    }
    all
}

fn escaped(option: &[u8]) -> Vec<u8> {
    option
        .iter()
        .flat_map(|&byte| if matches!(byte, b',' | b'\\') { vec![b'\\', byte] } else { vec![byte] })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(helper: Helper, words: &str) -> Result<String, String> {
        let words: Vec<OsString> = words.split_whitespace().map(OsString::from).collect();
        let line = helper.translated(&words)?.unwrap_or_default();
        Ok(line.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn what_mount_asks_becomes_a_command_line() {
        for (words, expected) in [
            ("/i.tar /mnt/root -o rw", "--name=mnt-root -- /i.tar /mnt/root"),
            ("/i.tar /mnt -o ro,noauto,x-systemd.automount,_netdev,nofail", "--read-only -- /i.tar /mnt"),
            ("web:1 /mnt -n -s -o rw,name=box,root=/srv/s", "--name=box --root=/srv/s -- web:1 /mnt"),
            ("web /mnt -o rm,defaults,nodev -t ovlctl", "--rm --name=mnt -o nodev -- web /mnt"),
            (
                "web /mnt -vo index=on,platform=linux/arm64",
                "--verbose --platform=linux/arm64 --name=mnt -o index=on -- web /mnt",
            ),
            ("web /mnt -o x=\"a,b\"", "--name=mnt -o x=a\\,b -- web /mnt"),
            ("web /.mnt/a:b", "--name=at.mnt-a-b -- web /.mnt/a:b"),
        ] {
            assert_eq!(
                line(Helper::Mount, words),
                Ok(format!("ovlctl mount --as-helper {expected}")),
                "{words}"
            );
        }
        assert_eq!(line(Helper::Mount, "/i.tar /mnt -f -o rw"), Ok(String::new()));
        assert_eq!(line(Helper::Umount, "/mnt -l -n"), Ok("ovlctl umount --lazy /mnt".to_owned()));
        assert_eq!(line(Helper::Umount, "/mnt -vl"), Ok("ovlctl umount --verbose --lazy /mnt".to_owned()));
        assert_eq!(line(Helper::Umount, "/mnt -f"), Ok("ovlctl umount /mnt".to_owned()));
    }

    #[test]
    fn what_cannot_be_asked_is_refused() {
        for (helper, words) in [
            (Helper::Mount, ""),
            (Helper::Mount, "/i.tar"),
            (Helper::Mount, "/i.tar /mnt /more"),
            (Helper::Mount, "/i.tar /mnt -o"),
            (Helper::Mount, "/i.tar /mnt -x"),
            (Helper::Mount, "/i.tar /mnt -N 5"),
            (Helper::Umount, ""),
        ] {
            assert!(line(helper, words).is_err(), "{words}");
        }
        assert_eq!([0, 1, 2, 3, 6].map(Helper::exit), [0, FAILED, WRONG, FAILED, FAILED]);
    }
}
