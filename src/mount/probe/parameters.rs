//! What the kernel says of itself and of the overlay module.

use std::collections::BTreeMap;
use std::fs;
use std::io;

/// Returns the running kernel's release: `6.18.44-arm64`.
pub fn kernel() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/osrelease")?.trim_end().to_owned())
}

/// A parameter of the overlay module: a default, or a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parameter {
    /// On or off.
    Flag(bool),
    /// A number.
    Number(u64),
    /// Anything else.
    Text(String),
}

/// Reads the parameters of the overlay module, by name; none where the kernel shows none.
pub fn parameters() -> io::Result<BTreeMap<String, Parameter>> {
    let mut all = BTreeMap::new();
    let entries = match fs::read_dir("/sys/module/overlay/parameters") {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(all),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let text = fs::read_to_string(entry.path())?;
        all.insert(entry.file_name().to_string_lossy().into_owned(), parameter(text.trim_end()));
    }
    Ok(all)
}

/// Reads what the kernel writes of a parameter: a flag is `Y` or `N` (param_get_bool).
fn parameter(text: &str) -> Parameter {
    match text {
        "Y" => Parameter::Flag(true),
        "N" => Parameter::Flag(false),
        other => other.parse().map_or_else(|_| Parameter::Text(other.to_owned()), Parameter::Number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_as_what_they_are() {
        let table = [
            ("Y", Parameter::Flag(true)),
            ("N", Parameter::Flag(false)),
            ("256", Parameter::Number(256)),
            ("-1", Parameter::Text("-1".to_owned())),
        ];
        for (text, meant) in table {
            assert_eq!(parameter(text), meant, "{text}");
        }
    }
}
