//! `layer`: tars become the `diff` directories of a stack, and tars again.
//!
//! Nothing gets out of a layer; nothing in it steers overlayfs but the marks that are meant; its recipe makes the same tar
//! again, and without contents the same inodes; and a layer is the same whether threads unpack it or none.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use ovlctl::archive::Blob;
use ovlctl::digest::Digest;
use ovlctl::layer::{self, Below, Buffers, Error, Options, Summary, XattrPolicy, recipe};
use ovlctl::limits::{Limit, Limits};
use ovlctl::sys::chain;
use ovlctl::sys::dir::{self, Dir, FileType};

use crate::choices::Choices;
use crate::jail::{self, HERE};
use crate::make;

const LIMITS: Limits = Limits::DEFAULT.with(Limit::Entries, 64).with(Limit::Memory, 64 << 10);

/// What makes a layer large enough for threads: it is zeros behind its tar's end.
const LARGE: usize = (1 << 20) + 1;

/// Takes how to unpack, how many layers, and what to make their tars of.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let xattrs = *choices.pick(&[XattrPolicy::Keep, XattrPolicy::Warn, XattrPolicy::Skip]);
    let threads = choices.once_in(251);
    let tars = tars(&mut choices);
    let options = Options { limits: LIMITS, xattrs, hollow: false };
    thread_local! {
        static BUFFERS: RefCell<Buffers> = RefCell::default();
    }
    BUFFERS.with_borrow_mut(|buffers| jail::run(|| Stack::new(options, buffers).build(&tars, threads)));
}

fn tars(choices: &mut Choices<'_>) -> Vec<Vec<u8>> {
    let layers = match choices.below(4) {
        0 => {
            let mut tar = choices.rest().to_vec();
            make::seal_all(&mut tar);
            return vec![tar];
        }
        layers => layers,
    };
    let honest = choices.once_in(2);
    let mut tars = Vec::new();
    for _ in 1..layers {
        let share = usize::from(choices.byte()) * 2;
        let (own, rest) = choices.rest().split_at_checked(share).unwrap_or_default();
        tars.push(make::tar(&mut Choices::new(own), honest));
        *choices = Choices::new(rest);
    }
    tars.push(make::tar(choices, honest));
    tars
}

struct Stack<'a> {
    options: Options,
    buffers: &'a mut Buffers,
    below: Below,
}

impl<'a> Stack<'a> {
    fn new(options: Options, buffers: &'a mut Buffers) -> Self {
        Self { options, buffers, below: Below::default() }
    }

    /// Puts one layer on the other until one is refused.
    fn build(mut self, tars: &[Vec<u8>], threads: bool) {
        for (nr, tar) in tars.iter().enumerate() {
            let place = Path::new(HERE).join(nr.to_string());
            let outcome = self.unpack(tar, &place, self.options);
            if threads {
                self.compare_with_threads(tar, &place, &outcome);
            }
            let summary = match outcome {
                Ok(summary) => summary,
                Err(error) => return is_told(&error),
            };
            holds(&place.join("diff"), nr > 0);
            assert!(self.rebuilt(&place) == *tar, "the recipe makes another tar");
            self.compare_with_hollow(&place);
            self.below.lay(open(&place.join("diff")), summary.opaque_root);
        }
    }

    fn unpack(&mut self, tar: &[u8], place: &Path, options: Options) -> Result<Summary, Error> {
        fs::create_dir_all(place.join("diff")).expect("a place");
        let (beside, diff) = (open(place), open(&place.join("diff")));
        let outcome = layer::unpack(blob(tar), &Digest::of(tar), &diff, &beside, &options, self.buffers)
            .and_then(|unpacked| unpacked.settle(&diff, &self.below));
        let names = jail::names(place);
        let own = ["diff", recipe::DISPLACED, recipe::RECIPE];
        assert!(names.iter().all(|name| own.contains(&&**name)), "{names:?}");
        outcome
    }

    fn compare_with_threads(&mut self, tar: &[u8], place: &Path, outcome: &Result<Summary, Error>) {
        let large = [tar, &vec![0; LARGE]].concat();
        let other = Path::new(HERE).join("with-threads");
        let with = self.unpack(&large, &other, self.options);
        match (outcome, &with) {
            (Ok(one), Ok(other)) => assert_eq!(one, other),
            (Err(_), Err(_)) => {}
            // What was cut short is complete with zeros behind it.
            (Err(_), Ok(_)) => {}
            (Ok(_), Err(error)) => panic!("with threads it is refused: {}", chain(error)),
        }
        if outcome.is_ok() {
            same(&place.join("diff"), &other.join("diff"));
            assert!(self.rebuilt(&other) == large, "the recipe makes another tar, with threads");
        }
        fs::remove_dir_all(other).expect("it is there");
    }

