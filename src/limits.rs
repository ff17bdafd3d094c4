//! How much an archive may hold, and make of the disk and of memory: every bound that a user can move, in one place.
//!
//! What is beyond a bound is refused, and the error names the bound. The defaults are such that no image that anybody uses
//! meets one: the largest have some 100 GiB, half a million files in a layer and a few thousand blobs in an archive. Bounds
//! that no honest archive can have a reason to move (a header of 1 MiB, 8 links to a blob) stand where they are checked.

use std::fmt;
use std::str::FromStr;

/// How much is taken of what an archive holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    values: [u64; Limit::ALL.len()],
}

/// A bound that a user can move: `--limit NAME=VALUE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Bytes of the archive that are kept in a file because it is compressed or comes through a pipe.
    ArchiveBytes,
    /// Members of the archive.
    Members,
    /// Bytes of one JSON document.
    Json,
    /// Bytes of all JSON documents of an archive.
    Documents,
    /// Bytes of the uncompressed tars of an image's layers, those that the store has already left out.
    ImageBytes,
    /// Bytes of a layer's uncompressed tar.
    LayerBytes,
    /// To how many times its size anything compressed may grow.
    Ratio,
    /// Up to how many bytes the ratio does not matter.
    RatioFrom,
    /// Entries of a layer's tar.
    Entries,
    /// Names in the path of an entry.
    Depth,
    /// Bytes of memory for what must be remembered of a layer until its end: directories, whiteouts, links to files of the
    /// layers below.
    Memory,
}

/// More than a bound allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", .limit.excess(&.limit.shown(*.most)))]
pub struct Exceeded {
    /// The bound.
    pub limit: Limit,
    /// What it was.
    pub most: u64,
}

/// A text that moves no bound.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NotALimit {
    /// It has no `=`.
    #[error("NAME=VALUE moves a limit, as in entries=4000000")]
    Form,
    /// Nothing has that name.
    #[error("no limit is called '{0}': {names} are", names = Limit::ALL.map(Limit::name).join(", "))]
    Name(String),
    /// No number.
    #[error("'{0}' is no amount: a number, one with K, M, G or T, or none")]
    Amount(String),
}

impl Limit {
    /// All of them, in the order in which an archive meets them.
    pub const ALL: [Self; 11] = [
        Self::ArchiveBytes,
        Self::Members,
        Self::Json,
        Self::Documents,
        Self::ImageBytes,
        Self::LayerBytes,
        Self::Ratio,
        Self::RatioFrom,
        Self::Entries,
        Self::Depth,
        Self::Memory,
    ];

