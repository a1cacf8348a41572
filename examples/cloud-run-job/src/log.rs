//! Logs as JSON lines in the form of Google Cloud Logging, on standard output.

use std::fmt;
use std::io::Write as _;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, registry};

/// Cloud Logging refuses entries over 256 KiB; what is longer loses its fields, the longest first.
const MOST_BYTES: usize = 200 << 10;

/// Logs from now on, as `TRANSLOAD_LOG` says (default: `info`), and panics too.
pub(crate) fn install() {
    let wanted = std::env::var("TRANSLOAD_LOG").ok().filter(|text| !text.trim().is_empty());
    let parsed = wanted.as_deref().map(str::parse::<Targets>);
    let filter = match &parsed {
        Some(Ok(filter)) => filter.clone(),
        _ => Targets::new().with_default(Level::INFO),
    };
    registry().with(JsonLines.with_filter(filter)).init();
    if let Some(Err(error)) = parsed {
        tracing::warn!(%error, "TRANSLOAD_LOG is not understood; logging at info");
    }
    std::panic::set_hook(Box::new(|panic| tracing::error!("a defect in transload: {panic}")));
}

/// The layer that writes.
struct JsonLines;

impl<S: Subscriber> Layer<S> for JsonLines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let line = line(event);
        // One write a line, so that lines of several threads do not mix. Nobody can be told if it fails.
        let _ = std::io::stdout().lock().write_all(line.as_bytes());
    }
}

fn line(event: &Event<'_>) -> String {
    let severity = match *event.metadata().level() {
        Level::ERROR => "ERROR",
        Level::WARN => "WARNING",
        Level::INFO => "INFO",
        Level::DEBUG | Level::TRACE => "DEBUG",
    };
    let mut fields = Fields(Map::new());
    event.record(&mut fields);
    let message = fields.0.remove("message").unwrap_or_else(|| event.metadata().name().into());
    let mut entry = Map::new();
    entry.insert("severity".to_owned(), severity.into());
    entry.insert("time".to_owned(), jiff::Timestamp::now().to_string().into());
    entry.insert("message".to_owned(), message);
    entry.insert("target".to_owned(), event.metadata().target().into());
    let mut text = shortened(entry, fields.0);
    text.push('\n');
    text
}

/// The entry with as many of the fields as Cloud Logging takes.
fn shortened(entry: Map<String, Value>, mut fields: Map<String, Value>) -> String {
    loop {
        let mut whole = entry.clone();
        whole.extend(fields.clone());
        let text = Value::Object(whole).to_string();
        let longest =
            fields.iter().max_by_key(|(_, value)| value.to_string().len()).map(|(name, _)| name.clone());
        match longest {
            Some(name) if text.len() > MOST_BYTES => {
                fields.insert(name, "left out: too long for a log entry".into());
            }
            _ => return text,
        }
    }
}

/// The fields of an event. Texts that are JSON objects, such as reports and errors, become part of the entry.
struct Fields(Map<String, Value>);

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        let nested = (field.name() != "message" && text.starts_with('{'))
            .then(|| serde_json::from_str(&text).ok())
            .flatten();
        self.0.insert(field.name().to_owned(), nested.unwrap_or(Value::String(text)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn entries_stay_below_the_limit() {
        let entry = Map::from_iter([("message".to_owned(), json!("m"))]);
        let fields = Map::from_iter([
            ("report".to_owned(), json!("x".repeat(300 << 10))),
            ("job".to_owned(), json!("j")),
        ]);
        let value: Value = serde_json::from_str(&shortened(entry, fields)).unwrap();
        assert_eq!(
            value,
            json!({"message": "m", "job": "j", "report": "left out: too long for a log entry"})
        );
    }
}
