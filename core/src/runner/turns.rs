//! Whose turn it is among many jobs: no I/O, no time, so that it can be tested exhaustively.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What a job needs for itself while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Needs {
    pub(super) source: String,
    pub(super) destination: String,
    /// Tables that nobody else may load into meanwhile.
    pub(super) targets: BTreeSet<String>,
}

impl Needs {
    /// The connections; one only if the job reads from where it loads into.
    fn connections(&self) -> BTreeSet<&str> {
        BTreeSet::from([self.source.as_str(), self.destination.as_str()])
    }
}

/// The jobs that wait and those that run.
///
/// Source connections take turns, so that many jobs of one source do not hold up the few of another; jobs of
/// one source begin in the order in which they were given, as far as what they need is free.
#[derive(Debug)]
pub(super) struct Turns {
    jobs: Vec<Needs>,
    /// Jobs that wait, by source, in the order of their turns.
    waiting: VecDeque<(String, VecDeque<usize>)>,
    running: BTreeSet<usize>,
    most: usize,
    most_of: BTreeMap<String, usize>,
}

impl Turns {
    /// `most` jobs at once, and of each connection as many as `most_of` says.
    pub(super) fn new(jobs: Vec<Option<Needs>>, most: usize, most_of: impl Fn(&str) -> usize) -> Self {
        let mut waiting: VecDeque<(String, VecDeque<usize>)> = VecDeque::new();
        let mut limits = BTreeMap::new();
        let mut all = Vec::with_capacity(jobs.len());
        for (index, job) in jobs.into_iter().enumerate() {
            let wanted = job.is_some();
            let needs = job.unwrap_or_else(|| Needs {
                source: String::new(),
                destination: String::new(),
                targets: BTreeSet::new(),
            });
            if wanted {
                match waiting.iter_mut().find(|(source, _)| *source == needs.source) {
                    Some((_, queue)) => queue.push_back(index),
                    None => waiting.push_back((needs.source.clone(), VecDeque::from([index]))),
                }
                for name in needs.connections() {
                    limits.entry(name.to_owned()).or_insert_with(|| most_of(name).max(1));
                }
            }
            all.push(needs);
        }
        Self { jobs: all, waiting, running: BTreeSet::new(), most: most.max(1), most_of: limits }
    }

    /// The job to begin now, if one can begin. It runs until [`Self::done`].
    pub(super) fn next(&mut self) -> Option<usize> {
        if self.running.len() >= self.most {
            return None;
        }
        for turn in 0..self.waiting.len() {
            let (_, queue) = self.waiting.get(turn)?;
            let Some(place) = queue.iter().position(|job| self.can_begin(*job)) else { continue };
            let (source, mut queue) = self.waiting.remove(turn)?;
            let job = queue.remove(place)?;
            if !queue.is_empty() {
                self.waiting.push_back((source, queue));
            }
            self.running.insert(job);
            return Some(job);
        }
        None
    }

    /// A job has ended, however.
    pub(super) fn done(&mut self, job: usize) {
        self.running.remove(&job);
    }

    /// Jobs that can run at once at most, by number and not by what they need.
    pub(super) fn width(&self) -> usize {
        let waiting: usize = self.waiting.iter().map(|(_, queue)| queue.len()).sum();
        self.most.min(waiting + self.running.len())
    }

