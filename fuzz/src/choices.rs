//! A fuzzer's bytes, read as decisions.

/// What is left to decide with. When it has run out, every decision is the first of its kind, and every text is empty.
///
/// Not the `arbitrary` crate: inputs that found something are kept, and must mean the same for good.
pub struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    /// Decides by `data`.
    pub fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    /// Whether there is anything left.
    pub fn more(&self) -> bool {
        !self.0.is_empty()
    }

    /// Takes all that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// Takes the next byte.
    pub fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        byte
    }

    /// Decides on a number below `n`, which is at most 256.
    pub fn below(&mut self, n: usize) -> usize {
        usize::from(self.byte()) % n
    }

    /// Says yes once in `n` times, and not when all is decided.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == n / 2
    }

    /// Picks one of several.
    pub fn pick<'t, T>(&mut self, from: &'t [T]) -> &'t T {
        &from[self.below(from.len())]
    }

    /// Takes up to `most` bytes.
    pub fn bytes(&mut self, most: usize) -> &'a [u8] {
        let length = self.below(most + 1).min(self.0.len());
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        bytes
    }

    /// Takes a number of any size, small ones most often.
    pub fn number(&mut self) -> u64 {
        let length = *self.pick(&[1, 1, 1, 2, 2, 4, 8]);
        (0..length).fold(0, |number, _| (number << 8) | u64::from(self.byte()))
    }
}
