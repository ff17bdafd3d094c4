//! A container where an image is wanted, or an image where a container is.

use crate::support::{Scene, image, layer};

#[test]
fn what_is_of_another_kind_is_called_so_with_an_act_that_does_what_was_wanted() {
    let scene = Scene::with("web.tar", &image("web:1").layer(&layer().file("a", "1")));
    scene.mkdir("root");
    scene.run("mount --name box web:1 root").succeeds();
    scene.run("umount root").succeeds();
    scene.run("snapshot box one").succeeds();
    for (words, is, hint) in [
        (
            "history box",
            "'box' is a container, and no image",
            "history web:1` tells of the image that it stands on",
        ),
        (
            "tree box@one",
            "'box@one' is a snapshot, and no image",
            "tree web:1` tells of the image that it stands on",
        ),
        (
            "layers box",
            "'box' is a container, and no image",
            "layers web:1` tells of the image that it stands on",
        ),
        (
            "bisect box -- true",
            "'box' is a container, and no image",
            "bisect web:1 -- COMMAND` goes through the image that it stands on",
        ),
        (
            "check --deep box",
            "'box' is a container, and no image",
            "check --deep web:1` proves the image that it stands on",
        ),
        ("squash box", "'box' is a container, and no image", "commit box NAME` makes an image of it"),
        (
            "save box@one -o x",
            "'box@one' is a snapshot, and no image",
            "commit box@one NAME` makes an image of it",
        ),
        ("tag box x", "'box' is a container, and no image", "commit box NAME` makes an image of it"),
        ("commit web:1 x", "'web:1' is an image, and no container", "tag web:1 NAME` gives it another name"),
        ("diff web:1", "'web:1' is an image, and no container", "diff web:1 OTHER` compares it with another"),
        (
            "snapshot web:1",
            "'web:1' is an image, and no container",
            "mount web:1 TARGET` makes a container over it",
        ),
        (
            "reset web:1",
            "'web:1' is an image, and no container",
            "mount web:1 TARGET` makes a container over it",
        ),
        (
            "umount web:1",
            "'web:1' is an image, and no container",
            "mounts` lists containers, and what each stands on",
        ),
        ("reset box@one", "'box@one' is a snapshot, and no container", "reset box one` goes back to it"),
        ("snapshots box@one", "'box@one' is a snapshot, and no container", "snapshots box` lists it"),
        (
            "branch box@one new",
            "'box@one' is a snapshot, and no container",
            "branch box NEW --from one` makes a container of it",
        ),
    ] {
        let said = scene.run(words).fails(3);
        let _ = said.stdout_is("").stderr_is(&format!("ovlctl: {is}\nhint: `ovlctl {hint}"));
    }
    // A name that a shell would run is none to hint at.
    scene.run("tag web:1 web;reboot").succeeds();
    scene.run("rm web:1").succeeds();
    let id = scene.run("images -q --no-headings").succeeds().stdout;
    scene.run("tree box").fails(3).stderr_has(&format!("`ovlctl tree {}`", &id.trim()[..12]));
}
