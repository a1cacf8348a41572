//! One snapshot for several connections.
//!
//! SQL Server cannot hand a snapshot on, and says of none which moment it is of. But a shared lock of a table is had
//! only when nobody has written to it without committing, and while it is held nobody writes: snapshots that begin
//! meanwhile see one state of the table.

use futures::future::{join_all, try_join_all};
use transload_core::Result;

use crate::catalog::touch_sql;
use crate::config::Isolation;
use crate::connect::{Connect, Opened, Server};

/// How a transaction of a session begins.
pub(crate) const BEGIN: &str = "BEGIN TRANSACTION";

/// How it ends: there is nothing to commit.
pub(crate) const END: &str = "IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION";

/// Further connections with the snapshot of `own`, which begins a new one for it. None if there is no way.
pub(crate) async fn share(
    connect: &Connect,
    server: &Server,
    own: &mut Opened,
    quoted: &str,
    count: usize,
) -> Result<Vec<Opened>> {
    let settings = connect.settings(server, Isolation::Snapshot);
    let opening = (1..count).map(|_| async {
        let mut opened = connect.open().await?;
        opened.channel.query(&settings).await?;
        Ok::<_, transload_core::Error>(opened)
    });
    let mut others: Vec<Opened> = match try_join_all(opening).await {
        Ok(opened) => opened,
        // A server or user with few connections to spare is read over one.
        Err(error) => {
            tracing::info!(%error, "a table is read over one connection");
            return Ok(Vec::new());
        }
    };
    match by_lock(connect, server, own, &mut others, quoted).await {
        Ok(()) => Ok(others),
        Err(error) => {
            tracing::info!(%error, "a table is read over one connection, since it cannot be locked for a moment");
            own.channel.query(&format!("{END}; {BEGIN}; {}", touch_sql(quoted))).await?;
            Ok(Vec::new())
        }
    }
}

/// All connections begin while a further one keeps the table from being written to.
async fn by_lock(
    connect: &Connect,
    server: &Server,
    own: &mut Opened,
    others: &mut [Opened],
    quoted: &str,
) -> Result<()> {
    let mut locker = connect.open().await?;
    let wait = u64::from(connect.options().snapshot_lock_timeout).saturating_mul(1000);
    let settings = connect.settings(server, Isolation::ReadCommitted);
    // A row must be read, or nothing is locked.
    let lock = format!(
        "{settings}; SET LOCK_TIMEOUT {wait}; {BEGIN}; SELECT COUNT(*) AS locked FROM \
         (SELECT TOP (1) 1 AS one FROM {quoted} WITH (TABLOCK, HOLDLOCK)) AS x"
    );
    locker.channel.query(&lock).await?;
    let begin = format!("{END}; {BEGIN}; {}", touch_sql(quoted));
    let all = std::iter::once(own).chain(others.iter_mut());
    // All are waited for: an answer that nobody takes would cost its connection.
    let begun = join_all(all.map(|opened| opened.channel.query(&begin))).await;
    let begun = begun.into_iter().collect::<Result<Vec<_>>>();
    // Dropping the connection would do the same, but not at once.
    let unlocked = locker.channel.query(END).await;
    begun.and(unlocked).map(|_| ())
}
