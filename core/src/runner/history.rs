//! What the destination remembers of a job, and whether the job is still the one that was loaded.

use crate::connector::{Destination, LoadRecord};
use crate::error::{Error, Result};
use crate::job::{EtlJob, LoadStrategy};

/// The load that this run continues, if any.
///
/// # Errors
/// `config` if the newest load under the job's name was made with another source, strategy, cursor or key.
pub(super) async fn last_load(destination: &dyn Destination, job: &EtlJob) -> Result<Option<LoadRecord>> {
    continued(job, destination.last_loads(&job.target(), job.name()).await?)
}

/// `loads`: the newest load of every identity that had the job's name.
fn continued(job: &EtlJob, loads: Vec<LoadRecord>) -> Result<Option<LoadRecord>> {
    let (others, loads): (Vec<_>, Vec<_>) = loads.into_iter().partition(|load| is_other_shard(job, load));
    // Every load counts on from the newest one of its name, so the highest number is the newest.
    let newest = loads
        .into_iter()
        .max_by(|a, b| a.sequence.cmp(&b.sequence).then_with(|| a.committed_at.cmp(&b.committed_at)));
    let Some(newest) = newest else {
        // All shards have the types that the first one found.
        let pinned = others.into_iter().map(|other| other.pinned).max_by_key(|pinned| pinned.len());
        return Ok(pinned.map(|pinned| LoadRecord { pinned, ..LoadRecord::default() }));
    };
    if newest.job == job.identity() {
        return Ok(Some(newest));
    }
    if !job.restarts() && !matches!(job.strategy(), LoadStrategy::Replace { .. }) {
        return Err(changed(job, &newest));
    }
    // Nothing of the earlier job holds for this one but the types of the table and the count of its loads.
    Ok(Some(LoadRecord {
        load_id: newest.load_id,
        sequence: newest.sequence,
        pinned: newest.pinned,
        ..LoadRecord::default()
    }))
}

/// Whether a load is another shard's of the same job, cut in the same way: it has a watermark of its own.
fn is_other_shard(job: &EtlJob, load: &LoadRecord) -> bool {
    let strategy = job.strategy();
    job.shard().is_some()
        && load.job != job.identity()
        && load.shard_at == job.shard_at()
        && load.strategy == strategy.as_str()
        && load.cursor.as_deref() == strategy.cursor()
        && load.source == source_of(job)
}

fn changed(job: &EtlJob, newest: &LoadRecord) -> Error {
    let mut changes = Vec::new();
    let mut compare = |what: &str, was: &str, is: &str| {
        if was != is {
            let named = |text: &str| if text.is_empty() { "none".to_owned() } else { format!("`{text}`") };
            changes.push(format!("{what} was {} and is {}", named(was), named(is)));
        }
    };
    let strategy = job.strategy();
    compare("strategy", &newest.strategy, strategy.as_str());
    compare("cursor", newest.cursor.as_deref().unwrap_or_default(), strategy.cursor().unwrap_or_default());
    compare("shard_at", &newest.shard_at.join(", "), &job.shard_at().join(", "));
    // Records of before they kept source and key tell nothing of them.
    if !newest.source.is_empty() {
        compare("source", &newest.source, &source_of(job));
        compare("key", &newest.key.join(", "), &strategy.key().join(", "));
    }
    if changes.is_empty() {
        changes.push("source or key is another".to_owned());
    }
    Error::config(format!(
        "job `{}` has loaded {} before as another job: {}; nothing was loaded, since its rows would come a second \
         time",
        job.name(),
        job.target(),
        changes.join(", ")
    ))
    .with("last_load", &newest.load_id)
    .with("committed_at", &newest.committed_at)
    .hint(
        "give the changed job a new name and a new table, or undo the change; if the rows that are there may be loaded \
         again (by `append` into an emptied table), set `load.restart` to true",
    )
}

