//! What runs beside the emulator: boots kernels, follows what guests say, keeps it, and reports it.

mod boot;
mod console;
mod disk;
mod emulator;
mod harness;
mod initramfs;
mod junit;
mod local;
mod machine;
mod modules;
mod powercut;
mod report;
mod session;
mod store;
mod vm;

pub(crate) use boot::boot;
pub(crate) use powercut::power_cut;
pub(crate) use report::report;
