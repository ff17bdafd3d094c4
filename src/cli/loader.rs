//! `mount` and `plan` never read an archive themselves, since they must keep what mounting needs: they start this program
//! once more, which gives that up, reads the archive, and tells them which image it is.
//!
//! What comes back is taken for a stranger's, as the archive is: it is short, an image is named by a digest that the store
//! must have, a name is a name, and a text is only shown.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::act::{Act, Around};
use super::fault::watch::{Watcher, watched};
use super::fault::{self, Cause, Fault, Told};
use super::load::{self, Pick};
use super::{Context, look, print, waiting};
use crate::archive::{self, Archive, name};
use crate::digest::Digest;
use crate::mount;
use crate::progress::{Progress, What};
use crate::store::Store;
use crate::sys::background;
use crate::sys::caps::TO_READ;
use crate::sys::confine::{self, Reach};
use crate::sys::lock::Share;

/// What the process is called.
const NAME: &str = "ovlctl-loader";

/// Longer than any line of a report: an error may list all that an archive holds, whose documents have 4 MiB each.
const LONGEST: usize = 16 << 20;

/// More names than anyone gives to an image; of the others it is not told.
const MOST_NAMES: usize = 1000;

/// So many pieces of work there are at most: the archive, where that goes by once, and the layers.
const MOST_PIECES: usize = 1 + mount::MAX_LOWER;

/// Read an archive: `mount` and `plan` start this
#[derive(Debug, Args)]
pub(super) struct Loader {
    /// Only tell which image it is
    #[arg(long)]
    look: bool,
    #[command(flatten)]
    pick: Pick,
    archive: PathBuf,
}

/// What to do with the image of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Job {
    /// Load it into the store.
    Load,
    /// Only tell which it is.
    Look,
}

/// What the process tells that started this one.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum Report {
    /// One more piece of work: how large it is, and whether it is there already.
    Piece(What, Option<u64>, bool),
    /// How much of a piece is done, counted from 0, and whether that was all.
    At(usize, u64, bool),
    /// The last: it is loaded.
    Image(Found),
    /// The last: it is not.
    Failed(Told),
}

/// An image of an archive; that the store has it is for the store to say.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Found {
    pub(super) id: Digest,
    pub(super) names: Vec<String>,
}

/// Why there is no answer of the process that reads archives.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the process that reads archives cannot be started")]
    Start(#[source] io::Error),
    #[error("the process that reads archives was ended by signal {0}")]
    Signal(i32),
    #[error("the process that reads archives ended without an answer")]
    NoAnswer,
}

/// Lets another process, which can do nothing else, read an archive; `progress` is told of it where it is loaded.
pub(super) fn read(
    store: &Store,
    archive: &Path,
    pick: &Pick,
    job: Job,
    progress: Option<&Progress>,
) -> Result<Found, Cause> {
    let mut arguments: Vec<OsString> = vec!["--root".into(), store.layout().root().into(), "loader".into()];
    arguments.extend(look::arguments());
    arguments.extend((job == Job::Look).then(|| "--look".into()));
    arguments.extend(pick.arguments());
    arguments.extend(["--".into(), archive.into()]);
    let mut listener = Listener { progress, last: None };
    let is_cancelled = || progress.is_some_and(Progress::is_cancelled);
    let status = background::ask(NAME, &arguments, LONGEST, &mut |line| listener.hears(line), &is_cancelled);
    understood(listener.last, status.map_err(|e| Cause::Loader(Error::Start(e)))?)
}

/// Who hears what the process tells, line by line.
struct Listener<'a> {
    progress: Option<&'a Progress>,
    /// The last that it told, and nothing of it is on the way.
    last: Option<Report>,
}

impl Listener<'_> {
    /// Takes a line; `false` where that is nothing that could be told now.
    fn hears(&mut self, line: &[u8]) -> bool {
        // Nothing comes behind the last, which may then have been forged as well.
        if self.last.take().is_some() {
            return false;
        }
        match serde_json::from_slice(line) {
            Ok(Report::Piece(what, size, there)) => self.progress.is_some_and(|progress| {
                progress.put(what, size, there);
                progress.piece(MOST_PIECES).is_none()
            }),
            Ok(Report::At(at, done, ended)) => {
                let piece = self.progress.and_then(|progress| progress.piece(at));
                piece.is_some_and(|piece| {
                    piece.set(done, ended);
                    !piece.there && piece.size.is_none_or(|size| done <= size)
                })
            }
            Ok(last @ (Report::Image(_) | Report::Failed(_))) => {
                self.last = Some(last);
                true
            }
            Err(_) => false,
        }
    }
}

