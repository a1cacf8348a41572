//! A small job within this process, whose spans and metrics go to the collector of `OTEL_EXPORTER_OTLP_ENDPOINT`, by
//! default `http://localhost:4318`.

use std::error::Error;
use std::sync::Arc;

use transload::memory::Memory;
use transload::{Connection, EtlJob, Registry, Runner};
use transload_opentelemetry_example::Telemetry;

fn main() -> Result<(), Box<dyn Error>> {
    let collector = std::env::var("OTEL_EXPORTER_OTLP_ENDPOINT");
    let telemetry = Telemetry::install(collector.as_deref().unwrap_or("http://localhost:4318"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = runtime.block_on(run());
    drop(runtime);
    telemetry.shutdown()?;
    println!("{}", outcome?);
    Ok(())
}

async fn run() -> Result<String, Box<dyn Error>> {
    let memory = Memory::default();
    let ids = Arc::new(arrow_array::Int64Array::from_iter_values(0..1000)) as _;
    memory.put("shop", "public", "orders", arrow_array::RecordBatch::try_from_iter([("id", ids)])?)?;
    let runner = Runner::new(Registry::new().with(memory))
        .connection(Connection::from_url("memory:shop")?.named("shop"))
        .connection(Connection::from_url("memory:lake")?.named("lake"));
    let job = EtlJob::builder("orders").from("shop", "public.orders").into("lake", "raw", "orders").replace();
    Ok(runner.run(&job.build()?).await.into_result()?.to_json().to_string())
}
