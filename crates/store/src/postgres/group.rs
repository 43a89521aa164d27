//! Operations of one kind share transactions: whoever writes takes what has arrived, and everybody is answered after the
//! commit. There is no timer: while one group is synced to disk the next one collects.

use std::sync::Arc;

use parking_lot::RwLock;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::fault::Stop;
use super::state::{Operation, State};
use super::work::Work;
use crate::error::StoreError;

/// Requests that may wait; more wait to be let in.
const QUEUE: usize = 4096;
/// Rows that are written in one transaction, more or less.
const ROWS: usize = 10_000;

/// A request that is served with others of its kind.
pub(super) trait Grouped: std::fmt::Debug + Send + Sync + 'static {
    /// What its caller gets.
    type Answer: std::fmt::Debug + Send + 'static;
    /// Whether its writes need to survive the death of processes only.
    const IS_RELAXED: bool = false;
    /// Whether it goes through the gate: see [`Operation::IS_GATED`].
    const IS_GATED: bool = true;

    /// Rows it is about to write, more or less.
    fn rows(&self) -> usize {
        1
    }

    /// Does all of `group`, and answers in order. An error undoes all of it; an answer may be an error of its own.
    fn run(
        group: &[Self],
        work: &mut Work<'_>,
    ) -> impl Future<Output = Result<Vec<Result<Self::Answer, StoreError>>, Stop>> + Send
    where
        Self: Sized;
}

type Request<G> = (G, oneshot::Sender<Result<<G as Grouped>::Answer, StoreError>>);

/// What serves requests of one kind.
#[derive(Debug)]
pub(super) struct Group<G: Grouped> {
    queue: RwLock<Option<mpsc::Sender<Request<G>>>>,
    workers: Mutex<Vec<JoinHandle<()>>>,
}

impl<G: Grouped> Group<G> {
    /// Starts a worker for each of `writers`.
    pub(super) fn start(state: &Arc<State>, writers: &[i16]) -> Self {
        let (queue, requests) = mpsc::channel(QUEUE);
        let requests = Arc::new(Mutex::new(requests));
        let serve = |&writer| tokio::spawn(serve(state.clone(), requests.clone(), writer));
        Self { queue: RwLock::new(Some(queue)), workers: Mutex::new(writers.iter().map(serve).collect()) }
    }

    pub(super) async fn ask(&self, request: G) -> Result<G::Answer, StoreError> {
        let closed = || StoreError::Unavailable("it is closed".to_owned());
        let queue = self.queue.read().clone().ok_or_else(closed)?;
        let (answer, answered) = oneshot::channel();
        queue.send((request, answer)).await.map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }

    /// Serves what has arrived, then nothing more.
    pub(super) async fn close(&self) {
        self.queue.write().take();
        for worker in self.workers.lock().await.drain(..) {
            let _ = worker.await;
        }
    }
}

async fn serve<G: Grouped>(state: Arc<State>, queue: Arc<Mutex<mpsc::Receiver<Request<G>>>>, writer: i16) {
    loop {
        let mut group = Vec::new();
        let mut answers = Vec::new();
        {
            // Whoever waits here is the next to collect; the others are at work.
            let mut queue = queue.lock().await;
            let Some((first, answer)) = queue.recv().await else { return };
            let mut rows = first.rows();
            group.push(first);
            answers.push(answer);
            while rows < ROWS
                && let Ok((next, answer)) = queue.try_recv()
            {
                rows += next.rows();
                group.push(next);
                answers.push(answer);
            }
        }
        serve_group(&state, &group, answers, writer).await;
    }
}

async fn serve_group<G: Grouped>(
    state: &State,
    group: &[G],
    answers: Vec<oneshot::Sender<Result<G::Answer, StoreError>>>,
    writer: i16,
) {
    match state.write(&Together(group), writer).await {
        Ok(done) => answers.into_iter().zip(done).for_each(|(answer, done)| drop(answer.send(done))),
        Err(stop) if group.len() > 1 && stop.is_callers_fault() => {
            for (alone, answer) in group.chunks(1).zip(answers) {
                let done = state.write(&Together(alone), writer).await;
                let done = done.map_err(StoreError::from).and_then(|mut done| match done.pop() {
                    Some(done) => done,
                    None => Err(StoreError::Unavailable("it was not answered".to_owned())),
                });
                let _ = answer.send(done);
            }
        }
        Err(stop) => {
            let error = StoreError::from(stop);
            answers.into_iter().for_each(|answer| drop(answer.send(Err(same(&error)))));
        }
    }
}

/// The same error for another one who shares it.
fn same(error: &StoreError) -> StoreError {
    match error {
        StoreError::Full => StoreError::Full,
        StoreError::Damaged(what) => StoreError::Damaged(what.clone()),
        StoreError::Unavailable(why) => StoreError::Unavailable(why.clone()),
        error => StoreError::Unavailable(error.to_string()),
    }
}

struct Together<'a, G>(&'a [G]);

impl<G: Grouped> Operation for Together<'_, G> {
    type Answer = Vec<Result<G::Answer, StoreError>>;
    const IS_RELAXED: bool = G::IS_RELAXED;
    const IS_GATED: bool = G::IS_GATED;

    async fn run(&self, work: &mut Work<'_>) -> Result<Self::Answer, Stop> {
        G::run(self.0, work).await
    }
}
