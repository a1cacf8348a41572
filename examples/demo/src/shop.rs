//! The source: the CDNOW text file, and a SQLite database made from it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};

use super::Outcome;

/// Name of the text file, which is also the name of its table.
pub(super) const TEXT_FILE: &str = "cdnow_master.txt";

/// One purchase.
#[derive(Debug, Clone)]
pub(super) struct Purchase {
    pub(super) customer: String,
    pub(super) day: String,
    pub(super) cds: i64,
    pub(super) cents: i64,
}

/// What was added at the source.
pub(super) struct Added {
    pub(super) orders: u64,
    pub(super) new_customers: u64,
}

/// The two sources.
pub(super) struct Shop {
    text_file: PathBuf,
    database: PathBuf,
}

impl Shop {
    pub(super) fn create(folder: &Path, data: &Path) -> Outcome<Self> {
        let shop = Self { text_file: folder.join(TEXT_FILE), database: folder.join("shop.db") };
        fs::copy(data, &shop.text_file)?;
        let mut database = Connection::open(&shop.database)?;
        database.execute_batch(
            "CREATE TABLE customers (
                 customer_id TEXT PRIMARY KEY NOT NULL, first_order_on TEXT NOT NULL,
                 last_order_on TEXT NOT NULL, orders INTEGER NOT NULL, spent DECIMAL(9,2) NOT NULL,
                 repeat_buyer TEXT NOT NULL);
             CREATE TABLE orders (
                 order_id INTEGER PRIMARY KEY, customer_id TEXT NOT NULL REFERENCES customers,
                 ordered_on TEXT NOT NULL, cds INTEGER NOT NULL, amount DECIMAL(9,2) NOT NULL);
             CREATE INDEX orders_by_day ON orders (ordered_on);
             CREATE INDEX customers_by_day ON customers (last_order_on);",
        )?;
        insert(&mut database, &shop.purchases()?)?;
        Ok(shop)
    }

    pub(super) fn text_file(&self) -> &Path {
        &self.text_file
    }

    pub(super) fn database(&self) -> &Path {
        &self.database
    }

    /// The lines of the text file, read without the engine.
    pub(super) fn purchases(&self) -> Outcome<Vec<Purchase>> {
        let text = fs::read_to_string(&self.text_file)?;
        text.lines().skip(1).filter(|line| !line.trim().is_empty()).map(parse).collect()
    }

    /// Three orders: a late one on the last day that is loaded already, one of a known and one of a new
    /// customer on the next day.
    pub(super) fn add_orders(&mut self) -> Outcome<Added> {
        let new: Vec<Purchase> =
            [("00001", "19980630", 2, 2999), ("00002", "19980701", 1, 1377), ("99001", "19980701", 3, 4100)]
                .into_iter()
                .map(|(customer, day, cds, cents)| Purchase {
                    customer: customer.into(),
                    day: day.into(),
                    cds,
                    cents,
                })
                .collect();
        let mut file = fs::OpenOptions::new().append(true).open(&self.text_file)?;
        for p in &new {
            write!(file, " {} {} {:>2} {:>7}\r\n", p.customer, p.day, p.cds, money(p.cents))?;
        }
        insert(&mut Connection::open(&self.database)?, &new)?;
        Ok(Added { orders: 3, new_customers: 1 })
    }
}

fn parse(line: &str) -> Outcome<Purchase> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [customer, day, cds, dollars] = fields.as_slice() else {
        return Err(format!("not a purchase: {line}").into());
    };
    let cents = dollars.replace('.', "").parse()?;
    Ok(Purchase { customer: (*customer).to_owned(), day: (*day).to_owned(), cds: cds.parse()?, cents })
}

/// Cents as dollars with two decimals.
pub(super) fn money(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

fn insert(database: &mut Connection, purchases: &[Purchase]) -> Outcome<()> {
    let transaction = database.transaction()?;
    {
        let mut by_customer: BTreeMap<&str, Vec<&Purchase>> = BTreeMap::new();
        for purchase in purchases {
            by_customer.entry(&purchase.customer).or_default().push(purchase);
        }
        let mut customer = transaction.prepare(
            "INSERT INTO customers VALUES (?1, ?2, ?3, ?4, ?5, CASE WHEN ?4 > 1 THEN 'Y' ELSE 'N' END)
             ON CONFLICT (customer_id) DO UPDATE SET last_order_on = max(last_order_on, excluded.last_order_on),
                 orders = orders + excluded.orders, spent = round(spent + excluded.spent, 2), repeat_buyer = 'Y'",
        )?;
        for (id, orders) in &by_customer {
            let first = orders.iter().map(|order| &order.day).min();
            let last = orders.iter().map(|order| &order.day).max();
            let cents = orders.iter().map(|order| order.cents).sum();
            customer.execute(params![id, first, last, i64::try_from(orders.len())?, money(cents)])?;
        }
        let mut order = transaction
            .prepare("INSERT INTO orders (customer_id, ordered_on, cds, amount) VALUES (?1, ?2, ?3, ?4)")?;
        for purchase in purchases {
            order.execute(params![purchase.customer, purchase.day, purchase.cds, money(purchase.cents)])?;
        }
    }
    transaction.commit()?;
    Ok(())
}
