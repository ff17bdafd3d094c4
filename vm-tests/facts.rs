//! The facts, a file a group.
//!
//! A fact is its name, a body that returns in a few words what it saw, and what is expected of it:
//!
//! ```text
//! fact("rename::directory_of_lower_is_refused", |s| {
//!     s.lower().file("d/f", "");                             // what is set up panics where it cannot be
//!     s.mounted("redirect_dir=nofollow").rename("d", "e")    // what is looked at returns what it saw: `ok`, or an errno
//! })
//! .sees("EXDEV")
//! ```
//!
//! `.since("6.7", …)` says what later kernels show, `.on("xfs", …)` what one filesystem does, and `.relied_on()` that ovlctl goes
//! wrong on a kernel that does otherwise. Several things that were seen are put side by side by `each`. What a kernel has
//! not got is either seen (EINVAL) or skipped (`needs`), never passed over.

mod acl;
mod casefold;
mod copyup;
mod data;
mod directory;
mod errors;
mod escape;
mod export;
mod freeze;
mod handles;
mod idmap;
mod index;
mod inuse;
mod limits;
mod lookup;
mod metacopy;
mod mmap;
mod mountinfo;
mod names;
mod namespace;
mod opaque;
mod open;
mod ovlctl;
mod permission;
mod remount;
mod rename;
mod says;
mod silent;
mod statfs;
mod statmount;
mod sync;
mod tmpfile;
mod userxattr;
mod uuid;
mod volatile;
mod whiteout;
mod xino;

use crate::fact::Fact;

/// All groups, in the order in which they are told.
pub(crate) const GROUPS: &[&[Fact]] = &[
    lookup::FACTS,
    whiteout::FACTS,
    opaque::FACTS,
    copyup::FACTS,
    open::FACTS,
    mmap::FACTS,
    rename::FACTS,
    directory::FACTS,
    metacopy::FACTS,
    index::FACTS,
    export::FACTS,
    xino::FACTS,
    volatile::FACTS,
    userxattr::FACTS,
    uuid::FACTS,
    data::FACTS,
    escape::FACTS,
    tmpfile::FACTS,
    casefold::FACTS,
    statfs::FACTS,
    sync::FACTS,
    remount::FACTS,
    freeze::FACTS,
    acl::FACTS,
    permission::FACTS,
    idmap::FACTS,
    limits::FACTS,
    names::FACTS,
    handles::FACTS,
    namespace::FACTS,
    mountinfo::FACTS,
    statmount::FACTS,
    errors::FACTS,
    says::FACTS,
    silent::FACTS,
    inuse::FACTS,
    ovlctl::FACTS,
];
