//! What overlayfs writes to the kernel's log while a mount is made: most of its reasons go nowhere else.
//!
//! A hint, never a proof: the log is everyone's, and may be unreadable (`dmesg_restrict`, containers).

use std::os::fd::OwnedFd;

use rustix::fs::{self, Mode, OFlags, SeekFrom};

/// `KERN_WARNING` (kern_levels.h).
const WARNING: u32 = 4;

/// The end of the kernel's log as it was at some moment.
#[derive(Debug)]
pub struct Mark(Option<OwnedFd>);

impl Mark {
    /// Marks the end of the log.
    #[must_use]
    pub fn now() -> Self {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = fs::open("/dev/kmsg", flags, Mode::empty()).ok();
        Self(opened.filter(|fd| fs::seek(fd, SeekFrom::End(0)).is_ok()))
    }

    /// Returns what overlayfs wrote since, one sentence a record.
    #[must_use]
    pub fn since(&self) -> Vec<String> {
        self.records(|_| true)
    }

    /// Returns what it wrote since that may concern a mount that was made. What is an error to the kernel is the reason
    /// of a refusal: somebody else's, then.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.records(|level| level == WARNING)
    }

    fn records(&self, is_meant: impl Fn(u32) -> bool) -> Vec<String> {
        let Some(fd) = &self.0 else { return Vec::new() };
        let mut said = Vec::new();
        // One read(2), one record, and a shorter buffer is EINVAL (printk.c: at most 8 KiB as it is shown).
        let mut record = vec![0; 8192];
        loop {
            match rustix::io::read(fd, &mut record) {
                Ok(len) => {
                    let sentence = overlay_message(&record[..len]).filter(|(level, _)| is_meant(*level));
                    said.extend(sentence.map(|(_, sentence)| sentence));
                }
                // The log has been overwritten below us; the next read goes on with the oldest that is left.
                Err(rustix::io::Errno::PIPE) => {}
                Err(_) => return said,
            }
        }
    }
}

/// Takes level and sentence out of a record `4,1234,5678,-;overlayfs: sentence\n SUBSYSTEM=…`.
fn overlay_message(record: &[u8]) -> Option<(u32, String)> {
    let text = String::from_utf8_lossy(record);
    let (head, message) = text.split_once(';')?;
    // The facility stands above the level's three bits (syslog.h).
    let level = head.split(',').next()?.parse::<u32>().ok()? & 7;
    let line = message.lines().next()?;
    let said = line.strip_prefix("overlayfs: ").or_else(|| line.strip_prefix("overlay: "))?;
    Some((level, said.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_sentences_of_overlayfs_are_kept() {
        let table = [
            ("3,1,2,-;overlayfs: missing 'workdir'\n", Some((3, "missing 'workdir'"))),
            ("4,1,2,-;overlayfs: a;b\n SUBSYSTEM=x\n", Some((4, "a;b"))),
            ("14,1,2,-;overlayfs: by a user\n", Some((6, "by a user"))),
            ("6,1,2,-;EXT4-fs (vda): overlayfs: no\n", None),
            ("no record", None),
        ];
        for (record, said) in table {
            let said = said.map(|(level, sentence): (u32, &str)| (level, sentence.to_owned()));
            assert_eq!(overlay_message(record.as_bytes()), said, "{record}");
        }
    }
}
