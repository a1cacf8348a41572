//! Classifies what BigQuery and the way to it answer: one table, from codes and not from texts.

use google_cloud_bigquery_v2::model::ErrorProto;
use google_cloud_gax::error::rpc::{Code, StatusDetails};
use serde::Deserialize;
use transload_core::{Error, ErrorKind};
use transload_google::transport_kind;

use crate::explain;

/// Kind and retryability of a BigQuery `reason`. Source: the "Error messages" page of BigQuery's
/// documentation; `None` for reasons that are not in it.
fn of_reason(reason: &str) -> Option<(ErrorKind, bool)> {
    use ErrorKind as K;
    Some(match reason {
        "authError" | "unauthorized" | "required" | "invalidUser" => (K::Auth, false),
        "accessDenied" | "blocked" | "billingNotEnabled" | "accessNotConfigured" | "forbidden" => {
            (K::Permission, false)
        }
        "notFound" => (K::NotFound, false),
        "duplicate" | "alreadyExists" | "resourceInUse" => (K::Conflict, false),
        "conditionNotMet" | "concurrentUpdate" => (K::Conflict, true),
        "rateLimitExceeded" | "jobRateLimitExceeded" | "userRateLimitExceeded" | "quotaExceeded" => {
            (K::RateLimited, true)
        }
        // More of the same would exceed them again.
        "billingTierLimitExceeded" | "resourcesExceeded" | "responseTooLarge" => (K::RateLimited, false),
        "backendError" | "jobBackendError" | "internalError" | "jobInternalError" | "tableUnavailable" => {
            (K::Unreachable, true)
        }
        "timeout" | "jobTimeout" => (K::Timeout, true),
        "stopped" => (K::Cancelled, false),
        "invalid" | "invalidQuery" | "parseError" => (K::Data, false),
        "notImplemented" => (K::Unsupported, false),
        _ => return None,
    })
}

/// Kind and retryability of an HTTP status without a known reason.
fn of_status(status: u16) -> (ErrorKind, bool) {
    use ErrorKind as K;
    match status {
        401 => (K::Auth, false),
        403 => (K::Permission, false),
        404 | 410 => (K::NotFound, false),
        408 | 504 => (K::Timeout, true),
        409 => (K::Conflict, false),
        412 => (K::Conflict, true),
        405 | 501 => (K::Unsupported, false),
        429 => (K::RateLimited, true),
        500..=599 => (K::Unreachable, true),
        _ => (K::Data, false),
    }
}

/// Kind and retryability of a gRPC status. Source: the Storage API's page of errors and quotas.
fn of_code(code: Code) -> (ErrorKind, bool) {
    use ErrorKind as K;
    match code {
        Code::Unauthenticated => (K::Auth, false),
        Code::PermissionDenied => (K::Permission, false),
        Code::NotFound => (K::NotFound, false),
        Code::AlreadyExists => (K::Conflict, false),
        Code::Aborted => (K::Conflict, true),
        Code::ResourceExhausted => (K::RateLimited, true),
        Code::Unavailable | Code::Internal => (K::Unreachable, true),
        Code::DeadlineExceeded => (K::Timeout, true),
        Code::Cancelled => (K::Cancelled, false),
        Code::Unimplemented => (K::Unsupported, false),
        _ => (K::Data, false),
    }
}

/// An error of Google's client for the Storage API, which speaks gRPC.
pub(crate) fn of_storage(what: &str, error: google_cloud_gax::error::Error) -> Error {
    // What ended the retries is what went wrong; there are no statuses of HTTP in gRPC.
    let Some(answer) = error.status().filter(|_| error.http_status_code().is_none()) else {
        return of_client(what, error);
    };
    let (kind, retryable) = of_code(answer.code);
    let message = Answer(answer.message.clone());
    Error::new(kind, what.to_owned())
        .retryable(retryable)
        .with("code", answer.code.name())
        .hint(hint(kind))
        .source_error(message)
}

fn hint(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Auth => "check the connection's credentials: they may be wrong, expired or disabled",
        ErrorKind::Permission => {
            "grant roles/bigquery.dataEditor on the dataset and roles/bigquery.jobUser on the project, and \
             check that billing is on"
        }
        ErrorKind::NotFound => "check project, dataset and location",
        ErrorKind::Conflict => "try again when the other change is done",
        ErrorKind::RateLimited => "try again later, load less often, or ask for a higher quota",
        ErrorKind::Unreachable => "try again; if it stays, check the network and BigQuery's status page",
        ErrorKind::Tls => "check the endpoint and the certificates that this machine trusts",
        ErrorKind::Timeout => "try again later",
        ErrorKind::Cancelled => "somebody cancelled the job in BigQuery",
        ErrorKind::Unsupported => "check `endpoint`: it may not be the BigQuery API",
        _ => "BigQuery's own message above says what it did not accept",
    }
}

