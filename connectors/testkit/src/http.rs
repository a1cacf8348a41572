//! A small HTTP/1.1 server for tests: it answers as a script says, or leads to a real server and does harm on the
//! way. No TLS, no HTTP/2.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What a client sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST` and so on.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// What a server answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Headers, without those about the length of the body.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// It is answered.
    Reply(Reply),
    /// The connection is closed without an answer.
    Close,
    /// The connection is reset without an answer.
    Reset,
    /// No answer comes, and the connection stays open.
    Hang,
}

impl Request {
    /// The path, without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// A header by its name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; `null` if it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

impl Reply {
    /// A JSON answer.
    #[must_use]
    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        let headers = vec![("content-type".to_owned(), "application/json; charset=UTF-8".to_owned())];
        Self { status, headers, body: body.to_string().into_bytes() }
    }

    /// An answer without a body.
    #[must_use]
    pub fn empty(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// An error in the form of Google's APIs.
    #[must_use]
    pub fn google_error(status: u16, reason: &str, message: &str) -> Self {
        let body = serde_json::json!({"error": {"code": status, "message": message,
            "errors": [{"reason": reason, "message": message, "domain": "global"}]}});
        Self::json(status, &body)
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        Self::Reply(reply)
    }
}

type Handler = Arc<dyn Fn(Request) -> BoxFuture<'static, Answer> + Send + Sync>;

/// A server on a free port of this machine. Dropping it stops it.
pub struct HttpServer {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl fmt::Debug for HttpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpServer").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl HttpServer {
    /// Answers every request with what `handler` gives.
    ///
    /// # Errors
    /// Those of listening.
    pub async fn start(
        handler: impl Fn(Request) -> BoxFuture<'static, Answer> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let handler: Handler = Arc::new(handler);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, Arc::clone(&handler)));
            }
        });
        Ok(Self { address, accepting })
    }

    /// Its base URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// The requests of one connection, to its end.
async fn serve(client: TcpStream, handler: Handler) {
    let _ = client.set_nodelay(true);
    let mut client = BufReader::new(client);
    while let Ok(Some(request)) = read_request(&mut client).await {
        match handler(request).await {
            Answer::Reply(reply) => {
                if client.get_mut().write_all(&encode(&reply)).await.is_err() {
                    return;
                }
            }
            Answer::Close => return,
            Answer::Reset => {
                let _ = client.get_ref().set_zero_linger();
                return;
            }
            Answer::Hang => {
                let mut ignored = [0; 1];
                // Until the client gives up.
                let _ = client.read(&mut ignored).await;
                return;
            }
        }
    }
}

fn encode(reply: &Reply) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {} -\r\ncontent-length: {}\r\n", reply.status, reply.body.len());
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(&reply.body);
    bytes
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Start line and headers; `None` at the end of the connection.
async fn read_head(
    from: &mut (impl AsyncRead + Unpin),
) -> io::Result<Option<(String, Vec<(String, String)>)>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match from.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && head.is_empty() => return Ok(None),
            Err(error) => return Err(error),
        }
        if head.len() > 1 << 20 {
            return Err(bad("a head without end"));
        }
    }
    let text = String::from_utf8(head).map_err(|_| bad("a head that is no text"))?;
    let mut lines = text.trim_end().split("\r\n");
    let start = lines.next().unwrap_or_default().to_owned();
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
    };
    Ok(Some((start, lines.filter_map(header).collect())))
}

fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// A body by its length or in chunks; `to_end` where it may also last until the connection ends.
async fn read_body(
    from: &mut (impl AsyncRead + Unpin),
    headers: &[(String, String)],
    to_end: bool,
) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if find(headers, "transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        loop {
            let mut line = Vec::new();
            while !line.ends_with(b"\r\n") {
                line.push(from.read_u8().await?);
            }
            let line = String::from_utf8_lossy(&line);
            let digits = line.trim().split(';').next().unwrap_or_default();
            let length = usize::from_str_radix(digits, 16).map_err(|_| bad("a chunk without length"))?;
            let mut chunk = vec![0; length + 2];
            from.read_exact(&mut chunk).await?;
            body.extend_from_slice(chunk.get(..length).unwrap_or_default());
            if length == 0 {
                return Ok(body);
            }
        }
    }
    if let Some(length) = find(headers, "content-length") {
        body.resize(length.parse().map_err(|_| bad("a length that is no number"))?, 0);
        from.read_exact(&mut body).await?;
    } else if to_end {
        from.read_to_end(&mut body).await?;
    }
    Ok(body)
}

