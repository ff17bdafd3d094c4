//! What the running kernel and one directory's filesystem can do, found out by trying it.
//!
//! Every answer is a small overlay that is made, looked at and taken away again: in a thread with a mount namespace of its
//! own, so that no mount is seen outside, and all of them go with the process. Knows no store: it is given a directory.

mod filesystem;
mod image;
mod lab;
mod layers;
mod loading;
mod marks;
mod options;
mod parameters;

use std::path::Path;
use std::thread;

use super::error::Error;
use super::perform;
use super::plan::{MAX_LOWER, Method};
use crate::sys::caps::{self, TO_EXTRACT};
use crate::sys::dir::Dir;
use crate::sys::probe::Layers;
use crate::sys::{CallFailed, Errno};
use lab::Lab;

pub use parameters::{Parameter, kernel, parameters};

/// Something that a kernel, or a filesystem, can do or not.
#[derive(Debug)]
pub struct Feature {
    /// What it is called: overlayfs' own word for an option, ovlctl's for a method.
    pub name: &'static str,
    /// What kind of thing it is.
    pub group: Group,
    /// What it means, in a few words.
    pub what: &'static str,
    /// The first Linux that has it; `None` where that is not the question, or was before 5.10. Distributions carry
    /// features back, so this is told and never believed.
    pub since: Option<&'static str>,
    trial: fn(&Lab) -> Result<Answer, Error>,
}

/// What kind of thing a feature is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// How layers are handed over, and what can be one.
    Layers,
    /// Options of a mount, tried in the directory that is asked about.
    Options,
    /// What layers say to overlayfs.
    Marks,
    /// What the directory's filesystem offers to an upper directory.
    Upper,
    /// What confines the process that reads archives.
    Loading,
}

/// What came of a trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Whether it can; `None` where that could not be tried.
    pub has: Option<bool>,
    /// How many, where that is the question.
    pub count: Option<usize>,
    /// Why not, or what is odd about it.
    pub why: Option<String>,
}

impl Answer {
    /// Says why not, and since when, where that would help.
    #[must_use]
    pub fn lack(&self, feature: &Feature) -> String {
        let why = self.why.as_deref().unwrap_or("this kernel or filesystem cannot");
        match feature.since {
            // An option may also be refused because of the filesystem, which no newer kernel mends.
            Some(since) if feature.group != Group::Options || why.starts_with("this kernel") => {
                format!("{why} (since Linux {since})")
            }
            Some(_) | None => why.to_owned(),
        }
    }

    fn yes() -> Self {
        Self { has: Some(true), count: None, why: None }
    }

    fn no(why: impl Into<String>) -> Self {
        Self { has: Some(false), count: None, why: Some(why.into()) }
    }

    fn untried(why: impl Into<String>) -> Self {
        Self { has: None, count: None, why: Some(why.into()) }
    }

    /// Yes where it was `seen`, or else no: it was taken without a word, but did nothing.
    fn seen(seen: bool, said: &[String]) -> Self {
        let silent = || "taken, but without effect".to_owned();
        if seen { Self::yes() } else { Self::no(said.first().cloned().unwrap_or_else(silent)) }
    }
}

const fn feature(
    name: &'static str,
    group: Group,
    since: Option<&'static str>,
    what: &'static str,
    trial: fn(&Lab) -> Result<Answer, Error>,
) -> Feature {
    Feature { name, group, what, since, trial }
}

