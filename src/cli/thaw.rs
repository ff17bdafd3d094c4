//! `thaw`: what makes a container writable again that a command has frozen, when that command ends.

use clap::Args;

use super::Context;
use super::act::{Act, Around};
use super::fault::Fault;
use crate::store;
use crate::sys::background;
use crate::sys::mount::set_read_only;

/// Wait for the end of standard input; then make the overlay writable whose root is standard output
#[derive(Debug, Args)]
pub(super) struct Thaw {}

impl Act for Thaw {
    fn around(&self) -> Around {
        Around::NOTHING
    }

    fn run(&self, _: &Context) -> Result<(), Fault> {
        // Where its end cannot be waited for there is nobody to wait for.
        let _ = background::stand_watch();
        set_read_only(std::io::stdout(), false)
            .map_err(|e| Fault::new("thaw", "the container", store::Error::Call(e)))
    }
}
