//! `df --explain`: what every folder of the store is for.

use std::path::Path;

use super::fault::{self, Cause, Fault};
use super::print::{self, Column};
use crate::mount::container;
use crate::store::Store;
use crate::store::explain::{About, Folder, Mounts};

const FOLDERS: &[Column<Folder>] = &[
    Column::Text("FOLDER", |row| row.path.clone()),
    Column::Size("DISK", |row| Some(row.bytes)),
    Column::Prose("WHAT FOR", |row| row.purpose.to_owned()),
];

const FACTS: &[Column<(&'static str, String)>] =
    &[Column::Text("", |(label, _)| (*label).to_owned()), Column::Prose("", |(_, fact)| fact.clone())];

/// Tells what every folder at the top of the store is for, or all of one place in it.
pub(super) fn run(store: &Store, dir: Option<&Path>, json: bool, headings: bool) -> Result<(), Fault> {
    match dir {
        None => folders(store, json, headings),
        Some(dir) => place(store, dir, json),
    }
}

fn folders(store: &Store, json: bool, headings: bool) -> Result<(), Fault> {
    let root = store.layout().root().display();
    let mut folders = store.folders().map_err(|e| Fault::new("explain", &root, e))?;
    if json {
        return print::json(&folders);
    }
    let bytes = folders.iter().map(|folder| folder.bytes).sum();
    folders.push(Folder { path: "total".to_owned(), bytes, purpose: "" });
    print::table(FOLDERS, headings, &folders)
}

fn place(store: &Store, dir: &Path, json: bool) -> Result<(), Fault> {
    let object = || fault::named(dir);
    let failed = |e| Fault::new("explain", object(), e);
    let names = store.place(dir).map_err(failed)?;
    let root = || store.layout().root().display().to_string();
    let names = names.ok_or_else(|| Fault::new("explain", object(), Cause::NoPlace(root())))?;
    let mounts = mounts(store).map_err(|e| Fault::new("explain", object(), e))?;
    let about = store.about(&names, &mounts).map_err(failed)?;
    if json { print::json(&about) } else { print::table(FACTS, false, &facts(about)) }
}

fn facts(about: About) -> Vec<(&'static str, String)> {
    let mut facts =
        vec![("folder", about.path), ("disk", print::size(about.bytes)), ("what", print::text(&about.what))];
    facts.extend(about.why.into_iter().map(|user| ("needed by", user)));
    facts.push(("goes by", about.goes));
    facts
}

/// Where what the store has is mounted; of other mount namespaces only that it is.
fn mounts(store: &Store) -> Result<Mounts, container::Error> {
    let mut mounts = Mounts::new();
    for mount in container::mounts(store)? {
        mounts.entry(mount.id).or_default().push(mount.target.display().to_string());
    }
    for id in container::mounted_ids(store)? {
        mounts.entry(id).or_insert_with(|| vec!["another mount namespace".to_owned()]);
    }
    Ok(mounts)
}