    /// Gives up the jobs that wait.
    pub(super) fn give_up(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.waiting).into_iter().flat_map(|(_, queue)| queue).collect()
    }

    fn running(&self) -> impl Iterator<Item = &Needs> {
        self.running.iter().filter_map(|job| self.jobs.get(*job))
    }

    fn can_begin(&self, job: usize) -> bool {
        let Some(needs) = self.jobs.get(job) else { return false };
        let room = |name: &str| {
            let busy = self.running().filter(|other| other.connections().contains(name)).count();
            busy < self.most_of.get(name).copied().unwrap_or(1)
        };
        needs.connections().into_iter().all(room)
            && self.running().all(|other| other.targets.is_disjoint(&needs.targets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn needs(source: &str, destination: &str, target: &str) -> Option<Needs> {
        Some(Needs {
            source: source.to_owned(),
            destination: destination.to_owned(),
            targets: BTreeSet::from([target.to_owned()]),
        })
    }

    /// Everything that can begin now.
    fn begin(turns: &mut Turns) -> Vec<usize> {
        std::iter::from_fn(|| turns.next()).collect()
    }

    #[test]
    fn sources_take_turns() {
        let job = |source: &str, number: usize| needs(source, "lake", &number.to_string());
        let jobs = vec![job("a", 0), job("a", 1), job("a", 2), job("b", 3), None, job("c", 5), job("b", 6)];
        let mut turns = Turns::new(jobs, 1, |_| 9);
        let mut order = Vec::new();
        while let Some(job) = turns.next() {
            assert_eq!(turns.next(), None);
            order.push(job);
            turns.done(job);
        }
        assert_eq!(order, [0, 3, 5, 1, 6, 2]);
    }

    #[test]
    fn a_busy_connection_or_table_holds_up_nobody_else() {
        let jobs = vec![
            needs("a", "lake", "t"),
            needs("a", "lake", "t"),
            needs("a", "lake", "u"),
            needs("a", "lake", "v"),
            needs("b", "sea", "other t"),
            needs("c", "lake", "w"),
        ];
        let most_of = |name: &str| if name == "a" { 2 } else { 3 };
        let mut turns = Turns::new(jobs, 4, most_of);
        assert_eq!(turns.width(), 4);
        // The second job of `a` loads the table of the first; the third source would be the fourth in `lake`.
        assert_eq!(begin(&mut turns), [0, 4, 5, 2]);
        turns.done(4);
        assert_eq!(begin(&mut turns), [] as [usize; 0]);
        turns.done(0);
        assert_eq!(begin(&mut turns), [1]);
        turns.done(5);
        assert_eq!(begin(&mut turns), [] as [usize; 0]);
        assert_eq!(turns.give_up(), [3]);
        assert_eq!(begin(&mut turns), [] as [usize; 0]);
    }

    proptest! {
        /// Whatever the jobs and whenever they end: limits hold, no table is loaded twice at once, and every job
        /// runs exactly once.
        #[test]
        fn every_job_runs_once_within_the_limits(
            jobs in prop::collection::vec((0..4_u8, 0..3_u8, 0..5_u8, any::<bool>()), 1..30),
            most in 1..5_usize,
            of_each in 1..4_usize,
            ends in prop::collection::vec(any::<prop::sample::Index>(), 30),
        ) {
            let wanted: Vec<_> = jobs.iter().map(|(source, destination, table, enabled)| {
                enabled.then(|| needs(&format!("s{source}"), &format!("d{destination}"), &format!("{destination}.{table}"))).flatten()
            }).collect();
            let mut turns = Turns::new(wanted.clone(), most, |_| of_each);
            let (mut running, mut ran) = (Vec::new(), Vec::new());
            for end in ends.iter().chain(std::iter::repeat_n(&ends[0], 1)) {
                running.extend(begin(&mut turns));
                prop_assert!(running.len() <= most);
                let mut busy: BTreeMap<String, usize> = BTreeMap::new();
                let mut targets = BTreeSet::new();
                for job in &running {
                    let needs: &Needs = wanted[*job].as_ref().unwrap();
                    *busy.entry(needs.source.clone()).or_default() += 1;
                    *busy.entry(needs.destination.clone()).or_default() += 1;
                    prop_assert!(needs.targets.iter().all(|target| targets.insert(target.clone())));
                }
                prop_assert!(busy.values().all(|jobs| *jobs <= of_each));
                if running.is_empty() { break; }
                let job = running.swap_remove(end.index(running.len()));
                turns.done(job);
                ran.push(job);
            }
            ran.sort_unstable();
            let expected: Vec<_> = (0..wanted.len()).filter(|job| wanted[*job].is_some()).collect();
            prop_assert_eq!(ran, expected);
        }
    }
}
