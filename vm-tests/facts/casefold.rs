//! Layers in which upper and lower case are one: tmpfs can have such directories (Linux 6.13).

use rustix::fs::{IFlags, OFlags, ioctl_setflags};

use crate::fact::{Done, Fact, Stop, each, fact};
use crate::scene::{Context, Scene, Tree};

/// FS_CASEFOLD_FL (linux/fs.h)
const CASEFOLD: IFlags = IFlags::from_bits_retain(0x4000_0000);

/// A filesystem in memory that can fold.
fn folding(s: &Scene, name: &str) -> Result<Tree, Stop> {
    let tree = s.dir_named(name);
    let made = Context::open("tmpfs").and_then(|mut tmpfs| {
        tmpfs.flag("casefold")?;
        tmpfs.mount(name, ovlctl::sys::mount::Attributes::empty())
    });
    made.map_err(|_| Stop::Skip("this kernel's tmpfs cannot fold case".to_owned()))?;
    Ok(tree)
}

/// A directory that folds, and as yet has nothing in it.
fn folded(tree: &Tree, name: &str) -> Result<Tree, Stop> {
    tree.dir(name);
    ioctl_setflags(tree.file_at(name, OFlags::RDONLY)?, CASEFOLD)?;
    Ok(Tree::at(tree.path(name)))
}

pub(super) const FACTS: &[Fact] = &[
    fact("casefold::plain_directories_of_a_filesystem_that_can_fold", |s| {
        folding(s, "tmpfs")?.dir("lower").file("lower/f", "text");
        s.overlay("").lowers(&["tmpfs/lower"]).upper("tmpfs/u", "tmpfs/w").mount()?.read("f")
    })
    .sees("EINVAL")
    .since("6.17", "text"),
    fact("casefold::layers_that_all_fold", |s| {
        let tmpfs = folding(s, "tmpfs")?;
        folded(&tmpfs, "lower")?.file("File", "text");
        folded(&tmpfs, "u")?;
        folded(&tmpfs, "w")?;
        s.overlay("").lowers(&["tmpfs/lower"]).upper("tmpfs/u", "tmpfs/w").mount()?.read("File")
    })
    .sees("EINVAL")
    .since("6.18", "EREMOTE")
    .since("7.3", "text"),
    fact("casefold::the_other_case_is_found", |s| {
        let tmpfs = folding(s, "tmpfs")?;
        folded(&tmpfs, "lower")?.file("File", "text");
        folded(&tmpfs, "u")?;
        folded(&tmpfs, "w")?;
        s.overlay("").lowers(&["tmpfs/lower"]).upper("tmpfs/u", "tmpfs/w").mount()?.read("fILE")
    })
    .sees("EINVAL")
    .since("6.18", "EREMOTE")
    .since("7.3", "text"),
    fact("casefold::a_folding_lower_below_a_plain_upper", |s| {
        let tmpfs = folding(s, "tmpfs")?;
        folded(&tmpfs, "lower")?.file("f", "");
        s.overlay("").lowers(&["tmpfs/lower"]).upper("tmpfs/u", "tmpfs/w").mount().done()
    })
    .sees("EINVAL"),
    fact("casefold::a_folding_directory_in_a_plain_lower", |s| {
        let tmpfs = folding(s, "tmpfs")?;
        tmpfs.dir("lower");
        folded(&tmpfs, "lower/d")?.file("f", "");
        let m = s.overlay("").lowers(&["tmpfs/lower"]).upper("tmpfs/u", "tmpfs/w").mount()?;
        each([m.kind("d"), m.kind("d/f")])
    })
    .sees("EINVAL")
    .since("6.17", "EREMOTE, EREMOTE"),
];
