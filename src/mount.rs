//! Overlay mounts: a `Plan` is decided and checked, `perform` carries it out, `unmount` takes it away.
//!
//! Knows no image and no archive.

mod check;
pub mod error;
mod explain;
pub mod holders;
pub mod inuse;
pub mod options;
pub mod perform;
pub mod plan;
mod script;
pub mod table;
pub mod tidy;
pub mod unmount;

pub use error::{Class, Error};
pub use perform::{Mounted, Target, perform};
pub use plan::{Access, Lower, Method, Plan};
pub use tidy::tidy_work;
pub use unmount::unmount;
