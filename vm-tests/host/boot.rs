//! `lab boot`: runs facts on machines, and keeps what they found in a run's folder. scripts/vm-test calls it.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use clap::Parser;

use super::emulator::{Accelerator, Emulator};
use super::local::Container;
use super::machine::{Host, Machine, Shared};
use super::session::{End, follow};
use super::store::Run;
use super::vm::{self, Kernel};
use super::{console, junit};
use crate::fact;
use crate::record::{Finding, Orders};

/// Runs facts on machines.
#[derive(Debug, Parser)]
#[command(name = "lab boot", no_binary_name = true)]
struct Arguments {
    /// Keep what is found in this new folder
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// Boot a kernel of scripts/kernel: its name, and its folder
    #[arg(long, value_name = "NAME=DIR", value_parser = named)]
    kernel: Vec<(String, PathBuf)>,
    /// Boot this kernel
    #[arg(long, value_name = "FILE")]
    bzimage: Option<PathBuf>,
    /// Where the modules of --bzimage are
    #[arg(long, value_name = "DIR", requires = "bzimage")]
    modules: Option<PathBuf>,
    /// Say more to kernels: `loglevel=8 overlay.metacopy=on`
    #[arg(long, value_name = "ARGUMENTS", default_value = "", allow_hyphen_values = true)]
    append: String,
    /// Report a kernel that is not to be had
    #[arg(long, value_name = "NAME=REASON")]
    missing: Vec<String>,
    /// Run on this system
    #[arg(long)]
    native: bool,
    /// Run on this system, from a privileged container
    #[arg(long, value_name = "TOOL")]
    container: Vec<Container>,
    /// The filesystems under test
    #[arg(long, value_name = "NAME", default_value = "ext4", value_parser = ["ext4", "xfs", "btrfs", "tmpfs"])]
    fs: Vec<String>,
    /// How many machines run at a time
    #[arg(long, value_name = "N", default_value_t = 2)]
    jobs: usize,
    /// Seconds after which a fact has hung: emulated on a busy host, 500 layers take more than one
    #[arg(long, value_name = "N", default_value_t = 120)]
    limit: u64,
    /// Have the harness itself tested by whoever reports the folder
    #[arg(long)]
    harness: bool,
    /// Where there is nothing to run, say so in the folder, and do not fail
    #[arg(long)]
    or_none: bool,
    /// Only name the tests
    #[arg(long)]
    list: bool,
    /// Show what kernels write, and every fact, as it comes
    #[arg(long)]
    debug: bool,
    /// Only tests with one of these words in their names: KERNEL::FILESYSTEM::GROUP::FACT
    filters: Vec<String>,
}

pub(super) fn named(text: &str) -> Result<(String, PathBuf), String> {
    let (name, folder) = text.split_once('=').ok_or("NAME=DIR is wanted")?;
    Ok((name.to_owned(), folder.into()))
}

