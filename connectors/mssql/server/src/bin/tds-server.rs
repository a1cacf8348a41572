//! The test server as a process: it prints where it listens as JSON, and ends when its standard input does.
//!
//! `tds-server [off|on|required|strict|none] [--token TOKEN] [--run FILE]`
//!
//! `FILE` holds T-SQL that is run before the address is printed; its batches are divided by lines `GO`.

use std::io::{Error, Result, Write as _};

use tokio::io::AsyncReadExt as _;
use transload_tds_server::{Encryption, Server, Settings};

#[tokio::main]
async fn main() -> Result<()> {
    let mut settings = Settings::default();
    let mut script = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| Error::other(format!("{argument} wants a value")));
        match argument.as_str() {
            "off" | "on" => settings.encryption = Encryption::Off,
            "required" => settings.encryption = Encryption::Required,
            "strict" => settings.encryption = Encryption::Strict,
            "none" => settings.encryption = Encryption::NotSupported,
            "--token" => settings.token = Some(value()?),
            "--run" => script = Some(std::fs::read_to_string(value()?)?),
            other => return Err(Error::other(format!("unknown argument: {other}"))),
        }
    }
    let server = Server::start(settings).await?;
    if let Some(script) = script {
        server.run(&script).await?;
    }
    let address = serde_json::json!({
        "host": server.address().ip().to_string(),
        "port": server.address().port(),
        "username": "sa",
        "password": server.password(),
        "database": "shop",
        "ca_pem": server.ca_pem(),
    });
    let mut out = std::io::stdout();
    writeln!(out, "{address}")?;
    out.flush()?;
    let mut input = tokio::io::stdin();
    while input.read(&mut [0; 64]).await? > 0 {}
    Ok(())
}
