//! `bisect`: the first layer at which a command fails.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use clap::Args;
use serde::Serialize;

use super::act::{Act, Around};
use super::fault::{self, Cause, Fault};
use super::place::LookFault;
use super::print::{self, Column, Listing};
use super::task::{Asked, Bytes, NOT_TRIED, Task};
use super::{Context, look, permit};
use crate::digest::Digest;
use crate::mount::container;
use crate::mount::room::Room;
use crate::store::Store;
use crate::store::record::ImageRecord;
use crate::sys::caps::TO_LOOK;
use crate::sys::namespace::Network;

/// Find the first layer at which a command fails
///
/// Runs the command with the whole image, where it has to fail, and then with fewer of its layers, each time in a root of
/// its own: /proc, /dev, the image's environment, what Docker leaves root by default, no network, and no trace of anything
/// afterwards. A command that a layer does not have fails there too: of layers at which it succeeds the uppermost is
/// looked for first. With -v it shows what the command prints, on standard error.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ovlctl bisect web:1.4 -- /usr/bin/app --version
  ovlctl bisect -v web:1.4 -- sh -c 'test -e /etc/app.conf'")]
pub(super) struct Bisect {
    /// Its name or id
    #[arg(value_name = "IMAGE")]
    image: String,
    /// A command of the image's, and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
    /// Let it use this machine's network
    #[arg(long)]
    net: bool,
    #[command(flatten)]
    listing: Listing,
}

/// What `bisect` found.
#[derive(Debug, Serialize)]
struct FoundRow {
    layer: usize,
    diff_id: Digest,
    chain_id: Digest,
    /// `exit code N` or `signal N`.
    outcome: String,
    created_by: Option<String>,
}

const FOUND: &[Column<FoundRow>] = &[
    Column::Text("LAYER", |row| row.layer.to_string()),
    Column::Text("DIFF ID", |row| row.diff_id.short()),
    Column::Text("FAILS WITH", |row| row.outcome.clone()),
    Column::Free("CREATED BY", |row| row.created_by.as_deref().map_or_else(|| "-".to_owned(), print::text)),
];

impl Act for Bisect {
    fn around(&self) -> Around {
        Around::READING
    }

    fn run(&self, context: &Context) -> Result<(), Fault> {
        permit("bisect", TO_LOOK)?;
        let found = self.bisect(context).map_err(|e| Fault::new("bisect", format!("'{}'", self.image), e))?;
        print::rows(self.listing, FOUND, |row| row.diff_id.short(), &[found])
    }
}

impl Bisect {
    fn bisect(&self, context: &Context) -> Result<FoundRow, Cause> {
        let store = context.open_store()?;
        let image = store.image(&self.image)?.record;
        let environment = Asked::of(&store, &image)?.environment();
        let count = image.layers.len();
        if count == 0 {
            return Err(LookFault::Unfound("it has no layers").into());
        }
        let mut outcomes = vec![String::new(); count + 1];
        let first = first_failing(count, |nr| {
            let status = self.attempt(&store, &image, nr, &environment)?;
            outcomes[nr] = outcome(status);
            fault::say(&format!("layer {nr} of {count}: {}", outcomes[nr]));
            Ok::<_, Cause>(status.success())
        })?;
        let nr = match first {
            First::At(nr) => nr,
            First::Never => {
                return Err(LookFault::Unfound("the command succeeds with all of its layers").into());
            }
            First::Always => {
                return Err(LookFault::Unfound("the command fails with any of its layers").into());
            }
        };
        let layer = &image.layers[nr - 1];
        let steps = store.history(&image)?;
        let step = steps.iter().find(|step| step.layer.as_ref().is_some_and(|(of, _)| *of == nr));
        Ok(FoundRow {
            layer: nr,
            diff_id: layer.diff_id,
            chain_id: layer.chain_id,
            outcome: outcomes.swap_remove(nr),
            created_by: step.and_then(|step| step.created_by.clone()),
        })
    }

