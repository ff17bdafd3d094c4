//! Directories that start anew: with a whiteout of their name, an opaque mark, or an opaque root.

use crate::support::{Scene, layer};

// Rule 2: a whiteout and a directory of one name: the directory is new.

#[test]
fn whiteout_before_a_directory_of_its_name_makes_it_opaque() {
    let scene = Scene::new()
        .layer(layer().dir("conf").file("conf/old", "1"))
        .layer(layer().whiteout("conf").dir("conf").mode(0o700).file("conf/new", "2"))
        .mounted();
    let new = "
        d 0700 conf
        f 0644 conf/new  2
        ";
    scene.shows(new);
    scene.layer_holds(1, &new.replace("d 0700 conf", "d 0700 conf  opaque"));
}

#[test]
fn whiteout_after_a_directory_of_its_name_makes_it_opaque() {
    let scene = Scene::new()
        .layer(layer().dir("conf").file("conf/old", "1"))
        .layer(layer().dir("conf").file("conf/new", "2").whiteout("conf"))
        .mounted();
    scene.shows(
        "
        d 0755 conf
        f 0644 conf/new  2
        ",
    );
}

#[test]
fn whiteout_of_a_directory_that_its_layer_only_implies_makes_it_opaque() {
    let scene = Scene::new()
        .layer(layer().dir("conf").file("conf/old", "1"))
        .layer(layer().whiteout("conf").file("conf/new", "2"))
        .mounted();
    scene.shows(
        "
        d 0755 conf
        f 0644 conf/new  2
        ",
    );
}

#[test]
fn whiteout_inside_a_directory_that_is_new_is_dropped() {
    let scene = Scene::new()
        .layer(layer().dir("conf").file("conf/old", "1"))
        .layer(layer().whiteout("conf").dir("conf").whiteout("conf/old").file("conf/new", "2"))
        .mounted();
    scene.shows(
        "
        d 0755 conf
        f 0644 conf/new  2
        ",
    );
}

// Rule 3: `.wh..wh..opq` hides all that lies below in its directory.

#[test]
fn opaque_mark_hides_what_lies_below_and_leaves_what_its_layer_has() {
    for mark_first in [true, false] {
        let top = layer().dir("etc");
        let top = if mark_first {
            top.opaque("etc").file("etc/new", "2").dir("etc/d")
        } else {
            top.file("etc/new", "2").dir("etc/d").opaque("etc")
        };
        let scene = Scene::new()
            .layer(layer().dir("etc").file("etc/old", "1").file("etc/d/old", "1").file("keep", "k"))
            .layer(top)
            .mounted();
        scene.shows(
            "
            d 0755 etc
            d 0755 etc/d
            f 0644 etc/new  2
            f 0644 keep  k
            ",
        );
        scene.layer_holds(
            1,
            "
            d 0755 etc  opaque
            d 0755 etc/d
            f 0644 etc/new  2
            ",
        );
    }
}

#[test]
fn opaque_mark_before_its_directorys_own_entry_holds() {
    let scene = Scene::new()
        .layer(layer().dir("etc").file("etc/old", "1"))
        .layer(layer().opaque("etc").dir("etc").mode(0o750))
        .mounted();
    scene.shows("d 0750 etc");
}

#[test]
fn opaque_mark_without_an_entry_of_its_directory_keeps_the_mode_from_below() {
    let scene = Scene::new()
        .layer(layer().dir("tmp").mode(0o1777).owner(3, 4).file("tmp/old", "1"))
        .layer(layer().opaque("tmp").file("tmp/new", "2"))
        .mounted();
    scene.shows(
        "
        d 1777 3:4 tmp
        f 0644 tmp/new  2
        ",
    );
}

#[test]
fn whiteout_inside_an_opaque_directory_leaves_no_ghost() {
    for mark_first in [true, false] {
        let top = layer().dir("etc");
        let top = if mark_first {
            top.opaque("etc").whiteout("etc/old")
        } else {
            top.whiteout("etc/old").opaque("etc")
        };
        let scene = Scene::new().layer(layer().dir("etc").file("etc/old", "1")).layer(top).mounted();
        scene.shows("d 0755 etc");
        scene.layer_holds(1, "d 0755 etc  opaque");
    }
}

#[test]
fn whiteout_below_an_opaque_directory_leaves_no_ghost() {
    let scene = Scene::new()
        .layer(layer().file("a/b/old", "1"))
        .layer(layer().opaque("a").dir("a/b").whiteout("a/b/old"))
        .mounted();
    scene.shows(
        "
        d 0755 a
        d 0755 a/b
        ",
    );
}

#[test]
fn opaque_mark_where_nothing_lies_below_changes_nothing() {
    let scene = Scene::new()
        .layer(layer().file("keep", "k"))
        .layer(layer().dir("new").opaque("new").file("new/a", "1"))
        .mounted();
    scene.shows(
        "
        f 0644 keep  k
        d 0755 new
        f 0644 new/a  1
        ",
    );
}

#[test]
fn layer_over_an_opaque_directory_merges_with_it_alone() {
    let scene = Scene::new()
        .layer(layer().file("etc/1", "1"))
        .layer(layer().opaque("etc").file("etc/2", "2"))
        .layer(layer().file("etc/3", "3"))
        .mounted();
    scene.shows(
        "
        d 0755 etc
        f 0644 etc/2  2
        f 0644 etc/3  3
        ",
    );
}

// Rule 4: an opaque root ends the chain, since overlayfs does not heed the mark there.

#[test]
fn opaque_root_hides_all_layers_below() {
    for mark_first in [true, false] {
        let top = if mark_first {
            layer().opaque("").file("new", "2")
        } else {
            layer().file("new", "2").opaque("")
        };
        let scene = Scene::new()
            .layer(layer().file("etc/old", "1").file("old", "1"))
            .layer(top)
            .layer(layer().file("newest", "3"))
            .mounted();
        scene.shows(
            "
            f 0644 new  2
            f 0644 newest  3
            ",
        );
    }
}

#[test]
fn opaque_root_on_top_and_empty_leaves_an_empty_root() {
    let scene = Scene::new().layer(layer().file("old", "1")).layer(layer().opaque("")).mounted();
    scene.shows("");
}

#[test]
fn opaque_root_of_the_base_layer_changes_nothing() {
    let scene = Scene::new().layer(layer().opaque("").file("a", "1")).layer(layer().file("b", "2")).mounted();
    scene.shows(
        "
        f 0644 a  1
        f 0644 b  2
        ",
    );
}

#[test]
fn whiteout_under_an_opaque_root_leaves_no_ghost() {
    let scene = Scene::new()
        .layer(layer().dir("etc").file("etc/old", "1"))
        .layer(layer().opaque("").dir("etc").whiteout("etc/old"))
        .mounted();
    scene.shows("d 0755 etc");
}
