//! Spans and metrics, under names that stay. `docs/telemetry.md` lists them; the names are part of the API.

use metrics::{Counter, counter, gauge, histogram};
use tracing::{Span, info_span};

use super::progress::Phase;
use super::report::{RunReport, RunStatus};
use crate::job::EtlJob;

/// Counts rows and bytes of one job.
pub(super) struct Meters {
    pub(super) rows_read: Counter,
    pub(super) bytes_read: Counter,
}

impl std::fmt::Debug for Meters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meters")
    }
}

impl Meters {
    pub(super) fn of(job: &str) -> Self {
        let job = job.to_owned();
        Self {
            rows_read: counter!("transload_rows_read_total", "job" => job.clone()),
            bytes_read: counter!("transload_bytes_read_total", "job" => job),
        }
    }
}

/// What is there now: one more until it is dropped.
#[derive(Debug)]
pub(super) struct Present(&'static str, f64);

impl Present {
    pub(super) fn run() -> Self {
        Self::new("transload_runs_active", 1.0)
    }

    pub(super) fn split() -> Self {
        Self::new("transload_splits_active", 1.0)
    }

    pub(super) fn memory(bytes: usize) -> Self {
        Self::new("transload_memory_bytes", bytes as f64)
    }

    fn new(name: &'static str, amount: f64) -> Self {
        gauge!(name).increment(amount);
        Self(name, amount)
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        gauge!(self.0).decrement(self.1);
    }
}

pub(super) fn run_span(job: &EtlJob) -> Span {
    info_span!(
        "transload.run",
        job = job.name(),
        source = job.source_connection(),
        table = %job.source_table(),
        destination = job.destination_connection(),
        target = %job.target(),
        strategy = job.strategy().as_str(),
    )
}

/// A phase, inside the span of the run that it is told in.
pub(super) fn phase_span(run: &Span, phase: Phase) -> Span {
    info_span!(parent: run, "transload.phase", phase = phase.as_str())
}

/// The reading of a split, inside the span of a phase.
pub(super) fn split_span(phase: &Span, split: usize) -> Span {
    info_span!(parent: phase, "transload.split", split)
}

/// The run begins again as a whole.
pub(super) fn run_again() {
    counter!("transload_retries_total", "of" => "run").increment(1);
}

/// A split, or the beginning of a session, is tried again.
pub(super) fn read_again() {
    counter!("transload_retries_total", "of" => "read").increment(1);
}

/// A source has said that it is overloaded.
pub(super) fn overloaded() {
    counter!("transload_overloads_total").increment(1);
}

/// A run, or a job that was never begun, has ended.
pub(super) fn ended(report: &RunReport) {
    let (job, status) = (report.job.clone(), report.status.as_str());
    counter!("transload_runs_total", "job" => job.clone(), "status" => status).increment(1);
    histogram!("transload_run_seconds", "job" => job.clone(), "status" => status)
        .record(report.seconds.total);
    for phase in Phase::TIMED {
        let seconds = report.seconds.of(phase);
        if seconds > 0.0 {
            histogram!("transload_phase_seconds", "phase" => phase.as_str()).record(seconds);
        }
    }
    if report.status == RunStatus::Succeeded {
        counter!("transload_rows_written_total", "job" => job.clone()).increment(report.rows.written);
        counter!("transload_bytes_written_total", "job" => job).increment(report.bytes_written);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Arc, Mutex};

    use metrics::{
        Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    };
    use tracing::span::{Attributes, Id, Record};
    use tracing::subscriber::with_default;

    use super::*;
    use crate::memory::Memory;
    use crate::{Connection, Registry, Runner};

    /// Sums what is counted, and the highest value of gauges, by name and labels.
    #[derive(Debug, Default)]
    struct Sums {
        counters: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
        gauges: Mutex<BTreeMap<String, Arc<Level>>>,
        histograms: Mutex<BTreeMap<String, Arc<Count>>>,
    }

    #[derive(Debug, Default)]
    struct Level(Mutex<(f64, f64)>);

    impl GaugeFn for Level {
        fn increment(&self, value: f64) {
            let mut level = self.0.lock().unwrap();
            level.0 += value;
            level.1 = level.1.max(level.0);
        }
        fn decrement(&self, value: f64) {
            self.0.lock().unwrap().0 -= value;
        }
        fn set(&self, _: f64) {}
    }

    #[derive(Debug, Default)]
    struct Count(AtomicU64);

    impl HistogramFn for Count {
        fn record(&self, _: f64) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn text(key: &Key) -> String {
        let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        format!("{}{{{}}}", key.name(), labels.join(","))
    }

    impl Recorder for Sums {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(Arc::clone(self.counters.lock().unwrap().entry(text(key)).or_default()))
        }
        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::from_arc(Arc::clone(self.gauges.lock().unwrap().entry(text(key)).or_default()))
        }
        fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::from_arc(Arc::clone(self.histograms.lock().unwrap().entry(text(key)).or_default()))
        }
    }

    /// The name of a span and the id of its parent.
    type Named = (String, Option<u64>);

    /// All spans; the id of each is its place, from 1.
    #[derive(Debug, Default, Clone)]
    struct Names(Arc<Mutex<Vec<Named>>>);

    impl tracing::Subscriber for Names {
        fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
            metadata.is_span()
        }
        fn new_span(&self, span: &Attributes<'_>) -> Id {
            let mut names = self.0.lock().unwrap();
            names.push((span.metadata().name().to_owned(), span.parent().map(Id::into_u64)));
            Id::from_u64(u64::try_from(names.len()).unwrap())
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, _: &tracing::Event<'_>) {}
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn a_run_tells_its_spans_and_metrics() {
        let memory = Memory::default();
        let ids = Arc::new(arrow_array::Int64Array::from(vec![1, 2, 3])) as _;
        let batch = arrow_array::RecordBatch::try_from_iter([("id", ids)]).unwrap();
        memory.put("shop", "public", "orders", batch).unwrap();
        let connection = |name: &str| Connection::from_url(&format!("memory:{name}")).unwrap().named(name);
        let runner = Runner::new(Registry::new().with(memory))
            .connection(connection("shop"))
            .connection(connection("lake"));
        let job = EtlJob::builder("orders").from("shop", "public.orders").into("lake", "raw", "orders");
        let job = job.append("id").build().unwrap();
        let (sums, names) = (Sums::default(), Names::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let run = || runtime.block_on(runner.run(&job));
        // With two, tracing asks all of them whether they want a span, and not only that of the thread which met it
        // first: that may be another test's.
        let _second = tracing::Dispatch::new(names.clone());
        let report = metrics::with_local_recorder(&sums, || with_default(names.clone(), run));
        assert!(report.committed, "{report:?}");

        let counters: BTreeMap<String, u64> = sums
            .counters
            .lock()
            .unwrap()
            .iter()
            .map(|(name, sum)| (name.clone(), sum.load(Ordering::Relaxed)))
            .collect();
        for (name, expected) in [
            ("transload_rows_read_total{job=orders}", 3),
            ("transload_bytes_read_total{job=orders}", report.bytes_read),
            ("transload_rows_written_total{job=orders}", 3),
            ("transload_bytes_written_total{job=orders}", report.bytes_written),
            ("transload_runs_total{job=orders,status=succeeded}", 1),
        ] {
            assert_eq!(counters.get(name), Some(&expected), "{counters:?}");
        }
        for (name, level) in sums.gauges.lock().unwrap().iter() {
            let (now, most) = *level.0.lock().unwrap();
            assert!(now == 0.0 && most >= 1.0, "{name}: {now}, {most}");
        }
        assert_eq!(sums.gauges.lock().unwrap().len(), 3);
        let phases = sums.histograms.lock().unwrap();
        assert_eq!(phases["transload_phase_seconds{phase=load}"].0.load(Ordering::Relaxed), 1);

        let names = names.0.lock().unwrap();
        let parent = |name: &str| {
            let (_, parent) = names.iter().rfind(|(known, _)| known == name).unwrap();
            parent.map(|id| names[usize::try_from(id).unwrap() - 1].0.clone())
        };
        assert_eq!(parent("transload.run"), None);
        assert_eq!(parent("transload.phase").as_deref(), Some("transload.run"));
        assert_eq!(parent("transload.split").as_deref(), Some("transload.phase"));
        assert!(names.iter().filter(|(name, _)| name == "transload.phase").count() >= 6, "{names:?}");
    }

    /// The page lists what this file has, and nothing else.
    #[test]
    fn the_page_lists_every_name() {
        let page = include_str!("../../../docs/telemetry.md");
        let quoted = |text: &str, before: char| -> std::collections::BTreeSet<String> {
            let parts = text.split(before).filter(|part| {
                (part.starts_with("transload_") || part.starts_with("transload."))
                    && !part.contains([' ', '\n', '{', '('])
            });
            parts.map(str::to_owned).collect()
        };
        let source = include_str!("telemetry.rs");
        let source = source.split("#[cfg(test)]").next().unwrap();
        assert_eq!(quoted(page, '`'), quoted(source, '"'));
    }
}
