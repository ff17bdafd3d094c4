//! `check`: whether the store is what its records say.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;

use super::act::{Act, Around, Before};
use super::config::Config;
use super::fault::watch::Showing;
use super::fault::{self, Cause, Fault};
use super::limit::Moves;
use super::print::{self, Column, Listing};
use super::sweep::Sweeping;
use super::sync::Syncing;
use super::{Context, load, permit, waiting};
use crate::digest::Digest;
use crate::layer::Options;
use crate::mount;
use crate::progress::Progress;
use crate::store::check::{Finding, Remedy, Report};
use crate::store::images::Image;
use crate::store::{Change, Error, Store};
use crate::sys::caps::TO_EXTRACT;
use crate::sys::counted;
use crate::sys::lock::Share;

/// Check the store: records, names, links, stacks of layers
///
/// With --deep every layer is proved: its tar is made again from what is in the store, byte for byte, and compared with the
/// sha256 by which it is known, and each inode is compared with the one that this tar makes. Prints what is wrong, a line
/// each, and nothing where all is well; what is wrong, and was not repaired, ends it with exit code 6.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ovlctl check
  ovlctl check --deep web:1.4        # every byte of its layers
  ovlctl check --deep --repair --from web.tar")]
pub(super) struct Check {
    /// Prove every byte and attribute of the layers
    #[arg(long)]
    deep: bool,
    /// Put right what records can tell; with --from, damaged layers too. Changes of containers are never touched
    #[arg(long)]
    pub(super) repair: bool,
    /// Unpack damaged layers again from this archive, and no others
    #[arg(long, value_name = "ARCHIVE", requires = "repair")]
    from: Vec<PathBuf>,
    /// Prove only the layers of these images
    #[arg(value_name = "IMAGE", requires = "deep")]
    images: Vec<String>,
    #[command(flatten)]
    sync: Syncing,
    #[command(flatten)]
    moved: Moves,
    #[command(flatten)]
    listing: Listing,
    #[command(flatten)]
    showing: Showing,
}

impl Act for Check {
    fn configure(&mut self, config: &Config) {
        self.moved.configure(config);
    }

    fn around(&self) -> Around {
        // What cannot be put right, as on a read-only filesystem, it tells of.
        let before = if self.repair { Before::Recover } else { Before::RecoverIfPossible };
        // When it has read an archive it can start nothing any more.
        let after = if self.confines() { Sweeping::Confined } else { Sweeping::Silently };
        Around { before, after: Some(after) }
    }

    fn run(&self, context: &Context) -> Result<(), Fault> {
        if self.confines() {
            permit("check", TO_EXTRACT)?;
        }
        let store = context.store()?;
        let root = store.layout().root().display().to_string();
        let failed = |e: Error| Fault::new("check", &root, e);
        let mut report = shallow(&store).map_err(failed)?;
        // Containers may have their changes elsewhere, which was looked at. A repair must know what is mounted, too.
        let _confined = (self.deep && !self.repair).then(|| load::confine(&store, &[]));
        let mut proved = BTreeSet::new();
        if self.deep {
            let stacks = self.stacks(&store)?;
            let prove = |progress: &Progress| self.prove(&store, &stacks, progress, &mut report, &mut proved);
            self.showing.during(self.listing.quiet, prove).map_err(|e| Fault::new("check", &root, e))?;
        }
        if !report.findings.is_empty() || self.listing.json {
            self.show(&report)?;
        }
        report.notes.iter().for_each(|note| fault::say(note));
        if !self.listing.quiet {
            fault::say(&summary(&report, self.deep.then_some(proved.len())));
        }
        let left = if self.repair { self.mend(&store, &report.findings)? } else { report.findings.len() };
        if left < report.findings.len() {
            self.sync.run(context)?;
        }
        if left == 0 { Ok(()) } else { Err(Fault::new("vouch for", &root, Cause::Unsound(left))) }
    }
}

impl Check {
    /// Whether this process becomes one that can start no other.
    fn confines(&self) -> bool {
        self.deep || self.repair
    }

    fn prove(
        &self,
        store: &Store,
        stacks: &[Vec<Digest>],
        progress: &Progress,
        report: &mut Report,
        proved: &mut BTreeSet<Digest>,
    ) -> Result<(), Cause> {
        if self.showing.is_wanted(self.listing.quiet) {
            let layers: BTreeSet<&Digest> = stacks.iter().flatten().collect();
            let layers = layers.into_iter().map(|layer| (*layer, store.tar_size(layer), false));
            progress.layers(&layers.collect::<Vec<_>>());
        }
        for stack in stacks.iter().take_while(|_| !progress.is_cancelled()) {
            // A change for each: whoever wants to be alone, say to prune, need not wait for all.
            let change = store.change(Share::Shared, &mut waiting())?;
            let mut keep = |finding| report.findings.push(finding);
            change.prove(stack, proved, progress, &mut keep)?;
        }
        Ok(())
    }

