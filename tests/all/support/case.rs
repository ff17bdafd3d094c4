//! A command that something befalls, again and again, each time on a fresh copy of one store; and what may be left then.
//!
//! What may be left is told as a *state*: the images with their names, the containers, and what is mounted, as `ovlctl` tells
//! them. Afterwards a store is lived in: the command is run again, what is there is proved, mounted and removed, and in the
//! end the store must be as empty as one that nothing ever befell.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use ovlctl::digest::Digest;
use rustix::pipe::{PipeFlags, pipe_with};

use super::Scene;
use super::cases;
use super::fingerprint;
use super::scene::host;
use super::tracer::{self, Call, Happens};
use super::tree::{self, Times};

/// A command, and the store that it meets.
pub(crate) struct Case {
    /// What the store is made by, once, in parts.
    pub(crate) made_by: &'static [&'static [&'static str]],
    /// What comes before each run: mounts are no part of a copy.
    pub(crate) after: &'static [&'static str],
    /// The command.
    pub(crate) words: &'static str,
    /// What it gets through a pipe.
    pub(crate) piped: Option<&'static str>,
    /// What may be left besides the state before and the one after, as patterns of lines.
    pub(crate) between: &'static [&'static str],
    /// Whether it does several things, one after the other: if it fails, some may be done.
    pub(crate) halves: bool,
    /// What does the rest of what was half done, where running the command again does not.
    pub(crate) else_by: Option<&'static str>,
    /// Whether the command is to put right what is wrong in the store.
    pub(crate) heals: bool,
    /// The file that it writes: that is there, whole, or not at all.
    pub(crate) writes: Option<&'static str>,
}

/// What `ovlctl` tells of a store, a line each.
type State = Vec<String>;

/// How a store was looked at (see [`Stage::is_sound`]), what was mounted, and what it was.
type Looked = (bool, Vec<String>, Digest);

/// A case's scene, with its store as it is before the command.
pub(crate) struct Stage<'a> {
    pub(crate) scene: Scene,
    case: &'a Case,
    /// What `kept` is to hold, where the store has such a container.
    has_kept: bool,
    pub(crate) before: Vec<String>,
    pub(crate) done: Vec<String>,
    empty: String,
    /// What the command writes.
    written: Option<Vec<u8>>,
    /// The ids of layers and images, and which stores were found to be sound.
    ids: BTreeSet<String>,
    sound: RefCell<BTreeMap<Looked, State>>,
}

