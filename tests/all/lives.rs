//! Hundreds of operations in no order: after each `df` is what `du` says and `check` finds nothing, and when all is removed
//! nothing is left.
//!
//! `OVLCTL_OPERATIONS=500 OVLCTL_SEED=7 cargo nextest run --test all lives` runs so many, those of that seed.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::path::PathBuf;

use crate::df_disk::total;
use crate::support::chance::Chance;
use crate::support::tree::same;
use crate::support::{Image, Layer, Scene, image, layer};

/// How many operations there are where nobody says: a few seconds of them.
const OPERATIONS: usize = 100;
/// From so many on, each is to succeed once.
const LONG: usize = 300;
const VERBS: [&str; 12] = [
    "load", "mount", "write", "umount", "tag", "rm", "prune", "commit", "squash", "snapshot", "reset",
    "branch",
];

const CONTAINERS: usize = 4;
const NAMES: [&str; 6] = ["a:1", "b:1", "c:1", "d:1", "t:1", "t:2"];
const SNAPSHOTS: [&str; 4] = ["1", "2", "3", "s"];
const FILES: [&str; 6] = ["etc/motd", "etc/new", "deep", "f3", "f7", "link"];

/// Says which operations were done when a test fails.
struct Told {
    seed: u64,
    lines: Vec<String>,
}

impl Drop for Told {
    #[expect(clippy::print_stderr, reason = "nextest shows it where a test fails")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("OVLCTL_SEED={} failed at operation {}:", self.seed, self.lines.len());
            self.lines.iter().for_each(|line| eprintln!("  {line}"));
        }
    }
}

/// A name, and what stands below it.
fn images() -> [Image; 4] {
    let base = || layer().dir("etc").file("etc/motd", "hello").file("base", &"b".repeat(9000));
    let many = (0..12).fold(layer().dir("deep"), |layer: Layer, nr| {
        layer.file(&format!("deep/f{nr}"), &nr.to_string()).file(&format!("f{nr}"), "x")
    });
    [
        image("a:1").layer(&base()),
        image("b:1").layer(&base()).layer(&many),
        image("c:1").layer(&base()).layer(&many).layer(&layer().whiteout("deep").symlink("link", "f3")),
        image("d:1")
            .layer(&layer().file("base", "alone").whiteout("none"))
            .layer(&layer().dir("deep").opaque("deep")),
    ]
}

struct Life {
    scene: Scene,
    chance: Chance,
    told: Told,
    /// What was written last to a file in each container.
    marks: BTreeMap<String, String>,
    /// The same in each snapshot, as far as that is known.
    frozen: BTreeMap<String, String>,
    /// How often each verb has done what it was to do.
    done: BTreeMap<&'static str, usize>,
}

impl Life {
    fn new(seed: u64) -> Self {
        let scene = Scene::new();
        for (nr, image) in images().iter().enumerate() {
            scene.save(&format!("{nr}.tar"), image);
        }
        for nr in 0..CONTAINERS {
            scene.mkdir(&format!("root{nr}"));
        }
        let told = Told { seed, lines: Vec::new() };
        let (marks, frozen) = (BTreeMap::new(), BTreeMap::new());
        Self { scene, chance: Chance(seed), told, marks, frozen, done: BTreeMap::new() }
    }

    /// Runs `ovlctl`, and returns whether it did it.
    fn run(&mut self, verb: &'static str, rest: &str) -> bool {
        self.said(verb, rest).is_some()
    }

    /// The same, with what it printed: there may be no such image, or it may be in use.
    fn said(&mut self, verb: &'static str, rest: &str) -> Option<String> {
        self.told.lines.push(format!("{verb} {rest}"));
        let outcome = self.scene.run(&format!("{verb} {rest}"));
        match outcome.code {
            Some(0) => {
                *self.done.entry(verb).or_default() += 1;
                Some(outcome.succeeds().stdout)
            }
            // A single layer is not squashed.
            Some(code @ 2) if verb == "squash" => {
                let _ = outcome.fails(code);
                None
            }
            Some(code @ (3 | 4)) => {
                let _ = outcome.fails(code);
                None
            }
            _ => {
                let _ = outcome.succeeds();
                None
            }
        }
    }

