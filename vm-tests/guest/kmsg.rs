//! The kernel's log, from a moment on.

use std::fs::File;
use std::io::Read;

use rustix::fs::{Mode, OFlags, SeekFrom, open, seek};

/// A reader of the kernel's log.
pub(super) struct Kmsg(File);

impl Kmsg {
    /// Reads from now on; `None` where the log cannot be read.
    pub(super) fn from_now() -> Option<Self> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(open("/dev/kmsg", flags, Mode::empty()).ok()?);
        seek(&file, SeekFrom::End(0)).ok()?;
        Some(Self(file))
    }

    /// Returns what was written since the last call, a line each.
    pub(super) fn new_lines(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut record = vec![0; 8192]; // one read, one record; printk.c shows at most so much
        loop {
            match self.0.read(&mut record) {
                Ok(0) => return lines,
                Ok(len) => lines.push(text_of(&String::from_utf8_lossy(&record[..len]))),
                // The log was overwritten below us: the next read goes on with the oldest that is left.
                Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => {}
                Err(_) => return lines, // EAGAIN: that was all
            }
        }
    }
}

/// `4,620,1234,-;overlayfs: text\n SUBSYSTEM=…` is `overlayfs: text`.
fn text_of(record: &str) -> String {
    let text = record.split_once(';').map_or(record, |(_, text)| text);
    text.lines().next().unwrap_or_default().to_owned()
}
