//! Where a path comes from: what each directory of a stack says of it.

use crate::sys::CallFailed;
use crate::sys::dir::{self, FileType, Stat};

use super::changes::{Aspect, aspects};
use super::view::{Node, Place, View, join};
use super::whiteout;

/// What one directory of a stack says of a path.
#[derive(Debug)]
pub struct Word {
    /// Its place in the stack, from the top; 0 is the uppermost.
    pub depth: usize,
    /// What it says.
    pub says: Says,
    /// The directory, the path itself or one above it, in which it hides all that lies below; `/` is an empty path.
    pub opaque: Option<Vec<u8>>,
}

/// What a directory of a stack says of a path.
#[derive(Debug)]
pub enum Says {
    /// It has it.
    Has {
        /// What it is.
        stat: Box<Stat>,
        /// Where a symbolic link leads.
        target: Vec<u8>,
        /// Whether nothing lies below that it takes the place of.
        new: bool,
        /// What of it is another than below; nothing where it is new.
        what: Vec<Aspect>,
    },
    /// It removes this, the path itself or a directory above it.
    Removes(Vec<u8>),
    /// It has something else where a directory above the path was.
    Replaces(Vec<u8>),
    /// No more than that what lies below is hidden.
    Nothing,
}

/// Asks each directory of a view, uppermost first, for `path`, which is followed through redirects, but no links.
/// Those that know nothing of it are left out. What lies below an opaque directory or a whiteout is told too: it is
/// what was there before.
pub fn trace(view: &View<'_>, path: &[u8]) -> Result<Vec<Word>, CallFailed> {
    let mut path = path.to_owned();
    let mut words = Vec::new();
    for (depth, root) in view.root().into_iter().enumerate() {
        let (word, renamed) = ask(view, &root, depth, &path)?;
        words.extend(word.map(|(word, bare)| (word, bare, Place { path: path.clone(), ..root })));
        path = renamed.unwrap_or(path);
    }
    let mut told = Vec::with_capacity(words.len());
    let mut below: Option<Place> = None;
    for (mut word, bare, place) in words.into_iter().rev() {
        if let Says::Has { new, what, .. } = &mut word.says {
            (*new, *what) = match &below {
                Some(below) => {
                    let data = if bare { below } else { &place };
                    (false, aspects(view, (&place, data), view, (below, below))?)
                }
                None => (true, Vec::new()),
            };
        }
        below = match word.says {
            Says::Has { .. } => Some(place),
            Says::Nothing | Says::Removes(_) | Says::Replaces(_) => None,
        };
        told.push(word);
    }
    told.reverse();
    Ok(told)
}

/// The same where the uppermost directory cannot be seen, only what is shown with it, `shown`: of what lies `below` it `seen` is
/// what it hides or changes, and that is all that it says. Where a redirect of its leads nobody knows.
pub fn trace_shown(
    shown: &View<'_>,
    seen: &View<'_>,
    below: &View<'_>,
    path: &[u8],
) -> Result<Vec<Word>, CallFailed> {
    let mut words = trace(below, path)?;
    words.iter_mut().for_each(|word| word.depth += 1);
    let says = difference(shown, seen, path)?;
    words.splice(..0, says.map(|says| Word { depth: 0, says, opaque: None }));
    Ok(words)
}

/// Returns what makes `path` another than it was; `None` where it is as it was.
fn difference(new: &View<'_>, old: &View<'_>, path: &[u8]) -> Result<Option<Says>, CallFailed> {
    let ((end, is), (end_before, was)) = (reach(new, path)?, reach(old, path)?);
    let here = path[..end].to_owned();
    let Some(is) = is else {
        let was_there = end_before > end || was.is_some();
        return Ok(was_there.then_some(Says::Removes(here)));
    };
    if end < path.len() {
        let was_so = end_before == end && was.is_some();
        return Ok((!was_so).then_some(Says::Replaces(here)));
    }
    let at = is.at();
    let Some(stat) = new.stat(at)?.filter(|stat| !new.is_covered(at, stat)) else { return Ok(None) };
    let was = was.filter(|_| end_before == end);
    let what = match &was {
        Some(was) => aspects(new, (at, is.data()), old, (was.at(), was.data()))?,
        None => Vec::new(),
    };
    let target = new.link(at, &stat)?;
    let has = Says::Has { stat: Box::new(stat), target, new: was.is_none(), what };
    Ok((!matches!(&has, Says::Has { new: false, what, .. } if what.is_empty())).then_some(has))
}

