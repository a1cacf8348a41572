//! How fast a file is read into Arrow: `throughput PATH [splits]`. Options follow the path as in a URL.

use std::time::Instant;

use futures::StreamExt as _;
use transload_core::connector::ReadPlan;
use transload_core::{Connection, Registry, Result};
use transload_files::Files;

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().unwrap_or_default();
    let parallelism = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(1);
    let source = Registry::new().with(Files).source(&Connection::from_url(&format!("files:{path}"))?).await?;
    for info in source.tables(None).await? {
        let started = Instant::now();
        let session = source.begin(&info.table).await?;
        let splits = session.splits(&ReadPlan { parallelism, ..ReadPlan::default() }).await?;
        let mut streams = futures::stream::SelectAll::new();
        for split in &splits {
            streams.push(session.read(split).await?);
        }
        let mut rows = 0;
        while let Some(batch) = streams.next().await {
            rows += batch?.num_rows();
        }
        let (seconds, bytes) = (started.elapsed().as_secs_f64(), info.bytes.unwrap_or_default());
        println!("{}: {rows} rows in {seconds:.2} s, {:.0} MB/s", info.table, bytes as f64 / seconds / 1e6);
    }
    Ok(())
}
