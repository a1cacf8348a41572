#![doc = include_str!("../README.md")]

mod answer;
mod client;
mod contract;
mod jobs;
mod openapi;
mod options;
mod run;
mod spool;
mod token;

pub use client::ControlPlane;
pub use contract::{ProgressDocument, RunEndDocument, TaskDocument};
pub use jobs::{AssignedJob, JobSet};
pub use openapi::openapi;
pub use options::ControlPlaneOptions;
pub use run::{Delivery, Run};
pub use spool::SpoolOutcome;
