//! A page of the guide as what its reader types, and what is to be seen then.

/// What stands for anything: alone in a line for any lines, else for any text.
const ANYTHING: &str = "…";

/// What one prompt of a page asks for.
#[derive(Debug, PartialEq)]
pub(crate) struct Step {
    /// Its line in the page, from 1.
    pub(crate) line: usize,
    pub(crate) command: String,
    pub(crate) expects: Expects,
    /// What not every machine has: `needs=NAME` of its block.
    pub(crate) needs: Option<String>,
}

/// What is to become of a command.
#[derive(Debug, PartialEq)]
pub(crate) enum Expects {
    /// It succeeds, and prints this.
    Output(Vec<String>),
    /// It succeeds, whatever it prints.
    Success,
    /// It fails, and one of its lines is this: the section's heading.
    Error(String),
}

/// Reads a page. A reader types what stands behind `$ ` (and `> `) in blocks marked `console`, and what is in a table's
/// second column; `<!-- $ COMMAND -->` below a `### ` heading is what brings about the error that is the heading.
pub(crate) fn steps(page: &str) -> Vec<Step> {
    let (mut steps, mut block, mut heading) = (Vec::new(), None, None);
    for (line, text) in (1..).zip(page.lines()) {
        if let Some(info) = text.strip_prefix("```") {
            let is_console = block.is_none() && info.split(' ').next() == Some("console");
            let needs = info.split(' ').find_map(|word| word.strip_prefix("needs=")).map(str::to_owned);
            block = if block.is_none() { Some((is_console, needs)) } else { None };
        } else if let Some((is_console, needs)) = &block {
            if *is_console {
                typed(&mut steps, line, text, needs.as_deref());
            }
        } else if let Some(title) = text.strip_prefix('#') {
            heading = title.strip_prefix("## ").map(str::to_owned);
        } else if let Some(command) = text.strip_prefix("<!-- $ ").and_then(|text| text.strip_suffix(" -->"))
        {
            let expects = heading.clone().map_or(Expects::Success, Expects::Error);
            steps.push(Step { line, command: command.to_owned(), expects, needs: None });
        } else if let Some(command) = second_column(text) {
            steps.push(Step { line, command, expects: Expects::Success, needs: None });
        }
    }
    steps
}

/// A line of a block: a command, more of it, or what it prints.
fn typed(steps: &mut Vec<Step>, line: usize, text: &str, needs: Option<&str>) {
    if let Some(command) = text.strip_prefix("$ ") {
        let (command, needs) = (command.to_owned(), needs.map(str::to_owned));
        steps.push(Step { line, command, expects: Expects::Output(Vec::new()), needs });
        return;
    }
    let Some(Step { command, expects: Expects::Output(lines), .. }) = steps.last_mut() else {
        panic!("line {line}: nothing was typed that could print this: {text}")
    };
    match text.strip_prefix("> ") {
        Some(more) if lines.is_empty() => *command = format!("{command}\n{more}"),
        _ => lines.push(text.to_owned()),
    }
}

/// The command in a table's second column, where that is all there is in it.
fn second_column(row: &str) -> Option<String> {
    // A `|` in a command is written `\|` in a table.
    let row = row.replace("\\|", "\0");
    let cell = row.strip_prefix('|')?.split('|').nth(1)?.trim();
    let command = cell.strip_prefix('`')?.strip_suffix('`')?;
    Some(command.replace('\0', "|")).filter(|command| !command.contains('`'))
}

impl Step {
    /// Says what is wrong with how the command ended, if anything is.
    pub(crate) fn fault(&self, code: &str, printed: &str) -> Option<String> {
        // Warnings come from the kernel's log, and what it says of other tests' mounts meanwhile is there, too.
        let is_meant = |line: &&str| !line.starts_with("warning: ");
        let printed: Vec<&str> = printed.lines().map(str::trim_end).filter(is_meant).collect();
        let found = printed.join("\n");
        match &self.expects {
            Expects::Output(lines) if code == "0" && !same(lines, &printed) => {
                Some(format!("(- the page, + what is printed)\n{}", difference(lines, &printed)))
            }
            Expects::Output(_) | Expects::Success if code != "0" => {
                Some(format!("ended with {code}:\n{found}"))
            }
            Expects::Output(_) | Expects::Success => None,
            Expects::Error(_) if code == "0" => Some(format!("succeeds:\n{found}")),
            Expects::Error(heading) => {
                let mut errors = printed.iter().map(|line| line.trim_start_matches("ovlctl: "));
                (!errors.any(|error| fits(heading, error)))
                    .then(|| format!("does not print '{heading}', but:\n{found}"))
            }
        }
    }
}

