//! The session's thread: it runs batches against SQLite and answers in tokens.

mod bind;
mod catalog;
mod ddl;
mod dml;
mod execute;
mod faults;
mod functions;
pub(crate) mod locks;
mod outbox;
mod procedures;
mod results;
mod scalar;
mod scalar_text;
mod scalar_time;
mod session;
pub(crate) mod storage;
mod tables;
mod transaction;

use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::mpsc::Sender;

use crate::error::{Result, SqlError};
use crate::server::Shared;
use crate::signals::Signals;
use crate::sql::parser::parse;
use crate::wire::request::{Parameter, Request};
use crate::wire::token::{Done, Notice};

pub(crate) use faults::Faults;
use outbox::Outbox;
pub(crate) use outbox::Output;
use session::Session;
use storage::Database;

/// Who logged in, and where to.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) number: u16,
    pub(crate) login: String,
    pub(crate) application: String,
    pub(crate) database: Arc<Database>,
}

/// A session's thread.
pub(crate) struct Engine {
    shared: Arc<Shared>,
    session: Session,
    database: Arc<Database>,
    connection: Connection,
    signals: Arc<Signals>,
    outbox: Outbox,
    /// The number that the client has to name in its requests while a transaction is open.
    descriptor: u64,
    /// Which DONE ends a statement: those of procedures are others.
    done: Done,
    depth: usize,
}

/// Whether the batch goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Stop,
    /// The connection is to end, after an error that does that.
    Close,
    /// The connection is to end as if its cable were cut.
    Cut,
}

/// Errors after which a batch goes on with its next statement.
const PASSING: [u32; 16] =
    [515, 547, 1222, 2601, 2627, 2628, 2714, 2759, 3701, 3729, 8134, 8152, 15233, 15151, 15217, 50000];

/// Errors that roll the transaction back.
const FATAL: [u32; 3] = [1205, 3960, 3952];

impl Engine {
    pub(crate) fn new(
        shared: Arc<Shared>,
        place: Place,
        signals: Arc<Signals>,
        to: Sender<Output>,
    ) -> Result<Self> {
        let connection = place.database.open(place.number)?;
        signals.runs_on(&connection);
        Ok(Self {
            shared,
            session: Session::new(place.number, &place.login, &place.application),
            database: place.database,
            connection,
            signals,
            outbox: Outbox::new(to),
            descriptor: 0,
            done: Done::Statement,
            depth: 0,
        })
    }

    /// Runs one request and answers it. Its signals were reset before it was sent here.
    pub(crate) fn run(&mut self, request: Request) {
        let flow = match request {
            Request::Batch { text, transaction } => self.batch(&text, transaction),
            Request::Procedure { name, parameters, transaction } => {
                self.call(&name, &parameters, transaction)
            }
        };
        self.outbox.end(match flow {
            Flow::Close => Output::Last,
            Flow::Cut => Output::Cut,
            Flow::Next | Flow::Stop => Output::End,
        });
        self.session.variables.clear();
    }

    /// Runs batches, divided by lines `GO`, as a session of `sa` whose answers nobody reads.
    pub(crate) fn script(
        shared: Arc<Shared>,
        number: u16,
        database: Arc<Database>,
        text: &str,
    ) -> Result<()> {
        let place = Place { number, login: "sa".to_owned(), application: "script".to_owned(), database };
        let (to, unread) = tokio::sync::mpsc::channel(1);
        drop(unread);
        let mut engine = Self::new(shared, place, Arc::new(Signals::default()), to)?;
        let mut batches = vec![String::new()];
        for line in text.lines() {
            match batches.last_mut() {
                Some(batch) if !line.trim().eq_ignore_ascii_case("go") => {
                    batch.push_str(line);
                    batch.push('\n');
                }
                _ => batches.push(String::new()),
            }
        }
        for batch in batches {
            for placed in parse(&batch)? {
                if engine.statement(&placed.statement)? != Flow::Next {
                    let text =
                        format!("error {} in line {} of a batch", engine.session.last_error, placed.line);
                    return Err(SqlError::new(engine.session.last_error, 16, text));
                }
            }
            engine.session.variables.clear();
        }
        Ok(())
    }

    fn batch(&mut self, text: &str, transaction: u64) -> Flow {
        self.shared.log(text);
        self.done = Done::Statement;
        if let Err(error) = self.check_descriptor(transaction) {
            return self.report(&error, 1);
        }
        let flow = self.text(text);
        if !self.outbox.is_waiting() {
            self.outbox.done(Done::Statement, 0, None);
        }
        flow
    }

    /// The statements of a text, one after another.
    fn text(&mut self, text: &str) -> Flow {
        let statements = match parse(text) {
            Ok(statements) => statements,
            Err(error) => return self.report(&error, 1),
        };
        for placed in statements {
            let flow = match self.signals.check().and_then(|()| self.statement(&placed.statement)) {
                Ok(flow) => flow,
                Err(error) => self.report(&error, placed.line),
            };
            if flow != Flow::Next {
                return flow;
            }
        }
        Flow::Next
    }

    fn check_descriptor(&self, transaction: u64) -> Result<()> {
        if transaction == self.descriptor {
            return Ok(());
        }
        let text =
            "New request is not allowed to start because it should come with valid transaction descriptor.";
        Err(SqlError::new(3989, 16, text))
    }

    /// Tells of an error, and decides what it ends.
    fn report(&mut self, error: &SqlError, line: u32) -> Flow {
        // What SQLite says when it is interrupted is not the reason.
        let killed = self.signals.is_killed().then(|| self.signals.error());
        let error = killed.as_ref().unwrap_or(error);
        self.session.last_error = error.number;
        if self.signals.is_cancelled() && !self.signals.is_killed() {
            // The client asked for it; its connection answers.
            if self.session.aborts {
                self.roll_back();
            }
            return Flow::Stop;
        }
        let notice = Notice {
            number: error.number,
            class: error.class,
            state: error.state,
            text: error.text.clone(),
            line,
        };
        self.outbox.notice(&notice);
        self.outbox.failed(self.done);
        if error.class >= 20 {
            return Flow::Close;
        }
        if FATAL.contains(&error.number) || self.session.aborts && error.class > 10 {
            self.roll_back();
            return Flow::Stop;
        }
        if PASSING.contains(&error.number) || error.number > 50_000 { Flow::Next } else { Flow::Stop }
    }

    /// A call that came as such: `sp_executesql` and those of [`procedures`].
    fn call(&mut self, name: &str, parameters: &[Parameter], transaction: u64) -> Flow {
        self.done = Done::InProcedure;
        let flow = match self.check_descriptor(transaction) {
            Err(error) => self.report(&error, 1),
            Ok(()) => match self.procedure(name, parameters) {
                Ok(flow) => flow,
                Err(error) => self.report(&error, 1),
            },
        };
        self.outbox.tokens().return_status(0);
        self.outbox.done(Done::Procedure, 0xE0, None);
        flow
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.roll_back();
    }
}
