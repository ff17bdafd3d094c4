//! Containers that are written to, frozen, reset, branched and removed in any order are what a model in memory says, and in the end
//! nothing is left.
//!
//! `OVLCTL_SEED` gives the first of the sequences, `OVLCTL_ROUNDS` how many.

use std::collections::BTreeMap;
use std::fs;

use crate::support::chance::Chance;
use crate::support::{Scene, image, layer};

/// What a container or a snapshot shows: contents by path; a directory has none.
type Tree = BTreeMap<String, Option<String>>;

const STEPS: usize = 25;
const NAMES: [&str; 3] = ["a", "b", "c"];

#[derive(Clone)]
struct Container {
    tree: Tree,
    /// What it goes back to.
    base: Option<usize>,
}

#[derive(Clone)]
struct Frozen {
    tree: Tree,
    owner: String,
    name: String,
    parent: Option<usize>,
    removed: bool,
}

/// What should be there.
#[derive(Default)]
struct Model {
    image: Tree,
    containers: BTreeMap<String, Container>,
    snapshots: Vec<Frozen>,
}

impl Model {
    /// The snapshots that a container can call by name: its own before those that it stands on.
    fn callable(&self, container: &str) -> BTreeMap<String, usize> {
        let mut names = BTreeMap::new();
        let mut next = self.containers[container].base;
        while let Some(nr) = next {
            if !self.snapshots[nr].removed {
                names.insert(self.snapshots[nr].name.clone(), nr);
            }
            next = self.snapshots[nr].parent;
        }
        let own = self.snapshots.iter().enumerate();
        let own = own.filter(|(_, snapshot)| snapshot.owner == container && !snapshot.removed);
        names.extend(own.map(|(nr, snapshot)| (snapshot.name.clone(), nr)));
        names
    }

    /// How many directories snapshots have: those with a name whose container is there, and what others stand on.
    fn needed(&self) -> usize {
        let named = self.snapshots.iter().enumerate();
        let named = named.filter(|(_, s)| !s.removed && self.containers.contains_key(&s.owner));
        let mut todo: Vec<usize> = named.map(|(nr, _)| nr).collect();
        todo.extend(self.containers.values().filter_map(|container| container.base));
        let mut needed = std::collections::BTreeSet::new();
        while let Some(nr) = todo.pop() {
            if needed.insert(nr) {
                todo.extend(self.snapshots[nr].parent);
            }
        }
        needed.len()
    }

