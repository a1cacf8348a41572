//! The `metrics` facade on top of OpenTelemetry's instruments.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

/// Hands every figure on at once; the SDK adds them up and sends them.
pub struct OtelRecorder {
    meter: Meter,
    /// By key, since increments need the value before.
    gauges: Mutex<HashMap<Key, Arc<Level>>>,
}

struct Sum(opentelemetry::metrics::Counter<u64>, Vec<KeyValue>);

struct Distribution(opentelemetry::metrics::Histogram<f64>, Vec<KeyValue>);

struct Level {
    gauge: opentelemetry::metrics::Gauge<f64>,
    labels: Vec<KeyValue>,
    value: Mutex<f64>,
}

impl OtelRecorder {
    pub fn new(meter: Meter) -> Self {
        Self { meter, gauges: Mutex::default() }
    }
}

fn labels(key: &Key) -> Vec<KeyValue> {
    key.labels().map(|label| KeyValue::new(label.key().to_owned(), label.value().to_owned())).collect()
}

impl CounterFn for Sum {
    fn increment(&self, value: u64) {
        self.0.add(value, &self.1);
    }

    // OpenTelemetry's counters only add; the engine never sets one.
    fn absolute(&self, _: u64) {}
}

impl HistogramFn for Distribution {
    fn record(&self, value: f64) {
        self.0.record(value, &self.1);
    }
}

impl Level {
    fn change(&self, change: impl FnOnce(f64) -> f64) {
        let mut value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        *value = change(*value);
        self.gauge.record(*value, &self.labels);
    }
}

impl GaugeFn for Level {
    fn increment(&self, by: f64) {
        self.change(|value| value + by);
    }

    fn decrement(&self, by: f64) {
        self.change(|value| value - by);
    }

    fn set(&self, to: f64) {
        self.change(|_| to);
    }
}

impl Recorder for OtelRecorder {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let counter = self.meter.u64_counter(key.name().to_owned()).build();
        Counter::from_arc(Arc::new(Sum(counter, labels(key))))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        let mut gauges = self.gauges.lock().unwrap_or_else(PoisonError::into_inner);
        let level = gauges.entry(key.clone()).or_insert_with(|| {
            let gauge = self.meter.f64_gauge(key.name().to_owned()).build();
            Arc::new(Level { gauge, labels: labels(key), value: Mutex::new(0.0) })
        });
        Gauge::from_arc(Arc::clone(level))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        let histogram = self.meter.f64_histogram(key.name().to_owned()).build();
        Histogram::from_arc(Arc::new(Distribution(histogram, labels(key))))
    }
}
