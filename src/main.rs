//! The `ovlctl` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    ovlctl::cli::main()
}
