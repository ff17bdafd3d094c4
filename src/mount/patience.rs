//! Waiting for what is about to end by itself: another command's turn, or its copy of the mounts.

use std::thread;
use std::time::Duration;

/// How long another ovlctl holds what it only looks at: a mount namespace of its own with a copy of each mount.
pub(super) const PASSING: Duration = Duration::from_millis(500);

const PAUSE: Duration = Duration::from_millis(10);

/// Asks until there is an answer, for about as long as `patience`; `None` where there was none. Questions are counted, not
/// time: on a busy machine a single one may take longer than all should.
pub(super) fn until<T, E>(
    patience: Duration,
    mut ask: impl FnMut() -> Result<Option<T>, E>,
) -> Result<Option<T>, E> {
    for _ in 0..patience.as_millis() / PAUSE.as_millis() {
        if let Some(answer) = ask()? {
            return Ok(Some(answer));
        }
        thread::sleep(PAUSE);
    }
    ask()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered_at(question: u32) -> (Result<Option<u32>, ()>, u32) {
        let mut asked = 0;
        let answer = until(PAUSE * 3, || {
            asked += 1;
            Ok((asked == question).then_some(asked))
        });
        (answer, asked)
    }

    #[test]
    fn asks_until_it_is_told() {
        assert_eq!(answered_at(1), (Ok(Some(1)), 1));
        assert_eq!(answered_at(4), (Ok(Some(4)), 4));
        assert_eq!(answered_at(5), (Ok(None), 4));
    }

    #[test]
    fn an_error_ends_it() {
        assert_eq!(until(PASSING, || Err::<Option<()>, _>("no")), Err("no"));
    }
}