/// BigQuery's own words, as a cause.
#[derive(Debug)]
struct Answer(String);

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Answer {}

/// The error for an answer with a status (0: none) and a reason; `what` says what failed.
fn classified(what: &str, status: u16, reason: &str, message: &str) -> Error {
    let (kind, retryable) = of_reason(reason).unwrap_or_else(|| of_status(status));
    let told = explain::hint(message).filter(|_| kind == ErrorKind::Data);
    let mut error =
        Error::new(kind, what.to_owned()).retryable(retryable).hint(told.unwrap_or_else(|| hint(kind)));
    if status != 0 {
        error = error.with("status", status);
    }
    if !reason.is_empty() {
        error = error.with("reason", reason);
    }
    if message.is_empty() { error } else { error.source_error(Answer(message.to_owned())) }
}

/// The error of a request that got no answer; `source` tells why.
fn unanswered(what: &str, source: impl std::error::Error + Send + Sync + 'static, timeout: bool) -> Error {
    let kind = if timeout { ErrorKind::Timeout } else { transport_kind(&source) };
    let retryable = kind != ErrorKind::Tls;
    Error::new(kind, what.to_owned()).retryable(retryable).source_error(source).hint(hint(kind))
}

/// The status and reason of an answer that Google's client took for an error; `None` if there was no answer.
fn answered(error: &google_cloud_gax::error::Error) -> Option<(u16, String)> {
    let status = error.http_status_code().unwrap_or(0);
    let details = error.status().map(|answer| answer.details.as_slice()).unwrap_or_default();
    let reason = details.iter().find_map(|detail| match detail {
        StatusDetails::ErrorInfo(info) if !info.reason.is_empty() => Some(info.reason.clone()),
        _ => None,
    });
    (status != 0 || error.status().is_some()).then(|| (status, reason.unwrap_or_default()))
}

/// Whether a request that failed so may work when it is repeated.
pub(crate) fn client_may_pass(error: &google_cloud_gax::error::Error) -> bool {
    match answered(error) {
        Some((status, reason)) => {
            let (kind, retryable) = of_reason(&reason).unwrap_or_else(|| of_status(status));
            retryable && passing(kind)
        }
        // Authentication has retries of its own.
        None if error.is_binding() || error.is_authentication() || error.is_serialization() => false,
        None => transport_kind(error) != ErrorKind::Tls,
    }
}

/// Whether the server did not take the token of a request, over HTTP or gRPC.
pub(crate) fn is_refused_token(error: &Error) -> bool {
    error.context_value("status") == Some("401")
        || error.context_value("code") == Some(Code::Unauthenticated.name())
}

/// [`is_refused_token`] for an error of Google's client.
pub(crate) fn client_refused_token(error: &google_cloud_gax::error::Error) -> bool {
    error.http_status_code() == Some(401)
        || error.status().is_some_and(|answer| answer.code == Code::Unauthenticated)
}

/// Whether a step that failed so may work when it is repeated.
pub(crate) fn may_pass(error: &Error) -> bool {
    error.is_retryable() && passing(error.kind())
}

/// Kinds that pass by waiting. A retryable conflict, for one, takes another look at what is there.
fn passing(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::RateLimited | ErrorKind::Unreachable | ErrorKind::Timeout)
}

/// An error of Google's client.
pub(crate) fn of_client(what: &str, error: google_cloud_gax::error::Error) -> Error {
    if error.is_binding() {
        return Error::config(format!("{what}: a name cannot be part of a request"))
            .source_error(error)
            .hint("check project, dataset and table");
    }
    if error.is_authentication() {
        let source = std::error::Error::source(&error);
        let refused = source
            .and_then(|source| source.downcast_ref::<google_cloud_gax::error::CredentialsError>())
            .is_some_and(|source| !source.is_transient());
        let kind = if refused { ErrorKind::Auth } else { transport_kind(&error) };
        return Error::new(kind, format!("{what}: no access token")).source_error(error).hint(hint(kind));
    }
    if let Some((status, reason)) = answered(&error) {
        let message = error.status().map_or("", |answer| answer.message.as_str());
        return classified(what, status, &reason, message);
    }
    if error.is_deserialization() {
        return Error::new(ErrorKind::Unreachable, what.to_owned())
            .source_error(error)
            .hint("the answer is not BigQuery's; check `endpoint` and proxies on the way");
    }
    let timeout = error.is_timeout();
    unanswered(what, error, timeout)
}

