//! A case: what a stranger sends, and what must become of it.
//!
//! Every case goes through all that a user may do with an archive: `load` of `docker save`'s form, `load` of an OCI layout with
//! packed layers from a pipe, `mount` of an OCI layout that is a directory. Whatever the outcome, nothing outside of the store
//! and of the mount point may change, nothing may be left in TMPDIR, and no byte may reach the terminal that it would obey.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::canary::Canary;
use crate::support::Scene;
use crate::support::image::{Files, Image, Packing, docker_legacy, image, oci};
use crate::support::outcome::Outcome;
use crate::support::tree::same;
use crate::support::{Layer, layer};

/// Makes the tars of layers, the base first; it is told where the canary is, as an absolute path.
pub(super) type Layers = fn(&str) -> Vec<Vec<u8>>;

/// One case of a table.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) layers: Layers,
    pub(super) verdict: Verdict,
}

/// What must become of a case.
pub(super) enum Verdict {
    /// Exit code 6, and these words on stderr.
    Refused(&'static str),
    /// This tree is mounted.
    Contained(&'static str),
}

/// A case of one layer that is these entries.
pub(super) fn refused(name: &'static str, layers: Layers, words: &'static str) -> Case {
    Case { name, layers, verdict: Verdict::Refused(words) }
}

pub(super) fn contained(name: &'static str, layers: Layers, tree: &'static str) -> Case {
    Case { name, layers, verdict: Verdict::Contained(tree) }
}

/// The tars of layers.
#[expect(clippy::needless_pass_by_value, reason = "each case makes its own")]
pub(super) fn tars<const N: usize>(layers: [Layer; N]) -> Vec<Vec<u8>> {
    layers.iter().map(Layer::tar).collect()
}

/// A scene with a canary beside the store, and an image in it that every case must leave alone.
pub(super) struct Lab {
    pub(super) scene: Scene,
    pub(super) canary: Canary,
    before: String,
}

impl Lab {
    pub(super) fn new() -> Self {
        Self::of(Scene::new())
    }

    /// With the store on a tmpfs of this size (`64m,nr_inodes=1000`).
    pub(super) fn in_memory(size: &str) -> Self {
        let scene = Scene::new();
        scene.tmpfs("store", size);
        Self::of(scene)
    }

    fn of(scene: Scene) -> Self {
        for dir in ["tmp", "target", "layout"] {
            scene.mkdir(dir);
        }
        let canary = Canary::set(&scene);
        scene.save("good.tar", &image("good:1").layer(&layer().file("good", "1")));
        scene.run("load good.tar").succeeds();
        let before = in_store(&scene);
        Self { scene, canary, before }
    }

    /// Runs all cases of a table.
    #[track_caller]
    pub(super) fn run(&self, cases: &[Case]) {
        for case in cases {
            let tars = (case.layers)(&self.canary.path());
            let image = tars.into_iter().fold(image("bad:1"), Image::layer_of_bytes);
            let done = self.image(&image, &case.verdict);
            assert_eq!(done, Ok(()), "{}", case.name);
        }
    }

    /// Takes an image all three ways.
    fn image(&self, image: &Image, verdict: &Verdict) -> Result<(), String> {
        let one = std::slice::from_ref(image);
        self.scene.write("bad.tar", &docker_legacy(one).tar());
        self.judged("load bad.tar", b"", verdict)?;
        self.judged("load -", &oci(one, Packing::Gzip).tar(), verdict)?;
        let layout = self.scene.path("layout");
        fs::remove_dir_all(&layout).expect("it is there");
        oci(one, Packing::Zstd).write_to(&layout);
        self.judged("mount ./layout target", b"", verdict)
    }

    /// Loads an archive from a file and from a pipe, with these options, and checks that it is refused in these words.
    #[track_caller]
    pub(super) fn archive_refused(&self, archive: &[u8], options: &str, words: &str) {
        self.scene.write("bad.tar", archive);
        for (words_typed, input) in
            [(format!("load {options} bad.tar"), &b""[..]), (format!("load {options} -"), archive)]
        {
            let done = self.judged(&words_typed, input, &Verdict::Refused(Box::leak(words.into())));
            assert_eq!(done, Ok(()), "{words}");
        }
    }

    /// Takes these files as a tar, through a pipe, and as a directory, and checks that they are refused in these words.
    #[track_caller]
    pub(super) fn files_refused(&self, files: &Files, words: &str) {
        self.archive_refused(&files.tar(), "", words);
        let layout = self.scene.path("layout");
        fs::remove_dir_all(&layout).expect("it is there");
        files.write_to(&layout);
        self.directory_refused("./layout", words);
    }

    #[track_caller]
    pub(super) fn directory_refused(&self, path: &str, words: &str) {
        let verdict = Verdict::Refused(Box::leak(words.into()));
        assert_eq!(self.judged(&format!("mount {path} target"), b"", &verdict), Ok(()), "{words}");
    }

    /// Runs `ovlctl` and judges what came of it, and of all that it must not touch.
    fn judged(&self, words: &str, input: &[u8], verdict: &Verdict) -> Result<(), String> {
        let outcome = self.ran(words, input);
        let stderr = outcome.stderr();
        plain(stderr)?;
        match verdict {
            Verdict::Refused(reason) => {
                if outcome.code != Some(6) || !stderr.contains(reason) {
                    return Err(format!(
                        "`{words}` should refuse it, '{reason}': {:?} {stderr}",
                        outcome.code
                    ));
                }
            }
            Verdict::Contained(tree) => {
                if outcome.code != Some(0) {
                    return Err(format!("`{words}` should take it: {:?} {stderr}", outcome.code));
                }
                self.shows(words, tree);
            }
        }
        self.untouched(words);
        Ok(())
    }

    /// Runs `ovlctl` with its own TMPDIR.
    pub(super) fn ran(&self, words: &str, input: &[u8]) -> Outcome {
        let mut command = self.scene.command(&words.split_whitespace().collect::<Vec<_>>());
        command.env("TMPDIR", self.scene.path("tmp"));
        if input.is_empty() { self.scene.outcome(&mut command) } else { self.scene.fed(command, input) }
    }

    /// Compares the mounted tree, and removes the image again.
    #[track_caller]
    fn shows(&self, words: &str, tree: &str) {
        if words.starts_with("load") {
            self.scene.run("mount bad:1 target").succeeds();
        }
        same(words, &self.scene.tree("target"), tree);
        self.scene.run("umount --rm target").succeeds();
        self.scene.run("rm --wait bad:1").succeeds();
        self.scene.run("prune --wait").succeeds();
    }

    /// Checks that nothing is left, and that nothing changed outside.
    #[track_caller]
    pub(super) fn untouched(&self, words: &str) {
        self.canary.lives(words);
        let mounts = self.scene.mounts().into_iter().filter(|mount| *mount != self.scene.store());
        assert_eq!(mounts.collect::<Vec<_>>(), Vec::<PathBuf>::new(), "{words}: mounts");
        let left: Vec<_> = fs::read_dir(self.scene.path("tmp")).expect("it is there").collect();
        assert!(left.is_empty(), "{words}: left in TMPDIR: {left:?}");
        let target: Vec<_> = fs::read_dir(self.scene.path("target")).expect("it is there").collect();
        assert!(target.is_empty(), "{words}: left in the mount point: {target:?}");
        same(words, &in_store(&self.scene), &self.before);
        if !self.scene.staged().is_empty() {
            // The background has all the time in the world; who waits for it does not.
            self.scene.run("prune --wait").succeeds();
            assert_eq!(self.scene.staged(), Vec::<PathBuf>::new(), "{words}: half done");
        }
    }
}

/// Every name in the store that stands for something: not locks, and not stages, which are swept.
fn in_store(scene: &Scene) -> String {
    let find = Command::new("find")
        .args([".", "-not", "-path", "./locks/*", "-not", "-path", "./staging*", "-printf", "%p %y %m>%l\n"])
        .current_dir(scene.store())
        .stderr(Stdio::inherit())
        .output()
        .expect("find(1)");
    let text = String::from_utf8(find.stdout).expect("the store's names are text");
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// Checks that no terminal would obey any of it: neither ESC and its like, nor what turns the direction of text.
pub(super) fn plain(text: &str) -> Result<(), String> {
    let obeyed = |c: &char| {
        let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        (c.is_control() && *c != '\n') || turns || *c == char::REPLACEMENT_CHARACTER
    };
    match text.chars().find(obeyed) {
        None => Ok(()),
        Some(c) => Err(format!("a terminal is sent {c:?}: {text:?}")),
    }
}
