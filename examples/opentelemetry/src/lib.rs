//! Spans and metrics of transload to an OpenTelemetry collector, by OTLP over HTTP.

mod recorder;

use std::error::Error;

use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{MetricExporter, Protocol, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Level;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;

use recorder::OtelRecorder;

/// Sends spans and metrics until [`Self::shutdown`].
pub struct Telemetry {
    spans: SdkTracerProvider,
    metrics: SdkMeterProvider,
}

impl Telemetry {
    /// Listens to the whole process. `collector` is the base address, for example `http://localhost:4318`.
    ///
    /// # Errors
    /// An address that is none, and a process that somebody listens to already.
    pub fn install(collector: &str) -> Result<Self, Box<dyn Error>> {
        let resource = Resource::builder().with_service_name("transload-example").build();
        let base = collector.trim_end_matches('/');
        let exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{base}/v1/traces"))
            .build()?;
        let spans = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource.clone())
            .build();
        let exporter = MetricExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{base}/v1/metrics"))
            .build()?;
        let metrics =
            SdkMeterProvider::builder().with_periodic_exporter(exporter).with_resource(resource).build();
        // Ours only: the exporter's own client speaks of what it does, too.
        let ours = Targets::new().with_target("transload", Level::INFO);
        let layer = tracing_opentelemetry::layer().with_tracer(spans.tracer("transload")).with_filter(ours);
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer))?;
        metrics::set_global_recorder(OtelRecorder::new(metrics.meter("transload")))
            .map_err(|_| "somebody records the metrics of this process already")?;
        Ok(Self { spans, metrics })
    }

    /// Sends what still waits. Blocks: not to be called by a task.
    ///
    /// # Errors
    /// A collector that cannot be reached or refuses.
    pub fn shutdown(self) -> Result<(), Box<dyn Error>> {
        self.spans.shutdown()?;
        self.metrics.shutdown()?;
        Ok(())
    }
}