    fn shown(tree: &Tree) -> String {
        let line = |(path, contents): (&String, &Option<String>)| match contents {
            None => format!("d 0755 {path}"),
            Some(text) => format!("f 0644 {path}  {text}"),
        };
        tree.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

struct Play {
    scene: Scene,
    chance: Chance,
    model: Model,
    containers: usize,
    frozen: usize,
}

impl Play {
    fn new(seed: u64) -> Self {
        let scene = Scene::in_memory();
        for dir in ["root", "other"] {
            scene.mkdir(dir);
        }
        let mut layers = layer();
        let mut tree = Tree::new();
        for dir in NAMES {
            layers = layers.dir(dir).file(&format!("{dir}/a"), "image");
            tree.insert(dir.to_owned(), None);
            tree.insert(format!("{dir}/a"), Some("image".to_owned()));
        }
        scene.save("web.tar", &image("web:1").layer(&layers));
        scene.run("load web.tar").succeeds();
        let model = Model { image: tree, ..Model::default() };
        let mut play = Self { scene, chance: Chance(seed), model, containers: 0, frozen: 0 };
        play.container();
        play
    }

    fn one_of(&mut self, names: Vec<String>) -> Option<String> {
        if names.is_empty() {
            return None;
        }
        let nr = self.chance.below(names.len());
        names.into_iter().nth(nr)
    }

    fn any(&mut self) -> Option<String> {
        self.one_of(self.model.containers.keys().cloned().collect())
    }

    fn container(&mut self) {
        self.containers += 1;
        let name = format!("c{}", self.containers);
        self.scene.run(&format!("mount --name {name} web:1 root")).succeeds();
        self.scene.run("umount root").succeeds();
        let container = Container { tree: self.model.image.clone(), base: None };
        self.model.containers.insert(name, container);
    }

    fn write(&mut self) {
        let Some(name) = self.any() else { return self.container() };
        self.scene.run(&format!("mount {name} root")).succeeds();
        let mut tree = self.model.containers[&name].tree.clone();
        for _ in 0..3 {
            self.change(&mut tree);
        }
        self.scene.run("umount root").succeeds();
        self.model.containers.get_mut(&name).expect("it is there").tree = tree;
    }

    /// Makes a directory anew, removes one, or writes or removes a file.
    fn change(&mut self, tree: &mut Tree) {
        let dir = NAMES[self.chance.below(3)].to_owned();
        let file = format!("{dir}/{}", NAMES[self.chance.below(3)]);
        let path = |name: &str| self.scene.path("root").join(name);
        let is_there = tree.contains_key(&dir);
        match self.chance.below(4) {
            0 if is_there => {
                fs::remove_dir_all(path(&dir)).expect("it is there");
                tree.retain(|path, _| *path != dir && !path.starts_with(&format!("{dir}/")));
            }
            1 if tree.contains_key(&file) => {
                fs::remove_file(path(&file)).expect("it is there");
                tree.remove(&file);
            }
            _ => {
                if !is_there {
                    fs::create_dir(path(&dir)).expect("it is not there");
                    tree.insert(dir, None);
                }
                let text = self.chance.below(1000).to_string();
                fs::write(path(&file), &text).expect("it can be written");
                tree.insert(file, Some(text));
            }
        }
    }

    fn freeze(&mut self) {
        let Some(owner) = self.any() else { return };
        self.frozen += 1;
        let name = format!("s{}", self.frozen);
        self.scene.run(&format!("snapshot {owner} {name}")).succeeds().stdout_is(&format!("{owner}@{name}"));
        self.froze(&owner, name);
    }

    fn froze(&mut self, owner: &str, name: String) {
        let nr = self.model.snapshots.len();
        let container = self.model.containers.get_mut(owner).expect("it is there");
        let (tree, parent) = (container.tree.clone(), container.base.replace(nr));
        self.model.snapshots.push(Frozen { tree, owner: owner.to_owned(), name, parent, removed: false });
    }

    fn reset(&mut self) {
        let Some(name) = self.any() else { return };
        let points = self.model.callable(&name);
        let to = match self.chance.below(3) {
            0 => None,
            _ => self.one_of(points.keys().cloned().collect()),
        };
        let base = match &to {
            Some(to) => {
                self.scene.run(&format!("reset {name} {to}")).succeeds();
                Some(points[to])
            }
            None if self.chance.below(3) == 0 => {
                self.scene.run(&format!("reset {name} --image")).succeeds();
                None
            }
            None => {
                self.scene.run(&format!("reset {name}")).succeeds();
                self.model.containers[&name].base
            }
        };
        let tree = base.map_or(&self.model.image, |nr| &self.model.snapshots[nr].tree).clone();
        self.model.containers.insert(name, Container { tree, base });
    }

    fn branch(&mut self) {
        let Some(name) = self.any() else { return };
        self.containers += 1;
        let new = format!("c{}", self.containers);
        let points = self.model.callable(&name);
        let from = self.one_of(points.keys().cloned().collect()).filter(|_| self.chance.below(2) == 0);
        let Some(from) = from else {
            let said = self.scene.run(&format!("branch {name} {new}")).succeeds();
            if let Some((_, frozen)) = said.stderr.trim_end().trim_end_matches('\'').rsplit_once('@') {
                self.froze(&name, frozen.to_owned());
            }
            let like = self.model.containers[&name].clone();
            // Whether one was made is known by what it would lack.
            let known = like.base.map_or(&self.model.image, |nr| &self.model.snapshots[nr].tree);
            assert_eq!(*known, like.tree, "{name} has changed, and no snapshot was made for {new}");
            self.model.containers.insert(new, like);
            return;
        };
        self.scene.run(&format!("branch {name} {new} --from {from}")).succeeds();
        let tree = self.model.snapshots[points[&from]].tree.clone();
        self.model.containers.insert(new, Container { tree, base: Some(points[&from]) });
    }

    fn remove(&mut self) {
        let Some(name) = self.any() else { return };
        let points = self.model.callable(&name);
        match self.one_of(points.keys().cloned().collect()).filter(|_| self.chance.below(2) == 0) {
            Some(snapshot) => {
                self.scene.run(&format!("rm {name}@{snapshot}")).succeeds();
                self.model.snapshots[points[&snapshot]].removed = true;
            }
            None => {
                self.scene.run(&format!("rm {name}")).succeeds();
                self.model.containers.remove(&name);
            }
        }
    }

    fn step(&mut self) {
        match self.chance.below(12) {
            0..=4 => self.write(),
            5 | 6 => self.freeze(),
            7 | 8 => self.reset(),
            9 => self.branch(),
            10 => self.remove(),
            _ => self.container(),
        }
        self.is_right();
    }

    #[track_caller]
    fn is_right(&self) {
        self.scene.run("check").succeeds().stdout_is("");
        let ids = self.scene.kept_layers().len();
        assert_eq!(ids, 1 + self.model.containers.len() + self.model.needed(), "directories in overlay2");
        for (name, container) in &self.model.containers {
            self.shows(name, &container.tree);
            for (snapshot, nr) in self.model.callable(name) {
                self.shows(&format!("{name}@{snapshot}"), &self.model.snapshots[nr].tree);
            }
        }
    }

    #[track_caller]
    fn shows(&self, name: &str, tree: &Tree) {
        self.scene.run(&format!("mount --read-only {name} other")).succeeds();
        self.scene.shows_at("other", &Model::shown(tree));
        self.scene.run("umount other").succeeds();
    }

    fn end(mut self) {
        while let Some(name) = self.any() {
            self.scene.run(&format!("rm {name}")).succeeds();
            self.model.containers.remove(&name);
            self.is_right();
        }
        self.scene.run("rm web:1").succeeds();
        self.scene.swept();
        assert_eq!(self.scene.kept_layers(), Vec::<String>::new());
        self.scene.shows_at("store/overlay2/l", "d 0700 .");
        for folder in ["containers", "snapshots"] {
            self.scene.shows_at(&format!("store/{folder}"), "d 0700 .");
        }
    }
}

/// Of a failure this is what is needed to see it again.
#[expect(clippy::print_stderr, reason = "nextest shows it where the test fails")]
fn say(seed: u64) {
    eprintln!("OVLCTL_SEED={seed}");
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn any_order_is_what_a_model_says() {
    let first = number("OVLCTL_SEED", 1);
    for seed in first..first + number("OVLCTL_ROUNDS", 2) {
        say(seed);
        let mut play = Play::new(seed);
        for _ in 0..STEPS {
            play.step();
        }
        play.end();
    }
}