    fn show(&self, report: &Report) -> Result<(), Fault> {
        let columns = [
            Column::Text("ABOUT", |finding: &Finding| format!("{} {}", finding.kind, short(&finding.id))),
            Column::Text("PATH", path),
            Column::Text("PROBLEM", |finding: &Finding| finding.problem.clone()),
        ];
        print::rows(self.listing, &columns, |finding| finding.id.clone(), &report.findings)
    }

    /// Repairs what can be, and returns how many findings are left.
    fn mend(&self, store: &Store, findings: &[Finding]) -> Result<usize, Fault> {
        if findings.is_empty() {
            return Ok(0);
        }
        let root = store.layout().root().display();
        let failed = |e: Error| Fault::new("repair", &root, e);
        let change = store.change(Share::Exclusive, &mut waiting()).map_err(failed)?;
        let mounted = mount::container::mounted_ids(store).map_err(|e| Fault::new("repair", &root, e))?;
        let _confined = load::confine(store, &self.from);
        let mut left = Vec::new();
        for finding in findings {
            if !change.repair(finding).map_err(failed)? {
                left.push(finding);
            }
        }
        let unpacked = self.unpack(&change, &left, &mounted)?;
        left.retain(|finding| damaged(finding).is_none_or(|layer| !unpacked.contains(&layer)));
        fault::say(&format!("{} of {} repaired", findings.len() - left.len(), findings.len()));
        Ok(left.len())
    }

    /// Unpacks damaged layers again, and returns which.
    fn unpack(
        &self,
        change: &Change<'_>,
        findings: &[&Finding],
        mounted: &BTreeSet<String>,
    ) -> Result<BTreeSet<Digest>, Fault> {
        let mut missing: BTreeSet<Digest> = findings.iter().filter_map(|finding| damaged(finding)).collect();
        let mut unpacked = BTreeSet::new();
        for path in &self.from {
            let failed = |cause: Cause| Fault::new("repair", load::display(path), cause);
            let archive =
                load::open_kept(change, path, &self.moved.limits(), &Progress::default()).map_err(failed)?;
            for image in archive.images() {
                if missing.is_empty() {
                    break;
                }
                change.refuse_shown(&missing, mounted).map_err(|e| failed(e.into()))?;
                let options = Options { limits: self.moved.limits(), ..Options::default() };
                let layers = change.unpack_again(&archive, image, &missing, &options);
                for layer in layers.map_err(|e| failed(e.into()))? {
                    missing.remove(&layer.chain_id);
                    unpacked.insert(layer.chain_id);
                }
            }
        }
        Ok(unpacked)
    }

    /// Returns the stacks of layers to prove, the base first: those of images, and of layers that no image has.
    fn stacks(&self, store: &Store) -> Result<Vec<Vec<Digest>>, Fault> {
        let stack = |image: Image| image.record.layers.iter().map(|layer| layer.chain_id).collect();
        if !self.images.is_empty() {
            let find =
                |name: &String| store.image(name).map_err(|e| Fault::new("check", format!("'{name}'"), e));
            return self.images.iter().map(|name| find(name).map(stack)).collect();
        }
        store.stacks().map_err(|e| Fault::new("check", store.layout().root().display(), e))
    }
}

/// Returns the layer that would have to be unpacked again.
fn damaged(finding: &Finding) -> Option<Digest> {
    match finding.remedy {
        Some(Remedy::Unpack(layer)) => Some(layer),
        Some(Remedy::Furnish { .. } | Remedy::Unlink(_) | Remedy::Recall(_)) | None => None,
    }
}

/// Checks without making anyone wait; what seems wrong is looked at again when no command changes the store.
fn shallow(store: &Store) -> Result<Report, Error> {
    let report = store.check()?;
    if report.findings.is_empty() {
        return Ok(report);
    }
    match store.change(Share::Exclusive, &mut waiting()) {
        Ok(_alone) => store.check(),
        // A store that cannot be changed, by whomever, does not change.
        Err(_) => Ok(report),
    }
}

/// Shortens a digest, as listings do; whatever else it is stays.
fn short(id: &str) -> String {
    id.parse::<Digest>().map_or_else(|_| id.to_owned(), |digest| digest.short())
}

fn path(finding: &Finding) -> String {
    finding.path.as_ref().map_or_else(|| "-".to_owned(), |path| path.escape_ascii().to_string())
}

fn summary(report: &Report, proved: Option<usize>) -> String {
    let proved = proved.map_or_else(String::new, |proved| format!(", {proved} proved"));
    let snapshots = if report.snapshots == 0 {
        String::new()
    } else {
        format!(", {}", counted(report.snapshots, "snapshot"))
    };
    format!(
        "{}{proved}, {}, {}{snapshots}: {}",
        counted(report.layers, "layer"),
        counted(report.images, "image"),
        counted(report.containers, "container"),
        match report.findings.len() {
            0 => "all is well".to_owned(),
            n => counted(n, "problem"),
        }
    )
}
