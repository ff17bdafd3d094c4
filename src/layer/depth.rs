//! Room for work that goes as deep as a tree does.

use std::thread;

use crate::sys::{CallFailed, trace};

/// A path ends at PATH_MAX, and so 2,048 directories deep: 32 KiB for each.
const STACK: usize = 64 << 20;

/// Does `work` in a thread with a stack for the deepest tree.
pub(super) fn deep<T: Send>(work: impl FnOnce() -> Result<T, CallFailed> + Send) -> Result<T, CallFailed> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("deep".to_owned()).stack_size(STACK);
        let subject = trace::subject();
        let work = move || {
            let _about = trace::within(subject);
            work()
        };
        let thread = thread.spawn_scoped(scope, work).map_err(|e| CallFailed::of_io("clone3", &e))?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
