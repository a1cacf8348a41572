//! What only the test server does on request: TLS modes, tokens, redirects, faults in the middle of a result, other
//! products. A real server cannot be told to do these, so these tests use the test server always.

use transload_core::connector::ReadPlan;
use transload_core::{Connection, Error, ErrorKind, Secret};
use transload_tds_server::{Encryption, Flavour, LoginError, Settings};
use transload_testkit::port::KeptPort;

use super::admin::own;
use super::support::{open, place_at, read_plan};

fn settings(change: impl FnOnce(&mut Settings)) -> Settings {
    let mut settings = Settings::default();
    change(&mut settings);
    settings
}

async fn check(connection: &Connection) -> Result<transload_core::connector::ServerInfo, Error> {
    open(connection).await?.check().await
}

#[tokio::test(flavor = "multi_thread")]
async fn encryption_is_agreed_on_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    // What the server demands, what is asked for, and what of the connection is encrypted; none: refused.
    for (demand, asked, covered) in [
        (Encryption::NotSupported, "disable", Some("nothing")),
        (Encryption::NotSupported, "login", Some("nothing")),
        (Encryption::NotSupported, "require", None),
        (Encryption::Off, "disable", Some("nothing")),
        (Encryption::Off, "login", Some("login")),
        (Encryption::Off, "require", Some("everything")),
        (Encryption::Required, "disable", None),
        (Encryption::Required, "login", Some("everything")),
        (Encryption::Required, "require", Some("everything")),
        (Encryption::Required, "strict", Some("strict")),
        (Encryption::Strict, "strict", Some("strict")),
        (Encryption::Strict, "require", None),
    ] {
        let used = own(settings(|settings| settings.encryption = demand)).await;
        let server = used.own.as_ref().unwrap();
        let ca = folder.path().join("ca.pem");
        std::fs::write(&ca, server.ca_pem()).unwrap();
        let shop =
            used.connection.clone().option("encrypt", asked).option("tls_ca", ca.display().to_string());
        let checked = check(&shop).await;
        match covered {
            Some(covered) => {
                let info = checked.unwrap_or_else(|error| panic!("{demand:?} {asked}: {error}"));
                assert_eq!(info.tls, Some(matches!(covered, "everything" | "strict")), "{demand:?} {asked}");
                assert_eq!(server.logins().last().unwrap().encryption, covered, "{demand:?} {asked}");
            }
            None => {
                let error = checked.expect_err("refused");
                assert!(
                    matches!(error.kind(), ErrorKind::Tls | ErrorKind::Unreachable),
                    "{demand:?} {asked}: {error}"
                );
                assert!(
                    error.hint_text().is_some() && server.logins().is_empty(),
                    "{demand:?} {asked}: {error}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_trusted_by_policy() {
    let folder = tempfile::tempdir().unwrap();
    for encrypt in ["require", "strict"] {
        let used = own(settings(|settings| {
            settings.encryption = Encryption::Required;
            settings.hosts = vec!["elsewhere".to_owned()];
        }))
        .await;
        let ca = folder.path().join("ca.pem");
        std::fs::write(&ca, used.own.as_ref().unwrap().ca_pem()).unwrap();
        let shop = used.connection.clone().option("encrypt", encrypt);
        let known = shop.clone().option("tls_ca", ca.display().to_string());
        // The system's authorities do not know ours; and the name is another one.
        for refused in [&shop, &shop.clone().option("trust", "verify-ca"), &known] {
            let error = check(refused).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
        }
        for trusted in [
            known.clone().option("tls_host", "elsewhere"),
            known.option("trust", "verify-ca"),
            shop.option("trust", "all"),
        ] {
            assert_eq!(check(&trusted).await.unwrap().tls, Some(true));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_log_in_over_encrypted_connections_only() {
    let used = own(settings(|settings| settings.token = Some("eyJ0.token".to_owned()))).await;
    let shop = used
        .connection
        .clone()
        .option("login", "access_token")
        .option("encrypt", "require")
        .option("trust", "all");
    let token = shop.clone().password(Secret::new("eyJ0.token".to_owned()));
    assert_eq!(check(&token).await.unwrap().tls, Some(true));
    let wrong = shop.password(Secret::new("eyJ0.another".to_owned()));
    let error = check(&wrong).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth, "{error}");
    assert!(!format!("{error:?} {wrong:?}").contains("eyJ0.another"));
    let error = check(&token.option("encrypt", "login")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_say_what_they_want() {
    let used = own(Settings::default()).await;
    let server = used.own.as_ref().unwrap();
    check(&used.connection).await.unwrap();
    assert!(!server.logins().last().unwrap().read_only);
    let shop = used.connection.clone().option("application_intent", "read_only").option("packet_size", 8000);
    check(&shop).await.unwrap();
    let login = server.logins().last().unwrap().clone();
    assert_eq!((login.read_only, login.packet_size, login.application.as_str()), (true, 8000, "transload"));
    assert_eq!((login.user.as_str(), login.database.as_str()), ("sa", "shop"));
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_followed_and_not_for_ever() {
    let goal = own(Settings::default()).await;
    let port = goal.own.as_ref().unwrap().address().port();
    let gateway = own(settings(|settings| settings.route = Some(("127.0.0.1".to_owned(), port)))).await;
    let shop = gateway.connection.clone().option("encrypt", "require").option("trust", "all");
    check(&shop).await.unwrap();
    assert_eq!(goal.own.as_ref().unwrap().logins().len(), 1);
    // Two gateways that send to each other.
    let first = own(settings(|settings| settings.route = Some(("127.0.0.1".to_owned(), port)))).await;
    let nobody = KeptPort::any().unwrap();
    let route = ("127.0.0.1".to_owned(), nobody.number());
    let dead = own(settings(|settings| settings.route = Some(route))).await;
    check(&first.connection).await.unwrap();
    let error = check(&dead.connection).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_that_azure_puts_off_can_be_tried_again() {
    for (number, kind) in [
        (40613, ErrorKind::Unreachable),
        (40501, ErrorKind::RateLimited),
        (10928, ErrorKind::RateLimited),
        (18456, ErrorKind::Auth),
    ] {
        let used = own(settings(|settings| {
            settings.login_error = Some(LoginError { number, class: 14, times: 1 });
        }))
        .await;
        let error = check(&used.connection).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (kind, number != 18456), "{error}");
        assert_eq!(error.context_value("code"), Some(number.to_string().as_str()));
        check(&used.connection).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_in_the_middle_of_rows_end_the_read_and_not_always_the_session() {
    let place = place_at(own(Settings::default()).await).await;
    place.numbers(3000, 100).await;
    // What lives is the session; after a deadlock or a conflict its transaction, and with that its snapshot, is gone.
    for (fault, kind, lives) in [
        ("fail 1205 after 2000", ErrorKind::Conflict, false),
        ("fail 1222 after 0", ErrorKind::Conflict, true),
        ("fail 3960 after 10", ErrorKind::Conflict, false),
        ("fail 40501 after 10", ErrorKind::RateLimited, false),
        ("fail 824 after 10", ErrorKind::Data, false),
        ("close after 2500", ErrorKind::Unreachable, false),
    ] {
        let session = place.begin("t").await;
        place.run(&format!("EXEC tds_test '{fault} on [$].[t]'")).await;
        let plan = ReadPlan { batch_bytes: 1 << 14, ..ReadPlan::default() };
        let error = read_plan(session.as_ref(), &plan).await.expect_err(fault);
        assert_eq!((error.kind(), error.is_retryable()), (kind, kind != ErrorKind::Data), "{fault}: {error}");
        let again = read_plan(session.as_ref(), &plan).await;
        if lives {
            assert_eq!(again.unwrap_or_else(|error| panic!("{fault}: {error}")).num_rows(), 3000);
        } else {
            let expected =
                if kind == ErrorKind::Conflict { ErrorKind::Conflict } else { ErrorKind::Unreachable };
            assert_eq!(again.unwrap_err().kind(), expected, "{fault}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_hangs_has_a_limit() {
    let place = place_at(own(Settings::default()).await).await;
    place.numbers(100, 10).await;
    let shop = place.connection().option("read_timeout", 5);
    let session = open(&shop).await.unwrap().begin(&place.table("t")).await.unwrap();
    place.run("EXEC tds_test 'hang after 50 on [$].[t]'").await;
    let error = read_plan(session.as_ref(), &ReadPlan::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn azure_and_synapse_say_who_they_are_and_are_read() {
    for (flavour, name) in [
        (Flavour::SqlServer, "SQL Server 16."),
        (Flavour::AzureSql, "Azure SQL Database"),
        (Flavour::Synapse, "Azure Synapse dedicated SQL pool"),
    ] {
        let place = place_at(own(settings(|settings| settings.flavour = flavour)).await).await;
        let info = place.source().await.check().await.unwrap();
        assert!(info.version.starts_with(name), "{}", info.version);
        place.run("CREATE TABLE $.t (id INT NOT NULL, t VARCHAR(10) NULL)").await;
        place.run("INSERT INTO $.t VALUES (1, 'x')").await;
        let session = place.begin("t").await;
        assert_eq!(session.no_snapshot().is_some(), flavour == Flavour::Synapse);
        assert_eq!(read_plan(session.as_ref(), &ReadPlan::default()).await.unwrap().num_rows(), 1);
        let tables = place.source().await.tables(Some(&place.schema)).await.unwrap();
        assert_eq!(tables[0].rows_estimate.is_some(), flavour != Flavour::Synapse);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_allows_no_snapshot() {
    let mut used = own(Settings::default()).await;
    used.connection = used.connection.clone().option("database", "plain");
    let place = place_at(used).await;
    place.numbers(10, 10).await;
    assert!(place.begin("t").await.no_snapshot().is_some());
    let strict = place.connection().option("isolation", "snapshot");
    let error = open(&strict).await.unwrap().begin(&place.table("t")).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Unsupported && error.hint_text().is_some(), "{error}");
}
