//! How long ago something was.

use crate::sys::counted;

/// Says how long ago something was, in the words of `docker history` (units.HumanDuration).
pub(super) fn age(seconds: i64) -> String {
    let hours = (seconds + 1800) / 3600;
    let (count, unit) = match seconds {
        ..-60 => return "in the future".to_owned(),
        -60..1 => return "less than a second ago".to_owned(),
        1..60 => (seconds, "second"),
        60..120 => return "about a minute ago".to_owned(),
        120..3600 => (seconds / 60, "minute"),
        _ if hours == 1 => return "about an hour ago".to_owned(),
        _ if hours < 48 => (hours, "hour"),
        _ if hours < 24 * 14 => (hours / 24, "day"),
        _ if hours < 24 * 60 => (hours / 24 / 7, "week"),
        _ if hours < 24 * 365 * 2 => (hours / 24 / 30, "month"),
        _ => (seconds / 3600 / 24 / 365, "year"),
    };
    format!("{} ago", counted(count, unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_told_as_docker_does() {
        const HOUR: i64 = 3600;
        for (seconds, text) in [
            (-61, "in the future"),
            (-60, "less than a second ago"),
            (0, "less than a second ago"),
            (1, "1 second ago"),
            (59, "59 seconds ago"),
            (60, "about a minute ago"),
            (179, "2 minutes ago"),
            (3599, "59 minutes ago"),
            (HOUR, "about an hour ago"),
            (47 * HOUR, "47 hours ago"),
            (48 * HOUR, "2 days ago"),
            (14 * 24 * HOUR, "2 weeks ago"),
            (60 * 24 * HOUR, "2 months ago"),
            (365 * 24 * HOUR, "12 months ago"),
            (2 * 365 * 24 * HOUR, "2 years ago"),
        ] {
            assert_eq!(age(seconds), text, "{seconds}");
        }
    }
}
