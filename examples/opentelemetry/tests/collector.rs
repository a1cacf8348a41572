//! Runs the example as a process against a stand-in for a collector: a socket that reads what comes by the messages of the
//! protocol itself (`opentelemetry-proto`). It proves names, nesting, attributes and figures as they go over the wire. It
//! does not prove that a collector takes them (none is run), nor gRPC, TLS, authentication, compression or retries.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::{metric, number_data_point};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

/// Path and body of what was sent.
type Requests = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

fn answer(mut stream: TcpStream, requests: &Requests) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        let head = bytes.windows(4).position(|end| end == b"\r\n\r\n");
        if let Some(head) = head {
            let text = String::from_utf8_lossy(&bytes[..head]).to_string();
            let header = |name: &str| {
                let found = text.lines().find(|line| line.to_ascii_lowercase().starts_with(name));
                found.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
            };
            let length: usize = header("content-length").unwrap().parse().unwrap();
            if bytes.len() >= head + 4 + length {
                assert_eq!(header("content-type").as_deref(), Some("application/x-protobuf"));
                let path = text.split(' ').nth(1).unwrap().to_owned();
                let body = bytes[head + 4..head + 4 + length].to_vec();
                requests.lock().unwrap().push((path, body));
                stream.write_all(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n",
                )?;
                bytes.drain(..head + 4 + length);
                continue;
            }
        }
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            read => bytes.extend_from_slice(&buffer[..read]),
        }
    }
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match &found.value {
        Some(AnyValue { value: Some(Value::StringValue(text)) }) => Some(text.clone()),
        other => Some(format!("{other:?}")),
    }
}

#[test]
fn spans_and_metrics_reach_a_collector() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Requests::default();
    let taken = Arc::clone(&requests);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let taken = Arc::clone(&taken);
            std::thread::spawn(move || answer(stream.unwrap(), &taken));
        }
    });
    let output = Command::new(env!("CARGO_BIN_EXE_transload-opentelemetry-example"))
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let requests = requests.lock().unwrap();

    let mut spans: Vec<Span> = Vec::new();
    let mut metrics = Vec::new();
    for (path, body) in requests.iter() {
        let service = match path.as_str() {
            "/v1/traces" => {
                let request = ExportTraceServiceRequest::decode(body.as_slice()).unwrap();
                let resource = request.resource_spans[0].resource.clone().unwrap();
                spans.extend(
                    request.resource_spans.into_iter().flat_map(|of| of.scope_spans).flat_map(|of| of.spans),
                );
                resource
            }
            "/v1/metrics" => {
                let request = ExportMetricsServiceRequest::decode(body.as_slice()).unwrap();
                let resource = request.resource_metrics[0].resource.clone().unwrap();
                metrics.extend(
                    request
                        .resource_metrics
                        .into_iter()
                        .flat_map(|of| of.scope_metrics)
                        .flat_map(|of| of.metrics),
                );
                resource
            }
            other => panic!("sent to {other}"),
        };
        assert_eq!(text(&service.attributes, "service.name").as_deref(), Some("transload-example"));
    }

    let named = |name: &str| spans.iter().filter(|span| span.name == name).collect::<Vec<_>>();
    let [run] = named("transload.run")[..] else { panic!("{spans:#?}") };
    assert_eq!((text(&run.attributes, "job").as_deref(), run.parent_span_id.len()), (Some("orders"), 0));
    let phases = named("transload.phase");
    let of: Vec<_> = phases.iter().filter_map(|phase| text(&phase.attributes, "phase")).collect();
    for phase in ["connect", "describe", "map", "prepare", "load", "commit"] {
        assert!(of.iter().any(|known| known == phase), "no phase {phase}: {of:?}");
    }
    assert!(phases.iter().all(|phase| phase.parent_span_id == run.span_id && phase.trace_id == run.trace_id));
    let [split] = named("transload.split")[..] else { panic!("{spans:#?}") };
    let load = phases.iter().find(|phase| phase.span_id == split.parent_span_id).unwrap();
    assert_eq!(text(&load.attributes, "phase").as_deref(), Some("load"));

    let metric = |name: &str| metrics.iter().rfind(|metric| metric.name == name).and_then(|m| m.data.clone());
    let counted = |name: &str| match metric(name) {
        Some(metric::Data::Sum(sum)) => (sum.data_points[0].value, sum.data_points[0].attributes.clone()),
        other => panic!("{name}: {other:?}"),
    };
    let (read, labels) = counted("transload_rows_read_total");
    assert_eq!(
        (read, text(&labels, "job").as_deref()),
        (Some(number_data_point::Value::AsInt(1000)), Some("orders"))
    );
    let (runs, labels) = counted("transload_runs_total");
    assert_eq!(runs, Some(number_data_point::Value::AsInt(1)));
    assert_eq!(text(&labels, "status").as_deref(), Some("succeeded"));
    let Some(metric::Data::Histogram(seconds)) = metric("transload_run_seconds") else {
        panic!("{metrics:#?}")
    };
    assert_eq!(seconds.data_points[0].count, 1);
    let Some(metric::Data::Gauge(active)) = metric("transload_runs_active") else { panic!("{metrics:#?}") };
    assert_eq!(active.data_points[0].value, Some(number_data_point::Value::AsDouble(0.0)));
}
