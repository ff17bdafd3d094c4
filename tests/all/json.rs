//! The JSON of each verb is what docs/json.md says: no field more, no field less, each of its type.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::{Value, json};

use crate::support::image::{Packing, oci};
use crate::support::{Image, Scene, image, layer, needs};

const PAGE: &str = include_str!("../../docs/json.md");

/// What a section of the page says of one command's output.
struct Shape {
    title: &'static str,
    is_array: bool,
    /// By its path: what may stand there.
    fields: BTreeMap<&'static str, Vec<&'static str>>,
    seen: BTreeSet<&'static str>,
}

impl Shape {
    /// Reads the section of this title.
    fn of(title: &'static str) -> Self {
        let sections = PAGE.split("\n## ").skip(1);
        let text = sections.filter_map(|section| section.strip_prefix(title)?.strip_prefix("\n\n")).next();
        let text = text.unwrap_or_else(|| panic!("docs/json.md has no section '{title}'"));
        let is_array = text
            .split("\n\n")
            .next()
            .is_some_and(|says| says.contains(" an array") || says.contains(": the same"));
        let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
        let fields = rows.map(|row| {
            let (field, rest) = row.split_once("` | ").expect("a field");
            (field, rest.split(" | ").next().expect("a type").split(", ").collect())
        });
        let fields: BTreeMap<_, _> = fields.collect();
        assert!(!fields.is_empty(), "{title} has no fields");
        Self { title, is_array, fields, seen: BTreeSet::new() }
    }

    /// Compares what a command printed.
    fn compare(&mut self, printed: &Value) {
        assert_eq!(printed.is_array(), self.is_array, "{}: {printed}", self.title);
        let one = std::slice::from_ref(printed);
        for object in printed.as_array().map_or(one, Vec::as_slice) {
            self.object("", object);
        }
    }

    fn object(&mut self, path: &str, value: &Value) {
        let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        let object =
            value.as_object().unwrap_or_else(|| panic!("{}: {path} is no object: {value}", self.title));
        for (name, value) in object {
            let any = below("*");
            let exact = below(name);
            self.field(if self.fields.contains_key(any.as_str()) { &any } else { &exact }, value);
        }
        for (field, types) in &self.fields {
            let prefix = if path.is_empty() { String::new() } else { format!("{path}.") };
            let Some(name) =
                field.strip_prefix(prefix.as_str()).filter(|name| !name.contains(['.', '[', '*']))
            else {
                continue;
            };
            let needed = !types.contains(&"optional");
            assert!(!needed || object.contains_key(name), "{}: {field} is missing in {value}", self.title);
        }
    }

