//! In which boot of the machine the store was made or recovered last, and what that says of what is in it.
//!
//! As long as a machine runs, what was written is there for all of its processes, on the disk or not. After it was started
//! anew only that is believed which carries a mark (see [`sync`]).
//!
//! [`sync`]: super::sync

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::{Error, file, is_there};
use super::layers::{names_in, read_sound};
use super::layout::{LINKS, Layout};
use super::record::{self, Unreadable};
use super::sync::is_marked;
use crate::sys;

/// `store.json`: that this is a store, of which format.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Format {
    /// Whether layers and images are marked when they are on the disk: stores were made before there were marks.
    #[serde(default)]
    pub(super) marks: bool,
}

/// `boot`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Boot {
    /// The kernel's boot id.
    pub(super) boot: String,
    /// Layers and images, by their ids, that were to be synced when the disk failed: they get no mark in this boot.
    #[serde(default)]
    pub(super) suspect: BTreeSet<String>,
}

/// What may be believed of what is in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing is there.
    Nothing,
    /// All: it was made or recovered in this boot.
    Sound,
    /// All but these, by their ids: the disk failed when they were synced.
    Suspect(BTreeSet<String>),
    /// All, for it knows no marks: nobody can tell what the disk has.
    WithoutMarks,
    /// What has a mark: the machine was started anew since.
    Marked,
}

impl State {
    /// Asks the store at `layout`.
    pub(super) fn of(layout: &Layout) -> Result<Self, Error> {
        let format = match fs::read(layout.format()) {
            Ok(text) => record::read::<Format>(&text),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                if !has_content(layout)? {
                    return Ok(Self::Nothing);
                }
                // Perhaps another command has made the store meanwhile; else the file was lost in a power cut.
                return if is_there(layout.format())? { Self::of(layout) } else { Ok(Self::Marked) };
            }
            Err(e) => return Err(file(layout.format())(e)),
        };
        let boot = read_sound::<Boot>(&layout.boot())?;
        // Whoever cannot learn in which boot this is must not take it for another.
        let now = boot.as_ref().map(|_| sys::boot_id()).transpose()?;
        let boot = boot.filter(|boot| now.as_ref() == Some(&boot.boot));
        match (format, boot) {
            (Ok(Format { marks: false }), _) => Ok(Self::WithoutMarks),
            (Ok(_), Some(boot)) if boot.suspect.is_empty() => Ok(Self::Sound),
            (Ok(_), Some(boot)) => Ok(Self::Suspect(boot.suspect)),
            // A power cut leaves files empty that were written shortly before.
            (Ok(_) | Err(Unreadable::Damaged(_)), None) => Ok(Self::Marked),
            (Err(source), _) => Err(Error::Record { path: layout.format(), source }),
        }
    }

    /// Whether a layer or an image may be believed to be what it was when it was put at `place`.
    pub(super) fn trusts(&self, place: &Path) -> Result<bool, Error> {
        match self {
            Self::Nothing | Self::Sound | Self::Suspect(_) | Self::WithoutMarks => Ok(true),
            Self::Marked => is_marked(place),
        }
    }
}

/// Whether there is a layer or a container, a store that is not all made included.
pub(super) fn has_content(layout: &Layout) -> Result<bool, Error> {
    Ok(names_in(&layout.overlay2())?.iter().any(|name| name != LINKS))
}

impl Boot {
    /// This boot.
    pub(super) fn now() -> Result<Self, Error> {
        Ok(Self { boot: sys::boot_id()?, suspect: BTreeSet::new() })
    }
}
