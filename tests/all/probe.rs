//! What this kernel and a filesystem can do, and that what is said agrees with what is done.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::{Scene, image, layer};

/// Each feature, and `-o` to have it, where it is an option.
const FEATURES: &[(&str, Option<&str>)] = &[
    ("mount-api", None),
    ("lowerdir+", None),
    ("layer-handles", None),
    ("detached-layers", None),
    ("fd", None),
    ("path", None),
    ("procfd", None),
    ("links", None),
    ("idmapped-layers", None),
    ("erofs", None),
    ("erofs-file", None),
    ("index", Some("index=on")),
    ("redirect_dir", Some("redirect_dir=on")),
    ("metacopy", Some("metacopy=on")),
    ("xino", Some("xino=on")),
    ("nfs_export", Some("nfs_export=on")),
    ("volatile", Some("volatile")),
    ("fsync", Some("fsync=strict")),
    ("uuid", Some("uuid=auto")), // `uuid=on` was taken before it meant this
    ("userxattr", Some("userxattr")),
    ("verity", Some("verity=on")),
    ("override_creds", Some("override_creds")),
    ("default_permissions", Some("default_permissions")),
    ("whiteout-device", None),
    ("whiteout-xattr", None),
    ("xattr-escaping", None),
    ("data-only", None),
    ("data-only-alone", None),
    ("upper", None),
    ("trusted-xattrs", None),
    ("user-xattrs", None),
    ("d_type", None),
    ("o_tmpfile", None),
    ("rename-whiteout", None),
    ("reflink", None),
    ("tmpfs-upper", None),
    ("landlock", None),
    ("call-filter", None),
];

#[track_caller]
fn probed(scene: &Scene) -> Value {
    scene.run("probe --json").succeeds().json()
}

/// A scene with a store in it.
fn with_store() -> Scene {
    let scene = Scene::with("web.tar", &image("web").layer(&layer().file("a", "1")));
    scene.mkdir("root");
    scene
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("readdir").path()).collect();
    entries.sort();
    entries
}

fn mountinfo() -> String {
    fs::read_to_string("/proc/thread-self/mountinfo").expect("mountinfo")
}

#[test]
fn json_has_every_feature_in_order() {
    let scene = with_store();
    let said = scene.run("probe --json").succeeds();
    let found = said.json();
    let features = found["features"].as_object().unwrap();
    assert_eq!(features.len(), FEATURES.len(), "{features:?}");
    let at = |name: &str| {
        said.stdout.find(&format!("\n    \"{name}\": {{")).unwrap_or_else(|| panic!("no {name}"))
    };
    assert!(FEATURES.windows(2).all(|pair| at(pair[0].0) < at(pair[1].0)), "{}", said.stdout);
    for (name, feature) in features {
        let has = &feature["has"];
        assert!(has.is_boolean() || has.is_null(), "{name}: {feature}");
        assert!(*has == json!(true) || feature["why"].is_string(), "{name} is not there, but why? {feature}");
        let counts = ["fd", "path", "procfd", "links"].contains(&name.as_str());
        assert_eq!(feature["count"].is_u64(), counts && *has == json!(true), "{name}: {feature}");
    }
}

#[test]
fn json_tells_where_and_what_follows() {
    let scene = with_store();
    let found = probed(&scene);
    assert_eq!(found["directory"], json!("[STORE]"));
    assert_eq!(found["store"], json!(true));
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(found["kernel"], json!(release.trim_end()));
    let index = fs::read_to_string("/sys/module/overlay/parameters/index").unwrap();
    assert_eq!(found["parameters"]["index"], json!(index.trim_end() == "Y"));
    assert!(found["parameters"]["redirect_max"].is_u64(), "{}", found["parameters"]);
    let calls = scene.run("plan web root").succeeds();
    let method = match (calls.stdout.contains("FSCONFIG_SET_FD"), calls.stdout.contains("\"lowerdir+\"")) {
        (true, _) => "fd",
        (false, true) => "path",
        (false, false) => "procfd",
    };
    assert_eq!(found["will"]["method"], json!(method), "not what `plan` does: {}", calls.stdout);
    assert_eq!(found["will"]["layers"], found["features"][method]["count"]);
}

#[test]
fn options_are_there_where_a_mount_takes_them() {
    let scene = Scene::new();
    let found = probed(&scene);
    for dir in ["low", "root"] {
        scene.mkdir(dir);
    }
    for (name, option) in FEATURES {
        let Some(option) = option else { continue };
        let (upper, work) = (format!("up-{name}"), format!("work-{name}"));
        scene.mkdir(&upper);
        scene.mkdir(&work);
        let outcome = scene.run(&format!("mount --lower low --upper {upper} --work {work} -o {option} root"));
        assert_eq!(json!(outcome.code == Some(0)), found["features"][name]["has"], "{name}, {option}");
        if outcome.code == Some(0) {
            scene.run("umount root").succeeds();
        }
    }
}

