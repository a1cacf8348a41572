//! The project of the machine this runs on.

use std::time::Duration;

use transload_core::{Error, ErrorKind, Result};

/// Variables that name it, the strongest first.
const VARIABLES: [&str; 3] = ["GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT", "CLOUDSDK_CORE_PROJECT"];
const TIMEOUT: Duration = Duration::from_secs(3);

/// The project that a variable names, else that of the default credentials, else that of the metadata server.
///
/// # Errors
/// `config` if nothing names one.
pub(crate) async fn of_machine() -> Result<String> {
    for name in VARIABLES {
        if let Some(project) = std::env::var(name).ok().filter(|text| !text.is_empty()) {
            return Ok(project);
        }
    }
    if let Some(project) = of_credentials().await {
        return Ok(project);
    }
    of_metadata().await.ok_or_else(|| {
        Error::new(ErrorKind::Config, "the Google Cloud project is not known")
            .hint("set GOOGLE_CLOUD_PROJECT, or name the secret as projects/PROJECT/secrets/NAME")
    })
}

/// From the file of the default credentials.
async fn of_credentials() -> Option<String> {
    let path = std::env::var_os("GOOGLE_APPLICATION_CREDENTIALS")?;
    let text = tokio::fs::read(path).await.ok()?;
    let file: serde_json::Value = serde_json::from_slice(&text).ok()?;
    let project = file["project_id"].as_str().or(file["quota_project_id"].as_str())?;
    Some(project.to_owned())
}

async fn of_metadata() -> Option<String> {
    let host = std::env::var("GCE_METADATA_HOST").unwrap_or_else(|_| "metadata.google.internal".to_owned());
    let client = reqwest::Client::builder().timeout(TIMEOUT).build().ok()?;
    let url = format!("http://{host}/computeMetadata/v1/project/project-id");
    let answer = client.get(url).header("Metadata-Flavor", "Google").send().await.ok()?;
    let text = answer.error_for_status().ok()?.text().await.ok()?;
    Some(text.trim().to_owned()).filter(|project| !project.is_empty())
}
