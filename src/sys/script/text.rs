//! The arguments of calls whose file descriptors have no numbers yet.

use std::os::fd::{AsRawFd, OwnedFd};

use super::super::{CallFailed, Errno};

type Result<T> = std::result::Result<T, CallFailed>;

/// Stands for the file descriptor that an earlier call of the script gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot(pub usize);

/// Bytes that may name file descriptors whose numbers are known only when the calls are made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Text(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Bytes(Vec<u8>),
    Number(Slot),
}

impl Text {
    /// Adds bytes.
    #[must_use]
    pub fn and(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.push(bytes);
        self
    }

    /// Adds the number of a file descriptor.
    #[must_use]
    pub fn and_number(mut self, slot: Slot) -> Self {
        self.0.push(Part::Number(slot));
        self
    }

    /// Adds bytes in place.
    pub fn push(&mut self, bytes: impl AsRef<[u8]>) {
        match self.0.last_mut() {
            Some(Part::Bytes(last)) => last.extend_from_slice(bytes.as_ref()),
            Some(Part::Number(_)) | None => self.0.push(Part::Bytes(bytes.as_ref().to_owned())),
        }
    }

    /// Adds the number of a file descriptor in place.
    pub fn push_number(&mut self, slot: Slot) {
        self.0.push(Part::Number(slot));
    }

    /// Adds another text in place.
    pub fn append(&mut self, other: &Self) {
        for part in &other.0 {
            match part {
                Part::Bytes(bytes) => self.push(bytes),
                Part::Number(slot) => self.push_number(*slot),
            }
        }
    }

    /// Returns the text with a backslash before each of the `special` bytes.
    #[must_use]
    pub fn escaped(&self, special: &[u8]) -> Self {
        let mut escaped = Self::default();
        for part in &self.0 {
            match part {
                Part::Bytes(bytes) => {
                    for byte in bytes {
                        escaped.push(if special.contains(byte) { &b"\\"[..] } else { b"" });
                        escaped.push([*byte]);
                    }
                }
                Part::Number(slot) => escaped.push_number(*slot),
            }
        }
        escaped
    }

    /// Returns how long the text can become: a number has at most `digits` digits.
    #[must_use]
    pub fn longest(&self, digits: usize) -> usize {
        let part = |part: &Part| match part {
            Part::Bytes(bytes) => bytes.len(),
            Part::Number(_) => digits,
        };
        self.0.iter().map(part).sum()
    }

    pub(super) fn with(&self, slots: &Slots) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in &self.0 {
            match part {
                Part::Bytes(some) => bytes.extend_from_slice(some),
                Part::Number(slot) => bytes.extend_from_slice(slots.number(*slot).to_string().as_bytes()),
            }
        }
        bytes
    }
}

impl<T: AsRef<[u8]>> From<T> for Text {
    fn from(bytes: T) -> Self {
        Self::default().and(bytes)
    }
}

/// The file descriptors that the calls gave so far: real ones, or the numbers they would have.
#[derive(Debug, Default)]
pub struct Slots(Vec<(usize, Held)>);

#[derive(Debug)]
enum Held {
    Real(OwnedFd),
    Told(i32),
}

impl Slots {
    /// Returns slots that hold nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts an open file into a slot.
    pub fn put(&mut self, slot: Slot, fd: OwnedFd) {
        self.close(slot);
        self.0.push((slot.0, Held::Real(fd)));
    }

    /// Takes the open file of a slot out.
    pub fn take(&mut self, slot: Slot) -> Option<OwnedFd> {
        let at = self.0.iter().position(|(nr, _)| *nr == slot.0)?;
        match self.0.swap_remove(at).1 {
            Held::Real(fd) => Some(fd),
            Held::Told(_) => None,
        }
    }

    /// Returns the open file of a slot.
    pub fn get(&self, slot: Slot) -> Result<&OwnedFd> {
        match self.0.iter().find(|(nr, _)| *nr == slot.0) {
            Some((_, Held::Real(fd))) => Ok(fd),
            Some((_, Held::Told(_))) | None => Err(CallFailed::new(format!("slot {}", slot.0), Errno::BADF)),
        }
    }

    pub(super) fn close(&mut self, slot: Slot) {
        self.0.retain(|(nr, _)| *nr != slot.0);
    }

    pub(super) fn number(&self, slot: Slot) -> i32 {
        match self.0.iter().find(|(nr, _)| *nr == slot.0) {
            Some((_, Held::Real(fd))) => fd.as_raw_fd(),
            Some((_, Held::Told(number))) => *number,
            None => -1,
        }
    }

    /// Gives a slot the lowest free number, as the kernel would in a process that has 0, 1 and 2.
    pub(super) fn tell(&mut self, slot: Slot) -> i32 {
        self.close(slot);
        let taken: Vec<i32> = self.0.iter().map(|(nr, _)| self.number(Slot(*nr))).collect();
        let number = (3..).find(|number| !taken.contains(number)).unwrap_or_default();
        self.0.push((slot.0, Held::Told(number)));
        number
    }
}