#[test]
fn layers_by_links_are_as_many_as_a_container_takes() {
    let scene = Scene::new();
    scene.mkdir("root");
    let most = probed(&scene)["features"]["links"]["count"].as_u64().unwrap();
    let most = usize::try_from(most).unwrap();
    for (count, code) in [(most, 0), (most + 1, 5)] {
        scene.save("deep.tar", &image(&format!("deep{count}")).layers(count));
        let outcome = scene.run("mount --method links --rm deep.tar root");
        assert_eq!(outcome.code, Some(code), "{count} layers");
        if code == 0 {
            assert_eq!(scene.tree("root").lines().count(), count);
            scene.run("umount root").succeeds();
        }
    }
}

#[test]
fn for_is_an_exit_code_and_says_why_not() {
    let scene = with_store();
    let found = probed(&scene);
    for (name, _) in FEATURES {
        let outcome = scene.run(&format!("probe --for {name}"));
        if found["features"][name]["has"] == json!(true) {
            outcome.succeeds().stdout_is("").stderr_is("");
        } else {
            let said = outcome.fails(5).stdout_is("");
            assert!(said.stderr.starts_with(&format!("ovlctl: cannot use '{name}': ")), "{}", said.stderr);
        }
    }
}

#[test]
fn for_several_wants_all_of_them() {
    let scene = Scene::new();
    // No filesystem in memory has blocks to read an image from, and every one takes these attributes.
    scene.tmpfs("store", "8m");
    scene.run("probe --for upper --for trusted-xattrs").succeeds().stdout_is("");
    scene.run("probe --for upper --for erofs-file").fails(5).stderr_has("ovlctl: cannot use 'erofs-file': ");
}

#[test]
fn feature_that_is_none_gets_the_nearest_name() {
    let scene = Scene::new();
    scene.run("probe --for metacpoy").fails(2).stderr_has("similar value exists: 'metacopy'");
    scene.run("probe --json --for index").fails(2).stderr_has("cannot be used with");
}

#[test]
fn nothing_is_left_and_nothing_shows() {
    let scene = with_store();
    scene.run("mount --name box web root").succeeds();
    let (tree, mounts) = (scene.tree("store"), mountinfo());
    scene.run("probe").succeeds().stderr_is("");
    crate::support::tree::same("the store", &scene.tree("store"), &tree);
    assert_eq!(mountinfo(), mounts);
    fs::write(scene.path("root/new"), "n").unwrap();
    scene.run("umount root").succeeds();
    scene.run("rm box").succeeds();
}

#[test]
fn store_that_is_not_there_is_not_made() {
    let scene = Scene::new();
    scene.mkdir("above");
    let found = |root: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ovlctl"));
        command.args(["--root", root, "probe", "--json"]).env_clear().current_dir(scene.path(""));
        scene.outcome(&mut command).succeeds().json()
    };
    for root in ["above", "above/store", "above/a/b/store"] {
        let found = found(root);
        assert_eq!(found["directory"], json!("[DIR]/above"));
        assert_eq!(found["store"], json!(false));
        assert_eq!(entries(&scene.path("above")), Vec::<PathBuf>::new());
    }
}

/// Starts a probe, and kills it as soon as it has made so many things in `dir`, where nothing else is.
fn killed_in_the_middle(scene: &Scene, dir: &Path, made: usize) {
    let things =
        || entries(dir).iter().map(|stage| fs::read_dir(stage).map_or(0, Iterator::count)).sum::<usize>();
    let before = things();
    let mut child = scene.command(&["probe"]).stdout(Stdio::null()).spawn().expect("ovlctl starts");
    while things() < before + made && child.try_wait().expect("it is a child").is_none() {
        std::thread::yield_now();
    }
    child.kill().expect("it is a child");
    child.wait().expect("it is a child");
}

#[test]
fn killed_probe_leaves_no_mount_and_what_it_made_goes_with_the_next() {
    let scene = with_store();
    let (mounts, staging) = (mountinfo(), scene.store().join("staging"));
    for made in [0, 1, 5, 10, 15] {
        killed_in_the_middle(&scene, &staging, made);
        assert_eq!(mountinfo(), mounts);
    }
    scene.run("probe --for upper").succeeds();
    scene.swept();
}