/// The source of a job, as load records keep it.
pub(super) fn source_of(job: &EtlJob) -> String {
    format!("{}: {}", job.source_connection(), job.source_table())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::job::EtlJobBuilder;
    use crate::schema::CursorValue;

    fn job() -> EtlJobBuilder {
        EtlJob::builder("orders").from("shop", "public.orders").into("lake", "raw", "orders")
    }

    fn record(job: &EtlJob, sequence: u64) -> LoadRecord {
        LoadRecord {
            load_id: format!("{sequence:06}"),
            job: job.identity(),
            sequence,
            strategy: job.strategy().as_str().to_owned(),
            cursor: job.strategy().cursor().map(str::to_owned),
            key: job.strategy().key().to_vec(),
            source: source_of(job),
            watermark: Some(CursorValue::Int(7)),
            ..LoadRecord::default()
        }
    }

    #[test]
    fn a_changed_job_is_told_what_changed() {
        let by_id = job().append("id").build().unwrap();
        let merge = job().merge(["id"], Some("at")).build().unwrap();
        let other_key = job().merge(["id", "line"], Some("at")).build().unwrap();
        let moved = job().from("shop", "public.orders_2").append("id").build().unwrap();
        for (was, is, says) in [
            (&by_id, job().append("at").build().unwrap(), "cursor was `id` and is `at`"),
            (&by_id, merge.clone(), "strategy was `append` and is `merge`"),
            (&merge, other_key, "key was `id` and is `id, line`"),
            (&merge, job().merge(["id"], None).build().unwrap(), "cursor was `at` and is none"),
            (&by_id, moved, "source was `shop: public.orders` and is `shop: public.orders_2`"),
        ] {
            let error = continued(&is, vec![record(was, 3)]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.message().contains(says), "{error}");
            assert!(error.hint_text().unwrap().contains("load.restart"), "{error:?}");
        }
    }

    #[test]
    fn shards_do_not_count_for_each_other() {
        let cut =
            |at: &[&str]| job().append("id").shard_at(at.iter().copied()).build().unwrap().shards().unwrap();
        let of = |shard: &EtlJob, sequence| LoadRecord {
            shard_at: shard.shard_at().to_vec(),
            pinned: [("a".to_owned(), crate::schema::ColumnOverride::default())].into(),
            ..record(shard, sequence)
        };
        let shards = cut(&["10", "20"]);
        let loads = || vec![of(&shards[0], 4), of(&shards[2], 1)];
        assert_eq!(continued(&shards[0], loads()).unwrap(), Some(of(&shards[0], 4)));
        // One that has not loaded begins at its beginning, with the types that are known.
        let first = continued(&shards[1], loads()).unwrap().unwrap();
        assert_eq!((first.sequence, first.watermark, first.pinned.len()), (0, None, 1));
        // Cut in another way, or not at all, rows would come a second time.
        for other in [&cut(&["10", "21"])[1], &cut(&["10"])[0], &job().append("id").build().unwrap()] {
            let error = continued(other, loads()).unwrap_err();
            assert!(error.message().contains("shard_at was `10, 20` and is"), "{error}");
        }
        let before = vec![record(&job().append("id").build().unwrap(), 7)];
        assert!(continued(&shards[1], before).unwrap_err().message().contains("shard_at was none and is"));
    }

    #[test]
    fn the_newest_load_decides() {
        let (old, new) = (job().append("id").build().unwrap(), job().append("at").build().unwrap());
        let loads = || vec![record(&old, 3), record(&new, 4)];
        assert_eq!(continued(&new, loads()).unwrap(), Some(record(&new, 4)));
        // Back to what it was: the rows that the other one loaded meanwhile would come again.
        assert_eq!(continued(&old, loads()).unwrap_err().kind(), ErrorKind::Config);
        assert_eq!(continued(&old, Vec::new()).unwrap(), None);
    }

    #[test]
    fn a_restart_keeps_the_count_and_nothing_else() {
        let old = job().append("id").build().unwrap();
        let mut document = job().append("at").build().unwrap().to_json().unwrap();
        document["load"]["restart"] = true.into();
        let new = EtlJob::from_json(document).unwrap();
        let last = continued(&new, vec![record(&old, 3)]).unwrap().unwrap();
        assert_eq!((last.sequence, last.watermark.clone(), last.load_id.as_str()), (3, None, "000003"));
        // `replace` holds one snapshot whatever was there.
        let replace = job().replace().build().unwrap();
        assert_eq!(continued(&replace, vec![record(&old, 3)]).unwrap().unwrap().sequence, 3);
    }
}
