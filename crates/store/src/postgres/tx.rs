//! One transaction on one connection: statements whose answers are needed, and statements that can wait for the end and
//! then share one round trip with the commit.

use std::borrow::Cow;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use deadpool_postgres::Object;
use tokio_postgres::{Row, Statement};

use super::connect::Mode;
use super::fault::{Stop, is_lost};
use super::param::Param;

type Text = Cow<'static, str>;

/// A transaction that begins with its first statement.
pub(super) struct Tx {
    conn: Option<Object>,
    mode: Mode,
    begin: &'static str,
    has_begun: bool,
    later: Vec<(Text, Vec<Param>)>,
}

impl Tx {
    pub(super) fn new(conn: Object, mode: Mode, begin: &'static str) -> Self {
        Self { conn: Some(conn), mode, begin, has_begun: false, later: Vec::new() }
    }

    fn conn(&self) -> &Object {
        self.conn.as_ref().expect("it is taken when the transaction ends, which consumes it")
    }

    /// Runs a statement and returns what it says.
    pub(super) async fn query(&mut self, sql: &str, params: Vec<Param>) -> Result<Vec<Row>, Stop> {
        let call = Call::new(self.conn(), self.mode, sql, &params).await?;
        if self.has_begun {
            return Ok(call.run(self.conn()).await?);
        }
        self.has_begun = true;
        let conn = self.conn();
        let (begun, rows) = in_order2(conn.batch_execute(self.begin), call.run(conn)).await;
        begun?;
        Ok(rows?)
    }

    /// Runs a statement and returns its only row, if there is one.
    pub(super) async fn query_opt(&mut self, sql: &str, params: Vec<Param>) -> Result<Option<Row>, Stop> {
        Ok(self.query(sql, params).await?.into_iter().next())
    }

    /// Runs statements without arguments.
    pub(super) async fn batch(&mut self, sql: &str) -> Result<(), Stop> {
        if !self.has_begun {
            self.has_begun = true;
            self.conn().batch_execute(self.begin).await?;
        }
        Ok(self.conn().batch_execute(sql).await?)
    }

    /// A statement whose answer nobody needs: it is run before the commit, after those that were given before it.
    pub(super) fn later(&mut self, sql: impl Into<Text>, params: Vec<Param>) {
        self.later.push((sql.into(), params));
    }

    /// Runs what was left for later and commits, in one round trip. After an error nothing is written, unless it is
    /// [`Stop::InDoubt`].
    pub(super) async fn commit(mut self) -> Result<(), Stop> {
        let later = std::mem::take(&mut self.later);
        if !self.has_begun && later.is_empty() {
            return Ok(());
        }
        let mut calls = Vec::with_capacity(later.len());
        for (sql, params) in &later {
            calls.push(Call::new(self.conn(), self.mode, sql, params).await?);
        }
        let begin = (!self.has_begun).then_some(self.begin);
        self.has_begun = true;
        let conn = self.conn();
        let mut steps: Vec<Step<'_>> = Vec::with_capacity(calls.len() + 2);
        if let Some(begin) = begin {
            steps.push(Box::pin(conn.batch_execute(begin)));
        }
        for call in calls {
            steps.push(Box::pin(async move { call.run(conn).await.map(drop) }));
        }
        steps.push(Box::pin(conn.batch_execute("COMMIT")));
        let mut answers = in_order(steps).await;
        let committed = answers.pop().unwrap_or(Ok(()));
        self.has_begun = committed.is_err();
        // In a transaction that failed, COMMIT rolls back and says nothing of it.
        let lost = answers.into_iter().find_map(Result::err);
        match (lost, committed) {
            (None, Ok(())) => Ok(()),
            (Some(error), _) if !is_lost(&error) => Err(Stop::Failed(error)),
            // All was sent at once: the commit may have arrived.
            (Some(error), _) => Err(Stop::InDoubt(error)),
            (None, Err(error)) if is_lost(&error) => Err(Stop::InDoubt(error)),
            (None, Err(error)) => Err(Stop::Failed(error)),
        }
    }

    /// Leaves everything as it was.
    pub(super) async fn roll_back(mut self) {
        if self.has_begun && self.conn().batch_execute("ROLLBACK").await.is_ok() {
            self.has_begun = false;
        }
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        // Whoever gets a connection next must not find a transaction open on it: closing it ends the transaction.
        if self.has_begun
            && let Some(conn) = self.conn.take()
        {
            drop(Object::take(conn));
        }
    }
}

type Step<'a> = Pin<Box<dyn Future<Output = Result<(), tokio_postgres::Error>> + Send + 'a>>;

/// A statement that is ready to be sent.
enum Call<'a> {
    Prepared(Statement, &'a [Param]),
    /// Behind a pooler that knows no prepared statements: text, types and arguments go in one message.
    Plain(&'a str, &'a [Param]),
}

impl<'a> Call<'a> {
    async fn new(conn: &Object, mode: Mode, sql: &'a str, params: &'a [Param]) -> Result<Self, Stop> {
        if mode == Mode::Pooled {
            return Ok(Call::Plain(sql, params));
        }
        let types: Vec<_> = params.iter().map(|param| param.of.clone()).collect();
        Ok(Call::Prepared(conn.prepare_typed_cached(sql, &types).await?, params))
    }

    async fn run(self, conn: &Object) -> Result<Vec<Row>, tokio_postgres::Error> {
        match self {
            Call::Prepared(statement, params) => {
                let params: Vec<_> = params.iter().map(|param| &*param.value as _).collect();
                conn.query(&statement, &params).await
            }
            Call::Plain(sql, params) => {
                let params: Vec<_> =
                    params.iter().map(|param| (&*param.value as _, param.of.clone())).collect();
                conn.query_typed(sql, &params).await
            }
        }
    }
}

/// One statement by itself, which is a transaction of its own.
pub(super) async fn query(conn: &Object, mode: Mode, sql: &str, params: &[Param]) -> Result<Vec<Row>, Stop> {
    Ok(Call::new(conn, mode, sql, params).await?.run(conn).await?)
}

/// Has the futures send what they send in this order, without waiting for answers in between.
async fn in_order(mut steps: Vec<Step<'_>>) -> Vec<Result<(), tokio_postgres::Error>> {
    let mut answers: Vec<Option<Result<(), tokio_postgres::Error>>> = steps.iter().map(|_| None).collect();
    poll_fn(|cx| {
        let mut is_done = true;
        for (step, answer) in steps.iter_mut().zip(&mut answers) {
            if answer.is_none() {
                match step.as_mut().poll(cx) {
                    Poll::Ready(ready) => *answer = Some(ready),
                    Poll::Pending => is_done = false,
                }
            }
        }
        if is_done { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    answers.into_iter().flatten().collect()
}

async fn in_order2<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    // `join` polls its first future first.
    futures::future::join(a, b).await
}