/// Runs what the command line asks for. Failed facts are no failure here: who reports the run's folder tells of them.
pub(crate) fn boot(arguments: impl Iterator<Item = std::ffi::OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(e) => {
            let _ = e.print(); // a broken pipe
            return ExitCode::from(2);
        }
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            console::say(&format!("lab: {e}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> io::Result<()> {
    let kernels = arguments.kernels()?;
    let machines = arguments.machines(&kernels);
    if arguments.list {
        let names = machines
            .iter()
            .flat_map(|machine| machine.facts.iter().map(|fact| format!("{}::{fact}\n", machine.name())));
        return io::stdout().write_all(names.collect::<String>().as_bytes());
    }
    if machines.is_empty() && !arguments.or_none {
        return Err(io::Error::other(
            "no fact is to be run: no machine was asked for, or no name fits the words",
        ));
    }
    fs::create_dir_all(&arguments.run)?;
    let missing = arguments.missing.iter().filter_map(|text| text.split_once('='));
    let run = Run {
        program: std::env::current_exe()?,
        kernels,
        harness: arguments.harness,
        missing: missing.map(|(name, reason)| (name.to_owned(), reason.to_owned())).collect(),
    };
    run.write(&arguments.run)?;
    let emulator = match run.kernels.first() {
        Some(kernel) => Some(emulator(kernel, &run.program, &arguments.run)?),
        None => None,
    };
    let shared = Shared {
        program: &run.program,
        run: &arguments.run,
        emulator: emulator.as_ref(),
        limit: Duration::from_secs(arguments.limit),
        heard: &|machine: &Machine, finding: &Finding| console::finding(machine, finding, arguments.debug),
    };
    all(machines, &shared, arguments.jobs)?;
    junit::write(&arguments.run)
}

impl Arguments {
    fn kernels(&self) -> io::Result<Vec<Kernel>> {
        let cached = self.kernel.iter().map(|(name, folder)| Kernel::cached(name, folder));
        let mut kernels = cached.collect::<io::Result<Vec<_>>>()?;
        if let Some(image) = &self.bzimage {
            kernels.push(Kernel::built(image, self.modules.as_deref())?);
        }
        for kernel in &mut kernels {
            kernel.arguments.clone_from(&self.append);
        }
        Ok(kernels)
    }

    /// One machine for each kernel and filesystem, with the facts whose names fit.
    fn machines(&self, kernels: &[Kernel]) -> Vec<Machine> {
        let mut hosts: Vec<Host> = kernels.iter().cloned().map(Host::Vm).collect();
        hosts.extend(self.native.then_some(Host::Native));
        hosts.extend(self.container.iter().copied().map(Host::Container));
        let mut machines = Vec::new();
        for host in hosts {
            for filesystem in &self.fs {
                let mut machine =
                    Machine { host: host.clone(), filesystem: filesystem.clone(), facts: Vec::new() };
                let names = fact::all().into_iter().map(|fact| fact.name().to_owned());
                machine.facts =
                    names.filter(|fact| self.fits(&format!("{}::{fact}", machine.name()))).collect();
                machines.push(machine);
            }
        }
        machines.retain(|machine| !machine.facts.is_empty());
        machines
    }

    fn fits(&self, name: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| name.contains(filter.as_str()))
    }
}

/// Runs machines, so many at a time; returns the first error of the harness itself, after all have ended.
fn all(machines: Vec<Machine>, shared: &Shared<'_>, jobs: usize) -> io::Result<()> {
    let queue = Mutex::new(VecDeque::from(machines));
    let next = || queue.lock().expect("nobody panics with the queue").pop_front();
    let work = || -> io::Result<()> {
        while let Some(machine) = next() {
            let about = machine.run(shared).map_err(|e| named_error(&machine, &e))?;
            console::machine(&about, &machine.findings(shared.run)?);
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs.max(1)).map(|_| scope.spawn(work)).collect();
        let ends = workers.into_iter().map(|worker| worker.join().expect("a worker returns its error"));
        ends.fold(Ok(()), io::Result::and)
    })
}

fn named_error(machine: &Machine, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", machine.name()))
}

/// Finds out how guests run here: KVM is tried with the very kernel, once for each start of the machine.
pub(super) fn emulator(kernel: &Kernel, program: &Path, run: &Path) -> io::Result<Emulator> {
    let software = Emulator::of_this_machine(Accelerator::Software)?;
    if let Some(accelerator) = Accelerator::remembered(&software.version) {
        return Ok(Emulator { accelerator, ..software });
    }
    let kvm = Emulator { accelerator: Accelerator::Kvm, ..software.clone() };
    let folder = run.join("kvm");
    fs::create_dir_all(&folder)?;
    let orders = Orders { facts: Vec::new(), filesystem: "tmpfs".to_owned(), limit: 1 };
    let console = folder.join("console.log");
    let child = vm::start(kernel, program, &orders, &kvm, &folder, &console)?;
    let works = follow(child, &console, vm::KVM_TRIAL, |_| ()) == End::Complete;
    vm::clear(&folder);
    let accelerator = if works { Accelerator::Kvm } else { Accelerator::Software };
    accelerator.remember(&software.version);
    Ok(Emulator { accelerator, ..software })
}
