//! What a run of `ovlctl` came to, and what is expected of it.

use serde_json::Value;

use super::tree::same;

/// What a run of `ovlctl` came to; it must be looked at.
#[must_use = "say whether it succeeds or fails"]
pub(crate) struct Outcome {
    pub(super) command: String,
    pub(crate) code: Option<i32>,
    pub(super) said: Said,
}

/// What `ovlctl` said, with the scene's own paths as `[STORE]` and `[DIR]`.
pub(crate) struct Said {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    /// Returns the standard output, whatever the exit code.
    pub(crate) fn stdout(&self) -> &str {
        &self.said.stdout
    }

    /// Returns the standard error, whatever the exit code.
    pub(crate) fn stderr(&self) -> &str {
        &self.said.stderr
    }

    /// What it said, however it ended.
    pub(crate) fn said(self) -> Said {
        self.said
    }

    /// Fails unless the exit code is 0.
    #[track_caller]
    pub(crate) fn succeeds(self) -> Said {
        self.ends(0)
    }

    /// Fails unless the exit code is this one.
    #[track_caller]
    pub(crate) fn fails(self, code: i32) -> Said {
        assert_ne!(code, 0, "0 is no failure");
        self.ends(code)
    }

    #[track_caller]
    fn ends(self, code: i32) -> Said {
        let Said { stdout, stderr } = &self.said;
        assert!(
            self.code == Some(code),
            "{}\nended with {:?} instead of {code}\nstdout: {stdout}\nstderr: {stderr}",
            self.command,
            self.code
        );
        self.said
    }
}

impl Said {
    /// Checks all of the standard output.
    #[track_caller]
    pub(crate) fn stdout_is(self, expected: &str) -> Self {
        same("stdout", self.stdout.trim_end(), expected);
        self
    }

    /// Checks all of the standard error.
    #[track_caller]
    pub(crate) fn stderr_is(self, expected: &str) -> Self {
        same("stderr", self.stderr.trim_end(), expected);
        self
    }

    /// Checks that the standard error has this text.
    #[track_caller]
    pub(crate) fn stderr_has(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "'{text}' is not in stderr: {}", self.stderr);
        self
    }

    /// Reads the standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|fault| panic!("no JSON ({fault}): {}", self.stdout))
    }

    /// Returns the lines of the standard output.
    pub(crate) fn lines(&self) -> Vec<&str> {
        self.stdout.lines().collect()
    }
}

/// Puts `[TIME]` for how long something took, at the end of a line: ` in 0.4 s`.
pub(super) fn without_times(text: &str) -> String {
    let is_time = |words: &str| {
        words.split(' ').all(|word| word == "s" || word == "min" || word.parse::<f64>().is_ok())
    };
    let line = |line: &str| match line.rsplit_once(" in ") {
        Some((before, time)) if time.trim_end().ends_with(" s") && is_time(time.trim_end()) => {
            let end = &time[time.trim_end().len()..];
            format!("{before} in [TIME]{end}")
        }
        _ => line.to_owned(),
    };
    text.split_inclusive('\n').map(line).collect()
}