async fn read_request(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Request>> {
    let Some((start, headers)) = read_head(from).await? else { return Ok(None) };
    let body = read_body(from, &headers, false).await?;
    let mut words = start.split(' ');
    let mut word = || words.next().map(str::to_owned).ok_or_else(|| bad("a request without target"));
    Ok(Some(Request { method: word()?, target: word()?, headers, body }))
}

/// Hands a request to a server and reads its whole answer.
///
/// # Errors
/// Those of the connection.
pub async fn forward(server: SocketAddr, request: &Request) -> io::Result<Reply> {
    let stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let mut head = format!("{} {} HTTP/1.1\r\n", request.method, request.target);
    for (name, value) in &request.headers {
        // `host` stays: addresses that the server answers with then lead through here.
        if !matches!(name.as_str(), "connection" | "content-length" | "transfer-encoding") {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    head.push_str(&format!("connection: close\r\ncontent-length: {}\r\n\r\n", request.body.len()));
    stream.get_mut().write_all(head.as_bytes()).await?;
    stream.get_mut().write_all(&request.body).await?;
    let (start, mut headers) = read_head(&mut stream).await?.ok_or_else(|| bad("no answer"))?;
    let status = start.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| bad("an answer without status"))?;
    let body = if matches!(status, 204 | 304) || request.method == "HEAD" {
        Vec::new()
    } else {
        read_body(&mut stream, &headers, true).await?
    };
    headers
        .retain(|(name, _)| !matches!(name.as_str(), "connection" | "content-length" | "transfer-encoding"));
    Ok(Reply { status, headers, body })
}

/// What happens to one request on its way through a [`FaultProxy`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Harm {
    /// Nothing.
    None,
    /// The connection is reset before the server sees the request.
    ResetBefore,
    /// The server acts, and the connection is reset before its answer arrives.
    ResetAfter,
    /// The server acts, and its answer is lost: the connection is closed.
    LoseReply,
    /// The server does not see the request; somebody answers in its place.
    ReplyBefore(Reply),
    /// The server acts, and somebody answers in its place.
    ReplyAfter(Reply),
}

type Script = Box<dyn FnMut(&Request) -> Harm + Send>;

/// An HTTP proxy in front of a real server that does harm where a script says, and counts it.
#[derive(Debug)]
pub struct FaultProxy {
    server: HttpServer,
    shared: Arc<Faults>,
}

struct Faults {
    script: Mutex<Option<Script>>,
    harmed: AtomicU64,
    passed: AtomicU64,
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("harmed", &self.harmed).finish_non_exhaustive()
    }
}

impl FaultProxy {
    /// Leads to the server at `upstream`, such as `127.0.0.1:9050`. Everything passes until [`Self::script`].
    ///
    /// # Errors
    /// Those of listening.
    pub async fn new(upstream: SocketAddr) -> io::Result<Self> {
        let shared = Arc::new(Faults {
            script: Mutex::new(None),
            harmed: AtomicU64::new(0),
            passed: AtomicU64::new(0),
        });
        let faults = Arc::clone(&shared);
        let server =
            HttpServer::start(move |request| Box::pin(lead(upstream, request, Arc::clone(&faults)))).await?;
        Ok(Self { server, shared })
    }

    /// Its base URL, to be used in place of the server's.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Decides what happens to each request from now on.
    pub fn script(&self, script: impl FnMut(&Request) -> Harm + Send + 'static) {
        *self.shared.script.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(script));
    }

    /// Lets everything pass again.
    pub fn pass(&self) {
        *self.shared.script.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Requests that came to harm so far.
    #[must_use]
    pub fn harmed(&self) -> u64 {
        self.shared.harmed.load(Ordering::Acquire)
    }

    /// Requests that passed unharmed so far.
    #[must_use]
    pub fn passed(&self) -> u64 {
        self.shared.passed.load(Ordering::Acquire)
    }
}

async fn lead(upstream: SocketAddr, request: Request, faults: Arc<Faults>) -> Answer {
    let harm = match faults.script.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
        Some(script) => script(&request),
        None => Harm::None,
    };
    let counter = if harm == Harm::None { &faults.passed } else { &faults.harmed };
    counter.fetch_add(1, Ordering::AcqRel);
    match harm {
        Harm::ResetBefore => return Answer::Reset,
        Harm::ReplyBefore(reply) => return reply.into(),
        _ => {}
    }
    // The server acts even if whoever asked is gone by now.
    let acted = tokio::spawn(async move { forward(upstream, &request).await }).await;
    match (harm, acted) {
        (Harm::ResetAfter, _) => Answer::Reset,
        (Harm::LoseReply, _) => Answer::Close,
        (Harm::ReplyAfter(reply), _) => reply.into(),
        (_, Ok(Ok(reply))) => reply.into(),
        _ => Answer::Reset,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn echo() -> HttpServer {
        HttpServer::start(|request| {
            Box::pin(async move {
                let host = request.header("host").unwrap_or_default().to_owned();
                Reply { status: 200, headers: vec![("x-host".to_owned(), host)], body: request.body }.into()
            })
        })
        .await
        .unwrap()
    }

    fn request(body: &[u8]) -> Request {
        Request {
            method: "POST".to_owned(),
            target: "/a?b=c".to_owned(),
            headers: vec![("host".to_owned(), "somewhere".to_owned())],
            body: body.to_vec(),
        }
    }

    #[tokio::test]
    async fn does_harm_before_and_after_the_server_acted() {
        let server = echo().await;
        let proxy = FaultProxy::new(server.address).await.unwrap();
        let through = proxy.server.address;
        let body = vec![7; 100_000];
        let reply = forward(through, &request(&body)).await.unwrap();
        assert_eq!((reply.status, reply.body.len()), (200, 100_000));
        assert_eq!(find(&reply.headers, "x-host"), Some("somewhere"));
        for harm in [Harm::ResetBefore, Harm::ResetAfter, Harm::LoseReply] {
            let script = harm.clone();
            proxy.script(move |_| script.clone());
            assert!(forward(through, &request(&body)).await.is_err(), "{harm:?}");
        }
        proxy.script(|_| Harm::ReplyAfter(Reply::google_error(503, "backendError", "no")));
        assert_eq!(forward(through, &request(&body)).await.unwrap().status, 503);
        assert_eq!((proxy.harmed(), proxy.passed()), (4, 1));
        proxy.pass();
        assert_eq!(forward(through, &request(&body)).await.unwrap().status, 200);
    }

    #[tokio::test]
    async fn bodies_in_chunks_are_read() {
        let mut chunked: &[u8] = b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n";
        let headers = vec![("transfer-encoding".to_owned(), "chunked".to_owned())];
        assert_eq!(read_body(&mut chunked, &headers, false).await.unwrap(), b"hello world");
    }
}
