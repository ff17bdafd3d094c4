//! Instructions of a Dockerfile that change an image's config, as `docker commit --change` takes them.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde_json::value::RawValue;

use super::{Object, raw, words};

/// An instruction that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}': {why}")]
pub struct BadInstruction {
    text: String,
    why: String,
}

/// One instruction, read but not carried out: what its variables are depends on those before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    keyword: Keyword,
    /// What follows the keyword; never nothing.
    rest: String,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keyword {
    Cmd,
    Entrypoint,
    Env,
    Expose,
    Label,
    StopSignal,
    User,
    Volume,
    Workdir,
}

const KEYWORDS: [(&str, Keyword); 9] = [
    ("CMD", Keyword::Cmd),
    ("ENTRYPOINT", Keyword::Entrypoint),
    ("ENV", Keyword::Env),
    ("EXPOSE", Keyword::Expose),
    ("LABEL", Keyword::Label),
    ("STOPSIGNAL", Keyword::StopSignal),
    ("USER", Keyword::User),
    ("VOLUME", Keyword::Volume),
    ("WORKDIR", Keyword::Workdir),
];

impl Instruction {
    /// Reads an instruction: `CMD ["x"]`.
    pub fn parse(text: &str) -> Result<Self, BadInstruction> {
        let bad = |why: &str| BadInstruction { text: text.to_owned(), why: why.to_owned() };
        let trimmed = text.trim();
        let (word, rest) = trimmed.split_once(char::is_whitespace).unwrap_or((trimmed, ""));
        let Some(&(_, keyword)) = KEYWORDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)) else {
            let known = KEYWORDS.map(|(name, _)| name).join(", ");
            return Err(bad(&format!("no instruction that changes a config: {known}")));
        };
        let rest = rest.trim();
        if rest.is_empty() {
            return Err(bad("it needs an argument"));
        }
        let instruction = Self { keyword, rest: rest.to_owned(), text: text.to_owned() };
        // What is wrong whatever an image's variables are is said before anything is done.
        if !rest.contains('$') {
            Run::new(&mut Object::default()).carry_out(&instruction)?;
        }
        Ok(instruction)
    }
}

impl FromStr for Instruction {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text).map_err(|bad| bad.why)
    }
}

/// Instructions being carried out, one after the other.
pub(super) struct Run<'a> {
    config: &'a mut Object,
    has_cmd: bool,
}

type Outcome = Result<(), String>;

impl<'a> Run<'a> {
    pub(super) fn new(config: &'a mut Object) -> Self {
        Self { config, has_cmd: false }
    }

    pub(super) fn carry_out(&mut self, instruction: &Instruction) -> Result<(), BadInstruction> {
        let rest = instruction.rest.as_str();
        let done = match instruction.keyword {
            Keyword::Cmd => self.command("Cmd", rest).map(|()| self.has_cmd = true),
            Keyword::Entrypoint => self.entrypoint(rest),
            Keyword::Env => self.env(rest),
            Keyword::Label => self.label(rest),
            Keyword::Expose => self.expose(rest),
            Keyword::Volume => self.volume(rest),
            Keyword::User => self.text("User", rest),
            Keyword::StopSignal => self.stop_signal(rest),
            Keyword::Workdir => self.workdir(rest),
        };
        done.map_err(|why| BadInstruction { text: instruction.text.clone(), why })
    }

    /// The exec form, a JSON array, or the shell form. An empty array takes away what was there.
    fn command(&mut self, key: &str, rest: &str) -> Outcome {
        let words = match array(rest)? {
            Some(words) => words,
            None => {
                let shell: Vec<String> = self.config.list("Shell");
                let shell = if shell.is_empty() { vec!["/bin/sh".into(), "-c".into()] } else { shell };
                shell.into_iter().chain([rest.to_owned()]).collect()
            }
        };
        if words.is_empty() {
            self.config.remove(key);
        } else {
            self.config.set(key, &words);
        }
        Ok(())
    }

    /// The command was one for the entry point before, unless it was given together with the new one.
    fn entrypoint(&mut self, rest: &str) -> Outcome {
        self.command("Entrypoint", rest)?;
        if !self.has_cmd {
            self.config.remove("Cmd");
        }
        Ok(())
    }

    fn env(&mut self, rest: &str) -> Outcome {
        let pairs = self.pairs(rest)?;
        let mut all: Vec<String> = self.config.list("Env");
        for (name, value) in pairs {
            let variable = format!("{name}={value}");
            match all.iter_mut().find(|known| known.split('=').next() == Some(&name)) {
                Some(known) => *known = variable,
                None => all.push(variable),
            }
        }
        self.config.set("Env", &all);
        Ok(())
    }

    fn label(&mut self, rest: &str) -> Outcome {
        let pairs = self.pairs(rest)?;
        let mut all = self.config.map("Labels");
        all.extend(pairs.into_iter().map(|(name, value)| (name, raw(&value))));
        self.config.set("Labels", &all);
        Ok(())
    }