impl<'a> Stage<'a> {
    /// Makes the store, and finds out how it is before and after the command.
    pub(crate) fn set(case: &'a Case) -> Self {
        let scene = Scene::in_memory();
        cases::archives(&scene);
        for dir in ["root", "other", "up"] {
            scene.mkdir(dir);
        }
        let has_kept = !case.made_by.is_empty();
        for words in case.made_by.iter().copied().flatten() {
            do_words(&scene, words);
        }
        scene.swept();
        if scene.store().exists() {
            copy(&scene, "store", "prepared");
        }
        let mut stage = Self {
            scene,
            case,
            has_kept,
            before: Vec::new(),
            done: Vec::new(),
            empty: String::new(),
            written: None,
            ids: BTreeSet::new(),
            sound: RefCell::default(),
        };
        stage.empty = stage.empty_store();
        stage.reset();
        stage.before = stage.state().expect("a sound store");
        let output = stage.run();
        assert!(output.status.success(), "{}: {}", case.words, String::from_utf8_lossy(&output.stderr));
        stage.done = stage.state().expect("a sound store");
        stage.written = case.writes.map(|name| fs::read(stage.scene.path(name)).expect("it was written"));
        for dir in ["layers", "images"] {
            let names = entries(&stage.scene.store().join(dir)).into_iter();
            stage.ids.extend(names.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())));
        }
        stage.live_in().unwrap_or_else(|problem| panic!("{}, undisturbed: {problem}", case.words));
        stage
    }

    /// How a store is that had things, and has none any more.
    fn empty_store(&self) -> String {
        for words in ["load base.tar", "mount --name x base:1 root", "umount x", "rm x"] {
            do_words(&self.scene, words);
        }
        self.remove_all().expect("a sound store");
        tree::list(&self.scene.store(), Times::Hidden)
    }

    /// Makes all as it is before the command.
    pub(crate) fn reset(&self) {
        self.clear();
        self.scene.mkdir("up");
        if self.scene.path("prepared").exists() {
            copy(&self.scene, "prepared", "store");
        }
        for words in self.case.after {
            do_words(&self.scene, words);
        }
    }

    /// Takes all away that the command may have made.
    pub(crate) fn clear(&self) {
        self.scene.let_go();
        if let Some(name) = self.case.writes {
            let _ = fs::remove_file(self.scene.path(name));
        }
        for dir in ["store", "up", "up.work"] {
            let path = self.scene.path(dir);
            if path.exists() {
                fs::remove_dir_all(&path).expect("it can be removed");
            }
        }
    }

    /// Runs the command.
    pub(crate) fn run(&self) -> Output {
        self.command().stdin(self.input()).output().expect("ovlctl starts")
    }

    /// Runs the command, and asks at each of its calls what is to happen.
    pub(crate) fn traced(&self, at: &mut dyn FnMut(&Call) -> Happens) -> Output {
        tracer::run(&self.command(), self.input(), &self.scene.path(""), at)
    }

    fn command(&self) -> Command {
        let mut command = self.scene.command(&self.words());
        // The image that it makes, if it does, is the same each time.
        command.env("SOURCE_DATE_EPOCH", "86400");
        command
    }

    /// Counts the calls of the command that are of a kind.
    pub(crate) fn count(&self, kind: fn(&Call) -> bool) -> usize {
        self.reset();
        let mut calls = 0;
        let whole = self.traced(&mut |call| {
            calls += usize::from(kind(call));
            Happens::Nothing
        });
        assert!(whole.status.success(), "{}, traced: {whole:?}", self.case.words);
        calls
    }

    /// Runs the command, and lets something happen at the `nth` call of a kind; `None` where there were fewer.
    pub(crate) fn at(&self, nth: usize, kind: fn(&Call) -> bool, happens: Happens) -> Option<(Call, Output)> {
        self.reset();
        let (mut met, mut found) = (0, None);
        let output = self.traced(&mut |call| {
            met += usize::from(kind(call));
            if met != nth || found.is_some() || !kind(call) {
                return Happens::Nothing;
            }
            found = Some(*call);
            happens
        });
        found.map(|call| (call, output))
    }

    /// A pipe that holds what the command is to read.
    fn input(&self) -> Stdio {
        let Some(name) = self.case.piped else { return Stdio::null() };
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
        let bytes = fs::read(self.scene.path(name)).expect("an archive");
        assert!(bytes.len() <= 64 << 10, "{name} does not fit a pipe (pipe(7)), and nobody reads it yet");
        File::from(writer).write_all(&bytes).expect("it fits");
        reader.into()
    }

    fn words(&self) -> Vec<&'static str> {
        self.case.words.split(' ').collect()
    }

    /// What `ovlctl` tells of the store: images, containers, mounts.
    pub(crate) fn state(&self) -> Result<Vec<String>, String> {
        let text = |value: &serde_json::Value| value.as_str().map_or("-".to_owned(), own);
        let mut state = Vec::new();
        for row in self.json("images --json")?.as_array().into_iter().flatten() {
            state.push(format!("image {} {}", text(&row["name"]), text(&row["id"])));
        }
        for row in self.json("mounts --json")?.as_array().into_iter().flatten() {
            state.push(format!("mount {} {}", text(&row["name"]), text(&row["target"])));
        }
        for row in self.json("snapshots --json")?.as_array().into_iter().flatten() {
            state.push(format!("snapshot {} at {}", text(&row["name"]), row["at"]));
        }
        state.extend(
            self.scene.overlays().iter().map(|target| format!("overlay {}", own(&target.to_string_lossy()))),
        );
        state.sort();
        Ok(state)
    }

    /// Whether the store, as it is now, is one that the command may leave: which one, and that it can be lived in; with running
    /// the command `again`, or with others only.
    ///
    /// Of stores that are the same, one is looked at.
    pub(crate) fn is_sound(&self, again: bool) -> Result<Vec<String>, String> {
        if let Some(name) = self.case.writes {
            let found = fs::read(self.scene.path(name)).ok();
            if found.is_some() && found != self.written {
                return Err(format!("{name} is there, and not whole"));
            }
        }
        let overlays = self.scene.overlays().iter().map(|target| own(&target.to_string_lossy())).collect();
        let store = (again, overlays, fingerprint::of(&self.scene.store(), &self.ids));
        if let Some(state) = self.sound.borrow().get(&store) {
            return Ok(state.clone());
        }
        let state = self.is_sound_at_last(again)?;
        self.sound.borrow_mut().insert(store, state.clone());
        Ok(state)
    }

    /// How many different stores were found.
    pub(crate) fn stores(&self) -> usize {
        self.sound.borrow().len()
    }

    fn is_sound_at_last(&self, again: bool) -> Result<Vec<String>, String> {
        if !self.case.heals {
            self.finds_nothing("check")?;
        }
        let state = self.state()?;
        let allowed = state == self.before || state == self.done || self.is_between(&state);
        if !allowed {
            return Err(format!("is neither as before nor as after: {state:#?}"));
        }
        // Without that, a store that the command was to make may not be there.
        let again = again || !self.has_kept;
        if self.case.heals || (again && state != self.done) {
            match self.case.else_by.filter(|_| state != self.before) {
                Some(words) => drop(self.succeeds(words)?),
                None => self.run_again()?,
            }
            let then = self.state()?;
            if then != self.done {
                return Err(format!("again, but left {then:#?}"));
            }
        }
        self.live_in()?;
        Ok(state)
    }

    fn run_again(&self) -> Result<(), String> {
        let output = self.run();
        if output.status.success() {
            Ok(())
        } else {
            Err(format!("again: {}", String::from_utf8_lossy(&output.stderr)))
        }
    }

    fn is_between(&self, state: &[String]) -> bool {
        let news = state.iter().filter(|line| !self.before.contains(line) && !self.done.contains(line));
        let mut news = news.peekable();
        let known = |line: &String| self.case.between.iter().any(|known| line.starts_with(known));
        // Some of the old lines, some of the new ones, and those that are known to come between.
        !self.case.between.is_empty() && (news.peek().is_none() || news.all(known))
    }

    /// Does with a store what people do, until nothing is left of it.
    fn live_in(&self) -> Result<(), String> {
        self.succeeds("prune")?;
        self.is_swept("prune")?;
        self.finds_nothing("check --deep")?;
        if self.has_kept {
            self.succeeds("mount kept other")?;
            let mine = fs::read_to_string(self.scene.path("other/mine"));
            if !mine.as_ref().is_ok_and(|mine| mine == "mine") {
                return Err(format!("a container's changes: {mine:?}"));
            }
        }
        self.succeeds("umount --all")?;
        if !self.scene.overlays().is_empty() {
            return Err(format!("is still mounted: {:?}", self.scene.overlays()));
        }
        self.remove_all()?;
        let left = tree::list(&self.scene.store(), Times::Hidden);
        if left == self.empty {
            Ok(())
        } else {
            Err(format!("an empty store has:\n{left}\nand not\n{}", self.empty))
        }
    }

    fn remove_all(&self) -> Result<(), String> {
        // A row is a name of an image, which goes with its last one.
        for (list, named_by) in [("mounts --json", "name"), ("images --json", "id")] {
            let rows = self.json(list)?;
            let name =
                |row: &serde_json::Value| row["name"].as_str().or(row[named_by].as_str()).map(str::to_owned);
            let names: Vec<String> = rows.as_array().into_iter().flatten().filter_map(name).collect();
            if !names.is_empty() {
                self.succeeds(&format!("rm {}", names.join(" ")))?;
            }
        }
        self.succeeds("prune --wait")?;
        self.is_swept("prune --wait")
    }

    fn is_swept(&self, after: &str) -> Result<(), String> {
        if self.scene.is_swept() { Ok(()) } else { Err(format!("{after} left {:?}", self.scene.staged())) }
    }

    fn finds_nothing(&self, words: &str) -> Result<(), String> {
        let said = self.succeeds(words)?;
        if said.is_empty() { Ok(()) } else { Err(format!("{words} finds {said}")) }
    }

    fn succeeds(&self, words: &str) -> Result<String, String> {
        let outcome = self.scene.run(words);
        let code = outcome.code;
        let said = outcome.said();
        if code == Some(0) {
            Ok(said.stdout)
        } else {
            Err(format!("{words}: {code:?}: {}", said.stderr.trim_end()))
        }
    }

    fn json(&self, words: &str) -> Result<serde_json::Value, String> {
        serde_json::from_str(&self.succeeds(words)?).map_err(|e| format!("{words}: {e}"))
    }
}