#[test]
fn killed_probe_without_a_store_is_in_nobody_s_way() {
    let scene = Scene::new();
    let root = scene.mkdir("store");
    killed_in_the_middle(&scene, &root, 1);
    scene.run("probe --for upper").succeeds();
    assert_eq!(entries(&root), Vec::<PathBuf>::new());
    let is_left = |_| {
        killed_in_the_middle(&scene, &root, 5);
        !entries(&root).is_empty()
    };
    assert!((0..20).any(is_left), "it was never killed in the middle");
    assert_eq!(entries(&root).len(), 1);
    scene.save("web.tar", &image("web").layer(&layer().file("a", "1")));
    scene.run("load web.tar").succeeds();
    let left = entries(&root).into_iter().filter(|path| path.to_string_lossy().contains("probe"));
    assert_eq!(left.collect::<Vec<_>>(), Vec::<PathBuf>::new());
}

#[test]
fn filesystems_differ() {
    let scene = Scene::new();
    let disk = probed(&scene);
    scene.tmpfs("store", "8m");
    let memory = probed(&scene);
    assert_eq!(memory["filesystem"], json!("tmpfs"));
    assert_ne!(disk["filesystem"], memory["filesystem"], "OVLCTL_TEST_DIR is for a disk");
    assert_eq!(memory["features"]["upper"]["has"], json!(true));
    assert_eq!(memory["features"]["erofs-file"]["has"], json!(false));
    // What is the kernel's alone is the same on both.
    for name in ["mount-api", "fd", "procfd", "whiteout-xattr", "xattr-escaping", "data-only", "tmpfs-upper"]
    {
        assert_eq!(disk["features"][name], memory["features"][name], "{name}");
    }
}

#[test]
fn overlayfs_is_no_place_for_a_store() {
    let scene = Scene::new();
    for dir in ["low", "up", "work", "store"] {
        scene.mkdir(dir);
    }
    scene.run("mount --lower low --upper up --work work store").succeeds();
    let found = probed(&scene);
    assert_eq!(found["filesystem"], json!("overlayfs"));
    assert_eq!(found["features"]["upper"]["has"], json!(false));
    assert_eq!(found["will"]["layers"], json!(0));
    let says = found["will"]["says"].as_str().unwrap();
    assert_eq!(says, "no store can be here (upper): the upper directory's filesystem cannot hold one");
    scene.run("umount store").succeeds();
}

#[test]
fn store_that_is_full_or_read_only_is_an_error_and_no_answer() {
    use rustix::mount::{MountFlags, mount_remount};
    let scene = Scene::new();
    let store = scene.tmpfs("store", "64k");
    fs::write(store.join("filler"), vec![0; 1 << 17]).unwrap_err();
    scene.run("probe").fails(1).stdout_is("").stderr_is(
        "
        ovlctl: cannot probe [STORE]: no space left on [STORE]
        hint: give --root a directory on a larger filesystem
        ",
    );
    mount_remount(&store, MountFlags::RDONLY, "").unwrap();
    scene.run("probe").fails(1).stdout_is("").stderr_has("[STORE] is on a read-only filesystem");
    mount_remount(&store, MountFlags::empty(), "").unwrap();
}

#[test]
fn table_says_what_json_says() {
    let scene = with_store();
    let said = scene.run("probe").succeeds().stderr_is("");
    let found = probed(&scene);
    let lines = said.lines();
    let first = format!("Linux {}, {} in [STORE]", text(&found["kernel"]), text(&found["filesystem"]));
    assert_eq!(lines.first(), Some(&first.as_str()));
    assert_eq!(lines.last(), Some(&text(&found["will"]["says"])));
    for (name, feature) in found["features"].as_object().unwrap() {
        let has = match (feature["has"].as_bool(), feature["count"].as_u64()) {
            (Some(true), Some(count)) => count.to_string(),
            (Some(true), None) => "yes".to_owned(),
            (Some(false), _) => "no".to_owned(),
            (None, _) => "?".to_owned(),
        };
        let told = lines.iter().any(|line| {
            let mut words = line.split_whitespace();
            words.next() == Some(name) && words.next() == Some(&has) && line.contains(text(&feature["what"]))
        });
        assert!(told, "{name} {has} is not in:\n{}", said.stdout);
    }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

#[test]
fn caller_who_may_not_mount_is_told_so() {
    let scene = Scene::new();
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-sys_admin", env!("CARGO_BIN_EXE_ovlctl"), "--root"]);
    command.arg(scene.store()).args(["probe", "--for", "upper"]);
    scene.outcome(&mut command).fails(1).stdout_is("").stderr_is(
        "
        ovlctl: cannot probe: not permitted: CAP_SYS_ADMIN missing
        hint: run it as root: sudo ovlctl …
        ",
    );
    assert!(!scene.store().exists());
}
