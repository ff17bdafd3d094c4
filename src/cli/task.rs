//! What is run in a room, and how: `run` and `bisect` write it there, for the process that becomes it.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fault::Cause;
use crate::mount::room::Room;
use crate::store::Store;
use crate::store::record::{ImageRecord, StoredPath};

/// What it ends with where the command could not be tried, as `docker run` does.
pub(super) const NOT_TRIED: u8 = 125;
/// … where it is no program.
pub(super) const NOT_RUNNABLE: u8 = 126;
/// … where there is none of that name.
pub(super) const NOT_FOUND: u8 = 127;

const FILE: &str = "task.json";
/// In the room: the resolv.conf that the root is to show.
pub(super) const RESOLV: &str = "resolv.conf";

/// What commands are found by where nothing else is said (moby, oci/defaults.go).
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Text where it is that, else bytes.
pub(super) type Bytes = StoredPath;

/// What is run, and how.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Task {
    /// The command and its arguments.
    pub(super) command: Vec<Bytes>,
    pub(super) environment: Vec<(Bytes, Bytes)>,
    /// `USER[:GROUP]`.
    pub(super) user: String,
    /// Made where it is missing.
    pub(super) workdir: Option<Bytes>,
    pub(super) hostname: Option<String>,
    pub(super) volumes: Vec<Volume>,
    /// How many files it may hold open, where that is to be set.
    pub(super) files: Option<u64>,
    /// Whether nothing is seen of what it prints.
    pub(super) silent: bool,
    /// Whether it gets no terminal and no more rights than it begins with.
    pub(super) shut_in: bool,
    /// Whether it keeps all capabilities.
    pub(super) keep_caps: bool,
    /// Whether it reads from the terminal.
    pub(super) foreground: bool,
}

/// A file or a directory of this machine that is shown in the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Volume {
    pub(super) source: Bytes,
    pub(super) place: Bytes,
    pub(super) read_only: bool,
}

impl Task {
    pub(super) fn write(&self, room: &Room) -> io::Result<()> {
        fs::write(room.file(FILE), serde_json::to_vec(self)?)
    }

    pub(super) fn read(room: &Room) -> io::Result<Self> {
        Ok(serde_json::from_slice(&fs::read(room.file(FILE))?)?)
    }
}

/// Returns bytes as an argument of a program.
pub(super) fn word(bytes: &Bytes) -> OsString {
    bytes.path().into_os_string()
}

/// Returns bytes as they are.
pub(super) fn raw(bytes: &Bytes) -> Vec<u8> {
    word(bytes).into_vec()
}

/// What an image says of how it is run.
#[derive(Debug, Default)]
pub(super) struct Asked(Value);

impl Asked {
    pub(super) fn of(store: &Store, image: &ImageRecord) -> Result<Self, Cause> {
        let mut config: Value = serde_json::from_slice(&store.image_config(&image.id)?).unwrap_or_default();
        Ok(Self(config["config"].take()))
    }

    /// The environment that it asks for, with a path to find commands by.
    pub(super) fn environment(&self) -> Vec<(Bytes, Bytes)> {
        let pair = |text: &String| text.split_once('=').map(|(name, value)| (text_of(name), text_of(value)));
        let mut all: Vec<_> = self.words("Env").iter().filter_map(pair).collect();
        if !all.iter().any(|(name, _)| *name == text_of("PATH")) {
            all.push((text_of("PATH"), text_of(PATH)));
        }
        all
    }

    /// What is run: Docker's rules for `ENTRYPOINT` and `CMD`, of which a new entrypoint drops both.
    pub(super) fn command(&self, entrypoint: Option<&str>, typed: &[OsString]) -> Vec<Bytes> {
        let texts = |words: Vec<String>| words.iter().map(|word| text_of(word)).collect::<Vec<_>>();
        let first = match entrypoint {
            Some("") => Vec::new(),
            Some(program) => vec![text_of(program)],
            None => texts(self.words("Entrypoint")),
        };
        let rest = match (typed, entrypoint) {
            ([], None) => texts(self.words("Cmd")),
            (typed, _) => typed.iter().map(|word| PathBuf::from(word).as_path().into()).collect(),
        };
        [first, rest].concat()
    }

    pub(super) fn user(&self) -> String {
        self.text("User")
    }

    pub(super) fn workdir(&self) -> String {
        self.text("WorkingDir")
    }

    fn text(&self, key: &str) -> String {
        self.0[key].as_str().unwrap_or_default().to_owned()
    }

    /// A list of words; a single one may stand for itself (moby, StrSlice).
    fn words(&self, key: &str) -> Vec<String> {
        match &self.0[key] {
            Value::Array(all) => all.iter().filter_map(|word| word.as_str().map(str::to_owned)).collect(),
            Value::String(one) => vec![one.clone()],
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Vec::new(),
        }
    }
}

pub(super) fn text_of(text: &str) -> Bytes {
    Bytes::Text(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn entrypoint_and_command_are_put_together_as_docker_does() {
        let config = |entrypoint: Value, cmd: Value| Asked(json!({"Entrypoint": entrypoint, "Cmd": cmd}));
        let both = || config(json!(["/init", "-v"]), json!(["serve", "80"]));
        for (config, entrypoint, typed, command) in [
            (both(), None, "", "/init -v serve 80"),
            (both(), None, "ls /", "/init -v ls /"),
            (both(), Some("/bin/sh"), "", "/bin/sh"),
            (both(), Some("/bin/sh"), "-c x", "/bin/sh -c x"),
            (both(), Some(""), "ls", "ls"),
            (both(), Some(""), "", ""),
            (config(json!(null), json!(["sh"])), None, "", "sh"),
            (config(json!(null), json!(["sh"])), None, "ls", "ls"),
            (config(json!("/init"), json!(null)), None, "", "/init"),
            (config(json!([1, "/init"]), json!({"a": 1})), None, "", "/init"),
        ] {
            let typed: Vec<OsString> = typed.split_whitespace().map(OsString::from).collect();
            let expected: Vec<Bytes> = command.split_whitespace().map(text_of).collect();
            assert_eq!(config.command(entrypoint, &typed), expected, "{config:?} {typed:?}");
        }
    }

    #[test]
    fn commands_are_always_found_somewhere() {
        let config = |env: Value| Asked(json!({"Env": env}));
        let path = |env| config(env).environment().into_iter().find(|(name, _)| *name == text_of("PATH"));
        assert_eq!(path(json!(["PATH=/x", "A=b=c", "nothing"])).unwrap().1, text_of("/x"));
        assert_eq!(path(json!(["A=b"])).unwrap().1, text_of(PATH));
        assert_eq!(path(json!(7)).unwrap().1, text_of(PATH));
        assert_eq!(config(json!(["A=b=c", "PATH="])).environment()[0], (text_of("A"), text_of("b=c")));
    }
}
