//! Work side by side in one process: how many pieces at once with how many threads each, and the threads.
use crate::{Error, Result};
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;

/// Trainings at once on a GPU. They share its context and overlap on streams of their own, where a small model leaves most
/// of it idle. Not measured: only a measurement on a GPU may change it.
const ON_A_GPU: usize = 4;

/// How many runs at once, and the threads of the CPU that each has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    pub jobs: usize,
    pub threads: usize,
}

/// What bounds them.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Runs that there are.
    pub runs: usize,
    /// Threads that may compute.
    pub threads: usize,
    /// Whether runs compute on the host.
    pub on_host: bool,
    /// Bytes that the largest run takes on the device and on the host, and how many are free there.
    pub device: (u64, Option<u64>),
    pub host: (u64, Option<u64>),
}

impl Places {
    /// On the CPU as many as there are threads, so that each has one: the steps of a small model are too short to be
    /// shared. Six runs on two cores, two at once against one after the other on two threads, the median of five pairs
    /// (2026-11-21): 1.55 times as fast for 784-50-…-784, 1.09 times for 784-500-…-784.
    pub fn choose(bounds: &Bounds) -> Places {
        let fit = |(wanted, free): (u64, Option<u64>)| {
            free.map_or(usize::MAX, |free| (free / wanted.max(1)).try_into().unwrap_or(usize::MAX))
        };
        let most = if bounds.on_host { bounds.threads } else { ON_A_GPU };
        let jobs = most.min(bounds.runs).min(fit(bounds.device)).min(fit(bounds.host));
        Places::of(jobs, bounds.threads)
    }

    /// So many at once.
    pub fn of(jobs: usize, threads: usize) -> Places {
        let jobs = jobs.max(1);
        Places { jobs, threads: (threads / jobs).max(1) }
    }

    /// Does `work` on every task, each on a pool of threads of its own, and hands on what it sends, on this thread, as it
    /// comes. Tasks begin in their order.
    ///
    /// # Errors
    /// The system gives fewer threads.
    pub fn work<T: Sync, M: Send>(
        self,
        tasks: &[T],
        work: impl Fn(usize, &T, &Sender<M>) + Sync,
        mut hear: impl FnMut(M),
    ) -> Result<()> {
        let pool = |_| ThreadPoolBuilder::new().num_threads(self.threads).build();
        let pools: std::result::Result<Vec<ThreadPool>, _> = (0..self.jobs.min(tasks.len())).map(pool).collect();
        let pools = pools.map_err(|e| {
            Error::failed(format!("threads: cannot be started: {e}; pass fewer --jobs, or allow more memory"))
        })?;
        let next = AtomicUsize::new(0);
        let (sender, receiver) = mpsc::channel();
        thread::scope(|scope| {
            for pool in &pools {
                let (sender, next, work) = (sender.clone(), &next, &work);
                scope.spawn(move || {
                    pool.install(|| {
                        while let Some((i, task)) =
                            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|i| tasks.get(i).map(|task| (i, task)))
                        {
                            work(i, task, &sender);
                        }
                    });
                });
            }
            drop(sender); // the last of them ends the loop
            receiver.into_iter().for_each(&mut hear);
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_as_many_as_threads_runs_and_memory_allow() {
        let free = Bounds { runs: 6, threads: 8, on_host: true, device: (100, None), host: (100, None) };
        let chosen = |bounds: Bounds| (Places::choose(&bounds).jobs, Places::choose(&bounds).threads);
        assert_eq!(chosen(free), (6, 1));
        assert_eq!(chosen(Bounds { runs: 100, ..free }), (8, 1));
        assert_eq!(chosen(Bounds { runs: 3, ..free }), (3, 2));
        assert_eq!(chosen(Bounds { host: (100, Some(250)), ..free }), (2, 4));
        assert_eq!(chosen(Bounds { host: (100, Some(50)), ..free }), (1, 8));
        assert_eq!(chosen(Bounds { on_host: false, ..free }), (4, 2));
        assert_eq!(chosen(Bounds { on_host: false, device: (100, Some(399)), ..free }), (3, 2));
        assert_eq!(chosen(Bounds { on_host: false, runs: 1, ..free }), (1, 8));
    }

    #[test]
    fn every_task_is_done_once_on_threads_of_its_own() {
        let tasks: Vec<usize> = (0..57).collect();
        let mut heard = vec![];
        let work = |i: usize, task: &usize, to: &Sender<(usize, usize, usize)>| {
            to.send((i, *task, rayon::current_num_threads())).unwrap();
        };
        Places { jobs: 3, threads: 2 }.work(&tasks, work, |message| heard.push(message)).unwrap();
        heard.sort();
        assert_eq!(heard, (0..57).map(|i| (i, i, 2)).collect::<Vec<_>>());
    }
}