/// Whether these lines are as expected.
fn same(expected: &[String], printed: &[&str]) -> bool {
    let Some((first, rest)) = expected.split_first() else { return printed.is_empty() };
    if first.trim() == ANYTHING {
        return (0..=printed.len()).any(|skipped| same(rest, &printed[skipped..]));
    }
    printed.first().is_some_and(|line| fits(first, line)) && same(rest, &printed[1..])
}

/// Whether a line is as expected.
fn fits(expected: &str, line: &str) -> bool {
    let Some((start, rest)) = expected.split_once(ANYTHING) else { return expected.trim_end() == line };
    let Some(line) = line.strip_prefix(start) else { return false };
    let ends = line.char_indices().map(|(at, _)| at).chain([line.len()]);
    ends.into_iter().any(|at| fits(rest, &line[at..]))
}

/// Both, where lines that fit stand once.
fn difference(expected: &[String], printed: &[&str]) -> String {
    let Some((first, rest)) = expected.split_first() else {
        return printed.iter().map(|line| format!("+ {line}\n")).collect();
    };
    match printed.iter().position(|line| fits(first, line)) {
        Some(at) if first.trim() != ANYTHING => {
            let more: String = printed[..at].iter().map(|line| format!("+ {line}\n")).collect();
            format!("{more}  {first}\n{}", difference(rest, &printed[at + 1..]))
        }
        _ => format!("- {first}\n{}", difference(rest, printed)),
    }
}

#[test]
fn what_is_typed_is_told_from_what_is_printed() {
    let page = "
# A page

<!-- $ prepare -->
```console needs=kernel
$ cat <<END
> one
> END
one
> two
```
```text
$ this is no console
```
| docker | ovlctl |
| --- | --- |
| `docker x \\| y` | `ovlctl x \\| y` |
| `docker z` | has `none` or `some` |

### no such thing
<!-- $ ovlctl mount nothing -->
";
    let step = |line, command: &str, expects, needs: Option<&str>| Step {
        line,
        command: command.to_owned(),
        expects,
        needs: needs.map(str::to_owned),
    };
    let printed = Expects::Output(vec!["one".to_owned(), "> two".to_owned()]);
    let expected = [
        step(4, "prepare", Expects::Success, None),
        step(6, "cat <<END\none\nEND", printed, Some("kernel")),
        step(17, "ovlctl x | y", Expects::Success, None),
        step(21, "ovlctl mount nothing", Expects::Error("no such thing".to_owned()), None),
    ];
    assert_eq!(steps(page), expected);
}

#[test]
fn what_varies_is_left_open_and_all_else_is_compared() {
    let step = |expected: &[&str]| Step {
        line: 1,
        command: "x".to_owned(),
        expects: Expects::Output(expected.iter().map(|line| (*line).to_owned()).collect()),
        needs: None,
    };
    for (expected, printed) in [
        (&["a", "b"][..], "a\nb\n"),
        (&["a", "…"], "a\n"),
        (&["…", "c"], "a\nb\nc\n"),
        (&["a … c …"], "a b c d  \n"),
        (&[], "warning: of another mount\n"),
    ] {
        assert_eq!(step(expected).fault("0", printed), None, "{expected:?}");
    }
    let fault = step(&["a", "size …", "c"]).fault("0", "a\nsice 5\nc\n").unwrap();
    assert_eq!(fault, "(- the page, + what is printed)\n  a\n- size …\n+ sice 5\n  c\n");
    assert!(step(&["…"]).fault("1", "anything").is_some());
    assert!(step(&[]).fault("0", "anything").is_some());
    let error = Step { expects: Expects::Error("cannot …: in use".to_owned()), ..step(&[]) };
    assert_eq!(error.fault("4", "ovlctl: cannot x: in use\nhint: y\n"), None);
    assert!(error.fault("0", "ovlctl: cannot x: in use\n").is_some());
    assert!(error.fault("4", "ovlctl: cannot x: in use by y\n").is_some());
}
