//! Queues tasks at an even rate, cancels some, and writes down what was acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use windlass_client::{Client, ClientError};
use windlass_model::id::TaskId;
use windlass_model::wire::schedules::ScheduleRequest;
use windlass_model::wire::tasks::TaskRequest;

use crate::history::{Event, History, now};
use crate::random::Random;

/// Tasks of one request.
const TASKS: usize = 2;
/// Requests that wait for an answer; with more of them none is sent.
const WAITING: usize = 200;
/// How long a request is repeated.
const PATIENCE: Duration = Duration::from_secs(40);
/// Longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(8);
/// One task in so many is cancelled.
const CANCELLED: usize = 12;

/// What a worker does: it writes down when it begins and ends, waits for as long as its payload says, and fails if the payload
/// says so.
pub(crate) fn worker(journal: &std::path::Path) -> String {
    format!(
        "payload=$(cat \"$PAYLOAD_FILE\")\n\
         say() {{ echo \"$1 $TASK_ID $ATTEMPT $(date +%s%3N)\" >> {}; }}\n\
         say begin\ncase $payload in fail) exit 3;; 0) ;; *) sleep $payload;; esac\nsay end\n",
        journal.display()
    )
}

/// The key of a task in the history.
pub(crate) fn key(id: TaskId) -> i64 {
    id.seq().0
}

/// Schedules that fire once or every minute, at all times of a run of this length.
pub(crate) async fn schedule(client: &Client, history: &History, seconds: u64, random: &mut Random) {
    for n in 0..seconds.max(20) {
        let start_at = now() / 1000 * 1000 + 3_000 + i64::try_from(random.ms(0, seconds * 1000)).unwrap();
        let every_s = (n % 4 == 0).then_some(60);
        let start = windlass_model::time::Timestamp::from_millis(start_at);
        let request = ScheduleRequest {
            code_name: "quick".into(),
            payload: Some("0".into()),
            start_at: start.to_string().into(),
            run_every: every_s.map_or_else(Default::default, |s: u32| f64::from(s).into()),
            // One without a period fires once.
            ..ScheduleRequest::default()
        };
        let id = client.schedule(vec![request]).await.unwrap()[0];
        let kept = client.schedule_by_id(id).await.unwrap();
        let start_at = kept.next_start.0.map_or(start_at, windlass_model::time::Timestamp::as_millis);
        history.add(Event::Scheduled { schedule: id.to_string(), start_at, every_s });
    }
}

/// Goes on until it is told to stop, and every request was answered or given up.
pub(crate) async fn produce(
    clients: Vec<Client>,
    history: History,
    every: Duration,
    mut random: Random,
    stop: Arc<AtomicBool>,
) {
    let waiting = Arc::new(Semaphore::new(WAITING));
    let mut tick = tokio::time::interval(every);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for n in 0.. {
        tick.tick().await;
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let tasks: Vec<TaskRequest> = (0..TASKS).map(|_| task(&mut random, n)).collect();
        let cancel = random.once_in(CANCELLED / TASKS).then(|| Duration::from_millis(random.ms(0, 2_000)));
        let client = clients[random.below(clients.len())].clone();
        let Ok(permit) = waiting.clone().try_acquire_owned() else { continue };
        let history = history.clone();
        tokio::spawn(async move {
            request(client, history, tasks, format!("k{n}"), cancel).await;
            drop(permit);
        });
    }
    let all = u32::try_from(WAITING).expect("it is small");
    let _ = waiting.acquire_many(all).await;
}

fn task(random: &mut Random, n: usize) -> TaskRequest {
    let (code, payload) = match random.below(20) {
        0 => ("quick", "1.5"),
        1 => ("quick", "fail"),
        2 | 3 => ("few", "0"),
        _ => ("quick", "0"),
    };
    let mut request = TaskRequest {
        code_name: code.into(),
        payload: payload.into(),
        label: format!("k{n}").into(),
        priority: f64::from(u8::try_from(random.below(3)).expect("it is small")).into(),
        ..TaskRequest::default()
    };
    if random.once_in(15) {
        request.delay = 2.0.into();
    }
    request
}

/// Queues the tasks once, and cancels the first of them after a while.
async fn request(
    client: Client,
    history: History,
    tasks: Vec<TaskRequest>,
    key_text: String,
    cancel: Option<Duration>,
) {
    let wanted = tasks.len();
    let queue = || {
        let (client, tasks, key_text) = (client.clone(), tasks.clone(), key_text.clone());
        async move { client.queue(tasks, Some(&key_text)).await }
    };
    let Some(ids) = until_answered(&history, queue).await else {
        history.add(Event::Doubtful { key: key_text, wanted });
        return;
    };
    let tasks = ids.iter().map(|id| key(*id)).collect();
    history.add(Event::Queued { at: now(), key: key_text, tasks });
    let (Some(after), Some(id)) = (cancel, ids.first().copied()) else { return };
    tokio::time::sleep(after).await;
    let cancel = || {
        let client = client.clone();
        async move { client.cancel(id).await }
    };
    if until_answered(&history, cancel).await.is_some() {
        history.add(Event::Cancelled { at: now(), task: key(id) });
    }
}

/// Calls until there is an answer, or patience ends.
async fn until_answered<T, F>(history: &History, call: impl Fn() -> F) -> Option<T>
where
    F: Future<Output = Result<T, ClientError>>,
{
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        match tokio::time::timeout(ANSWER, call()).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error)) if error.status().is_some_and(|status| status < 500) => {
                // Nothing that is asked for here is wrong.
                history.add(Event::Unsound { problem: format!("a call was refused: {error}") });
                return None;
            }
            Ok(Err(_)) | Err(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    None
}
