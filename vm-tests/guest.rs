//! What runs beside the kernel under test: the guest's init, the facts one by one, and a process that can be killed for it.

mod init;
mod kmsg;
mod runner;
mod story;

pub(crate) use init::{SCRATCH_SERIAL, init};
pub(crate) use runner::{facts, worker};
