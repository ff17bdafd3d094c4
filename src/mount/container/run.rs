//! Containers in which something is run: mounted where nobody else sees it, and only for so long.

use std::io;
use std::process::Child;

use super::ended::{is_mounted, refuse_mounted};
use super::{Error, How, Wishes, container_plan, create, image_of, make_work, upper};
use crate::mount::options::Options;
use crate::mount::plan::{Access, Lower, MAX_LOWER, Method, Plan};
use crate::mount::room::{Room, within};
use crate::mount::tidy_work;
use crate::store::images::Image;
use crate::store::record::ContainerRecord;
use crate::store::{Change, Own};
use crate::sys::lock::Holder;
use crate::sys::namespace::Network;

/// A container that nobody else mounts, removes or changes.
#[derive(Debug)]
pub struct Held<'a> {
    change: Change<'a>,
    own: Own,
    /// What is known of it.
    pub record: ContainerRecord,
}

impl<'a> Held<'a> {
    /// Makes a container over an image, which is mounted with options as `-o` takes them, now and later.
    pub fn new(
        change: Change<'a>,
        image: &Image,
        wishes: Wishes<'_>,
        options: &[String],
    ) -> Result<Self, Error> {
        let upper = upper(change.store(), wishes.upper)?;
        let (record, own) = create(&change, image, &wishes, upper, (options, None))?;
        Ok(Self { change, own, record })
    }

    /// Takes one that is there, and not mounted.
    pub fn again(change: Change<'a>, name: &str, waiting: &mut dyn FnMut(&[Holder])) -> Result<Self, Error> {
        let (record, own) = change.hold_container(name, waiting)?;
        refuse_mounted(change.store(), &record)?;
        if is_mounted(change.store(), &record)? {
            return Err(Error::MountedElsewhere);
        }
        make_work(&record.upper)?;
        Ok(Self { change, own, record })
    }

    /// Mounts it where nobody else sees it, lets go of it, starts something there and attends to that.
    pub fn run<T: Send>(
        self,
        network: Network,
        start: impl FnOnce(&Room) -> io::Result<Child> + Send,
        attend: impl FnOnce(Child) -> io::Result<T> + Send,
    ) -> Result<T, Error> {
        let plan = match self.checked_plan() {
            Ok(plan) => plan,
            Err(error) => {
                self.forget();
                return Err(error);
            }
        };
        let mut held = Some(self);
        let ran = within(
            &plan,
            network,
            |room| {
                held.take().map_or(Ok(()), Self::let_go).map_err(io::Error::other)?;
                start(room)
            },
            attend,
        );
        if let Some(held) = held {
            held.forget();
        }
        Ok(ran?)
    }

    /// Removes what is new, and nobody has seen.
    fn forget(self) {
        if self.record.unfinished {
            // Why it was not mounted is what the user needs to know.
            let _ = self.change.remove_container(&self.record, &self.own);
        }
    }

    /// Now the mount says that it is in use: nobody is to wait for this command any longer.
    fn let_go(mut self) -> Result<(), Error> {
        if self.record.unfinished {
            self.record.unfinished = false;
            self.change.record_container(&self.record)?;
        }
        Ok(())
    }

    fn checked_plan(&self) -> Result<Plan, Error> {
        let plan = self.plan()?;
        plan.check()?;
        if let Access::Writable { upper, work } = &plan.access {
            tidy_work(upper, work)?;
        }
        Ok(plan)
    }

    fn plan(&self) -> Result<Plan, Error> {
        let store = self.change.store();
        let how =
            How { target: None, read_only: false, options: Options::default(), typed: &[], method: None };
        let mut plan = container_plan(store, &self.record, &image_of(store, &self.record)?, &how)?;
        // CAP_MKNOD is among what a container has: a node that it makes must not be this machine's disk.
        plan.options.add("nodev")?;
        if plan.lowers.len() < MAX_LOWER && plan.method != Some(Method::Links) {
            // Below all others: what the image has itself stays as it is there.
            plan.lowers.push(Lower::from(self.change.points()?));
        }
        Ok(plan)
    }
}
