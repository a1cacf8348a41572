//! One connection: prelogin, TLS, login, and then requests and answers.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};

use crate::engine::{Engine, Output, Place};
use crate::error::SqlError;
use crate::server::{Known, LoginRecord, Shared};
use crate::settings::Encryption;
use crate::signals::Signals;
use crate::types::collation::Collation;
use crate::wire::bytes::malformed;
use crate::wire::login::{Credentials, Login};
use crate::wire::packet::{self, Answer, FIRST_SIZE, Kind, Message};
use crate::wire::prelogin::{Cover, Prelogin};
use crate::wire::request::{Request, batch, procedure};
use crate::wire::token::{Done, Notice, Tokens};

/// The first byte of a TLS handshake, by which TDS 8 is told from TDS 7.
const TLS_HANDSHAKE: u8 = 0x16;

/// The version of TDS that a client of TDS 8 asks for.
const TDS_8: u32 = 0x0800_0000;

/// Serves a connection until one side has enough.
pub(crate) async fn connect(stream: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut first = [0];
    stream.peek(&mut first).await?;
    if first[0] == TLS_HANDSHAKE {
        if shared.settings.encryption == Encryption::NotSupported {
            return Err(io::Error::other("TLS is not supported"));
        }
        let mut stream = Box::pin(shared.certificates.strict(stream)).await?;
        agree(&mut stream, &shared, true).await?;
        return Box::pin(session(stream, shared, "strict")).await;
    }
    let mut stream = stream;
    match agree(&mut stream, &shared, false).await? {
        Cover::Refused => Ok(()),
        Cover::Nothing => Box::pin(session(stream, shared, "nothing")).await,
        Cover::Everything => {
            let stream = Box::pin(shared.certificates.within(stream)).await?;
            Box::pin(session(stream, shared, "everything")).await
        }
        Cover::Login => {
            let mut tls = Box::pin(shared.certificates.within(stream)).await?;
            let message = packet::read(&mut tls).await?.ok_or_else(|| malformed("no login"))?;
            let stream = tls.into_inner().0.into_stream();
            Box::pin(logged_in(stream, shared, "login", message)).await
        }
    }
}

/// Reads the prelogin and answers it.
async fn agree<S>(stream: &mut S, shared: &Shared, secured: bool) -> io::Result<Cover>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let message = packet::read(stream).await?.ok_or_else(|| malformed("no prelogin"))?;
    if !message.is(Kind::Prelogin) {
        return Err(malformed("a connection begins with a prelogin"));
    }
    let prelogin = Prelogin::parse(&message.body)?;
    let (cover, answer) = prelogin.answer(shared.settings.encryption, shared.product().number, secured);
    packet::write(stream, Answer::new(FIRST_SIZE, 0), &answer).await?;
    Ok(cover)
}

async fn session<S>(mut stream: S, shared: Arc<Shared>, encryption: &'static str) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let message = packet::read(&mut stream).await?.ok_or_else(|| malformed("no login"))?;
    logged_in(stream, shared, encryption, message).await
}

async fn logged_in<S>(
    mut stream: S,
    shared: Arc<Shared>,
    encryption: &'static str,
    message: Message,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    if !message.is(Kind::Login) {
        return Err(malformed("a login was expected"));
    }
    let login = Login::parse(&message.body)?;
    let asked = usize::try_from(login.packet_size).unwrap_or(0);
    let asked = if asked == 0 { FIRST_SIZE } else { asked };
    let size = asked.clamp(512, usize::from(shared.settings.packet_size).max(512));
    shared.log_login(LoginRecord {
        user: login.user.clone(),
        database: login.database.clone(),
        application: login.application.clone(),
        read_only: login.read_only,
        encryption,
        packet_size: size,
    });
    tokio::time::sleep(shared.settings.login_delay).await;
    let who = match admit(&login, &shared) {
        Ok(who) => who,
        Err(errors) => {
            let mut tokens = Tokens::default();
            errors.iter().for_each(|error| tokens.notice(&notice(error), "TDSTEST"));
            tokens.failed(Done::Statement, 0);
            packet::write(&mut stream, Answer::new(FIRST_SIZE, 0), &tokens.into_bytes()).await?;
            return stream.shutdown().await;
        }
    };
    let (signals, killed) = (Arc::new(Signals::default()), Arc::new(Notify::new()));
    let known = Known {
        login: who.clone(),
        application: login.application.clone(),
        signals: signals.clone(),
        killed: killed.clone(),
    };
    let number = shared.enter(known)?;
    let leaving = Leaving { shared: shared.clone(), number };
    let mut tokens = welcome(&login, &shared, size);
    if let Some((host, port)) = &shared.settings.route {
        tokens.route(host, *port);
    }
    tokens.done(Done::Statement, 0, 0, None);
    packet::write(&mut stream, Answer::new(FIRST_SIZE, number), &tokens.into_bytes()).await?;
    let name = if login.database.is_empty() { "shop" } else { &login.database };
    let Some(database) = shared.databases.find(name) else { return Ok(()) };
    let place = Place { number, login: who, application: login.application, database };
    Running::start(stream, leaving, place, size, signals, killed).await
}