/// All features, in the order in which they are told.
pub const FEATURES: &[Feature] = {
    use Group::{Layers, Loading, Marks, Options, Upper};
    &[
        feature(
            "mount-api",
            Layers,
            Some("6.5"),
            "overlayfs reads its options one by one",
            layers::own_parser,
        ),
        feature("lowerdir+", Layers, Some("6.7"), "a layer as a string of its own", layers::strings),
        feature("layer-handles", Layers, Some("6.13"), "a layer as an open directory", layers::handles),
        feature(
            "detached-layers",
            Layers,
            Some("6.15"),
            "a mount that is nowhere as a layer",
            layers::detached,
        ),
        feature("fd", Layers, Some("6.13"), "layers by --method fd", |lab| layers::most(lab, Method::Fd)),
        feature("path", Layers, Some("6.7"), "layers by --method path", |lab| {
            layers::most(lab, Method::Path)
        }),
        feature("procfd", Layers, None, "layers by --method procfd", |lab| layers::most(lab, Method::ProcFd)),
        feature("links", Layers, None, "layers by --method links", |lab| layers::most(lab, Method::Links)),
        feature("idmapped-layers", Layers, None, "a layer with other owners", layers::idmapped),
        feature("erofs", Layers, None, "erofs images", layers::erofs),
        feature(
            "erofs-file",
            Layers,
            None,
            "an erofs image as a layer, without a loop device",
            layers::erofs_file,
        ),
        feature("index", Options, None, "hard links stay joined when they are changed", options::index),
        feature("redirect_dir", Options, None, "directories of layers can be renamed", options::redirect_dir),
        feature("metacopy", Options, None, "chmod and chown copy no data", options::metacopy),
        feature("xino", Options, None, "one device number for all files", options::xino),
        feature("nfs_export", Options, None, "files can be opened by handle", options::nfs_export),
        feature("volatile", Options, None, "nothing is ever synced", options::volatile),
        feature("fsync", Options, Some("7.0"), "when to sync: auto, strict or volatile", options::fsync),
        feature("uuid", Options, Some("6.6"), "a filesystem id that stays", options::uuid),
        feature("userxattr", Options, Some("5.11"), "marks in user.overlay.*", options::userxattr),
        feature("verity", Options, Some("6.6"), "file contents checked by fs-verity", |lab| {
            options::taken(lab, "verity=on")
        }),
        feature("override_creds", Options, Some("6.15"), "whose rights overlayfs uses", |lab| {
            options::taken(lab, "override_creds")
        }),
        feature("default_permissions", Options, None, "permissions of the merged files only", |lab| {
            options::taken(lab, "default_permissions")
        }),
        feature("whiteout-device", Marks, None, "a device 0:0 hides a name", marks::whiteout_device),
        feature(
            "whiteout-xattr",
            Marks,
            Some("6.7"),
            "an attribute of an empty file hides a name",
            marks::whiteout_xattr,
        ),
        feature(
            "xattr-escaping",
            Marks,
            Some("6.7"),
            "files can have trusted.overlay.* of their own",
            marks::escaping,
        ),
        feature("data-only", Marks, Some("6.5"), "a layer of contents only, with metacopy=on", |lab| {
            marks::data_only(lab, "metacopy=on")
        }),
        feature(
            "data-only-alone",
            Marks,
            Some("6.16"),
            "a layer of contents only, with metacopy=off",
            |lab| marks::data_only(lab, "metacopy=off"),
        ),
        feature("upper", Upper, None, "new, changed and removed files are kept", filesystem::upper),
        feature("trusted-xattrs", Upper, None, "trusted.* attributes", filesystem::trusted_xattrs),
        feature("user-xattrs", Upper, None, "user.* attributes", filesystem::user_xattrs),
        feature("d_type", Upper, None, "directories tell what each name is", filesystem::d_type),
        feature("o_tmpfile", Upper, None, "files without a name", filesystem::o_tmpfile),
        feature(
            "rename-whiteout",
            Upper,
            None,
            "a rename that leaves a whiteout",
            filesystem::rename_whiteout,
        ),
        feature("reflink", Upper, None, "copies that share their data", filesystem::reflink),
        feature("tmpfs-upper", Upper, None, "an upper directory in memory", filesystem::tmpfs_upper),
        feature(
            "landlock",
            Loading,
            Some("5.19"),
            "who reads archives opens nothing but them and the store",
            loading::landlock,
        ),
        feature(
            "call-filter",
            Loading,
            None,
            "who reads archives cannot mount, run programs or reach a network",
            loading::call_filter,
        ),
    ]
};

/// Returns the feature of that name.
#[must_use]
pub fn feature_named(name: &str) -> Option<&'static Feature> {
    FEATURES.iter().find(|feature| feature.name == name)
}

