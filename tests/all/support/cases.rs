//! Each verb that changes something, and what it meets.

use super::case::Case;
use super::image::{Packing, docker};
use super::{Image, Layer, Scene, image, layer};

const CASE: Case = Case {
    made_by: &[],
    after: &[],
    words: "",
    piped: None,
    between: &[],
    halves: false,
    else_by: None,
    heals: false,
    writes: None,
};

/// A container whose changes are to outlive all that happens.
const KEPT: &[&str] = &["load base.tar", "mount --name kept base:1 root", "write root/mine", "umount root"];
const LOAD_WEB: &[&str] = &["load web.tar"];
const MAKE_BOX: &[&str] = &["mount --name box web:1 root", "write root/more", "umount root"];
const FREEZE_BOX: &[&str] = &["snapshot box", "mount box root", "write root/again", "umount root"];

const BASE: &[&[&str]] = &[KEPT];
const WEB: &[&[&str]] = &[KEPT, LOAD_WEB];
const BOX: &[&[&str]] = &[KEPT, LOAD_WEB, MAKE_BOX];
const TWO_NAMES: &[&[&str]] = &[KEPT, LOAD_WEB, &["tag web:1 web:2"]];
const NAMELESS: &[&[&str]] = &[KEPT, &["load nameless.tar"]];
const LARGE: &[&[&str]] = &[KEPT, &["load large.tar"]];
/// The power goes before the disk has the second image.
const CUT_OFF: &[&[&str]] = &[KEPT, &["sync"], LOAD_WEB, &["power-cut"]];
const DAMAGED: &[&[&str]] = &[KEPT, LOAD_WEB, &["damage"]];
const FROZEN: &[&[&str]] = &[KEPT, LOAD_WEB, MAKE_BOX, FREEZE_BOX];
const AFTER_A_RESET: &[&[&str]] = &[KEPT, LOAD_WEB, MAKE_BOX, FREEZE_BOX, &["snapshot box", "reset box 1"]];

/// A killed load may have put the image there, but not named it; a killed rm may have done the first half.
const NAMELESS_IMAGE: &[&str] = &["image - "];

pub(crate) const LOAD_THAT_MAKES_THE_STORE: Case =
    Case { words: "load web.tar", between: NAMELESS_IMAGE, ..CASE };
pub(crate) const LOAD: Case = Case { made_by: BASE, words: "load web.tar", between: NAMELESS_IMAGE, ..CASE };
pub(crate) const LOAD_FROM_A_PIPE: Case =
    Case { made_by: BASE, words: "load -", piped: Some("web.tar"), between: NAMELESS_IMAGE, ..CASE };
pub(crate) const LOAD_WHILE_IT_COMES: Case =
    Case { made_by: BASE, words: "load -", piped: Some("arriving.tar.gz"), between: NAMELESS_IMAGE, ..CASE };
pub(crate) const LOAD_THAT_TAKES_A_NAME: Case =
    Case { made_by: WEB, words: "load newer.tar", between: NAMELESS_IMAGE, ..CASE };
pub(crate) const MOUNT_OF_AN_IMAGE: Case =
    Case { made_by: WEB, words: "mount --name new web:1 root", ..CASE };
pub(crate) const MOUNT_OF_AN_ARCHIVE: Case = Case {
    made_by: BASE,
    words: "mount --name new web.tar root",
    between: &["image "],
    halves: true,
    ..CASE
};
pub(crate) const MOUNT_READ_ONLY: Case = Case { made_by: WEB, words: "mount --read-only web:1 root", ..CASE };
pub(crate) const MOUNT_WITH_AN_UPPER: Case =
    Case { made_by: WEB, words: "mount --name new --upper up web:1 root", ..CASE };
pub(crate) const MOUNT_IN_THE_STORE: Case = Case { made_by: WEB, words: "mount --name new web:1", ..CASE };
pub(crate) const MOUNT_OF_A_CONTAINER: Case = Case { made_by: BOX, words: "mount box root", ..CASE };
pub(crate) const UMOUNT: Case =
    Case { made_by: BOX, after: &["mount box root"], words: "umount --all", ..CASE };
pub(crate) const UMOUNT_THAT_REMOVES: Case = Case {
    made_by: BOX,
    after: &["mount box root"],
    words: "umount --all --rm",
    between: &["mount box -"],
    else_by: Some("rm box"),
    halves: true,
    ..CASE
};
pub(crate) const RM_OF_A_CONTAINER: Case = Case { made_by: BOX, words: "rm box", halves: true, ..CASE };
pub(crate) const RM_OF_AN_IMAGE: Case = Case {
    made_by: WEB,
    words: "rm web:1",
    between: NAMELESS_IMAGE,
    else_by: Some("prune"),
    halves: true,
    ..CASE
};
pub(crate) const RM_OF_A_NAME: Case = Case { made_by: TWO_NAMES, words: "rm web:1", ..CASE };
pub(crate) const RM_IN_THE_BACKGROUND: Case = Case {
    made_by: LARGE,
    words: "rm large:1",
    between: NAMELESS_IMAGE,
    else_by: Some("prune"),
    halves: true,
    ..CASE
};
pub(crate) const PRUNE: Case = Case { made_by: NAMELESS, words: "prune --wait", halves: true, ..CASE };
pub(crate) const TAG: Case = Case { made_by: WEB, words: "tag web:1 web:2", ..CASE };
pub(crate) const RECOVERY: Case = Case { made_by: CUT_OFF, words: "tag base:1 base:2", ..CASE };
pub(crate) const COMMIT: Case =
    Case { made_by: BOX, words: "commit box new:1", between: NAMELESS_IMAGE, ..CASE };
