#![doc = include_str!("../README.md")]

pub mod arrow;
pub mod cases;
pub mod cell;
pub mod check;
mod connection;
mod destination;
pub mod fault;
pub mod fixture;
pub mod gcs;
pub mod generate;
pub mod http;
pub mod mariadb;
pub mod port;
pub mod proxy;
mod runner;
pub mod secret_manager;
mod source;
pub mod suite;
pub mod table;
pub mod wait;

pub use cell::{Cell, Float, Form, Row};
pub use fixture::{
    DestinationFacts, DestinationFixture, Done, Failure, MemoryFixture, SourceFacts, SourceFixture, Subject,
    need_env,
};
pub use suite::{Case, Ctx, Pair, cases_of, pair_cases, run, run_cases};
pub use table::{Kind, TestColumn, TestTable, same_rows, target, target_forms};