/// An upload request that got no answer. The URL is left out: a session's URL is a capability.
pub(crate) fn of_transport(what: &str, error: reqwest::Error) -> Error {
    let timeout = error.is_timeout();
    unanswered(what, error.without_url(), timeout)
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Body {
    error: BodyError,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct BodyError {
    message: String,
    errors: Vec<BodyItem>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct BodyItem {
    reason: String,
}

/// An answer to an upload request that is not a success.
pub(crate) fn of_answer(what: &str, status: u16, body: &[u8]) -> Error {
    let body: Body = serde_json::from_slice(body).unwrap_or_default();
    let reason = body.error.errors.first().map_or("", |item| item.reason.as_str());
    classified(what, status, reason, &body.error.message)
}

/// Failures that BigQuery gives a reason which says too little (`invalidQuery`, `resourcesExceeded`), known by their
/// words only: `errors[].reason` repeats the job's reason, and `location` is `query` or empty. Where they were seen:
/// a transaction that lost against another one dlt-hub/dlt#2892 and airbytehq/airbyte#27585, a statement that did
/// m-lab/etl-gardener#272 and confluentinc/kafka-connect-bigquery#279, twenty waiting statements
/// m-lab/etl-gardener#293, the rate of updates as a query's failure googleapis/python-bigquery#1790.
const WORDS: [(&str, &str); 4] = [
    ("aborted due to concurrent update", "concurrentUpdate"),
    ("Could not serialize access to table", "concurrentUpdate"),
    ("Too many DML statements outstanding", "jobRateLimitExceeded"),
    ("too many table update operations", "rateLimitExceeded"),
];

/// The reason that a job's failure should have had.
fn reason_in_words(message: &str) -> Option<&'static str> {
    WORDS.iter().find(|(words, _)| message.contains(words)).map(|(_, reason)| *reason)
}

/// The `errorResult` of a job, with the details of `errors`.
pub(crate) fn of_job(what: &str, result: &ErrorProto, details: &[ErrorProto]) -> Error {
    let mut message = result.message.clone();
    for detail in details.iter().filter(|detail| detail.message != result.message).take(3) {
        message.push_str("; ");
        message.push_str(&detail.message);
    }
    let reason = reason_in_words(&message).unwrap_or(&result.reason);
    let error = classified(what, 0, reason, &message);
    // A value that the table refuses names its place in `location`.
    if result.location.is_empty() { error } else { error.with("location", &result.location) }
}

/// Whether the outcome of a request that failed so is unknown: it may have been carried out.
pub(crate) fn is_unclear(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::Timeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_and_statuses() {
        use ErrorKind as K;
        for (status, reason, kind, retryable) in [
            (401, "", K::Auth, false),
            (401, "authError", K::Auth, false),
            (403, "", K::Permission, false),
            (403, "accessDenied", K::Permission, false),
            (403, "rateLimitExceeded", K::RateLimited, true),
            (403, "quotaExceeded", K::RateLimited, true),
            (403, "billingNotEnabled", K::Permission, false),
            (404, "notFound", K::NotFound, false),
            (409, "duplicate", K::Conflict, false),
            (409, "", K::Conflict, false),
            (412, "conditionNotMet", K::Conflict, true),
            (400, "invalid", K::Data, false),
            (400, "invalidQuery", K::Data, false),
            (400, "resourceInUse", K::Conflict, false),
            (400, "resourcesExceeded", K::RateLimited, false),
            (429, "", K::RateLimited, true),
            (500, "internalError", K::Unreachable, true),
            (502, "", K::Unreachable, true),
            (503, "backendError", K::Unreachable, true),
            (503, "aNewReason", K::Unreachable, true),
            (504, "", K::Timeout, true),
            (200, "stopped", K::Cancelled, false),
            (501, "notImplemented", K::Unsupported, false),
        ] {
            let body = serde_json::json!({"error": {"code": status, "message": "words of the server",
                "errors": [{"reason": reason}]}});
            let error = of_answer("load part 1", status, body.to_string().as_bytes());
            assert_eq!((error.kind(), error.is_retryable()), (kind, retryable), "{status} {reason}");
            assert_eq!(error.message(), "load part 1");
            assert_eq!(error.causes(), ["words of the server"]);
            assert!(error.hint_text().is_some());
        }
    }

    #[test]
    fn codes_of_the_storage_api() {
        use ErrorKind as K;
        for (code, kind, retryable) in [
            (Code::Unauthenticated, K::Auth, false),
            (Code::PermissionDenied, K::Permission, false),
            (Code::NotFound, K::NotFound, false),
            (Code::ResourceExhausted, K::RateLimited, true),
            (Code::Unavailable, K::Unreachable, true),
            (Code::Internal, K::Unreachable, true),
            (Code::DeadlineExceeded, K::Timeout, true),
            (Code::InvalidArgument, K::Data, false),
            (Code::FailedPrecondition, K::Data, false),
            (Code::Unimplemented, K::Unsupported, false),
        ] {
            let status =
                google_cloud_gax::error::rpc::Status::default().set_code(code).set_message("its words");
            let error = of_storage("read", google_cloud_gax::error::Error::service(status));
            assert_eq!((error.kind(), error.is_retryable()), (kind, retryable), "{code:?}");
            assert_eq!((error.message(), error.causes()), ("read", vec!["its words".to_owned()]));
            assert!(error.hint_text().is_some());
        }
    }

    #[test]
    fn a_body_that_is_no_json_is_judged_by_its_status() {
        let error = of_answer("upload", 502, b"<html>Bad Gateway</html>");
        assert_eq!((error.kind(), is_unclear(&error)), (ErrorKind::Unreachable, true));
    }

    #[test]
    fn reasons_survive_googles_client() {
        let body = br#"{"error":{"code":403,"message":"Slow down","status":"PERMISSION_DENIED",
            "errors":[{"reason":"rateLimitExceeded","domain":"global","message":"Slow down"}]}}"#;
        let status =
            google_cloud_gax::error::rpc::Status::try_from(&bytes::Bytes::from_static(body)).unwrap();
        let error = google_cloud_gax::error::Error::service_with_http_metadata(status, Some(403), None);
        let error = of_client("list datasets", error);
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::RateLimited, true), "{error}");
        assert_eq!(error.context_value("reason"), Some("rateLimitExceeded"));
    }

    #[test]
    fn failures_that_pass_are_known_by_their_words() {
        use ErrorKind as K;
        for (reason, message, kind, retryable) in [
            (
                "invalidQuery",
                "Query error: Transaction is aborted due to concurrent update against table p:d.t. Transaction ID: \
                 61e30eea-0000-2dab-8e60-94eb2c1b1a92 at [24:9]",
                K::Conflict,
                true,
            ),
            (
                "invalidQuery",
                "Could not serialize access to table p:d.t due to concurrent update",
                K::Conflict,
                true,
            ),
            (
                "resourcesExceeded",
                "Resources exceeded during query execution: Too many DML statements outstanding against table p:d.t, \
                 limit is 20",
                K::RateLimited,
                true,
            ),
            (
                "jobRateLimitExceeded",
                "Job exceeded rate limits: Your table exceeded quota for table update operations.",
                K::RateLimited,
                true,
            ),
            (
                "rateLimitExceeded",
                "Exceeded rate limits: too many table update operations for this table.",
                K::RateLimited,
                true,
            ),
            (
                "resourcesExceeded",
                "Resources exceeded during query execution: out of memory",
                K::RateLimited,
                false,
            ),
            ("invalidQuery", "Syntax error: Unexpected end of script at [1:7]", K::Data, false),
        ] {
            let result = ErrorProto::new().set_reason(reason).set_location("query").set_message(message);
            let error = of_job("commit", &result, std::slice::from_ref(&result));
            assert_eq!((error.kind(), error.is_retryable()), (kind, retryable), "{message}");
            assert_eq!(error.causes(), [message]);
        }
    }

    #[test]
    fn job_errors_keep_their_details() {
        let result = ErrorProto::new().set_reason("invalid").set_message("Error while reading data");
        let detail = ErrorProto::new().set_reason("invalid").set_message("column c3: bad value");
        let error = of_job("load part 2", &result, &[result.clone(), detail]);
        assert_eq!(error.kind(), ErrorKind::Data);
        assert_eq!(error.causes(), ["Error while reading data; column c3: bad value"]);
    }
}