    fn step(&mut self) {
        let box_ = format!("box{}", self.chance.below(CONTAINERS));
        let root = format!("root{}", &box_[3..]);
        let name = self.chance.of(&NAMES);
        let archive = format!("{}.tar", self.chance.below(4));
        let how = self.chance.of(&["", "--all", "--containers", "--all --containers", "-n --all"]);
        let force = self.chance.of(&["", "", "-f "]);
        let new = self.chance.of(&NAMES[4..]);
        match self.chance.below(32) {
            0..=3 => self.run("load", &archive),
            4..=6 => self.mount(&box_, &root, name),
            7..=10 => self.write(&box_, &root),
            11..=12 => self.run("umount", &box_),
            13 => self.run("mount", &format!("-r {name} {root}")) || self.run("umount", &root),
            14 => self.run("tag", &format!("{name} {new}")),
            15 => self.run("rm", &format!("{force}{name}")),
            16 => self.run("rm", &format!("{force}{box_}")),
            17 => self.run("prune", how),
            18 => self.run("umount", &format!("--rm {box_}")),
            19..=20 => self.run("commit", &format!("{box_} {new}")),
            21 => self.run("squash", &format!("{name} {new}")),
            22..=24 => self.at_rest(&box_) && self.snapshot(&box_),
            25..=26 => self.at_rest(&box_) && self.reset(&box_),
            27..=28 => self.at_rest(&box_) && self.branch(&box_),
            29 => self.look(&box_, &root),
            30 => self.unname(&box_),
            _ => self.run("mount", &format!("--rm --name {box_} {name} {root}")),
        };
        let there: Vec<String> =
            (0..CONTAINERS).map(|nr| format!("box{nr}")).filter(|name| self.has(name)).collect();
        self.marks.retain(|name, _| there.contains(name));
        self.frozen
            .retain(|name, _| there.iter().any(|container| name.starts_with(&format!("{container}@"))));
    }

    /// Whether there is a container of that name.
    fn has(&self, name: &str) -> bool {
        self.scene.store().join("containers").join(format!("{name}.json")).exists()
    }

    /// Unmounts a container now and then: what is mounted has no snapshot made, and is not reset.
    fn at_rest(&mut self, name: &str) -> bool {
        self.chance.below(4) == 0 || self.run("umount", name) || self.has(name)
    }

    /// Freezes a container that is not mounted.
    fn snapshot(&mut self, name: &str) -> bool {
        let which = self.chance.of(&["", "", "1", "2", "s"]);
        let Some(made) = self.said("snapshot", &format!("{name} {which}")) else { return false };
        self.remember(made.trim_end(), self.marks.get(name).cloned());
        true
    }

    fn remember(&mut self, snapshot: &str, mark: Option<String>) {
        match mark {
            Some(mark) => drop(self.frozen.insert(snapshot.to_owned(), mark)),
            None => drop(self.frozen.remove(snapshot)),
        }
    }

    /// Takes a container back.
    fn reset(&mut self, name: &str) -> bool {
        let to = self.chance.of(&["", "--image", "1", "2", "s"]);
        if !self.run("reset", &format!("{name} {to}")) {
            return false;
        }
        match self.frozen.get(&format!("{name}@{to}")).cloned() {
            Some(mark) => drop(self.marks.insert(name.to_owned(), mark)),
            // What it stood on, or its image, may have one too.
            None => drop(self.marks.remove(name)),
        }
        true
    }

    /// Makes another container that starts where this one is, or was.
    fn branch(&mut self, name: &str) -> bool {
        // One of those that are not there, so that it can be made.
        let first = self.chance.below(CONTAINERS);
        let mut all = (first..first + CONTAINERS).map(|nr| format!("box{}", nr % CONTAINERS));
        let new = all.find(|name| !self.has(name)).unwrap_or_else(|| name.to_owned());
        let from = self.chance.of(&["", "", "1", "2", "s"]);
        let option = if from.is_empty() { String::new() } else { format!("--from {from}") };
        if !self.run("branch", &format!("{name} {new} {option}")) {
            return false;
        }
        let mark = match from {
            "" => self.marks.get(name),
            from => self.frozen.get(&format!("{name}@{from}")),
        };
        let mark = mark.cloned();
        mark.map(|mark| self.marks.insert(new, mark));
        true
    }

