//! `SECURITY.md` names a test for each promise and each known attack: they must be there.

use std::fs;
use std::path::{Path, PathBuf};

const HOME: &str = env!("CARGO_MANIFEST_DIR");

/// All that stands in backticks and is the path of a function: `hostile::names::names_never_lead_out`.
fn named(text: &str) -> Vec<&str> {
    let is_path = |word: &&str| {
        word.contains("::")
            && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_:".contains(c))
    };
    text.split('`').skip(1).step_by(2).filter(is_path).collect()
}

/// Where a test lies: among those of the program, or beside the code.
fn file_of(module: &str) -> Option<PathBuf> {
    let path = module.replace("::", "/");
    let places = [format!("tests/all/{path}.rs"), format!("src/{path}.rs")];
    places.iter().map(|place| Path::new(HOME).join(place)).find(|place| place.exists())
}

#[test]
fn every_test_that_security_md_names_is_there() {
    let text = fs::read_to_string(Path::new(HOME).join("SECURITY.md")).unwrap();
    let tests = named(&text);
    assert!(tests.len() > 50, "{tests:?}");
    for test in tests {
        let (module, name) = test.rsplit_once("::").unwrap();
        let file = file_of(module).unwrap_or_else(|| panic!("{test}: there is no such file"));
        let code = fs::read_to_string(&file).unwrap();
        let is_test = code.contains(&format!("#[test]\nfn {name}()"))
            || code.contains(&format!("#[test]\n    fn {name}()"));
        assert!(is_test, "{} has no test {name}", file.display());
    }
}

#[test]
fn every_test_of_hostile_archives_is_named_in_security_md() {
    let text = fs::read_to_string(Path::new(HOME).join("SECURITY.md")).unwrap();
    let named = named(&text);
    let mut count = 0;
    for entry in fs::read_dir(Path::new(HOME).join("tests/all/hostile")).unwrap() {
        let path = entry.unwrap().path();
        let module = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let code = fs::read_to_string(&path).unwrap();
        for after in code.split("#[test]\nfn ").skip(1) {
            let test = format!("hostile::{module}::{}", after.split('(').next().unwrap());
            assert!(named.contains(&test.as_str()), "SECURITY.md does not name {test}");
            count += 1;
        }
    }
    assert!(count > 30, "{count}");
}
