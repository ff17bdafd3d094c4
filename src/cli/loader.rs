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
use super::fault::{Cause, Fault, Told};
use super::load::{self, Pick};
use super::{Context, look, print, waiting};
use crate::archive::{self, Archive, name};
use crate::digest::Digest;
use crate::mount;
use crate::store::Store;
use crate::sys::background;
use crate::sys::caps::TO_READ;
use crate::sys::confine::{self, Reach};
use crate::sys::lock::Share;

/// What the process is called.
const NAME: &str = "ovlctl-loader";

/// Longer than any report: an error may list all that an archive holds, whose documents have 4 MiB each.
const LONGEST: u64 = 16 << 20;

/// More names than anyone gives to an image; of the others it is not told.
const MOST_NAMES: usize = 1000;

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
    Image(Found),
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

/// Lets another process, which can do nothing else, read an archive.
pub(super) fn read(store: &Store, archive: &Path, pick: &Pick, job: Job) -> Result<Found, Cause> {
    let mut arguments: Vec<OsString> = vec!["--root".into(), store.layout().root().into(), "loader".into()];
    arguments.extend(look::arguments());
    arguments.extend((job == Job::Look).then(|| "--look".into()));
    arguments.extend(pick.arguments());
    arguments.extend(["--".into(), archive.into()]);
    let answer = background::ask(NAME, &arguments, LONGEST).map_err(|e| Cause::Loader(Error::Start(e)))?;
    understood(answer.said.as_deref(), answer.status)
}

/// Takes an answer for what it is, or for none.
fn understood(said: Option<&[u8]>, status: ExitStatus) -> Result<Found, Cause> {
    let report = said.and_then(|said| serde_json::from_slice(said).ok());
    match report {
        Some(Report::Image(found)) if status.success() && found.is_sound() => Ok(found),
        Some(Report::Failed(told)) => Err(Cause::Told(told)),
        Some(Report::Image(_)) | None => {
            Err(Cause::Loader(status.signal().map_or(Error::NoAnswer, Error::Signal)))
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
        print::json(&report)
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
        let change = store.change(Share::Shared, &mut waiting())?;
        let archive = load::open(&change, &self.archive, &self.pick)?;
        let image = archive.choose(&self.pick.choice())?;
        if image.layers.len() > mount::MAX_LOWER {
            return Err(mount::Error::TooManyLayers(image.layers.len()).into());
        }
        let loaded = load::take(&change, &archive, image, &self.pick)?;
        Ok((loaded.image.id, image.names.clone()))
    }

    /// Writes nothing but what must be kept meanwhile, in a file without a name.
    fn look(&self) -> Result<(Digest, Vec<String>), Cause> {
        let spool = env::temp_dir();
        let _confined = confine::confine(TO_READ, &Reach { writes: &[&spool], reads: &[&self.archive] });
        let archive =
            Archive::open(&archive::Source::Path(self.archive.clone()), &spool, &self.pick.moved.limits())?;
        let image = archive.choose(&self.pick.choice())?;
        Ok((image.id, image.names.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn heard(said: &str, status: i32) -> Result<Found, Cause> {
        understood(Some(said.as_bytes()), ExitStatus::from_raw(status))
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
            r#"{"failed": {"reason": "x", "hint": null, "says_all": false, "exit": 256}}"#.to_owned(),
        ] {
            let heard = heard(&said, 0);
            assert!(matches!(heard, Err(Cause::Loader(Error::NoAnswer))), "{said}: {heard:?}");
        }
        assert!(matches!(heard(&image(ID, ""), 1 << 8), Err(Cause::Loader(Error::NoAnswer))));
        assert!(matches!(heard("", 9), Err(Cause::Loader(Error::Signal(9)))));
        assert!(matches!(understood(None, ExitStatus::from_raw(9)), Err(Cause::Loader(Error::Signal(9)))));
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
