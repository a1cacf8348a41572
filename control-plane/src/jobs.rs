//! Jobs as a control plane hands them out.

use std::collections::BTreeSet;

use serde_json::Value;
use transload_core::{Connection, Error, EtlJob, Registry, Result, Runner};

use crate::contract::JobsAnswer;

/// A job and the host's own key of it.
#[derive(Debug)]
#[non_exhaustive]
pub struct AssignedJob {
    /// The host's key.
    pub id: String,
    /// The job, or what is wrong with its document. One wrong document does not stop the others.
    pub job: Result<EtlJob>,
}

/// Jobs with the connections that they name.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct JobSet {
    /// The jobs, in the host's order, each id once.
    pub jobs: Vec<AssignedJob>,
    /// Connections by name, each once.
    pub connections: Vec<Connection>,
    /// What is wrong with the other connections; jobs that name them fail.
    pub wrong_connections: Vec<Error>,
}

impl JobSet {
    /// A runner with these connections.
    #[must_use]
    pub fn runner(&self, registry: Registry) -> Runner {
        self.connections.iter().cloned().fold(Runner::new(registry), Runner::connection)
    }

    pub(crate) fn add(&mut self, answer: JobsAnswer) {
        let known: BTreeSet<String> = self.jobs.iter().map(|job| job.id.clone()).collect();
        for entry in answer.jobs {
            if !known.contains(&entry.id) {
                let job = EtlJob::from_json(entry.document).map_err(|error| error.with("job_id", &entry.id));
                self.jobs.push(AssignedJob { id: entry.id, job });
            }
        }
        for document in answer.connections {
            match connection(document) {
                Ok(new) if self.connections.iter().any(|known| known.name() == new.name()) => {}
                Ok(new) => self.connections.push(new),
                Err(error) => self.wrong_connections.push(error),
            }
        }
    }
}

fn connection(document: Value) -> Result<Connection> {
    let name = document.get("name").and_then(Value::as_str).unwrap_or("without a name").to_owned();
    if document.get("password").is_some_and(|password| !password.is_null()) {
        return Err(Error::config("the control plane sent a password instead of a reference to it")
            .with("connection", name)
            .hint("keep it in a secret store and send `credentials`, for example gcp-secret:NAME"));
    }
    Connection::from_json(document).map_err(|error| error.with("connection", name))
}
