//! The way of tokens from a session's thread to its connection.

use tokio::sync::mpsc::Sender;

use crate::wire::token::{Done, MORE, Notice, Tokens};

/// What a session's thread has for its connection.
#[derive(Debug)]
pub(crate) enum Output {
    /// Whole tokens; `at_once` if they are not to wait for a full packet.
    Data { bytes: Vec<u8>, at_once: bool },
    /// The answer is complete.
    End,
    /// The answer is complete, and the connection ends.
    Last,
    /// The connection ends in the middle of the answer.
    Cut,
}

/// Bytes that are sent together.
const CHUNK: usize = 32 << 10;

/// A DONE that waits for what comes after it: only then is it known whether more follows.
#[derive(Debug)]
struct Waiting {
    kind: Done,
    command: u16,
    rows: Option<u64>,
    failed: bool,
}

#[derive(Debug)]
pub(super) struct Outbox {
    tokens: Tokens,
    waiting: Option<Waiting>,
    to: Sender<Output>,
    server: &'static str,
}

impl Outbox {
    pub(super) fn new(to: Sender<Output>) -> Self {
        Self { tokens: Tokens::default(), waiting: None, to, server: "TDSTEST" }
    }

    /// The tokens, for more to be added.
    pub(super) fn tokens(&mut self) -> &mut Tokens {
        if let Some(waiting) = self.waiting.take() {
            self.write_done(&waiting, MORE);
        }
        &mut self.tokens
    }

    fn write_done(&mut self, waiting: &Waiting, status: u16) {
        if waiting.failed {
            self.tokens.failed(waiting.kind, status);
        } else {
            self.tokens.done(waiting.kind, status, waiting.command, waiting.rows);
        }
    }

    pub(super) fn done(&mut self, kind: Done, command: u16, rows: Option<u64>) {
        self.tokens();
        self.waiting = Some(Waiting { kind, command, rows, failed: false });
    }

    pub(super) fn failed(&mut self, kind: Done) {
        self.tokens();
        self.waiting = Some(Waiting { kind, command: 0, rows: None, failed: true });
    }

    /// Whether a DONE is there to end the answer with.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    pub(super) fn notice(&mut self, notice: &Notice) {
        let server = self.server;
        self.tokens().notice(notice, server);
    }

    /// Sends what there is if it is much.
    pub(super) fn send_full(&mut self) {
        if self.tokens.len() >= CHUNK {
            self.send(false);
        }
    }

    pub(super) fn send(&mut self, at_once: bool) {
        let bytes = self.tokens.take();
        if !bytes.is_empty() {
            self.put(Output::Data { bytes, at_once });
        }
    }

    /// The answer is complete: `how` is one of the outputs without bytes.
    pub(super) fn end(&mut self, how: Output) {
        if let Some(waiting) = self.waiting.take() {
            self.write_done(&waiting, 0);
        }
        self.send(false);
        self.put(how);
    }

    /// A connection that is gone takes nothing; the session's thread then ends by itself.
    fn put(&self, output: Output) {
        let _gone = self.to.blocking_send(output);
    }
}