/// Takes an answer for what it is, or for none.
fn understood(last: Option<Report>, status: ExitStatus) -> Result<Found, Cause> {
    match last {
        Some(Report::Image(found)) if status.success() && found.is_sound() => Ok(found),
        Some(Report::Failed(told)) => Err(Cause::Told(told)),
        Some(Report::Image(_) | Report::Piece(..) | Report::At(..)) | None => {
            Err(Cause::Loader(status.signal().map_or(Error::NoAnswer, Error::Signal)))
        }
    }
}

/// Tells on standard output how far this process has got.
#[derive(Default)]
struct Telling {
    told: Vec<(u64, bool)>,
}

impl Watcher for Telling {
    fn look(&mut self, progress: &Progress) {
        let pieces = progress.pieces();
        for piece in &pieces[self.told.len()..] {
            self.told.push((0, false));
            // Where nobody listens any more, this process is ended.
            let _ = print::report(&Report::Piece(piece.what, piece.size, piece.there));
        }
        for (at, (piece, told)) in pieces.iter().zip(&mut self.told).enumerate() {
            let now = (piece.done(), piece.has_ended());
            if now != *told && !piece.there {
                *told = now;
                let _ = print::report(&Report::At(at, now.0, now.1));
            }
        }
    }
}

impl Found {
    fn is_sound(&self) -> bool {
        self.names.len() <= MOST_NAMES
            && self.names.iter().all(|text| name::normal(text).is_ok_and(|normal| normal == *text))
    }
}

impl Act for Loader {
    fn around(&self) -> Around {
        Around::NOTHING
    }

    fn run(&self, context: &Context) -> Result<(), Fault> {
        background::belong(NAME);
        let report = match self.report(context) {
            Ok(found) => Report::Image(found),
            Err(cause) => Report::Failed(cause.told()),
        };
        // Whoever asked says that there is no answer, in the one line of that error.
        print::report(&report).map_err(|_| Cause::Ended(1).into())
    }
}

impl Loader {
    fn report(&self, context: &Context) -> Result<Found, Cause> {
        let store = context.open_store()?;
        let (id, mut names) = if self.look { self.look()? } else { self.load(&store)? };
        names.truncate(MOST_NAMES);
        Ok(Found { id, names })
    }

    fn load(&self, store: &Store) -> Result<(Digest, Vec<String>), Cause> {
        let _confined = load::confine(store, std::slice::from_ref(&self.archive));
        let load = |progress: &Progress| self.load_confined(store, progress);
        // The thread that tells is started only now: it is confined, too.
        watched(&mut Telling::default(), load)
    }

    fn load_confined(&self, store: &Store, progress: &Progress) -> Result<(Digest, Vec<String>), Cause> {
        let change = store.change(Share::Shared, &mut waiting())?;
        let archive = load::open(&change, &self.archive, &self.pick, progress)?;
        let image = archive.choose(&self.pick.choice())?;
        if image.layers.len() > mount::MAX_LOWER {
            return Err(mount::Error::TooManyLayers(image.layers.len()).into());
        }
        let loaded = load::take(&change, &archive, image, &self.pick, progress)?;
        loaded.warnings.iter().for_each(|warning| fault::warn(warning));
        Ok((loaded.image.id, image.names.clone()))
    }