/// Takes the session out of the server's list when it is dropped, however the session ends.
struct Leaving {
    shared: Arc<Shared>,
    number: u16,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.shared.leave(self.number);
    }
}

fn notice(error: &SqlError) -> Notice {
    Notice { number: error.number, class: error.class, state: error.state, text: error.text.clone(), line: 1 }
}

/// Who logs in, or the errors that refuse it.
fn admit(login: &Login, shared: &Shared) -> Result<String, Vec<SqlError>> {
    let counted =
        shared.login_errors.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
    if let (Ok(_), Some(error)) = (counted, &shared.settings.login_error) {
        let text = format!("Database '{}' on server 'TDSTEST' is not currently available.", login.database);
        return Err(vec![SqlError::new(error.number, error.class, text)]);
    }
    let refused = |user: &str| SqlError::new(18456, 14, format!("Login failed for user '{user}'."));
    let who = match &login.credentials {
        Credentials::Password(password) => {
            let known = ["sa", "etl"].into_iter().find(|known| known.eq_ignore_ascii_case(&login.user));
            match known {
                Some(known) if *password == shared.settings.password => known,
                _ => return Err(vec![refused(&login.user)]),
            }
        }
        Credentials::Token(token) if shared.settings.token.as_ref() == Some(token) => "etl",
        Credentials::Token(_) => return Err(vec![refused("<token-identified principal>")]),
    };
    if !login.database.is_empty() && shared.databases.find(&login.database).is_none() {
        let text =
            format!("Cannot open database \"{}\" requested by the login. The login failed.", login.database);
        return Err(vec![SqlError::new(4060, 11, text), refused(who)]);
    }
    Ok(who.to_owned())
}

/// The answer to a login, but for its end.
fn welcome(login: &Login, shared: &Shared, size: usize) -> Tokens {
    let mut tokens = Tokens::default();
    let database = shared.databases.find(if login.database.is_empty() { "shop" } else { &login.database });
    let database = database.map_or_else(String::new, |database| database.name.clone());
    let info = |number, text: String| Notice { number, class: 0, state: 2, text, line: 1 };
    tokens.environment(1, &database, "master");
    tokens.notice(&info(5701, format!("Changed database context to '{database}'.")), "TDSTEST");
    tokens.collation(Collation::default());
    tokens.environment(2, "us_english", "");
    tokens.notice(&info(5703, "Changed language setting to us_english.".to_owned()), "TDSTEST");
    let version = if login.version == TDS_8 { TDS_8 } else { 0x7400_0004 };
    tokens.login_ack(version, shared.product().number);
    tokens.environment(4, &size.to_string(), &FIRST_SIZE.to_string());
    if let Some(features) = login.acknowledged() {
        tokens.features(&features);
    }
    tokens
}

/// A session that takes requests.
struct Running<S> {
    to: WriteHalf<S>,
    requests: mpsc::Receiver<Message>,
    jobs: std::sync::mpsc::Sender<Request>,
    outputs: mpsc::Receiver<Output>,
    signals: Arc<Signals>,
    killed: Arc<Notify>,
    size: usize,
    number: u16,
}

/// What ended an answer.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    Whole,
    /// The connection is over.
    Closed,
}

