//! Data-only layers, below `::`: files that only redirects lead to; and their digests (`verity`).

use ovlctl::sys::Errno;
use rustix::fs::OFlags;

use crate::fact::{Done, Fact, Stop, each, fact, same};
use crate::raw;
use crate::scene::{By, Scene, Tree};

const METACOPY: &str = "trusted.overlay.metacopy";
const REDIRECT: &str = "trusted.overlay.redirect";

/// A layer with a file `f` whose data is `/object` in a data-only layer, as composefs has it.
fn composed(s: &Scene) -> [Tree; 2] {
    let [meta] = s.lowers(["meta"]);
    meta.file("f", "").mark("f", METACOPY, "").mark("f", REDIRECT, "/object");
    let data = s.dir_named("data");
    data.file("object", "text");
    [meta, data]
}

/// What a metacopy mark has to say of a SHA-256 digest: version, length, flags, algorithm, digest (struct ovl_metacopy).
fn with_digest(digest: [u8; 32]) -> Vec<u8> {
    [&[0, 36, 0, 1][..], &digest].concat()
}

/// A digest that no file has.
const WRONG: [u8; 32] = [0xab; 32];

/// Makes a file one of fs-verity's, and returns its digest. A filesystem that knows verity may have been made without.
fn sealed(tree: &Tree, name: &str) -> Result<[u8; 32], Stop> {
    let file = tree.file_at(name, OFlags::RDONLY)?;
    match raw::enable_verity(&file).map_err(Stop::from) {
        Err(Stop::Errno(Errno::OPNOTSUPP)) => Err(Stop::Skip("no fs-verity here".to_owned())),
        enabled => enabled.and_then(|()| Ok(raw::verity_digest(&file)?)),
    }
}

/// Where the kernel has data-only layers.
fn needs_data(s: &Scene) -> Result<(), Stop> {
    s.dir_named("needs");
    let overlay = s.overlay("metacopy=on").lowers(&["needs"]).data(&["needs-data"]).at("needs-m");
    s.dir_named("needs-data");
    overlay.upper("needs-u", "needs-w").mount().map_err(|_| Stop::Skip("no data-only layers".to_owned()))?;
    s.unmount("needs-m").map(drop)
}