    /// Writes nothing but what must be kept meanwhile, in a file without a name.
    fn look(&self) -> Result<(Digest, Vec<String>), Cause> {
        let spool = env::temp_dir();
        let _confined = confine::confine(TO_READ, &Reach { writes: &[&spool], reads: &[&self.archive] });
        let (source, limits) = (archive::Source::Path(self.archive.clone()), self.pick.moved.limits());
        let archive = Archive::open(&source, &spool, &limits, &Progress::default())?;
        let image = archive.choose(&self.pick.choice())?;
        Ok((image.id, image.names.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn heard(said: &str, status: i32) -> Result<Found, Cause> {
        let mut listener = Listener { progress: None, last: None };
        let taken = said.lines().all(|line| listener.hears(line.as_bytes()));
        understood(listener.last.filter(|_| taken), ExitStatus::from_raw(status))
    }

    #[test]
    fn progress_is_told_of_known_layers_and_within_their_size() {
        let layer = |nr: usize, rest: &str| {
            format!(r#"{{"piece": [{{"layer": {{"nr": {nr}, "of": 2, "id": "{ID}"}}}}, {rest}]}}"#)
        };
        let pieces =
            [layer(1, "10, false"), layer(2, "5, true"), r#"{"piece": ["archive", null, false]}"#.to_owned()];
        for (lines, taken) in [
            (&[r#"{"at": [0, 4, false]}"#, r#"{"at": [0, 10, true]}"#][..], true),
            (&[r#"{"at": [0, 11, false]}"#], false),
            (&[r#"{"at": [1, 1, false]}"#], false),
            (&[r#"{"at": [2, 1000, true]}"#], true),
            (&[r#"{"at": [3, 0, false]}"#], false),
            (&[r#"{"at": [-1, 0, false]}"#], false),
            (&[r#"{"at": [0, 1, false], "more": 1}"#], false),
            (&[r#"{"piece": ["something", null, false]}"#], false),
            (
                &[
                    r#"{"failed": {"reason": "x", "hint": null, "says_all": false, "exit": 1}}"#,
                    r#"{"at": [0, 1, false]}"#,
                ],
                false,
            ),
        ] {
            let progress = Progress::default();
            let mut listener = Listener { progress: Some(&progress), last: None };
            assert!(pieces.iter().all(|piece| listener.hears(piece.as_bytes())));
            assert_eq!(lines.iter().all(|line| listener.hears(line.as_bytes())), taken, "{lines:?}");
            let ended = progress.pieces().iter().filter(|piece| piece.has_ended()).count();
            assert!(!taken || ended == 1, "{lines:?}");
        }
        let progress = Progress::default();
        let mut listener = Listener { progress: Some(&progress), last: None };
        let taken = (0..).take_while(|nr| listener.hears(layer(*nr, "1, false").as_bytes())).count();
        assert_eq!(taken, MOST_PIECES);
        assert!(!Listener { progress: None, last: None }.hears(pieces[0].as_bytes()), "nobody asked for it");
    }

    #[test]
    fn an_image_is_an_id_and_names() {
        let said = format!(r#"{{"image": {{"id": "{ID}", "names": ["web:1", "a/b@{ID}"]}}}}"#);
        let found = heard(&said, 0).unwrap();
        assert_eq!((found.id.to_string().as_str(), found.names.len()), (ID, 2));
    }

    #[test]
    fn what_could_not_have_been_told_is_no_answer() {
        let image = |id: &str, names: &str| format!(r#"{{"image": {{"id": "{id}", "names": [{names}]}}}}"#);
        let many = vec![r#""web:1""#; MOST_NAMES + 1].join(",");
        for said in [
            String::new(),
            "null".to_owned(),
            image("sha256:../../../../etc/passwd", ""),
            image(&ID.to_uppercase(), ""),
            image(ID, r#""web""#), // it would have a tag
            image(ID, r#""../web:1""#),
            image(ID, r#""a\u001b[31m:1""#),
            image(ID, &many),
            image(ID, "").replace("names", "named"),
            format!("{}{}", image(ID, ""), image(ID, "")),
            format!("{}\n{}", image(ID, ""), image(ID, "")),
            r#"{"failed": {"reason": "x", "hint": null, "says_all": false, "exit": 256}}"#.to_owned(),
        ] {
            let heard = heard(&said, 0);
            assert!(matches!(heard, Err(Cause::Loader(Error::NoAnswer))), "{said}: {heard:?}");
        }
        assert!(matches!(heard(&image(ID, ""), 1 << 8), Err(Cause::Loader(Error::NoAnswer))));
        assert!(matches!(heard("", 9), Err(Cause::Loader(Error::Signal(9)))));
    }

    #[test]
    fn a_failure_never_ends_well() {
        for (exit, code) in [(0, 1), (1, 1), (6, 6), (7, 1), (255, 1)] {
            let said = format!(
                r#"{{"failed": {{"reason": "x", "hint": null, "says_all": false, "exit": {exit}}}}}"#
            );
            let told = heard(&said, 0).unwrap_err().told();
            assert_eq!(serde_json::to_value(told).unwrap()["exit"], code);
        }
    }
}