    fn field(&mut self, path: &str, value: &Value) {
        let Some((field, types)) = self.fields.get_key_value(path) else {
            panic!("{}: docs/json.md does not have '{path}': {value}", self.title);
        };
        let (field, types) = (*field, types.clone());
        let of_type = types.iter().any(|of| is(value, of));
        assert!(of_type, "{}: '{path}' is to be {types:?}: {value}", self.title);
        if !value.is_null() {
            self.seen.insert(field);
        }
        if types.contains(&"any") || types.contains(&"path") {
            return;
        }
        match value {
            Value::Object(_) => self.object(path, value),
            Value::Array(all) => {
                let element = format!("{path}[]");
                all.iter().for_each(|value| self.field(&element, value));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// Fails unless each field of the page has had a value: what never comes is documented for nobody.
    fn finish(self) {
        let unseen: Vec<_> = self.fields.keys().filter(|field| !self.seen.contains(*field)).collect();
        assert!(unseen.is_empty(), "{}: nothing was printed for {unseen:?}", self.title);
    }
}

/// Whether a value is of a type of the page's.
fn is(value: &Value, of: &str) -> bool {
    let text = value.as_str();
    let hex = |text: &str| text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    match of {
        "string" => text.is_some(),
        "path" => {
            let byte = |value: &Value| value.as_u64().is_some_and(|byte| byte <= 255);
            text.is_some() || value.as_array().is_some_and(|bytes| bytes.iter().all(byte))
        }
        "digest" => text.and_then(|text| text.strip_prefix("sha256:")).is_some_and(hex),
        "id" => text.is_some_and(hex),
        "time" => text.is_some_and(|text| text.ends_with('Z') && text.parse::<jiff::Timestamp>().is_ok()),
        "bytes" | "count" => value.as_u64().is_some(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "any" => true,
        "optional" => false,
        word => {
            let word = word.strip_prefix("`\"").and_then(|word| word.strip_suffix("\"`"));
            text == Some(word.unwrap_or_else(|| panic!("docs/json.md has a type '{of}'")))
        }
    }
}

/// Compares what these commands print, all of them together.
#[track_caller]
fn compare(scene: &Scene, title: &'static str, commands: &[&str]) {
    let mut shape = Shape::of(title);
    for words in commands {
        shape.compare(&scene.run(words).succeeds().json());
    }
    shape.finish();
}

/// Two versions of an image with all kinds of inodes, a history and a config.
fn web(tag: &str, more: &str) -> Image {
    let base = layer()
        .dir("etc")
        .file("etc/hosts", "localhost")
        .file("etc/gone", "12")
        .file_of_bytes(b"etc/\xff", b"")
        .xattr("user.k", b"v")
        .symlink("bin", "usr/bin")
        .char_device("null", 1, 3)
        .fifo("pipe");
    let history = json!([
        {"created": "2020-02-03T04:05:06.7Z", "created_by": "ADD rootfs.tar /", "comment": "base"},
        {"created": "2020-02-03T04:05:07Z", "created_by": "CMD", "empty_layer": true},
        {"created": "2020-02-03T04:05:08Z", "created_by": "RUN"},
        {"created": "2020-02-03T04:05:09Z", "created_by": "COPY"},
    ]);
    image(&format!("web:{tag}"))
        .config("created", json!("2020-02-03T04:05:09Z"))
        .config("history", history)
        .config("config", json!({"Env": ["A=b"]}))
        .layer(&base)
        .layer(&layer().whiteout("etc/gone").file("etc/hosts", "0").symlink("bin", "bin2"))
        .layer(&layer().file("more", more))
}

/// A store with images, a container that is mounted and one that is not, snapshots, and a mount without a container.
fn scene() -> Scene {
    let scene = Scene::new();
    let arm = web("arm", "arm").platform("linux/arm/v7");
    scene.write("web.tar", &oci(&[web("1", "more")], Packing::Plain).tar());
    scene.write("two.tar", &oci(&[web("2", "other")], Packing::Plain).tar());
    scene.write("arm.tar", &oci(&[arm], Packing::Plain).tar());
    for target in ["root", "other", "ro"] {
        scene.mkdir(target);
    }
    scene.run("load web.tar two.tar arm.tar").succeeds();
    scene.run("mount --name box -o nodev web:1 root").succeeds();
    fs::write(scene.path("root/etc/hosts"), "one").expect("it is mounted");
    scene.run("umount root").succeeds();
    scene.run("snapshot box one").succeeds();
    scene.run("snapshot box two").succeeds();
    scene.run("mount box root").succeeds();
    fs::write(scene.path("root/etc/new"), "new").expect("it is mounted");
    fs::remove_file(scene.path("root/more")).expect("it is mounted");
    scene.run("mount --name idle web:1 other").succeeds();
    scene.run("umount other").succeeds();
    scene.run("mount --read-only web:1 ro").succeeds();
    scene
}

#[test]
fn lists_are_as_documented() {
    let scene = scene();
    compare(&scene, "images", &["images --json"]);
    compare(&scene, "layers", &["layers --json", "layers --json web:1"]);
    compare(&scene, "mounts", &["mounts --json"]);
    compare(&scene, "snapshots", &["snapshots --json"]);
    scene.write("ovlctl.toml", b"mount.options = ['nodev']\n");
    compare(&scene, "config", &["config --json", "--config ovlctl.toml --bytes config --json"]);
}

#[test]
fn what_is_known_of_one_is_as_documented() {
    let scene = scene();
    compare(&scene, "inspect IMAGE", &["inspect web:1 web:arm"]);
    compare(&scene, "inspect CONTAINER", &["inspect box idle"]);
    compare(&scene, "history", &["history --json web:1"]);
    compare(&scene, "tree", &["tree --json web:1"]);
}

#[test]
fn what_is_in_it_is_as_documented() {
    let scene = scene();
    compare(&scene, "ls", &["ls --json web:1", "ls --json web:1:etc", "ls --json box:etc/new"]);
    let blamed = ["etc/hosts", "etc/gone", "bin", "more"].map(|path| format!("blame --json {path} box"));
    compare(&scene, "blame", &blamed.each_ref().map(String::as_str));
    compare(&scene, "diff", &["diff --json box", "diff --json web:1 web:2"]);
    compare(&scene, "diff --stat", &["diff --stat --json box"]);
}

#[test]
fn what_it_takes_is_as_documented() {
    let scene = scene();
    compare(&scene, "df", &["df --json", "df --json --containers", "df --json --disk"]);
    compare(&scene, "df --explain", &["df --explain --json"]);
    let layer = format!("df --explain --json overlay2/{}", web("1", "more").chain_ids()[0].hex());
    compare(&scene, "df --explain DIR", &[&layer]);
}

#[test]
fn findings_are_as_documented() {
    let scene = scene();
    let [base, top, _] = web("1", "more").chain_ids().try_into().expect("three layers");
    let dir = |id: ovlctl::digest::Digest| scene.store().join("overlay2").join(id.hex());
    let mode = |mode| {
        let hosts = dir(base).join("diff/etc/hosts");
        fs::set_permissions(hosts, fs::Permissions::from_mode(mode)).unwrap();
    };
    let lower = fs::read(dir(top).join("lower")).unwrap();
    mode(0o600);
    fs::remove_file(dir(top).join("lower")).unwrap();
    symlink("../nowhere", scene.store().join("overlay2/l/AAAAAAAAAAAAAAAAAAAAAAAAAA")).unwrap();
    let mut shape = Shape::of("check");
    shape.compare(&scene.run("check --deep --json").fails(6).json());
    shape.finish();
    mode(0o644);
    fs::write(dir(top).join("lower"), lower).unwrap();
    fs::remove_file(scene.store().join("overlay2/l/AAAAAAAAAAAAAAAAAAAAAAAAAA")).unwrap();
    shape = Shape::of("check");
    shape.compare(&scene.run("check --json").succeeds().json());
}

#[test]
fn probing_is_as_documented() {
    compare(&scene(), "probe", &["probe --json"]);
}

#[test]
fn bisecting_is_as_documented() {
    let Some(busybox) = needs::busybox() else { return };
    let program = layer().file_of_bytes(b"bin/busybox", &busybox).mode(0o755);
    let history = json!([{"created_by": "ADD busybox"}, {"created_by": "RUN rm"}]);
    let web = image("web:1").config("history", history);
    let web = web.layer(&program.file("good", "")).layer(&layer().whiteout("good"));
    let scene = Scene::with("web.tar", &web);
    compare(&scene, "bisect", &["bisect --json web:1 -- /bin/busybox test -e /good"]);
}

#[test]
fn what_differs_from_the_page_is_seen() {
    let digest = "sha256:".to_owned() + &"0".repeat(64);
    let sound = json!({"layer": 1, "diff_id": digest, "chain_id": digest, "outcome": "exit code 1", "created_by": "RUN"});
    let judged = |change: fn(&mut Value)| {
        let mut row = sound.clone();
        change(&mut row);
        std::panic::catch_unwind(|| {
            let mut shape = Shape::of("bisect");
            shape.compare(&json!([row]));
            shape.finish();
        })
    };
    assert!(judged(|_| {}).is_ok());
    let wrong: [fn(&mut Value); 6] = [
        |row| row["more"] = json!(1),
        |row| row["layer"] = json!("1"),
        |row| row["layer"] = json!(null),
        |row| row["diff_id"] = json!("sha256:0"),
        // It may be null, but then nobody has seen what else it is.
        |row| row["created_by"] = json!(null),
        |row| drop(row.as_object_mut().unwrap().remove("outcome")),
    ];
    for (nr, change) in wrong.into_iter().enumerate() {
        assert!(judged(change).is_err(), "change {nr} is not seen");
    }
}

#[test]
fn each_verb_that_prints_json_is_documented() {
    let scene = Scene::new();
    let help = scene.run("--help").succeeds().stdout;
    let verbs = help.split("\nCommands:\n").nth(1).and_then(|text| text.split("\n\n").next()).expect("verbs");
    let verbs = verbs.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let mut found = BTreeSet::new();
    for verb in verbs.filter(|verb| !verb.is_empty() && *verb != "help") {
        if scene.run(&format!("{verb} --help")).succeeds().stdout.contains("--json") {
            found.insert(verb.to_owned());
        }
    }
    // It prints nothing else, and so has no such option.
    found.insert("inspect".to_owned());
    let titles = PAGE.split("\n## ").skip(1).filter_map(|section| section.split(['\n', ' ']).next());
    assert_eq!(titles.map(str::to_owned).collect::<BTreeSet<_>>(), found);
}