pub(super) const FACTS: &[Fact] = &[
    fact("data::layer_below_two_colons", |s| {
        composed(s);
        s.overlay("metacopy=on").data(&["data"]).mount()?.read("f")
    })
    .sees("EINVAL")
    .since("6.5", "text"),
    fact("data::layer_by_datadir", |s| {
        composed(s);
        s.overlay("metacopy=on").data(&["data"]).by(By::Strings).mount()?.read("f")
    })
    .sees("EINVAL")
    .since("6.7", "text"),
    fact("data::layer_shows_none_of_its_names", |s| {
        needs_data(s)?;
        composed(s);
        let m = s.overlay("metacopy=on").data(&["data"]).mounted();
        each([m.names(""), m.kind("object")])
    })
    .sees("f, ENOENT"),
    fact("data::layer_without_metacopy", |s| {
        needs_data(s)?;
        composed(s);
        s.overlay("metacopy=off").data(&["data"]).mount()?.read("f")
    })
    .sees("EINVAL")
    .since("6.16", "text"),
    fact("data::without_metacopy_only_the_last_layer_may_lead_to_it", |s| {
        needs_data(s)?;
        composed(s);
        s.dir_named("last");
        s.overlay("metacopy=off").lowers(&["meta", "last"]).data(&["data"]).mount()?.read("f")
    })
    .sees("EINVAL")
    .since("6.16", "EPERM"),
    fact("data::object_that_is_missing_is_found_out_at_open", |s| {
        needs_data(s)?;
        let [_meta, data] = composed(s);
        data.unlink("object")?;
        let m = s.overlay("metacopy=on").data(&["data"]).mounted();
        each([m.kind("f"), m.read("f")])
    })
    .sees("file, ENOENT"),
    fact("data::first_layer_with_the_object_counts", |s| {
        needs_data(s)?;
        composed(s);
        s.dir_named("data2").file("object", "other");
        s.overlay("metacopy=on").data(&["data2", "data"]).mounted().read("f")
    })
    .sees("other"),
    fact("data::ordinary_layer_after_it_is_refused", |s| {
        needs_data(s)?;
        composed(s);
        s.overlay("metacopy=on").lowers(&["meta::data:after"]).mount().done()
    })
    .sees("EINVAL"),
    fact("data::layer_alone_is_refused", |s| {
        needs_data(s)?;
        composed(s);
        s.overlay("metacopy=on").lowers(&["::data"]).mount().done()
    })
    .sees("EINVAL"),
    fact("verity::is_an_option", |s| {
        s.lower();
        s.mount("verity=on").done()
    })
    .sees("EINVAL")
    .since("6.6", "ok"),
    fact("verity::on_takes_files_without_a_digest", |s| {
        s.needs("verity=on")?;
        composed(s);
        s.overlay("verity=on,metacopy=on").data(&["data"]).mounted().read("f")
    })
    .sees("text"),
    fact("verity::require_refuses_files_without_a_digest", |s| {
        s.needs("verity=on")?;
        composed(s);
        s.overlay("verity=require,metacopy=on").data(&["data"]).mounted().read("f")
    })
    .sees("EIO"),
    fact("verity::digest_of_a_file_without_verity_is_refused", |s| {
        s.needs("verity=on")?;
        let [meta, _data] = composed(s);
        meta.mark("f", METACOPY, with_digest(WRONG));
        let m = s.overlay("verity=on,metacopy=on").data(&["data"]).mounted();
        each([m.kind("f"), m.read("f")])
    })
    .sees("file, EIO"),
    fact("verity::off_ignores_the_digest", |s| {
        s.needs("verity=off")?;
        let [meta, _data] = composed(s);
        meta.mark("f", METACOPY, with_digest(WRONG));
        s.overlay("verity=off,metacopy=on").data(&["data"]).mounted().read("f")
    })
    .sees("text"),
    fact("verity::needs_metacopy", |s| {
        s.needs("verity=on")?;
        s.lower();
        s.mount("verity=on,metacopy=off").done()
    })
    .sees("EINVAL")
    .since("6.16", "ok"),
    fact("verity::require_copies_up_data_of_files_without_verity", |s| {
        s.needs("verity=on")?;
        s.lower().file("f", "text");
        s.mounted("verity=require,metacopy=on").chmod("f", 0o600)?;
        each([s.upper().read("f"), s.upper().xattrs("f", METACOPY)])
    })
    .sees("text, none"),
    fact("verity::digest_that_fits_is_required_and_found", |s| {
        s.needs("verity=on")?;
        let [meta, data] = composed(s);
        meta.mark("f", METACOPY, with_digest(sealed(&data, "object")?));
        s.overlay("verity=require,metacopy=on").data(&["data"]).mounted().read("f")
    })
    .sees("text")
    .on("xfs", "ENOTTY")
    .on("tmpfs", "ENOTTY"),
    fact("verity::other_file_with_verity_is_refused", |s| {
        s.needs("verity=on")?;
        let [meta, data] = composed(s);
        let digest = sealed(&data, "object")?;
        data.unlink("object")?;
        sealed(data.file("object", "twin"), "object")?;
        meta.mark("f", METACOPY, with_digest(digest));
        s.overlay("verity=on,metacopy=on").data(&["data"]).mounted().read("f")
    })
    .sees("EIO")
    .on("xfs", "ENOTTY")
    .on("tmpfs", "ENOTTY"),
    fact("verity::require_insists_on_a_digest_even_of_a_file_with_verity", |s| {
        s.needs("verity=on")?;
        let [_meta, data] = composed(s);
        sealed(&data, "object")?;
        s.overlay("verity=require,metacopy=on").data(&["data"]).mounted().read("f")
    })
    .sees("EIO")
    .on("xfs", "ENOTTY")
    .on("tmpfs", "ENOTTY"),
    fact("verity::copying_up_metadata_alone_keeps_the_digest", |s| {
        s.needs("verity=on")?;
        let digest = sealed(s.lower().file("f", "text"), "f")?;
        let m = s.mounted("verity=require,metacopy=on");
        m.chmod("f", 0o600)?;
        let kept = s.upper().xattr("f", METACOPY)?;
        each([same(kept, with_digest(digest).escape_ascii().to_string()), m.read("f")])
    })
    .sees("same, text")
    .on("xfs", "ENOTTY")
    .on("tmpfs", "ENOTTY"),
    fact("verity::copied_data_can_be_written", |s| {
        s.needs("verity=on")?;
        let lower = s.lower();
        sealed(lower.file("f", "old"), "f")?;
        let m = s.mounted("verity=require,metacopy=on");
        each([lower.append("f", " new"), m.append("f", " new"), m.read("f")])
    })
    .sees("EPERM, ok, old new")
    .on("xfs", "ENOTTY")
    .on("tmpfs", "ENOTTY"),
    fact("verity::is_not_enabled_through_the_overlay", |s| {
        s.lower();
        let m = s.mounted("");
        m.create("f")?;
        raw::enable_verity(&m.file_at("f", OFlags::RDONLY)?).done()
    })
    .sees("ENOTTY"),
];
