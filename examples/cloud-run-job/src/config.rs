//! The environment variables.

use std::path::PathBuf;

use transload::control_plane::TaskDocument;
use transload::runner::RunAllOptions;
use transload::{Error, Result, RunnerOptions, SecretRef, document};

/// Every variable of this program, for slips in the others.
const KNOWN: [&str; 13] = [
    "TRANSLOAD_CONTROL_PLANE_URL",
    "TRANSLOAD_CONTROL_PLANE_TOKEN",
    "TRANSLOAD_CONTROL_PLANE_TOKEN_FILE",
    "TRANSLOAD_CONTROL_PLANE_ALLOW_HTTP",
    "TRANSLOAD_JOBS",
    "TRANSLOAD_JOBS_FILE",
    "TRANSLOAD_SPOOL",
    "TRANSLOAD_CONCURRENCY",
    "TRANSLOAD_MEMORY_MIB",
    "TRANSLOAD_PARALLELISM",
    "TRANSLOAD_RETRIES",
    "TRANSLOAD_LOG",
    "TRANSLOAD_DEADLINE_SECONDS",
];

/// What the environment says.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) from: From,
    pub(crate) choice: Choice,
    pub(crate) task: TaskDocument,
    pub(crate) options: RunnerOptions,
    /// How many jobs at once.
    pub(crate) at_once: RunAllOptions,
    /// For the rows in flight of all jobs; `None` for the engine's default.
    pub(crate) memory_bytes: Option<usize>,
}

/// Where jobs come from.
#[derive(Debug)]
pub(crate) enum From {
    ControlPlane {
        address: String,
        token: SecretRef,
        allow_http: bool,
        spool: Option<PathBuf>,
        /// For one call with all its tries.
        deadline_seconds: u64,
    },
    File(PathBuf),
}

/// Which jobs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// All that are enabled.
    All,
    /// These, enabled or not.
    Ids(Vec<String>),
}

impl Config {
    pub(crate) fn from_env() -> Result<Self> {
        warn_of_slips();
        Self::read(&|name| std::env::var(name).ok().filter(|value| !value.trim().is_empty()))
    }

    /// Reads the variables; an empty one is as good as none.
    fn read(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let number = |name: &str, default: u64, most: u64| match variable(name) {
            None => Ok(default),
            Some(text) => text.trim().parse().ok().filter(|number| *number <= most).ok_or_else(|| {
                Error::config(format!("{name} is not a number from 0 to {most}: `{text}`"))
                    .hint("write digits alone")
            }),
        };
        let mut options = RunnerOptions::default();
        let memory_bytes = match usize::try_from(number("TRANSLOAD_MEMORY_MIB", 0, 1 << 20)?) {
            Ok(mib @ 1..) => Some(mib << 20),
            _ => None,
        };
        if let Some(bytes) = memory_bytes {
            options = options.memory_bytes(bytes);
        }
        let mut at_once = RunAllOptions::default();
        if let Ok(jobs @ 1..) = usize::try_from(number("TRANSLOAD_CONCURRENCY", 0, 1024)?) {
            at_once = at_once.concurrency(jobs);
        }
        if let Ok(splits @ 1..) = usize::try_from(number("TRANSLOAD_PARALLELISM", 0, 1024)?) {
            options = options.parallelism(splits);
        }
        options = options.retries(narrow(number("TRANSLOAD_RETRIES", 0, 100)?));
        let task = TaskDocument {
            execution: variable("CLOUD_RUN_EXECUTION"),
            index: narrow(number("CLOUD_RUN_TASK_INDEX", 0, 100_000)?),
            count: narrow(number("CLOUD_RUN_TASK_COUNT", 1, 100_000)?),
            attempt: narrow(number("CLOUD_RUN_TASK_ATTEMPT", 0, 100_000)?),
        };
        if task.index >= task.count {
            return Err(Error::config(format!(
                "CLOUD_RUN_TASK_INDEX {} is not below CLOUD_RUN_TASK_COUNT {}",
                task.index, task.count
            ))
            .hint("indexes begin at 0"));
        }
        let choice = match variable("TRANSLOAD_JOBS").as_deref().map(str::trim) {
            None | Some("all") => Choice::All,
            Some(ids) => Choice::Ids(list(ids)),
        };
        let from = from(variable, number("TRANSLOAD_DEADLINE_SECONDS", 60, 86_400)?)?;
        Ok(Self { from, choice, task, options, at_once, memory_bytes })
    }
}

