//! What goes over the wire. Field names and paths are the contract; `openapi` publishes it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The answer that names jobs. Unknown fields are ignored, so that a host can have more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct JobsAnswer {
    /// The jobs.
    pub(crate) jobs: Vec<JobEntry>,
    /// Every connection that these jobs name, as connection documents. Credentials are references; a `password`
    /// is refused.
    pub(crate) connections: Vec<Value>,
    /// If there are more jobs: what to give as `page` for the next ones.
    #[serde(default)]
    pub(crate) next_page: Option<String>,
}

/// One job of a control plane.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct JobEntry {
    /// The host's own key of the job.
    pub(crate) id: String,
    /// The job document.
    pub(crate) document: Value,
}

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ProgressDocument {
    /// The host's key of the job.
    pub job_id: String,
    /// Job, phase, rows and bytes, as the engine's progress callback gives them.
    pub progress: Value,
    /// Which task of a batch the run belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskDocument>,
}

/// What a host may answer to progress.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct ProgressAnswer {
    /// Whether the run shall stop. It then reports `cancelled`.
    pub(crate) cancel: bool,
}

/// How a run ended. Exactly one of `report` and `error` is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunEndDocument {
    /// The run, as in the path.
    pub run_id: String,
    /// The host's key of the job.
    pub job_id: String,
    /// The report of a run that began.
    #[serde(default)]
    pub report: Option<Value>,
    /// Why the run could not begin: the job's document or its connections are wrong.
    #[serde(default)]
    pub error: Option<Value>,
    /// Which task of a batch the run belonged to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskDocument>,
}

/// One process of a batch, such as a task of a Cloud Run job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskDocument {
    /// The batch, such as the name of a Cloud Run execution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<String>,
    /// Which task, from 0.
    pub index: u32,
    /// Of how many.
    pub count: u32,
    /// How often this task was tried before, from 0.
    #[serde(default)]
    pub attempt: u32,
}
