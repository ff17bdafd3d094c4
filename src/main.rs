//! The `ovlctl` command.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    ovlctl::cli::main()
}
