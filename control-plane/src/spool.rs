//! Reports that are not delivered yet, one file each, named after the run.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use transload_core::{Error, ErrorKind, Result};
use uuid::Uuid;

use crate::client::ControlPlane;
use crate::contract::RunEndDocument;
use crate::run::is_final;

/// Where reports go that the control plane refused.
const REFUSED: &str = "refused";

/// The folder.
#[derive(Debug)]
pub(crate) struct Spool {
    folder: PathBuf,
}

/// What became of the reports in the spool folder.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct SpoolOutcome {
    /// Delivered now.
    pub sent: usize,
    /// Still there, because the control plane does not answer or takes nothing now.
    pub kept: usize,
    /// Put into the subfolder `refused`, because the control plane will never take them.
    pub refused: usize,
    /// Why not all were sent.
    pub error: Option<Error>,
}

impl Spool {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Writes a report: either all of it is there under its name, even after a power cut, or nothing.
    pub(crate) async fn keep(&self, end: &RunEndDocument) -> Result<PathBuf> {
        let text = serde_json::to_vec(end)
            .map_err(|error| Error::internal("a report could not be serialised").source_error(error))?;
        let (folder, run_id) = (self.folder.clone(), end.run_id.clone());
        blocking(&self.folder, move || write(&folder, &run_id, &text)).await
    }

    pub(crate) async fn forget(&self, path: &Path) -> Result<()> {
        let path = path.to_owned();
        blocking(&self.folder, move || match std::fs::remove_file(&path) {
            // Another process has sent it too, under the same id.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        })
        .await
    }

    /// Moves a report out of the way of the others; its new place.
    pub(crate) async fn set_aside(&self, path: &Path) -> PathBuf {
        let (from, folder) = (path.to_owned(), self.folder.join(REFUSED));
        let moved = blocking(&self.folder, move || {
            private_folder(&folder)?;
            let to = folder.join(from.file_name().unwrap_or_default());
            std::fs::rename(&from, &to).map(|()| to)
        });
        moved.await.unwrap_or_else(|error| {
            tracing::warn!(%error, "a refused report could not be set aside");
            path.to_owned()
        })
    }

    pub(crate) async fn send(&self, control: &ControlPlane) -> Result<SpoolOutcome> {
        let folder = self.folder.clone();
        let files = blocking(&self.folder, move || files(&folder)).await?;
        let mut outcome = SpoolOutcome::default();
        for (done, path) in files.iter().enumerate() {
            let end = match self.read(path).await {
                Ok(Some(end)) => end,
                // Another process was quicker.
                Ok(None) => continue,
                Err(error) => {
                    self.set_aside(path).await;
                    outcome.refused += 1;
                    outcome.error = Some(error);
                    continue;
                }
            };
            match control.put_end(&end).await {
                Ok(()) => {
                    self.forget(path).await?;
                    outcome.sent += 1;
                }
                Err(error) if is_final(&error) => {
                    self.set_aside(path).await;
                    outcome.refused += 1;
                    outcome.error = Some(error);
                }
                Err(error) => {
                    outcome.kept = files.len() - done;
                    outcome.error = Some(error);
                    break;
                }
            }
        }
        Ok(outcome)
    }

    async fn read(&self, path: &Path) -> Result<Option<RunEndDocument>> {
        let from = path.to_owned();
        let text = blocking(&self.folder, move || match std::fs::read(&from) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        });
        let Some(text) = text.await? else { return Ok(None) };
        let end: Option<RunEndDocument> = serde_json::from_slice(&text).ok();
        // Its id is its file's name: nothing is ever sent under another one.
        end.filter(|end| path.file_stem().is_some_and(|stem| stem == end.run_id.as_str()))
            .map(Some)
            .ok_or_else(|| {
                Error::data("a file in the spool folder is no report")
                    .with("file", path.display())
                    .hint("it was set aside in the subfolder `refused`")
            })
    }
}

async fn blocking<T: Send + 'static>(
    folder: &Path,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T> {
    let outcome = tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::internal("the task that keeps reports died").source_error(error))?;
    outcome.map_err(|error| {
        let kind = match error.kind() {
            io::ErrorKind::PermissionDenied => ErrorKind::Permission,
            _ => ErrorKind::Unreachable,
        };
        Error::new(kind, "the spool folder for reports cannot be used")
            .with("folder", folder.display())
            .source_error(error)
            .retryable(false)
            .hint("check that it can be written and that the disk is not full")
    })
}

fn write(folder: &Path, run_id: &str, text: &[u8]) -> io::Result<PathBuf> {
    private_folder(folder)?;
    let path = folder.join(format!("{run_id}.json"));
    let unfinished = folder.join(format!(".{run_id}.unfinished"));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&unfinished)?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(&unfinished, &path)?;
    sync_folder(folder)?;
    Ok(path)
}

fn private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Makes the names in a folder outlast a power cut.
fn sync_folder(folder: &Path) -> io::Result<()> {
    #[cfg(unix)]
    match std::fs::File::open(folder)?.sync_all() {
        // Some mounted buckets have no such call; their files are there once they are closed.
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {}
        done => done?,
    }
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}

/// Reports, the oldest first: ids of version 7 begin with the time.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
    let is_report = |path: &PathBuf| {
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        path.extension().is_some_and(|extension| extension == "json")
            && stem.is_some_and(|stem| Uuid::parse_str(stem).is_ok())
    };
    let mut reports: Vec<_> = paths.into_iter().filter(is_report).collect();
    reports.sort();
    Ok(reports)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A host that has a report takes it again only if it is the same: numbers that are read and written again must not
    /// change in their last digit.
    #[tokio::test]
    async fn reports_are_read_as_they_were_kept() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path().to_owned());
        let figures: Vec<f64> = (1..5_000).map(|sum| f64::from(sum) / 7.0 + f64::from(sum % 11)).collect();
        let run_id = Uuid::now_v7().to_string();
        let report = Some(json!({ "figures": figures }));
        let end = RunEndDocument { run_id, job_id: "1".to_owned(), report, error: None, task: None };
        let path = spool.keep(&end).await.unwrap();
        let read = spool.read(&path).await.unwrap().unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), serde_json::to_string(&end).unwrap());
    }
}