    fn rebuilt(&self, place: &Path) -> Vec<u8> {
        let mut tar = Vec::new();
        let recipe = File::open(place.join(recipe::RECIPE)).expect("it was made");
        let displaced = Dir::open(&place.join(recipe::DISPLACED)).ok();
        let diff = open(&place.join("diff"));
        if let Err(fault) = recipe::rebuild(&recipe, displaced.as_ref(), &diff, &mut tar, &mut Err) {
            panic!("{}", chain(&fault));
        }
        tar
    }

    /// What `check --deep` does: the inodes of the tar without contents are those that are there.
    fn compare_with_hollow(&mut self, place: &Path) {
        let recipe = File::open(place.join(recipe::RECIPE)).expect("it was made");
        let mut tar = tempfile::tempfile_in(HERE).expect("a file");
        recipe::hollow(&recipe, &mut tar).expect("it is sound");
        let other = Path::new(HERE).join("hollow");
        fs::create_dir_all(other.join("diff")).expect("a place");
        let (beside, diff) = (open(&other), open(&other.join("diff")));
        let options = Options { hollow: true, ..self.options };
        let digest = Digest::of(b"whatever it is");
        let blob = Blob::of_file(tar).expect("a file").hashed(digest);
        layer::unpack(blob, &digest, &diff, &beside, &options, self.buffers)
            .and_then(|unpacked| unpacked.settle(&diff, &self.below))
            .unwrap_or_else(|e| panic!("hollow it is refused: {}", chain(&e)));
        same(&other.join("diff"), &place.join("diff"));
        fs::remove_dir_all(other).expect("it is there");
    }
}

fn blob(bytes: &[u8]) -> Blob {
    let mut file = tempfile::tempfile_in(HERE).expect("a file");
    file.write_all(bytes).expect("room for it");
    Blob::of_file(file).expect("a file")
}

fn open(path: &Path) -> Dir {
    Dir::open(path).expect("a directory")
}

#[track_caller]
fn same(wanted: &Path, found: &Path) {
    let mut differs = Vec::new();
    let mut tell = |path: &[u8], what: String| differs.push(format!("'{}' {what}", path.escape_ascii()));
    layer::compare(&open(wanted), &open(found), &mut tell).expect("both can be read");
    assert!(differs.is_empty(), "{differs:#?}");
}

/// What is wrong is told in a line that a terminal may have.
fn is_told(error: &Error) {
    let line = chain(error);
    assert!(!line.is_empty() && !line.chars().any(char::is_control), "it would reach a terminal: {line:?}");
    assert!(!matches!(error, Error::Thread(..) | Error::Contents { .. }), "{line}");
}

/// Looks at everything in a layer.
fn holds(diff: &Path, has_below: bool) {
    let mut links: HashMap<u64, (u64, u64)> = HashMap::new();
    let mut todo = vec![open(diff)];
    while let Some(dir) = todo.pop() {
        steers_nothing_but_by_marks(&dir.xattrs_self().expect("it can be read"));
        for name in dir.names().expect("it can be read") {
            assert!(!name.starts_with(b".wh..wh."), "'{}' is in the layer", name.escape_ascii());
            let stat = dir.stat(&name).expect("it can be read").expect("it is there");
            assert!(has_below || !dir::is_whiteout(&stat), "a whiteout of nothing");
            if dir::kind(&stat) == FileType::Directory {
                todo.push(dir.open_dir(&name).expect("a directory"));
            } else {
                steers_nothing_but_by_marks(&dir.xattrs(&name).expect("it can be read"));
                links.entry(stat.st_ino).or_insert((0, stat.st_nlink)).0 += 1;
            }
        }
    }
    assert!(links.values().all(|(found, told)| found == told), "a name of a file is elsewhere");
}

fn steers_nothing_but_by_marks(xattrs: &[dir::Xattr]) {
    for (key, value) in xattrs {
        let steers = key.starts_with(b"trusted.") || key.starts_with(b"user.overlay.");
        let mark = (key.as_slice(), value.as_slice()) == (b"trusted.overlay.opaque", b"y");
        assert!(!steers || mark, "'{}' is in the layer", key.escape_ascii());
    }
}
