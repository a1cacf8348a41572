//! One snapshot for several connections.
//!
//! A snapshot cannot be joined later, as PostgreSQL's can: connections that are to share one must all begin while
//! nothing is committed, or nothing that concerns the table. There are two ways to know that.

use futures::future::{join_all, try_join_all};
use transload_core::Result;

use crate::channel::Answer;
use crate::config::SharedSnapshot;
use crate::connect::{Connect, Opened};
use crate::protocol::Flavour;

/// How a transaction begins: it reads one snapshot, and writes nothing.
pub(crate) const BEGIN: &str = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";

/// What tells where in the binary log a snapshot of MariaDB stands.
const POSITION: &str = "SHOW STATUS LIKE 'binlog_snapshot_%'";

/// How often all connections begin together before somebody else's commit between them is taken for the rule.
const TRIES: usize = 5;

/// Further connections with the snapshot of `own`, which begins a new one for it. None if there is no way.
pub(crate) async fn share(
    connect: &Connect,
    own: &mut Opened,
    quoted: &str,
    count: usize,
) -> Result<Vec<Opened>> {
    let wanted = connect.options().shared_snapshot;
    let opened = try_join_all((1..count).map(|_| connect.ask("DO 0"))).await;
    let mut others: Vec<Opened> = match opened {
        Ok(opened) => opened.into_iter().map(|(opened, _)| opened).collect(),
        // A server or user with few connections to spare is read over one.
        Err(error) => {
            tracing::info!(%error, "a table is read over one connection");
            return Ok(Vec::new());
        }
    };
    if matches!(wanted, SharedSnapshot::Auto | SharedSnapshot::Binlog) {
        match by_position(own, &mut others).await {
            Ok(true) => return Ok(others),
            Ok(false) => {}
            // One of the others may have broken.
            Err(error) if !own.channel.is_lost() => {
                tracing::info!(%error, "the positions of snapshots in the binary log cannot be compared");
            }
            Err(error) => return Err(error),
        }
    }
    if matches!(wanted, SharedSnapshot::Auto | SharedSnapshot::Lock) {
        match by_lock(connect, own, &mut others, quoted).await {
            Ok(()) => return Ok(others),
            Err(error) => {
                tracing::info!(%error, "a table is read over one connection, since it cannot be locked for a moment");
            }
        }
    }
    own.channel.query(BEGIN).await?;
    Ok(Vec::new())
}

/// All connections begin, and say where in the binary log their snapshots stand. Sound where every change of the server
/// is in its log, those that it got from its primary too; who switches the log off for a session of his own
/// (`sql_log_bin`) hides from it.
async fn by_position(own: &mut Opened, others: &mut [Opened]) -> Result<bool> {
    if own.flavour != Flavour::Mariadb {
        return Ok(false);
    }
    let sound = own.channel.query("SELECT @@GLOBAL.log_bin AND @@GLOBAL.log_slave_updates").await?;
    if first_cell(&sound) != Some("1") {
        return Ok(false);
    }
    for _ in 0..TRIES {
        let begin = format!("{BEGIN}; {POSITION}");
        let all = std::iter::once(&mut *own).chain(others.iter_mut());
        // All are waited for: an answer that nobody takes would cost its connection.
        let positions = join_all(all.map(|opened| opened.channel.query(&begin))).await;
        let positions: Vec<_> = positions.into_iter().collect::<Result<_>>()?;
        let mut rows = positions.iter().map(|answers| answers.last().map(|answer| &answer.rows));
        let first = rows.next().flatten();
        if first.is_some_and(|first| first.len() >= 2) && rows.all(|rows| rows == first) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// All connections begin while a further one keeps the table from being written to. The lock waits for transactions
/// that have written to the table, so that none is half in.
async fn by_lock(connect: &Connect, own: &mut Opened, others: &mut [Opened], quoted: &str) -> Result<()> {
    let mut locker = connect.open().await?;
    let wait = connect.options().lock_timeout;
    let lock = format!("SET SESSION lock_wait_timeout = {wait}; LOCK TABLES {quoted} READ");
    locker.channel.query(&lock).await?;
    let all = std::iter::once(own).chain(others.iter_mut());
    let begun = join_all(all.map(|opened| opened.channel.query(BEGIN))).await;
    let begun = begun.into_iter().collect::<Result<Vec<_>>>();
    // Dropping the connection would do the same, but not at once.
    let unlocked = locker.channel.query("UNLOCK TABLES").await;
    locker.channel.quit().await;
    begun.and(unlocked).map(|_| ())
}

fn first_cell(answers: &[Answer]) -> Option<&str> {
    answers.last()?.rows.first()?.first()?.as_deref()
}