    /// Runs the command with the image's layers up to this one.
    fn attempt(
        &self,
        store: &Store,
        image: &ImageRecord,
        nr: usize,
        environment: &[(Bytes, Bytes)],
    ) -> Result<ExitStatus, Cause> {
        let network = if self.net { Network::Host } else { Network::None };
        let image = image.clone().up_to(Some(nr));
        let task = Task {
            command: self.command.iter().map(|word| Path::new(word).into()).collect(),
            environment: environment.to_vec(),
            silent: !look::is_verbose(),
            shut_in: true,
            ..Task::default()
        };
        let start = |room: &Room| {
            task.write(room)?;
            // Standard output is for what was found.
            let out = io::stderr().as_fd().try_clone_to_owned()?;
            room.command("enter").stdin(Stdio::null()).stdout(out).spawn()
        };
        let status = container::within_image(store, &image, network, start, |mut child| child.wait())?;
        if status.code() == Some(NOT_TRIED.into()) {
            return Err(Cause::Lacking(format!("the command could not be tried with layer {nr}")));
        }
        Ok(status)
    }
}

fn outcome(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// The first layer at which something fails.
#[derive(Debug, PartialEq, Eq)]
enum First {
    At(usize),
    /// It does not fail with all layers.
    Never,
    /// It succeeds with no number of layers that was tried.
    Always,
}

/// Finds the layer with which something begins to fail, as it does with all `count` of them. Goes down from there in
/// ever longer steps until it succeeds, and then halves what is between; where all of those fail, the rest is tried too.
fn first_failing<E>(count: usize, mut succeeds: impl FnMut(usize) -> Result<bool, E>) -> Result<First, E> {
    if count == 0 || succeeds(count)? {
        return Ok(First::Never);
    }
    let (mut bad, mut step, mut good) = (count, 1, None);
    let mut failed = vec![count];
    while good.is_none() && bad > step {
        let nr = bad - step;
        if succeeds(nr)? {
            good = Some(nr);
        } else {
            failed.push(nr);
            (bad, step) = (nr, step * 2);
        }
    }
    if good.is_none() {
        // A few layers in between may have what the others lack.
        for nr in (1..count).rev().filter(|nr| !failed.contains(nr)).collect::<Vec<_>>() {
            if succeeds(nr)? {
                let next = failed.iter().copied().filter(|failed| *failed > nr).min();
                (good, bad) = (Some(nr), next.unwrap_or(count));
                break;
            }
            failed.push(nr);
        }
    }
    let Some(mut good) = good else { return Ok(First::Always) };
    while bad - good > 1 {
        let middle = good + (bad - good) / 2;
        if succeeds(middle)? {
            good = middle;
        } else {
            bad = middle;
        }
    }
    Ok(First::At(bad))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bisects layers, a letter each, the base first: `+` succeeds, `-` fails. Tells how often it tried, too.
    fn found(layers: &str) -> (First, usize) {
        let mut tried = Vec::new();
        let first = first_failing(layers.len(), |nr| {
            assert!(!tried.contains(&nr), "layer {nr} of {layers} is tried twice");
            tried.push(nr);
            Ok::<_, ()>(layers.as_bytes()[nr - 1] == b'+')
        });
        (first.unwrap(), tried.len())
    }

    #[test]
    fn the_first_layer_that_fails_is_found() {
        for (layers, first) in [
            ("", First::Never),
            ("+", First::Never),
            ("-", First::Always),
            ("+-", First::At(2)),
            ("++++-----", First::At(5)),
            ("-++++++--", First::At(8)),
            ("+--------", First::At(2)),
            ("--+-----", First::At(4)),
            ("--+------------", First::At(4)),
            ("-----", First::Always),
            ("-+-+-", First::At(5)),
        ] {
            assert_eq!(found(layers).0, first, "{layers}");
        }
    }

    #[test]
    fn few_layers_of_many_are_tried() {
        let layers = "+".repeat(300) + &"-".repeat(200);
        let (first, tried) = found(&layers);
        assert_eq!(first, First::At(301));
        assert!(tried < 20, "{tried}");
    }
}