    fn expose(&mut self, rest: &str) -> Outcome {
        let mut all = self.config.map("ExposedPorts");
        for word in words::split(rest) {
            let word = self.word(word)?;
            let (range, protocol) = ports(&word).ok_or_else(|| {
                format!("'{word}' is no port: 80, 80/udp, 8000-8010; with /tcp, /udp or /sctp")
            })?;
            add(&mut all, range.map(|port| format!("{port}/{protocol}")));
        }
        self.config.set("ExposedPorts", &all);
        Ok(())
    }

    fn volume(&mut self, rest: &str) -> Outcome {
        let paths = array(rest)?;
        let paths = paths.unwrap_or_else(|| words::split(rest).into_iter().map(str::to_owned).collect());
        let paths = paths.iter().map(|path| self.word(path)).collect::<Result<Vec<_>, _>>()?;
        if paths.is_empty() || paths.iter().any(|path| path.trim().is_empty()) {
            return Err("a volume needs a path".to_owned());
        }
        let mut all = self.config.map("Volumes");
        add(&mut all, paths.into_iter());
        self.config.set("Volumes", &all);
        Ok(())
    }

    fn text(&mut self, key: &str, rest: &str) -> Outcome {
        let text = self.word(rest)?;
        self.config.set(key, &text);
        Ok(())
    }

    fn stop_signal(&mut self, rest: &str) -> Outcome {
        let signal = self.word(rest)?;
        if !is_signal(&signal) {
            return Err(format!("'{signal}' is no signal: a name such as SIGTERM, or a number from 1 to 64"));
        }
        self.config.set("StopSignal", &signal);
        Ok(())
    }

    /// A path that is not absolute goes on from the one before.
    fn workdir(&mut self, rest: &str) -> Outcome {
        let path = self.word(rest)?;
        let before: String = self.config.value("WorkingDir").unwrap_or_default();
        let path = if path.starts_with('/') { path } else { joined(&before, &path) };
        self.config.set("WorkingDir", &path);
        Ok(())
    }

    /// Reads `NAME=VALUE …`, or the older `NAME VALUE`, whose value is all the rest.
    fn pairs<'r>(&self, rest: &'r str) -> Result<Vec<(String, String)>, String> {
        let all = words::split(rest);
        let pairs: Vec<(&'r str, &'r str)> = if all.first().is_some_and(|first| first.contains('=')) {
            let pair = |word: &'r str| {
                word.split_once('=').ok_or_else(|| format!("'{word}' has no '=': NAME=VALUE is the form"))
            };
            all.into_iter().map(pair).collect::<Result<_, _>>()?
        } else {
            let (name, value) = rest.split_once(char::is_whitespace).ok_or("NAME=VALUE is the form")?;
            vec![(name, value.trim_start())]
        };
        let read = |(name, value): (&str, &str)| Ok((self.word(name)?, self.word(value)?));
        let pairs = pairs.into_iter().map(read).collect::<Result<Vec<_>, String>>()?;
        if pairs.iter().any(|(name, _)| name.is_empty()) {
            return Err("a name cannot be empty".to_owned());
        }
        Ok(pairs)
    }

    /// Takes off quotes, and puts in the values of the image's variables.
    fn word(&self, word: &str) -> Result<String, String> {
        let all: Vec<String> = self.config.list("Env");
        let value = |name: &str| {
            let pairs = all.iter().filter_map(|variable| variable.split_once('='));
            pairs.rev().find(|(known, _)| *known == name).map(|(_, value)| value.to_owned())
        };
        words::process(word, &value).map_err(str::to_owned)
    }
}

/// Reads the exec form; `None` where it is the shell form.
fn array(rest: &str) -> Result<Option<Vec<String>>, String> {
    match serde_json::from_str(rest) {
        Ok(words) => Ok(Some(words)),
        // `[ -f x ] && y` is for a shell; what looks like an array would be run as one command that nobody has.
        Err(_) if rest.starts_with('[') && rest.ends_with(']') => {
            Err("no JSON array of strings: [\"WORD\", \"WORD\"]".to_owned())
        }
        Err(_) => Ok(None),
    }
}

fn add(all: &mut BTreeMap<String, Box<RawValue>>, keys: impl Iterator<Item = String>) {
    all.extend(keys.map(|key| (key, raw(&Object::default()))));
}

fn ports(text: &str) -> Option<(RangeInclusive<u16>, &str)> {
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let number = |text: &str| text.parse::<u16>().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
    let (first, last) = (number(first)?, number(last)?);
    (matches!(protocol, "tcp" | "udp" | "sctp") && first <= last).then_some((first..=last, protocol))
}

/// signal(7), with what Linux calls them besides.
const SIGNALS: &str = "ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV STKFLT STOP SYS TERM \
                       TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ RTMIN RTMAX";

fn is_signal(text: &str) -> bool {
    if let Ok(number) = text.parse::<u8>() {
        return (1..=64).contains(&number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let real_time = |sign: &str, base: &str| {
        let offset = name.strip_prefix(base).and_then(|rest| rest.strip_prefix(sign));
        offset.and_then(|offset| offset.parse::<u8>().ok()).is_some_and(|offset| (1..=15).contains(&offset))
    };
    SIGNALS.split(' ').any(|known| known == name) || real_time("+", "RTMIN") || real_time("-", "RTMAX")
}

/// Joins two paths to an absolute one without `.`, `..` and empty parts.
fn joined(before: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in before.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}
