//! Which jobs this task runs.

use std::path::Path;

use serde_json::Value;
use transload::control_plane::{AssignedJob, ControlPlane, JobSet, TaskDocument};
use transload::{Connection, Error, EtlJob, Registry, Result, Runner};

use crate::config::Choice;

/// A job under the name that its owner knows it by.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) id: String,
    /// Or what is wrong with it.
    pub(crate) job: Result<EtlJob>,
}

/// The jobs of a control plane, with a runner that knows their connections.
pub(crate) async fn of_control_plane(
    control: &ControlPlane,
    choice: &Choice,
    registry: Registry,
) -> Result<(Runner, Vec<Work>)> {
    let set: JobSet = match choice {
        Choice::All => control.enabled_jobs().await?,
        Choice::Ids(ids) => match ids.as_slice() {
            [one] => control.job(one).await?,
            several => control.jobs(several).await?,
        },
    };
    for error in &set.wrong_connections {
        tracing::warn!(error = %error.to_json(), "a connection cannot be used: {error}");
    }
    let runner = set.runner(registry);
    let named = matches!(choice, Choice::Ids(_));
    let work = set.jobs.into_iter().map(|AssignedJob { id, job, .. }| {
        let job = if named { job.and_then(enabled) } else { job };
        Work { id, job }
    });
    Ok((runner, work.collect()))
}

/// Who names a job wants it to run.
fn enabled(job: EtlJob) -> Result<EtlJob> {
    if job.is_enabled() {
        return Ok(job);
    }
    let mut document = job.to_json()?;
    document["enabled"] = true.into();
    EtlJob::from_json(document)
}

/// The jobs of a file, which are known by their names. All of it is checked before anything runs.
pub(crate) fn of_file(path: &Path, choice: &Choice, registry: Registry) -> Result<(Runner, Vec<Work>)> {
    let at = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error::config(format!("{at} cannot be read")).source_error(error))?;
    let mut file: Value = serde_json::from_str(&text)
        .map_err(|error| Error::config(format!("{at} is not valid JSON")).source_error(error))?;
    let mut part = |name: &str| match file.get_mut(name).map(Value::take) {
        Some(Value::Array(items)) => Ok(items),
        _ => Err(Error::config(format!("{at}: `{name}` is not a list"))
            .hint("write {\"connections\": [...], \"jobs\": [...]}")),
    };
    let (connections, jobs) = (part("connections")?, part("jobs")?);
    let mut runner = Runner::new(registry);
    for document in connections {
        let connection = Connection::from_json(document)?;
        runner.registry().validate(&connection)?;
        runner = runner.connection(connection);
    }
    let mut work: Vec<Work> = Vec::new();
    for document in jobs {
        let job = EtlJob::from_json(document)?;
        runner.connection_named(job.source_connection())?;
        runner.connection_named(job.destination_connection())?;
        if work.iter().any(|known| known.id == job.name()) {
            return Err(Error::config(format!("{at}: two jobs have the name `{}`", job.name())));
        }
        work.push(Work { id: job.name().to_owned(), job: Ok(job) });
    }
    let jobs = work.into_iter();
    let work = match choice {
        Choice::All => jobs.filter(|work| work.job.as_ref().is_ok_and(EtlJob::is_enabled)).collect(),
        Choice::Ids(ids) => {
            let chosen = jobs.filter(|work| ids.contains(&work.id));
            let chosen: Vec<_> =
                chosen.map(|Work { id, job }| Work { id, job: job.and_then(enabled) }).collect();
            if let Some(missing) = ids.iter().find(|id| !chosen.iter().any(|work| work.id == **id)) {
                return Err(Error::config(format!("{at}: no job has the name `{missing}`")));
            }
            chosen
        }
    };
    Ok((runner, work))
}

/// The jobs of this task, and of jobs that are cut the shards of this task. A job belongs to the same task as long as
/// their number stays, whatever other jobs there are; its shards belong to the tasks from there on, one each. Gives how many
/// there are for all tasks, too.
pub(crate) fn share(work: Vec<Work>, task: &TaskDocument) -> (Vec<Work>, usize) {
    let (mut own, mut all) = (Vec::new(), 0);
    for Work { id, job } in work {
        let first = task_of(&id, task.count);
        let shards: Vec<Result<EtlJob>> = match job.as_ref().map(EtlJob::shards) {
            Ok(Ok(shards)) => shards.into_iter().map(Ok).collect(),
            Ok(Err(error)) => vec![Err(error)],
            Err(_) => vec![job],
        };
        all += shards.len();
        let tasks = (first..task.count.max(1)).chain(0..first).cycle();
        let mine = tasks.zip(shards).filter(|(owner, _)| *owner == task.index);
        own.extend(mine.map(|(_, job)| Work { id: id.clone(), job }));
    }
    (own, all)
}

fn task_of(id: &str, count: u32) -> u32 {
    let hash = blake3::hash(id.as_bytes());
    let [a, b, c, d, ..] = *hash.as_bytes();
    u32::from_be_bytes([a, b, c, d]) % count.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Another release must not move jobs between tasks that run at the same time.
    #[test]
    fn the_hash_never_changes() {
        let tasks: Vec<_> = ["1", "2", "3", "daily_orders", ""].map(|id| task_of(id, 7)).into();
        assert_eq!(tasks, [3, 0, 0, 1, 4]);
    }

    #[test]
    fn shards_are_spread_over_the_tasks() {
        let job = |name: &str, cuts: &[&str]| {
            let job = EtlJob::builder(name).from("a", "t").into("b", "d", "t").append("id");
            Work { id: name.to_owned(), job: job.shard_at(cuts.iter().copied()).build() }
        };
        let shards_of = |index| {
            let task = TaskDocument { index, count: 3, ..TaskDocument::default() };
            let (work, all) = share(vec![job("whole", &[]), job("cut", &["1", "2", "3", "4"])], &task);
            assert_eq!(all, 6);
            work.iter()
                .filter(|work| work.id == "cut")
                .map(|w| w.job.as_ref().unwrap().shard().unwrap().index)
                .collect()
        };
        let mut all: Vec<Vec<usize>> = (0..3).map(shards_of).collect();
        assert!(all.iter().all(|shards| (1..=2).contains(&shards.len())), "{all:?}");
        all.sort();
        assert_eq!(all, [vec![0, 3], vec![1, 4], vec![2]]);
        let whole = (0..3).map(|index| TaskDocument { index, count: 3, ..TaskDocument::default() });
        let whole: usize = whole.map(|task| share(vec![job("whole", &[])], &task).0.len()).sum();
        assert_eq!(whole, 1);
    }

    #[test]
    fn tasks_get_about_as_many_jobs() {
        let mut counts = [0_u32; 4];
        for id in 0..4000 {
            counts[task_of(&id.to_string(), 4) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (900..1100).contains(count)), "{counts:?}");
    }
}
