//! What is refused, in which words, and that nothing outside is touched.

use super::*;

#[test]
fn names_that_lead_out_are_refused() {
    for name in ["../x", "a/../../x", "/..", ".."] {
        Scene::new().refuses(&format!("f {name} x"), &format!("entry '{name}': leads out of the layer"));
    }
    Scene::new().refuses(
        "h a ../../etc/passwd",
        "entry 'a': hard link to '../../etc/passwd': leads out of the layer",
    );
}

#[test]
fn links_do_not_lead_out() {
    let scene = Scene::new().layer("l out ../../../../..\nf out/x/y 1\nl abs /\nf abs/z 2").holds(
        "
        d ./
        l abs /
        l out ../../../../..
        d x
        f x/y 1
        f z 2
        ",
    );
    assert!(!exists(Path::new("/x/y")));
    assert_eq!(scene.home.path().read_dir().unwrap().count(), 1);
}

#[test]
fn a_directory_entry_over_a_link_leaves_its_target_alone() {
    let scene = Scene::new();
    let canary = tempfile::tempdir_in("/var/tmp").unwrap();
    let mode = || std::os::unix::fs::MetadataExt::ctime_nsec(&canary.path().metadata().unwrap());
    let before = mode();
    scene.layer(&format!("l d {}\nd 0777 7:7 d", canary.path().display())).holds("d ./\nd 0777 7:7 d");
    assert_eq!(mode(), before);
}

#[test]
fn links_without_end_are_refused() {
    Scene::new().refuses("l a b\nl b a\nf a/x", "entry 'a/x': more than 40 symbolic links on the way");
}

#[test]
fn whiteouts_of_no_name_are_refused() {
    for name in [".wh.", ".wh..", "d/.wh..."] {
        Scene::new().refuses(&format!("f {name}"), &format!("entry '{name}': a whiteout of no name"));
    }
}

#[test]
fn links_do_not_lead_to_names_of_aufs() {
    for (layer, entry) in [
        ("l a .wh..wh.plnk\nf a/x", "a/x"),
        ("l a .wh..wh..opq/b\nf a/x", "a/x"),
        ("h a .wh..wh.aside/x\nf a", "a"),
    ] {
        let name = layer.split(['/', ' ', '\n']).find(|word| word.starts_with(".wh.")).unwrap();
        let reason = format!("entry '{entry}': a directory '{name}', a name of AUFS's own");
        Scene::new().refuses(layer, &reason);
    }
}

#[test]
fn a_root_that_is_no_directory_is_refused() {
    for entry in ["f .", "l . /etc", "h / x", "f a/.."] {
        let name = entry.split(' ').nth(1).unwrap();
        Scene::new().refuses(entry, &format!("entry '{name}': the layer's root is no directory"));
    }
}

#[test]
fn a_smuggled_whiteout_is_refused() {
    let reason = "entry 'w': a character device 0:0, which overlayfs takes for a whiteout";
    Scene::new().refuses("c w 0:0", reason);
}

#[test]
fn hard_links_to_nothing_and_to_directories_are_refused() {
    let nothing = "entry 'b': hard link to 'a', which is not in this layer or below";
    Scene::new().refuses("h b a\nf a", nothing);
    Scene::new().refuses("h b a\nf b", nothing);
    Scene::new().layer("f a").layer("f .wh.a").refuses("h b a", nothing);
    let directory = "entry 'b': hard link to 'a', which is a directory";
    Scene::new().refuses("d a\nh b a", directory);
    Scene::new().layer("d a").refuses("h b a", directory);
    Scene::new().refuses("h b /", "entry 'b': hard link to '/', which is a directory");
}

#[test]
fn names_that_are_too_long_are_refused() {
    let name = "n".repeat(256);
    let reason = format!("entry '{name}': a name of 256 bytes, and 255 is the longest");
    Scene::new().refuses(&format!("f {name}"), &reason);
    let reason =
        format!("entry 'l1/{name}': a path of 4104 bytes, and 4095 is the longest", name = &name[..100]);
    let (a, b) = ("a/".repeat(1000), "b/".repeat(1002));
    let layer = format!("f {a}x\nl l0 /{a}\nf l0/{b}x\nl l1 l0/{b}\nf l1/{}", &name[..100]);
    Scene::new().refuses(&layer, &reason);
}

#[test]
fn more_than_the_limits_allow_is_refused() {
    let with = |limit, most| {
        let limits = Limits::DEFAULT.with(limit, most);
        Scene::new().with(Options { limits, ..Options::default() })
    };
    with(Limit::Entries, 3).layer("f a\nf b\nf c").refuses("f a\nf b\nf c\nf d", "more than 3 entries");
    with(Limit::Depth, 3)
        .layer("f a/b/c")
        .refuses("f a/b/c/d", "entry 'a/b/c/d': more than 3 names in a path");
    let reason = |entry| {
        format!("entry '{entry}': more than 1K bytes of directories, whiteouts and links to remember")
    };
    let with = || with(Limit::Memory, 1024);
    with().layer("f a/b/c/d/f").refuses("f a/b/c/d/e/f/g", &reason("a/b/c/d/e/f/g"));
    with().layer("d a").refuses("f a/.wh.b\nf c/.wh.d\nf e/.wh.f", &reason("e/.wh.f"));
    with().refuses(&format!("d {{user.a={}}} a", "x".repeat(1000)), &reason("a"));
    with().layer("f a\nf b").refuses("h c a\nh d b\nh e a\nh f b\nh g a", &reason("g"));
}