    /// Returns what a user calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ArchiveBytes => "archive-bytes",
            Self::Members => "members",
            Self::Json => "json",
            Self::Documents => "documents",
            Self::ImageBytes => "image-bytes",
            Self::LayerBytes => "layer-bytes",
            Self::Ratio => "ratio",
            Self::RatioFrom => "ratio-from",
            Self::Entries => "entries",
            Self::Depth => "depth",
            Self::Memory => "memory",
        }
    }

    /// Returns what it bounds, in words.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::ArchiveBytes => "bytes kept of an archive that is compressed or comes through a pipe",
            Self::Members => "members of an archive",
            Self::Json => "bytes of one JSON document",
            Self::Documents => "bytes of all JSON documents of an archive",
            Self::ImageBytes => "bytes of the tars of all layers of an image",
            Self::LayerBytes => "bytes of a layer's tar",
            Self::Ratio => "to how many times its size a compressed layer or archive may grow",
            Self::RatioFrom => "up to how many bytes it may grow at any ratio",
            Self::Entries => "entries of a layer",
            Self::Depth => "names in the path of an entry",
            Self::Memory => "bytes of memory for a layer's directories, whiteouts and links below",
        }
    }

    /// Returns an amount as it can be typed: bytes with a unit.
    #[must_use]
    pub fn shown(self, amount: u64) -> String {
        match self {
            Self::Members | Self::Ratio | Self::Entries | Self::Depth => amount.to_string(),
            Self::ArchiveBytes
            | Self::Json
            | Self::Documents
            | Self::ImageBytes
            | Self::LayerBytes
            | Self::RatioFrom
            | Self::Memory => Amount(amount).to_string(),
        }
    }

    /// Returns what it is where nobody moved it.
    #[must_use]
    pub const fn default(self) -> u64 {
        match self {
            Self::ArchiveBytes | Self::LayerBytes => 1 << 40,
            Self::ImageBytes => 2 << 40,
            // An archive of a thousand images has a tenth of them.
            Self::Members => 250_000,
            // The OCI distribution-spec asks registries to take manifests of 4 MiB.
            Self::Json => 4 << 20,
            Self::Documents => 16 << 20,
            // gzip makes 1/1030 of zeros and never less; a layer that is nothing but zeros may be a swap file.
            Self::Ratio => 1000,
            Self::RatioFrom => 4 << 30,
            Self::Entries => 2_000_000,
            // Half of what PATH_MAX has room for; the deepest of the corpus have some 40.
            Self::Depth => 1024,
            Self::Memory => 64 << 20,
        }
    }

    fn excess(self, most: &str) -> String {
        match self {
            Self::ArchiveBytes => format!("the archive has more than {most} bytes"),
            Self::Members => format!("the archive has more than {most} members"),
            Self::Json => format!("more than {most} bytes in a JSON document"),
            Self::Documents => format!("more than {most} bytes in all JSON documents"),
            Self::ImageBytes => format!("its layers have more than {most} bytes"),
            Self::LayerBytes => format!("more than {most} bytes"),
            Self::Ratio | Self::RatioFrom => format!("grows to more than {most} times its size"),
            Self::Entries => format!("more than {most} entries"),
            Self::Depth => format!("more than {most} names in a path"),
            Self::Memory => format!("more than {most} bytes of directories, whiteouts and links to remember"),
        }
    }
}

impl Limits {
    /// What is taken where nobody says otherwise.
    pub const DEFAULT: Self = Self::each_default();

    /// No bounds, for what was taken before.
    pub const NONE: Self = Self { values: [u64::MAX; Limit::ALL.len()] };

    const fn each_default() -> Self {
        let mut values = [0; Limit::ALL.len()];
        let mut nr = 0;
        while nr < values.len() {
            values[nr] = Limit::ALL[nr].default();
            nr += 1;
        }
        Self { values }
    }

    /// Returns one of them.
    #[must_use]
    pub const fn get(&self, limit: Limit) -> u64 {
        self.values[limit as usize]
    }

    /// Moves one of them.
    #[must_use]
    pub const fn with(mut self, limit: Limit, most: u64) -> Self {
        self.values[limit as usize] = most;
        self
    }

    /// Refuses `amount` where it is beyond the bound.
    pub fn check(&self, limit: Limit, amount: u64) -> Result<(), Exceeded> {
        let most = self.get(limit);
        if amount > most { Err(Exceeded { limit, most }) } else { Ok(()) }
    }

