//! How entries of a layer find their place: order, parents, hard links, symbolic links in the way.

use crate::support::{Scene, layer};

// Rules 5 and 8: parents that no entry describes.

#[test]
fn missing_parents_are_made_0755_of_root() {
    let scene = Scene::new().layer(layer().file("a/b/c/file", "x").owner(7, 7)).mounted();
    scene.shows(
        "
        d 0755 a
        d 0755 a/b
        d 0755 a/b/c
        f 0644 7:7 a/b/c/file  x
        ",
    );
}

#[test]
fn missing_parents_of_a_whiteout_are_made() {
    let scene = Scene::new().layer(layer().file("keep", "k")).layer(layer().whiteout("a/b/gone")).mounted();
    scene.shows(
        "
        d 0755 a
        d 0755 a/b
        f 0644 keep  k
        ",
    );
}

#[test]
fn parent_without_an_entry_keeps_what_it_is_in_the_layer_below() {
    let scene = Scene::new()
        .layer(layer().dir("tmp").mode(0o1777).owner(1, 2).mtime(86_400).xattr("user.k", b"v"))
        .layer(layer().file("tmp/x", "1"))
        .layer(layer().file("tmp/y", "2"))
        .mounted();
    scene.shows_times(
        "
        d 1777 1:2 @86400 tmp  {user.k=v}
        f 0644 @0 tmp/x  1
        f 0644 @0 tmp/y  2
        ",
    );
}

#[test]
fn parent_of_a_whiteout_keeps_what_it_is_in_the_layer_below() {
    let scene = Scene::new()
        .layer(layer().dir("home").mode(0o2750).owner(5, 6).mtime(99).file("home/a", "1"))
        .layer(layer().whiteout("home/a"))
        .mounted();
    scene.shows_times("d 2750 5:6 @99 home");
}

#[test]
fn parent_takes_after_the_uppermost_layer_that_has_it() {
    let scene = Scene::new()
        .layer(layer().dir("d").mode(0o700))
        .layer(layer().dir("d").mode(0o711))
        .layer(layer().file("other", "o"))
        .layer(layer().file("d/x", "1"))
        .mounted();
    scene.shows(
        "
        d 0711 d
        f 0644 d/x  1
        f 0644 other  o
        ",
    );
}

#[test]
fn parent_that_was_removed_below_is_new() {
    let scene = Scene::new()
        .layer(layer().dir("d").mode(0o700).file("d/old", "1"))
        .layer(layer().whiteout("d"))
        .layer(layer().file("d/x", "1"))
        .mounted();
    scene.shows(
        "
        d 0755 d
        f 0644 d/x  1
        ",
    );
}

#[test]
fn parent_that_is_a_file_below_is_new() {
    let scene = Scene::new()
        .layer(layer().file("d", "a file").mode(0o600).owner(1, 1))
        .layer(layer().file("d/x", "1"))
        .mounted();
    scene.shows(
        "
        d 0755 d
        f 0644 d/x  1
        ",
    );
}

#[test]
fn entry_of_a_directory_after_its_children_describes_it() {
    let scene =
        Scene::new().layer(layer().file("d/x", "1").dir("d").mode(0o700).owner(3, 3).mtime(5)).mounted();
    scene.shows_times(
        "
        d 0700 3:3 @5 d
        f 0644 @0 d/x  1
        ",
    );
}

// Rule 6: entries are applied in order, and the last wins.

#[test]
fn the_last_of_two_files_of_one_name_wins() {
    let scene = Scene::new().layer(layer().file("a", "1").mode(0o600).file("a", "2").mode(0o640)).mounted();
    scene.shows("f 0640 a  2");
}

#[test]
fn file_replaces_a_full_directory_of_its_layer() {
    let scene = Scene::new().layer(layer().dir("a").file("a/b/c", "1").file("a", "2")).mounted();
    scene.shows("f 0644 a  2");
}

#[test]
fn file_replaces_a_directory_of_the_layer_below() {
    let scene = Scene::new().layer(layer().file("a/b/c", "1")).layer(layer().file("a", "2")).mounted();
    scene.shows("f 0644 a  2");
}

#[test]
fn directory_replaces_a_file_of_its_layer() {
    let scene = Scene::new().layer(layer().file("a", "1").dir("a").file("a/b", "2")).mounted();
    scene.shows(
        "
        d 0755 a
        f 0644 a/b  2
        ",
    );
}

#[test]
fn directory_replaces_a_link_of_its_layer_and_not_what_it_leads_to() {
    let scene = Scene::new()
        .layer(layer().dir("t").symlink("a", "t").dir("a").mode(0o700).file("a/b", "2"))
        .mounted();
    scene.shows(
        "
        d 0700 a
        f 0644 a/b  2
        d 0755 t
        ",
    );
}

#[test]
fn second_entry_of_a_directory_keeps_what_it_holds() {
    let scene =
        Scene::new().layer(layer().dir("a").mode(0o700).file("a/b", "1").dir("a").mode(0o711)).mounted();
    scene.shows(
        "
        d 0711 a
        f 0644 a/b  1
        ",
    );
}

#[test]
fn file_replaces_a_link_and_not_what_it_leads_to() {
    let scene = Scene::new().layer(layer().file("t", "target").symlink("a", "t").file("a", "own")).mounted();
    scene.shows(
        "
        f 0644 a  own
        f 0644 t  target
        ",
    );
}

