#![doc = include_str!("ARCHITECTURE.md")]
#![forbid(unsafe_code)]
// The order of these lines is the reading order, and the order in which stages may know each other.

pub mod digest;
pub mod limits;
pub mod progress;
pub mod sys;
pub mod tarfile;

pub mod archive;
pub mod layer;
pub mod store;
pub mod mount;

pub mod cli;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    /// The stages as `lib.rs` lists them.
    fn stages() -> Vec<String> {
        let text = fs::read_to_string("src/lib.rs").unwrap();
        let stage = |line: &str| Some(line.strip_prefix("pub mod ")?.strip_suffix(';')?.to_owned());
        text.lines().filter_map(stage).collect()
    }

    /// All files of a stage: `foo.rs` and what lies in `foo/`.
    fn files(stage: &str) -> Vec<PathBuf> {
        let mut files = vec![PathBuf::from(format!("src/{stage}.rs"))];
        let mut folders = vec![PathBuf::from(format!("src/{stage}"))];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    files.push(path);
                }
            }
        }
        files
    }

    /// Lines of `file` that are code.
    fn code(file: &Path) -> String {
        let text = fs::read_to_string(file).unwrap();
        text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn each_stage_knows_only_what_stands_left_of_it() {
        let stages = stages();
        assert!(stages.len() > 5, "{stages:?}");
        for (nr, stage) in stages.iter().enumerate() {
            for file in files(stage) {
                let code = code(&file);
                for right in &stages[nr + 1..] {
                    let names =
                        [format!("crate::{right}::"), format!("crate::{right};"), format!("crate::{right},")];
                    let named = names.iter().find(|name| code.contains(*name));
                    assert_eq!(named, None, "{} names a stage to its right", file.display());
                    let grouped = code.split("use crate::{").skip(1).any(|rest| {
                        let group = rest.split('}').next().unwrap_or_default();
                        group.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == right)
                    });
                    assert!(!grouped, "{} uses {right}, a stage to its right", file.display());
                }
            }
        }
    }

    #[test]
    fn only_sys_knows_the_crates_that_call_the_kernel() {
        for stage in stages().iter().filter(|stage| *stage != "sys") {
            for file in files(stage) {
                let code = code(&file);
                let crates = ["rustix", "nix", "libc", "landlock", "seccompiler"];
                let named = crates
                    .iter()
                    .flat_map(|name| ["use ", " ", "("].map(|before| format!("{before}{name}::")));
                for name in named.chain(["use caps".to_owned()]) {
                    assert!(!code.contains(&name), "{} has '{name}'", file.display());
                }
            }
        }
    }

    #[test]
    fn only_whiteout_spells_what_a_whiteout_is_called() {
        for stage in ["layer", "store", "mount", "cli"] {
            for file in files(stage) {
                let code = code(&file);
                let code = code.split("#[cfg(test)]").next().unwrap_or_default();
                let at_home = file.ends_with("layer/whiteout.rs") || file.to_string_lossy().contains("tests");
                assert!(at_home || !code.contains("\".wh."), "{} spells it", file.display());
            }
        }
    }
}