/// Reads requests until the client is gone: an attention must be seen while an answer is being written.
async fn read_requests<S: AsyncRead + Unpin>(mut from: ReadHalf<S>, to: mpsc::Sender<Message>) {
    while let Ok(Some(message)) = packet::read(&mut from).await {
        if to.send(message).await.is_err() {
            return;
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Running<S> {
    async fn start(
        stream: S,
        leaving: Leaving,
        place: Place,
        size: usize,
        signals: Arc<Signals>,
        killed: Arc<Notify>,
    ) -> io::Result<()> {
        let (from, to) = tokio::io::split(stream);
        let (sent, requests) = mpsc::channel(4);
        let reading = tokio::spawn(read_requests(from, sent));
        let (answered, outputs) = mpsc::channel(8);
        let (jobs, received) = std::sync::mpsc::channel();
        let number = place.number;
        let stop = signals.clone();
        std::thread::Builder::new().name(format!("session {number}")).stack_size(16 << 20).spawn({
            let signals = signals.clone();
            move || {
                // Its number is free for another session only after the engine has given back what it held.
                let leaving = leaving;
                let shared = leaving.shared.clone();
                // Without its database the session answers nothing, and the connection ends.
                let Ok(mut engine) = Engine::new(shared, place, signals, answered) else { return };
                while let Ok(request) = received.recv() {
                    engine.run(request);
                }
            }
        })?;
        let mut running = Self { to, requests, jobs, outputs, signals, killed, size, number };
        let served = running.serve().await;
        reading.abort();
        // The thread gives up what it is doing, and ends with its channel.
        stop.kill();
        served
    }

    async fn serve(&mut self) -> io::Result<()> {
        loop {
            let message = tokio::select! {
                message = self.requests.recv() => message,
                () = self.killed.notified() => return self.to.shutdown().await,
            };
            let Some(message) = message else { return Ok(()) };
            let request = match message.kind {
                kind if kind == Kind::Batch as u8 => batch(&message.body),
                kind if kind == Kind::Rpc as u8 => procedure(&message.body),
                kind if kind == Kind::Attention as u8 => {
                    // Its answer was complete before the attention came.
                    self.write_attention(Answer::new(self.size, self.number)).await?;
                    continue;
                }
                kind if kind == Kind::TransactionManager as u8 => {
                    Err(malformed("requests to the transaction manager are not known; send a batch"))
                }
                kind => Err(malformed(&format!("messages of kind {kind} are not known"))),
            };
            let request = match request {
                Ok(request) => request,
                Err(error) => {
                    let error =
                        SqlError::new(4002, 16, format!("The incoming TDS stream is incorrect: {error}"));
                    let mut tokens = Tokens::default();
                    tokens.notice(&notice(&error), "TDSTEST");
                    tokens.failed(Done::Statement, 0);
                    packet::write(&mut self.to, Answer::new(self.size, self.number), &tokens.into_bytes())
                        .await?;
                    continue;
                }
            };
            // Before the thread has the request, so that an attention that follows at once is not forgotten.
            self.signals.reset();
            if self.jobs.send(request).is_err() || self.answer().await? == Ended::Closed {
                return self.to.shutdown().await;
            }
        }
    }

    /// Writes what the thread gives, until the answer is complete or the client wants no more of it.
    async fn answer(&mut self) -> io::Result<Ended> {
        let mut answer = Answer::new(self.size, self.number);
        let mut cancelled = false;
        loop {
            tokio::select! {
                output = self.outputs.recv() => match output {
                    Some(Output::Data { .. }) if cancelled => {}
                    Some(Output::Data { bytes, at_once }) => {
                        self.to.write_all(&answer.add(&bytes)).await?;
                        if at_once {
                            self.to.write_all(&answer.flush()).await?;
                            self.to.flush().await?;
                        }
                    }
                    Some(Output::End) if cancelled => {
                        // The answer ends as it is, and what is said to the attention comes behind it.
                        let mut tokens = Tokens::default();
                        tokens.failed(Done::Statement, 0);
                        packet::write(&mut self.to, answer, &tokens.into_bytes()).await?;
                        self.write_attention(Answer::new(self.size, self.number)).await?;
                        return Ok(Ended::Whole);
                    }
                    Some(Output::End) => {
                        self.to.write_all(&answer.end()).await?;
                        self.to.flush().await?;
                        return Ok(Ended::Whole);
                    }
                    Some(Output::Last) => {
                        self.to.write_all(&answer.end()).await?;
                        return Ok(Ended::Closed);
                    }
                    Some(Output::Cut) => {
                        self.to.write_all(&answer.flush()).await?;
                        return Ok(Ended::Closed);
                    }
                    None => return Ok(Ended::Closed),
                },
                message = self.requests.recv() => match message {
                    Some(message) if message.is(Kind::Attention) => {
                        cancelled = true;
                        self.signals.cancel();
                    }
                    // The client is gone, or sends what it must not: nobody wants the rest.
                    _ => return Ok(Ended::Closed),
                },
            }
        }
    }

    async fn write_attention(&mut self, answer: Answer) -> io::Result<()> {
        let mut tokens = Tokens::default();
        tokens.attention();
        packet::write(&mut self.to, answer, &tokens.into_bytes()).await
    }
}