#[test]
fn file_replaces_one_of_two_names_and_not_the_other() {
    let scene = Scene::new().layer(layer().file("a", "1").hardlink("b", "a").file("b", "2")).mounted();
    scene.shows(
        "
        f 0644 a  1
        f 0644 b  2
        ",
    );
}

#[test]
fn directory_over_a_directory_below_merges_and_has_its_own_mode() {
    let scene = Scene::new()
        .layer(layer().dir("d").mode(0o700).file("d/1", "1"))
        .layer(layer().dir("d").mode(0o711).file("d/2", "2"))
        .mounted();
    scene.shows(
        "
        d 0711 d
        f 0644 d/1  1
        f 0644 d/2  2
        ",
    );
}

// Rule 7: hard links.

#[test]
fn hard_links_of_a_layer_are_one_file() {
    let scene = Scene::new()
        .layer(
            layer()
                .file("bin/dash", "x")
                .mode(0o755)
                .hardlink("bin/sh", "bin/dash")
                .hardlink("sh", "/bin/sh"),
        )
        .mounted();
    scene.shows(
        "
        d 0755 bin
        f 0755 bin/dash  x
        f 0755 bin/sh  x  = bin/dash
        f 0755 sh  x  = bin/dash
        ",
    );
}

#[test]
fn hard_link_to_a_symbolic_link_is_that_link() {
    let scene = Scene::new().layer(layer().symlink("a", "nowhere").hardlink("b", "a")).mounted();
    scene.shows(
        "
        l 0777 a  -> nowhere
        l 0777 b  -> nowhere  = a
        ",
    );
}

#[test]
fn hard_link_to_a_file_of_a_layer_below_brings_it_up_as_it_is() {
    let scene = Scene::new()
        .layer(layer().file("lib/so.1", "code").mode(0o4711).owner(2, 3).mtime(77).xattr("user.k", b"v"))
        .layer(layer().dir("other"))
        .layer(layer().hardlink("so", "lib/so.1"))
        .mounted();
    scene.shows(
        "
        d 0755 lib
        f 4711 2:3 lib/so.1  code  {user.k=v}
        d 0755 other
        f 4711 2:3 so  code  = lib/so.1  {user.k=v}
        ",
    );
    let times = crate::support::tree::list(&scene.path("ro"), crate::support::tree::Times::Shown);
    assert!(times.contains("f 4711 2:3 @77 so "), "{times}");
}

#[test]
fn hard_link_before_its_target_is_refused() {
    Scene::new().layer(layer().hardlink("bin/sh", "bin/dash").file("bin/dash", "x")).refused(
        "layer 1 of 1: entry 'bin/sh': hard link to 'bin/dash', which is not in this layer or below",
    );
}

#[test]
fn hard_link_to_a_file_that_was_removed_below_is_refused() {
    Scene::new()
        .layer(layer().file("a", "1"))
        .layer(layer().whiteout("a"))
        .layer(layer().hardlink("b", "a"))
        .refused("layer 3 of 3: entry 'b': hard link to 'a', which is not in this layer or below");
}

#[test]
fn hard_link_to_a_directory_is_refused() {
    Scene::new()
        .layer(layer().dir("a").hardlink("b", "a"))
        .refused("layer 1 of 1: entry 'b': hard link to 'a', which is a directory");
}

// Rule 9: a symbolic link where a parent should be.

#[test]
fn entry_below_a_link_of_a_lower_layer_puts_a_directory_in_its_place() {
    let scene = Scene::new()
        .layer(layer().dir("usr/lib").file("usr/lib/old", "1").symlink("lib", "usr/lib"))
        .layer(layer().file("lib/new", "2"))
        .mounted();
    scene.shows(
        "
        d 0755 lib
        f 0644 lib/new  2
        d 0755 usr
        d 0755 usr/lib
        f 0644 usr/lib/old  1
        ",
    );
}

#[test]
fn entry_below_a_link_of_its_layer_lands_where_that_leads() {
    let scene = Scene::new()
        .layer(
            layer()
                .dir("run")
                .symlink("var/run", "/run")
                .file("var/run/pid", "1")
                .symlink("r", "run")
                .file("r/x", "2"),
        )
        .mounted();
    scene.shows(
        "
        l 0777 r  -> run
        d 0755 run
        f 0644 run/pid  1
        f 0644 run/x  2
        d 0755 var
        l 0777 var/run  -> /run
        ",
    );
}

#[test]
fn entry_below_a_link_that_leads_out_stays_in_the_layer() {
    let scene = Scene::new()
        .layer(layer().dir("d").symlink("d/up", "../../../..").file("d/up/escaped", "1"))
        .mounted();
    scene.shows(
        "
        d 0755 d
        l 0777 d/up  -> ../../../..
        f 0644 escaped  1
        ",
    );
    assert!(!scene.path("escaped").exists());
}

#[test]
fn link_below_a_link_of_a_lower_layer_is_no_way_around() {
    let scene = Scene::new()
        .layer(layer().symlink("out", "/"))
        .layer(layer().file("out/etc/cron.d/x", "1"))
        .mounted();
    scene.shows(
        "
        d 0755 out
        d 0755 out/etc
        d 0755 out/etc/cron.d
        f 0644 out/etc/cron.d/x  1
        ",
    );
}