fn from(variable: &dyn Fn(&str) -> Option<String>, deadline_seconds: u64) -> Result<From> {
    match (variable("TRANSLOAD_CONTROL_PLANE_URL"), variable("TRANSLOAD_JOBS_FILE")) {
        (Some(address), None) => {
            let token = match (
                variable("TRANSLOAD_CONTROL_PLANE_TOKEN"),
                variable("TRANSLOAD_CONTROL_PLANE_TOKEN_FILE"),
            ) {
                (Some(_), None) => "env:TRANSLOAD_CONTROL_PLANE_TOKEN".to_owned(),
                (None, Some(path)) => format!("file:{path}"),
                (Some(_), Some(_)) => {
                    return Err(Error::config("both TRANSLOAD_CONTROL_PLANE_TOKEN and its _FILE are set")
                        .hint("keep one of the two"));
                }
                (None, None) => {
                    return Err(Error::config("TRANSLOAD_CONTROL_PLANE_TOKEN is not set").hint(
                        "set it, or TRANSLOAD_CONTROL_PLANE_TOKEN_FILE to the path of a file with the token",
                    ));
                }
            };
            let allow_http = match variable("TRANSLOAD_CONTROL_PLANE_ALLOW_HTTP").as_deref() {
                None | Some("0" | "false") => false,
                Some("1" | "true") => true,
                Some(_) => {
                    return Err(Error::config(
                        "TRANSLOAD_CONTROL_PLANE_ALLOW_HTTP is neither true nor false",
                    ));
                }
            };
            let spool = variable("TRANSLOAD_SPOOL").map(PathBuf::from);
            Ok(From::ControlPlane { address, token: token.parse()?, allow_http, spool, deadline_seconds })
        }
        (None, Some(path)) => Ok(From::File(path.into())),
        (Some(_), Some(_)) => {
            Err(Error::config("both TRANSLOAD_CONTROL_PLANE_URL and TRANSLOAD_JOBS_FILE are set")
                .hint("jobs come from one of the two"))
        }
        (None, None) => {
            Err(Error::config("neither TRANSLOAD_CONTROL_PLANE_URL nor TRANSLOAD_JOBS_FILE is set")
                .hint("say where jobs come from: a control plane's address or the path of a file"))
        }
    }
}

/// Ids with commas between them, each once.
fn list(text: &str) -> Vec<String> {
    let mut ids: Vec<String> = Vec::new();
    for id in text.split(',').map(str::trim).filter(|id| !id.is_empty()) {
        if !ids.iter().any(|known| known == id) {
            ids.push(id.to_owned());
        }
    }
    ids
}

/// Numbers were checked against a limit far below.
fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// A variable that is nearly one of ours is probably meant to be it, but may also be somebody's own.
fn warn_of_slips() {
    for (name, _) in std::env::vars_os() {
        let Some(name) = name.to_str().filter(|name| name.starts_with("TRANSLOAD_")) else { continue };
        if !KNOWN.contains(&name)
            && let Some(near) = document::nearest(name, KNOWN.into_iter())
            && near.len().abs_diff(name.len()) < 3
        {
            tracing::warn!("{name} is not a variable of transload-job; did you mean {near}?");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Config> {
        Config::read(&|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_control_plane() {
        let config = read(&[
            ("TRANSLOAD_CONTROL_PLANE_URL", "https://control.example.com"),
            ("TRANSLOAD_CONTROL_PLANE_TOKEN_FILE", "/secrets/token"),
            ("TRANSLOAD_JOBS", "12, 7,12,"),
            ("TRANSLOAD_MEMORY_MIB", "512"),
            ("CLOUD_RUN_TASK_INDEX", "2"),
            ("CLOUD_RUN_TASK_COUNT", "3"),
        ])
        .unwrap();
        assert_eq!(config.choice, Choice::Ids(vec!["12".to_owned(), "7".to_owned()]));
        assert_eq!((config.task.index, config.task.count), (2, 3));
        assert_eq!(config.options.memory_bytes, 512 << 20);
        let From::ControlPlane { token, allow_http, .. } = config.from else { panic!("no control plane") };
        assert_eq!((token.to_string().as_str(), allow_http), ("file:/secrets/token", false));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let url = ("TRANSLOAD_CONTROL_PLANE_URL", "https://control.example.com");
        let token = ("TRANSLOAD_CONTROL_PLANE_TOKEN", "s3cret");
        let file = ("TRANSLOAD_JOBS_FILE", "jobs.json");
        for (variables, expected) in [
            (vec![], "neither TRANSLOAD_CONTROL_PLANE_URL nor TRANSLOAD_JOBS_FILE"),
            (vec![url, token, file], "both TRANSLOAD_CONTROL_PLANE_URL and"),
            (vec![url], "TRANSLOAD_CONTROL_PLANE_TOKEN is not set"),
            (vec![url, token, ("TRANSLOAD_CONTROL_PLANE_TOKEN_FILE", "x")], "keep one of the two"),
            (vec![url, token, ("TRANSLOAD_CONTROL_PLANE_ALLOW_HTTP", "maybe")], "neither true nor false"),
            (vec![file, ("TRANSLOAD_RETRIES", "many")], "TRANSLOAD_RETRIES is not a number"),
            (vec![file, ("CLOUD_RUN_TASK_INDEX", "3"), ("CLOUD_RUN_TASK_COUNT", "3")], "is not below"),
            (vec![file, ("CLOUD_RUN_TASK_COUNT", "0")], "is not below"),
        ] {
            let error = read(&variables).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains("s3cret"), "{variables:?}: {error}");
        }
    }
}
