//! Why a tar cannot be read on.

use std::borrow::Cow;
use std::io;

/// What is wrong, in words, without saying where.
pub(super) type Reason = Cow<'static, str>;

/// Why a tar cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes could not be had; nothing is said about the tar.
    #[error("the tar cannot be read")]
    Input(#[from] io::Error),
    /// Damaged or hostile before a member could be named.
    #[error("no sound tar at byte {position}: {reason}")]
    Damaged {
        /// Where in the stream it was noticed.
        position: u64,
        /// What is wrong there.
        reason: Cow<'static, str>,
    },
    /// Damaged or hostile, and this is the member.
    #[error("entry '{}': {reason}", path.escape_ascii())]
    Entry {
        /// The member's name as it is in the tar.
        path: Vec<u8>,
        /// What is wrong with it.
        reason: Cow<'static, str>,
    },
}

impl Error {
    pub(super) fn entry(path: &[u8], reason: impl Into<Reason>) -> Self {
        Self::Entry { path: path.to_vec(), reason: reason.into() }
    }

    pub(super) fn damaged(position: u64, reason: impl Into<Reason>) -> Self {
        Self::Damaged { position, reason: reason.into() }
    }
}
