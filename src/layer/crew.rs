//! Threads that share what there is to do for layers, so that no processor waits while another has too much.
//!
//! Who unpacks a layer does all for it himself as long as nobody else has time: blocks that were just read are in the
//! processor's cache then, and no thread must be woken. Who has no layer of his own any more helps: blocks to be hashed and
//! batches of files to be written are left to him, until he has enough to do.

use std::collections::VecDeque;
use std::fmt;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope};

/// Something to do that waits for nobody. Where it matters that it panicked, it tells so by what it drops.
pub(super) type Task = Box<dyn FnOnce() + Send>;

/// How many tasks wait for helpers at most: enough that none of them ever waits for one. What is more their owner does.
const WAITING: usize = 8;

/// How many helpers are of use: the bytes of a layer are hashed by one, and a directory's lock lets few make files in it.
const MOST: usize = 4;

/// Those who unpack layers, and those who help them.
#[derive(Clone, Default)]
pub struct Crew(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Default)]
struct State {
    tasks: VecDeque<Task>,
    /// How many may still have something to do.
    seats: usize,
    helpers: usize,
}

/// As long as one is there, helpers stay.
#[derive(Debug)]
#[must_use = "helpers go when there is none"]
pub struct Seat(Crew);

/// Does `work` with helpers at its side.
pub fn helped<T>(work: impl FnOnce(&Crew) -> T) -> T {
    let crew = Crew::default();
    let seat = crew.seat();
    thread::scope(|scope| {
        crew.add_helpers(scope, 1);
        let _seat = seat;
        work(&crew)
    })
}

impl Crew {
    /// Takes a seat.
    pub fn seat(&self) -> Seat {
        self.lock().seats += 1;
        Seat(self.clone())
    }

    /// Has helpers begin, on threads of their own: one for each processor but those that are `busy` already.
    pub fn add_helpers<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>, busy: usize) {
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        for _ in 0..processors.saturating_sub(busy).min(MOST) {
            let helper = thread::Builder::new().name("helper".to_owned());
            // Where none can be started, others do more themselves.
            let _ = helper.spawn_scoped(scope, || self.help());
        }
    }

    /// Does what others leave to helpers, until nobody has a seat.
    pub fn help(&self) {
        let mut state = self.lock();
        state.helpers += 1;
        while state.seats > 0 || !state.tasks.is_empty() {
            let Some(task) = state.tasks.pop_front() else {
                state = self.0.news.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(state);
            // Others need a helper all the same.
            let _ = catch_unwind(AssertUnwindSafe(task));
            state = self.lock();
        }
        state.helpers -= 1;
    }

    /// Whether there is anybody who helps.
    pub(super) fn has_helpers(&self) -> bool {
        self.lock().helpers > 0
    }

    /// Leaves a task to a helper, or does it where they have enough to do.
    pub(super) fn share(&self, task: Task) {
        let mut state = self.lock();
        if state.helpers == 0 || state.tasks.len() >= WAITING {
            drop(state);
            return task();
        }
        state.tasks.push_back(task);
        self.0.news.notify_one();
    }

    /// The same with what more depends on than on others: it is the next that a helper does.
    pub(super) fn share_first(&self, task: Task) {
        let mut state = self.lock();
        if state.helpers == 0 {
            drop(state);
            return task();
        }
        state.tasks.push_front(task);
        self.0.news.notify_one();
    }

    /// Does a task that waits for helpers; `false` where there is none.
    pub(super) fn help_once(&self) -> bool {
        let task = self.lock().tasks.pop_front();
        task.map(|task| task()).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Crew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crew").finish_non_exhaustive()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.seats -= 1;
        if state.seats == 0 {
            self.0.0.news.notify_all();
        }
    }
}

/// Does `work` with so many helpers, whatever the machine has.
#[cfg(test)]
pub(super) fn with_helpers(count: usize, work: impl FnOnce(&Crew)) {
    let crew = Crew::default();
    let seat = crew.seat();
    thread::scope(|scope| {
        for _ in 0..count {
            scope.spawn(|| crew.help());
        }
        while crew.lock().helpers < count {
            thread::yield_now();
        }
        let _seat = seat;
        work(&crew);
    });
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};
    use std::thread::ThreadId;

    use super::*;

    fn tell(send: &Sender<(u8, ThreadId)>, nr: u8) -> Task {
        let send = send.clone();
        Box::new(move || send.send((nr, thread::current().id())).unwrap())
    }

    #[test]
    fn where_nobody_helps_whoever_shares_a_task_does_it() {
        let (send, done) = channel();
        let crew = Crew::default();
        let _seat = crew.seat();
        crew.share(tell(&send, 1));
        crew.share_first(tell(&send, 2));
        let me = thread::current().id();
        assert_eq!(done.try_iter().collect::<Vec<_>>(), [(1, me), (2, me)]);
        assert!(!crew.help_once());
    }

    #[test]
    fn a_helper_does_what_counts_most_first_and_no_more_than_it_can() {
        let (send, done) = channel();
        let (begin, begun) = channel();
        let (go_on, may_go_on) = channel::<()>();
        let me = thread::current().id();
        with_helpers(1, |crew| {
            crew.share(Box::new(move || {
                begin.send(()).unwrap();
                may_go_on.recv().unwrap();
            }));
            begun.recv().unwrap();
            for nr in 1..=WAITING {
                crew.share(tell(&send, nr.try_into().unwrap()));
            }
            assert!(done.try_recv().is_err(), "they wait for the helper");
            crew.share_first(tell(&send, 0));
            crew.share(tell(&send, 99));
            assert_eq!(done.try_iter().collect::<Vec<_>>(), [(99, me)], "it has enough to do");
            assert!(crew.help_once());
            assert_eq!(done.try_iter().collect::<Vec<_>>(), [(0, me)]);
            go_on.send(()).unwrap();
        });
        let rest: Vec<_> = done.try_iter().collect();
        assert_eq!(rest.iter().map(|(nr, _)| *nr).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert!(rest.iter().all(|(_, thread)| *thread != me));
    }

    #[test]
    fn a_task_that_panics_takes_no_helper_along() {
        let (send, done) = channel();
        with_helpers(1, |crew| {
            crew.share(Box::new(|| panic!("on purpose")));
            crew.share(tell(&send, 1));
            assert_ne!(done.recv().unwrap().1, thread::current().id());
        });
    }
}