    /// Refuses `stored` compressed bytes that have grown to `grown`.
    pub fn check_ratio(&self, stored: u64, grown: u64) -> Result<(), Exceeded> {
        let most = self.get(Limit::Ratio);
        if grown > self.get(Limit::RatioFrom) && grown > stored.saturating_mul(most) {
            return Err(Exceeded { limit: Limit::Ratio, most });
        }
        Ok(())
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A bound as a user moves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved(pub Limit, pub u64);

impl FromStr for Moved {
    type Err = NotALimit;

    fn from_str(text: &str) -> Result<Self, NotALimit> {
        let (name, amount) = text.split_once('=').ok_or(NotALimit::Form)?;
        let limit = Limit::ALL.into_iter().find(|limit| limit.name() == name);
        let limit = limit.ok_or_else(|| NotALimit::Name(name.to_owned()))?;
        let most = if amount == "none" { Some(u64::MAX) } else { parse_amount(amount) };
        Ok(Self(limit, most.ok_or_else(|| NotALimit::Amount(amount.to_owned()))?))
    }
}

/// Units of 1,024.
const UNITS: [(char, u32); 4] = [('T', 40), ('G', 30), ('M', 20), ('K', 10)];

/// Reads an amount: `64M`, `1GiB`, `4096`.
#[must_use]
pub fn parse_amount(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let unit = unit.to_ascii_uppercase();
    let shift = match unit.strip_suffix("IB").unwrap_or(&unit) {
        "" if unit.is_empty() => 0,
        unit => UNITS.iter().find(|(known, _)| unit.len() == 1 && unit.starts_with(*known))?.1,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// Bytes as they can be typed: with the largest unit that it is a multiple of.
#[derive(Debug, Clone, Copy)]
struct Amount(u64);

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|&&(_, shift)| self.0 > 0 && self.0.trailing_zeros() >= shift) {
            Some((unit, shift)) => write!(f, "{}{unit}", self.0 >> shift),
            None => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_has_its_own_place_and_name() {
        for (nr, limit) in Limit::ALL.into_iter().enumerate() {
            assert_eq!(limit as usize, nr, "{}", limit.name());
            assert_eq!(Limits::DEFAULT.get(limit), limit.default());
            assert_eq!(Limits::DEFAULT.with(limit, 7).get(limit), 7);
            assert_eq!(format!("{}=7", limit.name()).parse(), Ok(Moved(limit, 7)));
        }
    }

    #[test]
    fn a_limit_is_met_only_beyond_it() {
        let limits = Limits::DEFAULT.with(Limit::Entries, 3);
        assert_eq!(limits.check(Limit::Entries, 3), Ok(()));
        assert_eq!(limits.check(Limit::Entries, 4), Err(Exceeded { limit: Limit::Entries, most: 3 }));
        assert_eq!(Limits::NONE.check(Limit::Entries, u64::MAX), Ok(()));
    }

    #[test]
    fn the_ratio_matters_only_of_what_is_large() {
        let limits = Limits::DEFAULT.with(Limit::Ratio, 10).with(Limit::RatioFrom, 1000);
        assert_eq!(limits.check_ratio(1, 1000), Ok(()));
        assert_eq!(limits.check_ratio(101, 1010), Ok(()));
        assert_eq!(limits.check_ratio(100, 1001), Err(Exceeded { limit: Limit::Ratio, most: 10 }));
    }

    #[test]
    fn amounts_have_units() {
        for (text, amount, shown) in [
            ("4096", 4096, "4K"),
            ("64M", 64 << 20, "64M"),
            ("1gib", 1 << 30, "1G"),
            ("1000", 1000, "1000"),
            ("0", 0, "0"),
            ("2T", 2 << 40, "2T"),
        ] {
            assert_eq!(parse_amount(text), Some(amount), "{text}");
            assert_eq!(Amount(amount).to_string(), shown);
        }
        for text in ["", "M", "1X", "1MM", "-1", "1.5G", "99999999T", "1ib"] {
            assert_eq!(parse_amount(text), None, "{text}");
        }
    }

    #[test]
    fn what_moves_no_limit_is_told_why() {
        for (text, reason) in [
            ("entries", "NAME=VALUE moves a limit, as in entries=4000000"),
            ("entries=many", "'many' is no amount: a number, one with K, M, G or T, or none"),
        ] {
            assert_eq!(text.parse::<Moved>().unwrap_err().to_string(), reason);
        }
        let names = "entry=1".parse::<Moved>().unwrap_err().to_string();
        assert!(names.starts_with("no limit is called 'entry': archive-bytes, members, "), "{names}");
        assert_eq!("ratio=none".parse(), Ok(Moved(Limit::Ratio, u64::MAX)));
    }
}
