//! A terminal: `ovlctl` runs in it, and what its user sees is looked at.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZero;
use std::process::{Child, Command, ExitStatus};

use super::Scene;
use super::screen::{self, side};

/// How large it is.
const ROWS: u16 = 24;
const COLUMNS: u16 = 80;

/// A terminal with a command in it, which has its keys.
pub(crate) struct Terminal {
    keyboard: File,
    screen: vt100::Parser,
    columns: u16,
    pub(crate) child: Child,
}

impl Terminal {
    /// Starts `ovlctl` with these words in a new terminal.
    pub(crate) fn run(scene: &Scene, words: &str) -> Self {
        let ovlctl = scene.command(&words.split_whitespace().collect::<Vec<_>>());
        let (keyboard, name) = screen::open(ROWS, COLUMNS);
        // Keys are signals only where the terminal is the session's own.
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(ovlctl.get_program()).args(ovlctl.get_args());
        command.env_clear().env("TERM", "xterm-256color").env("PATH", "/usr/bin:/bin");
        for (name, value) in ovlctl.get_envs().filter(|(name, _)| *name != "COLUMNS") {
            command.env(name, value.expect("it is set"));
        }
        command.current_dir(scene.path("")).stdin(side(&name)).stdout(side(&name)).stderr(side(&name));
        let child = command.spawn().expect("setsid(1) starts");
        let [rows, columns] = [ROWS, COLUMNS].map(|size| NonZero::new(size).expect("it has some"));
        Self { keyboard, screen: vt100::Parser::new(rows, columns, 0), columns: COLUMNS, child }
    }

    /// Returns what is on the screen.
    pub(crate) fn shown(&self) -> String {
        let rows = self.screen.screen().rows(0, self.columns).map(|row| row.trim_end().to_owned());
        rows.collect::<Vec<_>>().join("\n").trim_end().to_owned()
    }

    /// Reads on until the screen is as it is to be; returns it. Fails where the command ends before.
    #[track_caller]
    pub(crate) fn until(&mut self, is: impl Fn(&str) -> bool) -> String {
        loop {
            assert!(self.read(), "it ended, and shows:\n{}", self.shown());
            if is(&self.shown()) {
                return self.shown();
            }
        }
    }

    /// Makes it this wide.
    pub(crate) fn resize(&mut self, columns: u16) {
        screen::resize(&self.keyboard, ROWS, columns);
        let [rows, wide] = [ROWS, columns].map(|size| NonZero::new(size).expect("it has some"));
        self.screen.screen_mut().set_size(rows, wide);
        self.columns = columns;
    }

    /// Presses a key, but not while something is being drawn.
    #[track_caller]
    pub(crate) fn press(&mut self, key: u8) {
        while self.screen.screen().cursor_position().1 != 0 {
            assert!(self.read(), "it ended, and shows:\n{}", self.shown());
        }
        self.keyboard.write_all(&[key]).expect("the terminal takes it");
    }

    /// Reads until the command ends; returns how it did, and what is left on the screen.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        while self.read() {}
        assert!(!self.screen.screen().hide_cursor(), "the cursor is hidden");
        (self.child.wait().expect("it ends"), self.shown())
    }

    fn read(&mut self) -> bool {
        let mut bytes = [0; 4096];
        // EIO: nobody has the other end any more.
        let n = self.keyboard.read(&mut bytes).unwrap_or(0);
        self.screen.process(&bytes[..n]);
        n > 0
    }
}