/// Whether all calls of a verb are to be met, and not only some.
pub(crate) fn every_call() -> bool {
    std::env::var_os("OVLCTL_EVERY_CALL").is_some()
}

/// Says what was counted.
#[expect(clippy::print_stderr, reason = "it is for the user")]
pub(crate) fn tell(text: &str) {
    eprintln!("{text}");
}

/// A container's own directory has another name each time.
fn own(path: &str) -> String {
    path.find("/overlay2/").map_or(path, |at| &path[at..at + 10]).to_owned()
}

/// Runs `ovlctl`, or what no command of its own can do.
fn do_words(scene: &Scene, words: &str) {
    match words.split(' ').collect::<Vec<_>>()[..] {
        ["write", file] => scene.write(file, b"mine"),
        ["damage"] => damage(scene),
        ["power-cut"] => scene.power_cut(),
        ["tmpfs", dir] => drop(scene.tmpfs(dir, "8m")),
        _ => drop(scene.run(words).succeeds()),
    }
}

/// Takes away what records can give again, and spoils a file that an archive can.
fn damage(scene: &Scene) {
    let links: Vec<PathBuf> = entries(&scene.store().join("overlay2/l"));
    fs::remove_file(&links[0]).expect("a short name");
    let diff = scene.store().join("overlay2").join(cases::last_layer()).join("diff");
    fs::write(diff.join("last"), "other").expect("a file");
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(dir).expect("a directory").flatten().map(|e| e.path()).collect();
    paths.sort();
    paths
}

fn copy(scene: &Scene, from: &str, to: &str) {
    host(Command::new("cp").arg("-a").arg(scene.path(from)).arg(scene.path(to)));
}
