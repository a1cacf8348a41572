//! Proof: what the Parquet dataset holds equals what the sources hold.

use std::path::Path;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Decimal128Type, Int64Type};
use arrow_array::{Array as _, RecordBatch};
use futures::StreamExt as _;
use transload::connector::ReadPlan;
use transload::schema::TableRef;
use transload::{Connection, default_registry};

use super::Outcome;
use super::shop::{Shop, money};

/// Rows, pieces and cents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Totals {
    rows: i64,
    cds: i64,
    cents: i64,
}

pub(super) async fn prove_equal(lake: &Path, shop: &Shop, since: &str) -> Outcome<()> {
    let purchases = shop.purchases()?;
    let in_text = Totals {
        rows: i64::try_from(purchases.len())?,
        cds: purchases.iter().map(|p| p.cds).sum(),
        cents: purchases.iter().map(|p| p.cents).sum(),
    };
    compare("purchases", in_text, totals(lake, "purchases", "number_of_cds", "dollar_value").await?)?;

    let database = rusqlite::Connection::open(shop.database())?;
    let ask = |sql: &str| {
        database
            .query_row(sql, [], |row| Ok(Totals { rows: row.get(0)?, cds: row.get(1)?, cents: row.get(2)? }))
    };
    let orders = ask(&format!(
        "SELECT count(*), sum(cds), sum(CAST(round(amount * 100) AS INTEGER)) FROM orders WHERE ordered_on >= '{since}'"
    ))?;
    compare("orders", orders, totals(lake, "orders", "cds", "amount").await?)?;
    let customers =
        ask("SELECT count(*), sum(orders), sum(CAST(round(spent * 100) AS INTEGER)) FROM customers")?;
    compare("customers", customers, totals(lake, "customers", "orders", "spent").await?)
}

#[expect(clippy::print_stdout, reason = "this program talks to a person")]
fn compare(table: &str, source: Totals, target: Totals) -> Outcome<()> {
    if source != target {
        return Err(format!("{table}: the source has {source:?}, the dataset has {target:?}").into());
    }
    println!(
        "proof: {table:<10} source = dataset: {} rows, {} pieces, {} dollars",
        target.rows,
        target.cds,
        money(target.cents)
    );
    Ok(())
}

async fn totals(lake: &Path, table: &str, pieces: &str, amount: &str) -> Outcome<Totals> {
    let files = Connection::new("check", "files").option("path", lake.to_string_lossy().into_owned());
    let table = TableRef::unqualified(format!("raw/{table}/**/*.parquet"));
    let plan = ReadPlan { columns: vec![pieces.to_owned(), amount.to_owned()], ..ReadPlan::default() };
    let mut batches = default_registry().read(&files, &table, &plan).await?.into_batches();
    let mut totals = Totals::default();
    while let Some(batch) = batches.next().await {
        add(&mut totals, &batch?)?;
    }
    Ok(totals)
}

fn add(totals: &mut Totals, batch: &RecordBatch) -> Outcome<()> {
    let (pieces, amounts) = (batch.column(0), batch.column(1));
    if pieces.null_count() + amounts.null_count() > 0 {
        return Err("the dataset holds NULL where the source does not".into());
    }
    totals.rows += i64::try_from(batch.num_rows())?;
    totals.cds += pieces.as_primitive::<Int64Type>().values().iter().sum::<i64>();
    let scale = match amounts.data_type() {
        arrow_schema::DataType::Decimal128(_, scale) => u32::try_from(*scale)?,
        other => return Err(format!("amounts are {other}, not decimal").into()),
    };
    let unscaled: i128 = amounts.as_primitive::<Decimal128Type>().values().iter().sum();
    // From the column's scale to cents; exact because the source has two decimals.
    let divisor = 10_i128.pow(scale.saturating_sub(2));
    totals.cents += i64::try_from(unscaled / divisor)?;
    Ok(())
}
