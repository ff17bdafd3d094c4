//! Which names a layer has had, in memory that ends growing.

use std::collections::HashSet;

/// So many names are known by their hashes: more than most layers have entries, and 5 MiB.
const EXACTLY: usize = 400_000;

/// Beyond, a Bloom filter of 8 MiB takes their place. With two million names one new name in 20,000 looks like an old one,
/// with twenty million one in four.
const BITS: u64 = 1 << 26;

/// How many bits stand for a name.
const PROBES: u64 = 4;

/// A set of hashes that may say that it has one that it has not, but never the other way.
#[derive(Debug)]
pub(super) enum Seen {
    Exactly(HashSet<u64>),
    Perhaps(Box<[u64]>),
}

impl Seen {
    pub(super) fn new() -> Self {
        Self::Exactly(HashSet::new())
    }

    /// Adds a hash; `true` where it may have been added before.
    pub(super) fn insert(&mut self, hash: u64) -> bool {
        match self {
            Self::Exactly(hashes) if hashes.len() < EXACTLY => !hashes.insert(hash),
            Self::Exactly(hashes) => {
                let mut filter = vec![0; (BITS / 64) as usize].into_boxed_slice();
                for &known in hashes.iter() {
                    set(&mut filter, known);
                }
                *self = Self::Perhaps(filter);
                self.insert(hash)
            }
            Self::Perhaps(filter) => !set(filter, hash),
        }
    }

    /// Whether a hash may have been added.
    pub(super) fn may_have(&self, hash: u64) -> bool {
        match self {
            Self::Exactly(hashes) => hashes.contains(&hash),
            Self::Perhaps(filter) => bits(hash).all(|(word, bit)| filter[word] & bit != 0),
        }
    }
}

/// Sets the bits that stand for a hash; `true` where one was not set before.
fn set(filter: &mut [u64], hash: u64) -> bool {
    let mut news = false;
    for (word, bit) in bits(hash) {
        news |= filter[word] & bit == 0;
        filter[word] |= bit;
    }
    news
}

/// Returns the places of the bits that stand for a hash, each a word and a mask.
fn bits(hash: u64) -> impl Iterator<Item = (usize, u64)> {
    let step = (hash >> 32) | 1;
    (0..PROBES).map(move |nr| {
        let bit = hash.wrapping_add(nr.wrapping_mul(step)) % BITS;
        ((bit / 64) as usize, 1 << (bit % 64))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers without a pattern (splitmix64).
    fn hash(nr: u64) -> u64 {
        let mut mixed = nr.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    #[test]
    fn what_was_added_is_known_however_much_it_is() {
        let mut seen = Seen::new();
        let many = EXACTLY as u64 * 3;
        for nr in 0..many {
            seen.insert(hash(nr));
        }
        assert!(matches!(seen, Seen::Perhaps(_)), "{EXACTLY} are more than a set should hold");
        assert!((0..many).all(|nr| seen.may_have(hash(nr))));
        let wrong = (many..many + 100_000).filter(|&nr| seen.may_have(hash(nr))).count();
        assert!(wrong < 100, "{wrong} of 100,000 new names look like old ones");
    }

    #[test]
    fn a_few_names_are_known_exactly() {
        let mut seen = Seen::new();
        seen.insert(hash(1));
        assert!(seen.may_have(hash(1)));
        assert!((2..10_000).all(|nr| !seen.may_have(hash(nr))));
    }
}