pub(crate) const COMMIT_OF_A_MOUNTED_CONTAINER: Case = Case { after: &["mount box root"], ..COMMIT };
pub(crate) const SQUASH: Case =
    Case { made_by: WEB, words: "squash web:1 new:1", between: NAMELESS_IMAGE, ..CASE };
pub(crate) const SNAPSHOT: Case = Case { made_by: BOX, words: "snapshot box", ..CASE };
pub(crate) const RESET: Case = Case { made_by: FROZEN, words: "reset box 1", ..CASE };
pub(crate) const BRANCH: Case =
    Case { made_by: FROZEN, words: "branch box new", between: &["snapshot box@2"], halves: true, ..CASE };
pub(crate) const RM_OF_A_SNAPSHOT: Case = Case {
    made_by: AFTER_A_RESET,
    words: "rm box@2",
    between: &["snapshot - "],
    halves: true,
    else_by: Some("prune"),
    ..CASE
};
pub(crate) const RM_OF_A_CONTAINER_WITH_SNAPSHOTS: Case = Case {
    made_by: FROZEN,
    words: "rm box",
    between: &["snapshot - "],
    halves: true,
    else_by: Some("prune"),
    ..CASE
};
pub(crate) const CHECK_THAT_REPAIRS: Case =
    Case { made_by: DAMAGED, words: "check --deep --repair --from web.tar", heals: true, ..CASE };
pub(crate) const CHECK_THAT_PROVES: Case = Case { made_by: WEB, words: "check --deep", ..CASE };
pub(crate) const SAVE: Case =
    Case { made_by: WEB, words: "save web:1 -o saved.tar", writes: Some("saved.tar"), ..CASE };
pub(crate) const SAVE_COMPRESSED: Case = Case {
    made_by: WEB,
    words: "save web:1 --compress gzip -o saved.tar",
    writes: Some("saved.tar"),
    ..CASE
};
pub(crate) const EXPORT: Case =
    Case { made_by: WEB, words: "export web:1 -o web.cpio", writes: Some("web.cpio"), ..CASE };
pub(crate) const EXPORT_OF_A_CONTAINER: Case =
    Case { made_by: BOX, words: "export box -o box.tar", writes: Some("box.tar"), ..CASE };
pub(crate) const PROBE: Case = Case { made_by: WEB, words: "probe", ..CASE };

/// Writes the archives that the cases speak of.
pub(crate) fn archives(scene: &Scene) {
    let of = scene.path("").display().to_string();
    scene.save("base.tar", &over_base("base:1", &of));
    scene.save("web.tar", &web("web:1", "1", &of));
    scene.save("newer.tar", &web("web:1", "2", &of));
    scene.save("nameless.tar", &web("", "3", &of));
    // Large enough to be unpacked before its image is known, and small enough for a pipe; one layer comes twice.
    let zeros = layer().file_of_bytes(b"zeros", &vec![0; 5 << 20]).hardlink("issue", "etc/issue");
    let arriving = over_base("arriving:1", &of).layer(&zeros).layer(&layer().whiteout("zeros")).layer(&zeros);
    scene.write("arriving.tar.gz", &Packing::Gzip.pack(&docker(&[arriving]).tar()));
    let large = (0..100).fold(layer(), |layer, nr| layer.file(&format!("d{}/f{nr}", nr % 9), "x"));
    scene.save("large.tar", &image("large:1").layer(&large));
}

/// The id of the uppermost layer of `web.tar`.
pub(crate) fn last_layer() -> String {
    web("web:1", "1", "").chain_ids()[2].hex()
}

/// cap_net_raw=ep (linux/capability.h): tmpfs holds it, and `user.` attributes only since Linux 6.6.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// The base, with something of each kind.
fn base() -> Layer {
    layer()
        .dir("etc")
        .file("etc/motd", "hello")
        .file("etc/issue", "v1")
        .hardlink("etc/again", "etc/issue")
        .symlink("bin", "usr/bin")
        .file("usr/bin/ping", "x")
        .xattr("security.capability", &CAPABILITY)
        .char_device("null", 1, 3)
}

/// An image of that base. It is `of` one scene only: an image that another store has mounted read-only, whichever, stays.
fn over_base(name: &str, of: &str) -> Image {
    image(name).config("author", of.into()).layer(&base())
}

/// An image over that base, which takes from it what a layer can.
fn web(name: &str, what: &str, of: &str) -> Image {
    let top = layer().whiteout("etc/motd").hardlink("issue", "etc/issue").opaque("usr").file("usr/new", what);
    over_base(name, of).layer(&top).layer(&layer().file("last", "3"))
}
