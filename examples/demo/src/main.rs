//! The main job without a server and without an account: `make demo`.
//!
//! Source: the CDNOW data set (69,659 real purchases, a fixed-width text file) and a SQLite database that
//! this program makes from it. Destination: a local Parquet dataset. Shows the proposed mappings, runs a
//! `replace`, an `append` with a backfill and a `merge`, runs them again, adds orders at the source, runs
//! again, and proves the result equal to the source.
//!
//! `cargo run --release -p transload-demo [FOLDER]`
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this program talks to a person")]

mod lake;
mod shop;

use std::error::Error;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use shop::Shop;
use transload::schema::{ColumnMapping, Confidence};
use transload::{Connection, EtlJob, Phase, Progress, RunReport, Runner, TableMapping, default_registry};

/// Orders before this day stay behind: the append job begins here.
const BACKFILL_SINCE: &str = "19980101";

type Outcome<T> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let began = Instant::now();
    let folder = match std::env::args().nth(1) {
        Some(folder) => PathBuf::from(folder),
        None => std::env::temp_dir().join(format!("transload-demo-{}", std::process::id())),
    };
    if folder.exists() {
        return Err(format!("{} exists already; name a folder that does not", folder.display()).into());
    }
    std::fs::create_dir_all(&folder)?;
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/cdnow_master.txt");
    let mut shop = Shop::create(&folder, &data)?;
    let lake = folder.join("lake");
    println!("source:      {} and {}", shop.text_file().display(), shop.database().display());
    println!("destination: {}\n", lake.display());

    let runner = Runner::new(default_registry())
        .connection(
            Connection::new("text", "files")
                .option("path", text(shop.text_file()))
                .option("format", "fixed_width"),
        )
        .connection(Connection::new("shop", "sqlite").option("path", text(shop.database())))
        .connection(Connection::new("lake", "dataset").option("path", text(&lake)))
        .on_progress(progress_line());

    let mut jobs = Vec::new();
    for draft in drafts()? {
        let mapping = runner.propose(&draft).await?;
        println!("== proposed mapping of {} ==\n{}", draft.name(), mapping.to_text());
        jobs.push(accept_offers(&draft, &mapping)?);
    }

    println!("== first run ==");
    let first = run_all(&runner, &jobs).await?;
    println!("time to the first result: {:.2} s\n", began.elapsed().as_secs_f64());
    lake::prove_equal(&lake, &shop, BACKFILL_SINCE).await?;

    println!("\n== second run: nothing new ==");
    for report in run_all(&runner, &jobs).await? {
        let new = if report.strategy == "replace" { 0 } else { report.rows.inserted };
        expect_rows(&report, "new", new, 0)?;
    }

    let added = shop.add_orders()?;
    println!(
        "\n== third run: {} orders were added at the source, one of them late on the last day ==",
        added.orders
    );
    for (report, before) in run_all(&runner, &jobs).await?.iter().zip(&first) {
        match report.strategy {
            "replace" => {
                expect_rows(report, "more", report.rows.written - before.rows.written, added.orders)?
            }
            "append" => expect_rows(report, "new", report.rows.inserted, added.orders)?,
            _ => {
                expect_rows(report, "new", report.rows.inserted, added.new_customers)?;
            }
        }
    }
    println!();
    lake::prove_equal(&lake, &shop, BACKFILL_SINCE).await?;
    println!("\nall of it in {:.2} s; the dataset is in {}", began.elapsed().as_secs_f64(), lake.display());
    Ok(())
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The three jobs, before anybody has looked at the proposed mappings.
fn drafts() -> Outcome<[EtlJob; 3]> {
    let purchases = EtlJob::builder("purchases")
        .from_table("text", transload::schema::TableRef::unqualified(shop::TEXT_FILE));
    Ok([
        purchases.into("lake", "raw", "purchases").replace().build()?,
        EtlJob::builder("orders")
            .from("shop", "orders")
            .into("lake", "raw", "orders")
            .append("ordered_on")
            .backfill_since(BACKFILL_SINCE)
            .build()?,
        EtlJob::builder("customers")
            .from("shop", "customers")
            .into("lake", "raw", "customers")
            .merge(["customer_id"], Some("last_order_on"))
            .build()?,
    ])
}

/// What a person does on the mapping page: accept the offers of medium confidence as overrides.
fn accept_offers(draft: &EtlJob, mapping: &TableMapping) -> Outcome<EtlJob> {
    let mut document = draft.to_json()?;
    for column in &mapping.columns {
        let Some(offer) = offer(column) else { continue };
        println!(
            "accepted: {}.{} as {} {}",
            draft.name(),
            column.source_name,
            offer.bigquery_type,
            offer.recipe
        );
        let wanted = &mut document["mapping"]["overrides"][&column.source_name];
        wanted["type"] = offer.bigquery_type.to_string().into();
        if let Some(format) = offer.recipe.format() {
            wanted["format"] = format.into();
        }
    }
    println!();
    Ok(EtlJob::from_json(document)?)
}

fn offer(column: &ColumnMapping) -> Option<&transload::schema::Alternative> {
    let undecided = column.bigquery_type == transload::schema::BigQueryType::String;
    column.alternatives.first().filter(|offer| undecided && offer.confidence >= Confidence::Medium)
}

async fn run_all(runner: &Runner, jobs: &[EtlJob]) -> Outcome<Vec<RunReport>> {
    let mut reports = Vec::new();
    for job in jobs {
        let report = runner.run(job).await.into_result()?;
        println!("{}", report.to_json());
        reports.push(report);
    }
    Ok(reports)
}

fn expect_rows(report: &RunReport, what: &str, found: u64, expected: u64) -> Outcome<()> {
    println!("{}: {found} {what} rows", report.job);
    if found == expected {
        return Ok(());
    }
    Err(format!("{}: expected {expected} {what} rows and found {found}", report.job).into())
}

/// A live line on a terminal, one line a job elsewhere.
fn progress_line() -> impl Fn(&Progress) + Send + Sync + 'static {
    let terminal = std::io::stderr().is_terminal();
    let bar = if terminal { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        bar.set_style(style);
    }
    move |progress: &Progress| {
        let line = format!(
            "{:<10} {:<8} {:>7} rows read {:>7} written {:>6.2} s",
            progress.job,
            progress.phase.as_str(),
            progress.rows_read,
            progress.rows_written,
            progress.seconds
        );
        match (terminal, progress.phase) {
            (true, Phase::Done) => bar.println(line),
            (true, _) => {
                bar.set_message(line);
                bar.tick();
            }
            (false, Phase::Done) => eprintln!("{line}"),
            (false, _) => {}
        }
    }
}
