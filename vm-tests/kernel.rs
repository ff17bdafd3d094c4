//! Which kernel runs.

use std::fmt;

/// A kernel's version: 6.12.117 is `Version(6, 12, 117)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(u32, u32, u32);

impl Version {
    pub(crate) const FIRST: Self = Self(0, 0, 0);
    pub(crate) const LAST: Self = Self(u32::MAX, 0, 0);

    /// Asks the running kernel.
    pub(crate) fn running() -> Self {
        let uname = rustix::system::uname();
        Self::of(&uname.release().to_string_lossy(), &uname.version().to_string_lossy())
    }

    /// Debian's release says `6.1.0-32`, and only its version `#1 SMP Debian 6.1.176-1` which one that is.
    fn of(release: &str, version: &str) -> Self {
        let debian = version.split_once("Debian ").and_then(|(_, version)| Self::parse(version));
        debian.or_else(|| Self::parse(release)).unwrap_or(Self::FIRST)
    }

    /// Parses what starts with two or three numbers: `6.12.117+deb13-cloud-amd64`, `7.3-rc1`.
    fn parse(text: &str) -> Option<Self> {
        let numbers = text.split(|c: char| !c.is_ascii_digit() && c != '.').next()?;
        let mut numbers = numbers.split('.').map(|number| number.parse().ok());
        Some(Self(numbers.next()??, numbers.next()??, numbers.next().flatten().unwrap_or(0)))
    }

    /// Parses a version that is written in a fact; one that is none does not compile.
    pub(crate) const fn constant(text: &str) -> Self {
        let mut numbers = [0; 3];
        let (mut nr, mut at) = (0, 0);
        while at < text.len() {
            match text.as_bytes()[at] {
                b'.' => nr += 1,
                digit @ b'0'..=b'9' => numbers[nr] = numbers[nr] * 10 + (digit - b'0') as u32,
                _ => panic!("a version is numbers and dots"),
            }
            at += 1;
        }
        Self(numbers[0], numbers[1], numbers[2])
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}