/// Tries `features` and returns an answer for each. `place` is an empty directory to try them in; what is made there
/// stays for the caller to remove.
///
/// Errors are for what makes any answer worthless: no overlayfs, no permission, a full filesystem.
pub fn answers(place: &Path, features: &[&Feature]) -> Result<Vec<Answer>, Error> {
    let missing = caps::missing(TO_EXTRACT);
    if !missing.is_empty() {
        return Err(Error::Capabilities(missing));
    }
    let place = std::path::absolute(place)?;
    perform::layers(&Dir::open(&place)?)?;
    // The namespace, and every mount in it, goes with the thread.
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("probe".to_owned()).spawn_scoped(scope, || {
            let lab = Lab::open(&place)?;
            features.iter().map(|feature| settled((feature.trial)(&lab))).collect()
        })?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// A call that was refused is an answer; one that failed because something has run out is none.
fn settled(tried: Result<Answer, Error>) -> Result<Answer, Error> {
    let error = match tried {
        Ok(answer) => return Ok(answer),
        Err(error) => error,
    };
    let errno = if let Error::Kernel(failed) | Error::Explained { failed, .. } = &error {
        Some(failed.errno)
    } else if let Error::Io(failed) = &error {
        Errno::from_io_error(failed)
    } else {
        None
    };
    match (errno, error) {
        (
            Some(Errno::NOSPC | Errno::DQUOT | Errno::NOMEM | Errno::MFILE | Errno::NFILE | Errno::IO),
            error,
        ) => Err(error),
        (_, Error::Kernel(failed)) => Ok(Answer::no(short(failed))),
        (_, error) => Ok(Answer::no(error.to_string())),
    }
}

/// Names a call without its arguments: they are the scratch directory's.
fn short(failed: CallFailed) -> String {
    let call = failed.call.split('(').next().unwrap_or_default().to_owned();
    CallFailed { call, ..failed }.to_string()
}

/// How images will be mounted, because of what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlook {
    /// The method that a mount takes when none is asked for.
    pub method: Method,
    /// How many layers a container can have by it; 0 where the directory cannot be a store.
    pub layers: usize,
    /// The same in a sentence.
    pub sentence: String,
}

/// Tells how images will be mounted, of `answers` to all [`FEATURES`] in their order, tried in `place`.
pub fn outlook(place: &Path, answers: &[Answer]) -> Result<Outlook, Error> {
    let method = match perform::layers(&Dir::open(place)?)? {
        Layers::Handles => Method::Fd,
        Layers::Strings => Method::Path,
        Layers::Page => Method::ProcFd,
    };
    let answer = |name: &str| FEATURES.iter().zip(answers).find(|(feature, _)| feature.name == name);
    // What `store::create` and every container rely on.
    let unfit = ["upper", "trusted-xattrs", "whiteout-device"].into_iter().find_map(|name| {
        let (_, answer) = answer(name).filter(|(_, answer)| answer.has == Some(false))?;
        Some(format!("no store can be here ({name}): {}", answer.why.as_deref().unwrap_or("refused")))
    });
    let count = answer(method.name()).and_then(|(_, answer)| answer.count).unwrap_or_default();
    let how = match method {
        Method::Fd => "as file handles",
        Method::Path => "as a string each",
        Method::ProcFd | Method::Links => "as numbers in one string of mount(2)",
    };
    Ok(match unfit {
        Some(sentence) => Outlook { method, layers: 0, sentence },
        None => {
            let layers = count.min(MAX_LOWER);
            let sentence =
                format!("layers will be handed over {how} (--method {}), up to {layers}", method.name());
            Outlook { method, layers, sentence }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_features_have_one_name() {
        let mut names: Vec<&str> = FEATURES.iter().map(|feature| feature.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FEATURES.len());
    }

    #[test]
    fn every_method_is_a_feature() {
        for method in Method::ALL {
            assert_eq!(feature_named(method.name()).unwrap().group, Group::Layers);
        }
    }

    #[test]
    fn what_was_refused_is_an_answer_and_what_ran_out_is_none() {
        let failed = |errno| Err(Error::Kernel(CallFailed::new("fsconfig(3, NULL)", errno)));
        let answer = settled(failed(Errno::INVAL)).unwrap();
        assert_eq!((answer.has, answer.why.as_deref()), (Some(false), Some("fsconfig: Invalid argument")));
        for errno in [Errno::NOSPC, Errno::MFILE, Errno::NOMEM] {
            assert!(settled(failed(errno)).is_err());
        }
    }
}
