//! Words as a Dockerfile has them: quotes, backslashes and variables. Pure.

/// Splits at white space outside of quotes. Quotes and backslashes stay.
pub(super) fn split(text: &str) -> Vec<&str> {
    let (mut words, mut start, mut quote, mut escaped) = (Vec::new(), None, None, false);
    for (at, c) in text.char_indices() {
        if start.is_none() && c.is_whitespace() {
            continue;
        }
        let begun = *start.get_or_insert(at);
        match quote {
            _ if escaped => escaped = false,
            Some('\'') | None if c == '\'' => quote = if quote.is_none() { Some(c) } else { None },
            Some('"') | None if c == '"' => quote = if quote.is_none() { Some(c) } else { None },
            Some('"') | None if c == '\\' => escaped = true,
            None if c.is_whitespace() => {
                words.push(&text[begun..at]);
                start = None;
            }
            Some(_) | None => {}
        }
    }
    words.extend(start.map(|begun| &text[begun..]));
    words
}

/// Takes quotes and backslashes off a word, and puts in the values of variables: `$NAME`, `${NAME}`, `${NAME:-else}`,
/// `${NAME:+instead}`.
pub(super) fn process(word: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<String, &'static str> {
    let mut text = String::new();
    let mut rest = word.chars();
    let mut quoted = false;
    while let Some(c) = rest.next() {
        match c {
            '\'' if !quoted => {
                let (inside, after) = rest.as_str().split_once('\'').ok_or("a quote is not closed")?;
                text.push_str(inside);
                rest = after.chars();
            }
            '"' => quoted = !quoted,
            '\\' => match rest.next() {
                // Between quotes it is itself, but before these.
                Some(next) if quoted && !matches!(next, '"' | '$' | '\\') => text.extend(['\\', next]),
                Some(next) => text.push(next),
                None => text.push('\\'),
            },
            '$' => {
                let (value, after) = expand(rest.as_str(), variable)?;
                text.push_str(&value);
                rest = after.chars();
            }
            c => text.push(c),
        }
    }
    if quoted { Err("a quote is not closed") } else { Ok(text) }
}

/// Expands what stands after a `$`; returns what follows, too.
fn expand<'a>(
    text: &'a str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<(String, &'a str), &'static str> {
    if let Some(braced) = text.strip_prefix('{') {
        let end = closing(braced).ok_or("a '${' is not closed")?;
        let (inside, after) = (&braced[..end], &braced[end + 1..]);
        let (name, modifier) = inside.split_at(name_len(inside));
        if name.is_empty() {
            return Err("'${' needs a variable's name");
        }
        let value = variable(name).filter(|value| !value.is_empty() || !modifier.starts_with(':'));
        let value = match modifier.get(..2) {
            None if modifier.is_empty() => value.unwrap_or_default(),
            Some(":-") => value.map_or_else(|| process(&modifier[2..], variable), Ok)?,
            Some(":+") => value.map_or_else(|| Ok(String::new()), |_| process(&modifier[2..], variable))?,
            Some(_) | None => return Err("of a variable's modifiers, ':-' and ':+' are known"),
        };
        return Ok((value, after));
    }
    match name_len(text) {
        0 => Ok(("$".to_owned(), text)),
        len => Ok((variable(&text[..len]).unwrap_or_default(), &text[len..])),
    }
}

/// Returns where the brace is that closes this one.
fn closing(text: &str) -> Option<usize> {
    let mut open = 0;
    text.char_indices().find_map(|(at, c)| {
        match c {
            '{' => open += 1,
            '}' if open == 0 => return Some(at),
            '}' => open -= 1,
            _ => {}
        }
        None
    })
}

fn name_len(text: &str) -> usize {
    let is_digit = |c: char| c.is_ascii_digit();
    if text.starts_with(is_digit) {
        return 0;
    }
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_end_at_spaces_outside_of_quotes() {
        for (text, words) in [
            ("a b", &["a", "b"][..]),
            ("  a=1\t b=2 ", &["a=1", "b=2"]),
            (r#"a="1 2" b='3 4'"#, &[r#"a="1 2""#, "b='3 4'"]),
            (r"a=1\ 2 b", &[r"a=1\ 2", "b"]),
            (r#"a="x' y" b='"' c"#, &[r#"a="x' y""#, r#"b='"'"#, "c"]),
            (r"a='\' b", &[r"a='\'", "b"]),
            ("", &[]),
        ] {
            assert_eq!(split(text), words, "{text}");
        }
    }

    #[test]
    fn quotes_go_and_variables_get_their_values() {
        let variable = |name: &str| match name {
            "PATH" => Some("/bin".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        for (word, is) in [
            ("plain", Ok("plain")),
            ("/x:$PATH", Ok("/x:/bin")),
            ("${PATH}2", Ok("/bin2")),
            ("'$PATH'", Ok("$PATH")),
            (r#""a $PATH \" \n""#, Ok(r#"a /bin " \n"#)),
            (r"\$PATH a\ b", Ok("$PATH a b")),
            ("$NONE|${NONE}|${NONE:-x}|${EMPTY:-y}|${PATH:-z}", Ok("|||x|y|/bin".trim_start_matches("||"))),
            ("${PATH:+set}${NONE:+set}${NONE:-${PATH}}", Ok("set/bin")),
            ("5$ $1", Ok("5$ $1")),
            ("é$PATHé", Ok("é/biné")),
            ("'open", Err("a quote is not closed")),
            ("\"open", Err("a quote is not closed")),
            ("${PATH", Err("a '${' is not closed")),
            ("${}", Err("'${' needs a variable's name")),
            ("${PATH:?x}", Err("of a variable's modifiers, ':-' and ':+' are known")),
            ("${PATHé}", Err("of a variable's modifiers, ':-' and ':+' are known")),
        ] {
            let is = is.map(|is| if word.starts_with("$NONE") { "||x|y|/bin" } else { is }.to_owned());
            assert_eq!(process(word, &variable), is, "{word}");
        }
    }
}
