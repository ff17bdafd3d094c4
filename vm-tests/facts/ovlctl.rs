//! ovlctl itself on this kernel: its main job from end to end. Other groups are about what it relies on.
//!
//! The program under test is this very one under another name: a guest has no other.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

use ovlctl::digest::Digest;
use serde_json::json;

use crate::fact::{Fact, Saw, fact};
use crate::scene::{MERGED, Scene, Tree};

const TREE: &str = "d:below new f:changed m:absent";

pub(super) const FACTS: &[Fact] = &[
    fact("ovlctl::mounts_an_archive", |_| mounts(&[])).sees(TREE).relied_on(),
    fact("ovlctl::mounts_read_only", mounts_read_only)
        .sees("d:below new f:changed m:absent EROFS")
        .relied_on(),
    fact("ovlctl::method_links", |_| mounts(&["--method", "links"])).sees(TREE).relied_on(),
    fact("ovlctl::method_procfd", |_| mounts(&["--method", "procfd"])).sees(TREE).relied_on(),
    fact("ovlctl::method_path", |_| mounts(&["--method", "path"]))
        .sees("exit 5")
        .since("6.7", TREE)
        .relied_on(),
    fact("ovlctl::method_fd", |_| mounts(&["--method", "fd"])).sees("exit 5").since("6.13", TREE).relied_on(),
    fact("ovlctl::takes_128_layers", |_| mounts_layers(128, &["links"]))
        .sees("128 files, 128 by links")
        .relied_on(),
    fact("ovlctl::takes_500_layers", |_| mounts_layers(500, &[])).sees("500 files").relied_on(),
    fact("ovlctl::refuses_501_layers", |_| mounts_layers(501, &[])).sees("exit 5 files").relied_on(),
    fact("ovlctl::changes_stay_in_the_container", changes_stay_in_the_container)
        .sees("mine, removed")
        .relied_on(),
    fact("ovlctl::umount_leaves_nothing_mounted", umount_leaves_nothing_mounted).sees("0 mounts").relied_on(),
    fact("ovlctl::umount_in_use_is_refused", umount_in_use_is_refused).sees("exit 4, ok").relied_on(),
    fact("ovlctl::damaged_layer_is_refused", damaged_layer_is_refused).sees("exit 6, 0 layers").relied_on(),
    fact("ovlctl::upper_in_use_is_refused", upper_in_use_is_refused).sees("ok, exit 4").relied_on(),
    fact("ovlctl::upper_inside_a_lower_is_refused", upper_inside_a_lower_is_refused)
        .sees("exit 1")
        .relied_on(),
    fact("ovlctl::image_that_is_not_there", |_| Ok(run(&["mount", "no:such", MERGED])))
        .sees("exit 3")
        .relied_on(),
];

/// Runs ovlctl with a store of the scene's own: `ok`, or how it ended.
fn run(words: &[&str]) -> String {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("ovlctl").args(["--root", "store"]).args(words).env_clear();
    // What goes on in the background would keep the scene's filesystem in use.
    command.env("OVLCTL_NO_SYNC", "1").env("OVLCTL_CONFIG", "");
    let output = command.output().expect("this program starts");
    match output.status.code() {
        Some(0) => "ok".to_owned(),
        Some(code) => format!("exit {code}"),
        None => format!("{}", output.status),
    }
}

// ---- images

/// A layer: names and contents; OCI's `.wh.` names remove.
type Layer<'a> = &'a [(&'a str, &'a str)];

const LAYERS: [Layer<'_>; 3] =
    [&[("d/below", "1"), ("f", "old"), ("m", "gone")], &[("f", "changed"), (".wh.m", "")], &[("d/new", "2")]];

/// Writes an archive as `docker save` does, named `test:1`.
fn save(name: &str, layers: &[Vec<u8>]) {
    let diff_ids: Vec<_> = layers.iter().map(|tar| Digest::of(tar)).collect();
    let paths: Vec<_> = (0..layers.len()).map(|nr| format!("{nr}/layer.tar")).collect();
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let manifest = json!([{"Config": "config.json", "RepoTags": ["test:1"], "Layers": paths}]);
    let (config, manifest) = (config.to_string(), manifest.to_string());
    let mut files = vec![("config.json", config.as_bytes()), ("manifest.json", manifest.as_bytes())];
    files.extend(paths.iter().map(String::as_str).zip(layers.iter().map(Vec::as_slice)));
    fs::write(name, tar(&files)).expect("an archive can be written");
}

fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, data) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, *data).expect("a Vec takes all");
    }
    tar.into_inner().expect("a Vec takes all")
}

