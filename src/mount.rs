//! Overlay mounts: a `Plan` is decided and checked, `perform` carries it out, `unmount` takes it away.
//!
//! Only [`container`] knows the store; nothing here knows an archive.

pub mod options;
pub mod plan;

mod check;
mod patience;
mod script;
pub mod target;

pub mod inuse;
pub mod perform;
pub mod tidy;

pub mod holders;
pub mod table;
pub mod unmount;

pub mod accounts;
pub mod room;

pub mod error;
mod explain;

pub mod container;

pub mod probe;

pub use error::{Class, Error, Role};
pub use options::Options;
pub use perform::{Hidden, Mounted, choose, hidden, perform};
pub use plan::{Access, Lower, MAX_LOWER, Method, Plan};
pub use table::OverlayMount;
pub use target::Target;
pub use tidy::tidy_work;
pub use unmount::{unmount, unmount_known};
