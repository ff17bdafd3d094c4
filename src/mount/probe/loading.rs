//! What the kernel has to confine the process that reads archives (see [`crate::sys::confine`]).

use std::fs::File;
use std::io::{self, ErrorKind};
use std::thread;

use super::super::error::Error;
use super::Answer;
use super::lab::Lab;
use crate::sys::Errno;
use crate::sys::confine::{self, Reach};
use crate::sys::mount::FsContext;

type Result<T> = std::result::Result<T, Error>;

pub(super) fn landlock(lab: &Lab) -> Result<Answer> {
    let place = lab.fresh(super::lab::Ground::Memory)?;
    let opened = in_thread(|| {
        let limited = confine::limit_paths(&Reach::default(), &[]).is_ok_and(|limited| limited);
        limited.then(|| File::open(&place))
    })?;
    Ok(match opened {
        Some(Err(e)) if e.kind() == ErrorKind::PermissionDenied => Answer::yes(),
        Some(_) => Answer::no("taken, but without effect"),
        None => Answer::no("this kernel has none, or none that lets files be renamed"),
    })
}

pub(super) fn call_filter(_: &Lab) -> Result<Answer> {
    let tried = in_thread(|| {
        confine::limit_calls().map_err(|e| e.to_string()).map(|_| FsContext::open("overlay").map(drop))
    })?;
    Ok(match tried {
        Ok(Err(failed)) if failed.errno == Errno::PERM => Answer::yes(),
        Ok(_) => Answer::no("taken, but without effect"),
        Err(why) => Answer::no(why),
    })
}

/// Tries what lasts as long as the thread that tried it.
fn in_thread<T: Send>(attempt: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("probe".to_owned()).spawn_scoped(scope, attempt)?;
        Ok(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}