    /// Removes a snapshot; another container may have had it by that name too.
    fn unname(&mut self, name: &str) -> bool {
        let which = self.chance.of(&SNAPSHOTS);
        let removed = self.run("rm", &format!("{name}@{which}"));
        if removed {
            self.frozen.retain(|snapshot, _| !snapshot.ends_with(&format!("@{which}")));
        }
        removed
    }

    /// Mounts a snapshot, which shows what was there then.
    fn look(&mut self, name: &str, root: &str) -> bool {
        let full = format!("{name}@{}", self.chance.of(&SNAPSHOTS));
        let there = self.run("mount", &format!("{full} {root}"));
        if there {
            let mark = fs::read_to_string(self.scene.path(&format!("{root}/mark"))).ok();
            let known = self.frozen.get(&full);
            assert!(known.is_none() || known == mark.as_ref(), "{full} has {mark:?}, not {known:?}");
        }
        there
    }

    /// Mounts a container, or makes it; what was written in it is there.
    fn mount(&mut self, name: &str, root: &str, image: &str) -> bool {
        let there = self.run("mount", &format!("{name} {root}"));
        if there {
            let mark = fs::read_to_string(self.scene.path(&format!("{root}/mark"))).ok();
            // An image that was committed has one too.
            let written = self.marks.get(name);
            assert!(written.is_none() || written == mark.as_ref(), "{name} has {mark:?}, not {written:?}");
        }
        there || self.run("mount", &format!("--name {name} {image} {root}"))
    }

    /// Changes something in a container that is mounted.
    fn write(&mut self, name: &str, root: &str) -> bool {
        let top = self.scene.path(root);
        let is_its = self.scene.overlays().contains(&top) && fs::write(top.join("mark"), "").is_ok();
        if !is_its {
            return false;
        }
        let mark = self.told.lines.len().to_string();
        fs::write(top.join("mark"), &mark).expect("it could be written just now");
        // A read-only mount of an image may be on that target, or a container that goes with it: then there is none to remember.
        self.marks.insert(name.to_owned(), mark);
        let path = top.join(self.chance.of(&FILES));
        let act = self.chance.below(6);
        self.told.lines.push(format!("write {act} {}", path.display()));
        *self.done.entry("write").or_default() += 1;
        // What an earlier one removed, or made something else, is no matter.
        let _ = match act {
            0 => fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path)),
            1 => fs::create_dir_all(path.join("made/deep")),
            2 => fs::rename(&path, top.join("renamed")),
            3 => fs::hard_link(&path, top.join(format!("again{}", self.chance.below(5)))),
            _ => fs::write(&path, "w".repeat(self.chance.below(20_000))),
        };
        true
    }

    /// Whether all is as it must be whatever was done.
    fn is_whole(&self) {
        self.scene.run("check").succeeds().stdout_is("");
        total(&self.scene);
    }

    fn has_done_all(&self) -> bool {
        VERBS.iter().all(|verb| self.done.contains_key(verb))
    }

    fn end(&mut self) {
        self.run("umount", "--all");
        self.run("prune", "--all --containers --wait");
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn each_keeps_the_store_whole_and_the_last_leaves_it_empty() {
    let seed = number("OVLCTL_SEED").unwrap_or_else(|| RandomState::new().build_hasher().finish());
    let operations =
        number("OVLCTL_OPERATIONS").map_or(OPERATIONS, |count| usize::try_from(count).expect("few"));
    let mut life = Life::new(seed);
    // What a store is that has been used, and has nothing in it.
    assert!(life.run("load", "0.tar") && life.run("mount", "--name box0 a:1 root0"));
    life.end();
    let empty = life.scene.tree("store");
    assert_eq!(life.scene.kept_layers(), Vec::<String>::new());
    // A long life goes on until each verb has succeeded once: some seldom do.
    let is_over = |life: &Life, nr| nr >= operations && (operations < LONG || life.has_done_all());
    let mut nr = 0;
    while nr < 4 * operations && !is_over(&life, nr) {
        life.step();
        life.is_whole();
        nr += 1;
    }
    assert!(operations < LONG || life.has_done_all(), "{:?}", life.done);
    life.end();
    assert_eq!(life.scene.overlays(), Vec::<PathBuf>::new());
    same("the store", &life.scene.tree("store"), &empty);
    life.is_whole();
}