/// Follows a path as far as there are directories. Returns where that ends, and what is there.
fn reach(view: &View<'_>, path: &[u8]) -> Result<(usize, Option<Node>), CallFailed> {
    let mut node = Some(Node::Directory(view.root()));
    let mut end = 0;
    while let (Some(Node::Directory(places)), true) = (&node, end < path.len()) {
        let begin = if end == 0 { 0 } else { end + 1 };
        end = path[begin..].iter().position(|&byte| byte == b'/').map_or(path.len(), |slash| begin + slash);
        node = view.child(places, &path[begin..end])?;
    }
    Ok((end, node))
}

/// A directory's word, and whether what it has are metadata only.
type Asked = Option<(Word, bool)>;

/// Asks one directory. Returns the path under which the directories below have it, where that is another.
fn ask(
    view: &View<'_>,
    root: &Place,
    depth: usize,
    path: &[u8],
) -> Result<(Asked, Option<Vec<u8>>), CallFailed> {
    let ends = path.iter().enumerate().filter(|&(_, &byte)| byte == b'/').map(|(end, _)| end);
    let (mut opaque, mut renamed, mut bare) = (None, None, false);
    let mut says = Says::Nothing;
    for end in ends.chain([path.len()]) {
        let (here, rest) = path.split_at(end);
        let at = Place { path: here.to_owned(), ..*root };
        let Some(found) = view.found(&at)? else { break };
        let is_directory = dir::kind(&found.stat) == FileType::Directory;
        if let Some(to) = whiteout::redirect(&found.xattrs) {
            let to = match (to.strip_prefix(b"/"), here.iter().rposition(|&byte| byte == b'/')) {
                (Some(to), _) => to.to_owned(),
                (None, Some(slash)) => join(&here[..slash], to),
                (None, None) => to.to_owned(),
            };
            renamed = Some([&to, rest].concat());
        }
        if dir::is_whiteout(&found.stat) {
            says = Says::Removes(here.to_owned());
            break;
        }
        if found.opaque {
            opaque = Some(here.to_owned());
        }
        if rest.is_empty() {
            bare = whiteout::is_metadata_only(&found.xattrs);
            let target = view.link(&at, &found.stat)?;
            says = Says::Has { stat: Box::new(found.stat), target, new: false, what: Vec::new() };
        } else if !is_directory {
            says = Says::Replaces(here.to_owned());
            break;
        }
    }
    let silent = matches!(says, Says::Nothing) && opaque.is_none();
    Ok(((!silent).then_some((Word { depth, says, opaque }, bare)), renamed))
}

/// Returns the path that a view shows under `path`, with all links followed but the last component's own, as a process
/// would whose root it is. What is not there is taken as it is.
pub fn resolve(view: &View<'_>, path: &[u8]) -> Result<Vec<u8>, CallFailed> {
    /// MAXSYMLINKS in the kernel.
    const MOST_LINKS: usize = 40;
    let mut links = 0;
    let mut here: Vec<(Vec<u8>, Option<Vec<Place>>)> = Vec::new();
    let mut todo: Vec<Vec<u8>> = components(path);
    while let Some(name) = todo.pop() {
        if name == b".." {
            here.pop();
            continue;
        }
        let parent = here.last().map_or_else(|| Some(view.root()), |(_, places)| places.clone());
        let node = match &parent {
            Some(places) => view.child(places, &name)?,
            None => None,
        };
        match node {
            Some(Node::Directory(places)) => here.push((name, Some(places))),
            Some(Node::Other { at, .. }) if !todo.is_empty() && links < MOST_LINKS => {
                let target = match view.stat(&at)? {
                    Some(stat) => view.link(&at, &stat)?,
                    None => Vec::new(),
                };
                if target.is_empty() {
                    here.push((name, None));
                    continue;
                }
                links += 1;
                if target.starts_with(b"/") {
                    here.clear();
                }
                todo.extend(components(&target));
            }
            Some(Node::Other { .. }) | None => here.push((name, None)),
        }
    }
    let names: Vec<Vec<u8>> = here.into_iter().map(|(name, _)| name).collect();
    Ok(names.join(&b'/'))
}

/// Returns the components of a path, the last one first.
fn components(path: &[u8]) -> Vec<Vec<u8>> {
    let parts = path.split(|&byte| byte == b'/').filter(|part| !part.is_empty() && *part != b".");
    parts.rev().map(<[u8]>::to_vec).collect()
}