fn layer(files: Layer<'_>) -> Vec<u8> {
    tar(&files.iter().map(|(name, data)| (*name, data.as_bytes())).collect::<Vec<_>>())
}

// ---- facts

/// What the image of `LAYERS` shows.
fn shown() -> Saw {
    let merged = Tree::at(MERGED);
    let m = if merged.path("m").exists() { "there" } else { "absent" };
    Ok(format!("d:{} f:{} m:{m}", merged.names("d")?, merged.read("f")?))
}

/// Mounts the image of `LAYERS` on `MERGED`; what it shows, or how ovlctl ended.
fn mounts(options: &[&str]) -> Saw {
    save("image.tar", &LAYERS.map(layer));
    match run(&[&["mount"], options, &["image.tar", MERGED]].concat()).as_str() {
        "ok" => shown(),
        end => Ok(end.to_owned()),
    }
}

fn mounts_read_only(_: &Scene) -> Saw {
    let saw = mounts(&["--read-only"])?;
    let write = crate::fact::told(Tree::at(MERGED).write("f", "mine"));
    Ok(format!("{saw} {write}"))
}

/// Loads `count` layers of a file each, and mounts them as ovlctl likes it and then by each method: how many files there are.
fn mounts_layers(count: usize, methods: &[&str]) -> Saw {
    let names: Vec<_> = (0..count).map(|nr| format!("f{nr}")).collect();
    let layers: Vec<_> = names.iter().map(|name| layer(&[(name, "x")])).collect();
    save("image.tar", &layers);
    let mut saw = vec![format!("{} files", files(&["mount", "--read-only", "image.tar", MERGED])?)];
    for method in methods {
        let files = files(&["mount", "--read-only", "--method", method, "test:1", MERGED])?;
        saw.push(format!("{files} by {method}"));
    }
    Ok(saw.join(", "))
}

/// Mounts: how many files that shows, or how it ended.
fn files(mount: &[&str]) -> Saw {
    let end = run(mount);
    if end != "ok" {
        return Ok(end);
    }
    let count = fs::read_dir(MERGED)?.count();
    run(&["umount", MERGED]);
    Ok(count.to_string())
}

fn changes_stay_in_the_container(_: &Scene) -> Saw {
    mounts(&["--name", "c"])?;
    let merged = Tree::at(MERGED);
    merged.write("f", "mine")?;
    merged.unlink("d/below")?;
    run(&["umount", "c"]);
    run(&["mount", "c", MERGED]);
    let below = if merged.path("d/below").exists() { "there" } else { "removed" };
    Ok(format!("{}, {below}", merged.read("f")?))
}

fn umount_leaves_nothing_mounted(scene: &Scene) -> Saw {
    mounts(&[])?;
    run(&["umount", MERGED]);
    let ours =
        ovlctl::mount::table::mounts()?.into_iter().filter(|mount| mount.target.starts_with(scene.dir()));
    Ok(format!("{} mounts", ours.count()))
}

fn umount_in_use_is_refused(_: &Scene) -> Saw {
    mounts(&[])?;
    let held = fs::File::open(Tree::at(MERGED).path("f"))?;
    let refused = run(&["umount", MERGED]);
    drop(held);
    Ok(format!("{refused}, {}", run(&["umount", MERGED])))
}

fn damaged_layer_is_refused(_: &Scene) -> Saw {
    save("image.tar", &LAYERS.map(layer));
    let mut bytes = fs::read("image.tar")?;
    let at = bytes.windows(7).position(|window| window == b"changed").expect("it is not packed");
    bytes[at] = b'C';
    fs::write("image.tar", bytes)?;
    let refused = run(&["load", "image.tar"]);
    let kept = fs::read_dir("store/overlay2")
        .map_or(0, |entries| entries.flatten().filter(|entry| entry.file_name().len() == 64).count());
    Ok(format!("{refused}, {kept} layers"))
}

fn upper_in_use_is_refused(scene: &Scene) -> Saw {
    save("image.tar", &LAYERS.map(layer));
    scene.dir_named("second");
    let first = run(&["mount", "--upper", "upper", "image.tar", MERGED]);
    Ok(format!("{first}, {}", run(&["mount", "--upper", "upper", "image.tar", "second"])))
}

fn upper_inside_a_lower_is_refused(scene: &Scene) -> Saw {
    scene.dir_named("lower").dir("upper");
    Ok(run(&["mount", "--lower", "lower", "--upper", "lower/upper", "--work", "work", MERGED]))
}
