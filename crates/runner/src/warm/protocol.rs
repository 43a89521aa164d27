//! What a worker and its runner have to say to each other, and when: the AWS Lambda Runtime API without HTTP.
//!
//! A worker asks for a task, answers it, and asks for the next. Whatever else it does is refused, and costs it its life:
//! what it did to its task is decided already, and what it would do to the next nobody knows.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

/// One task, as a worker gets it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    /// Names it in the answer.
    pub(crate) id: String,
    /// What is said of it.
    pub(crate) headers: HeaderMap,
    /// What it is about.
    pub(crate) payload: Bytes,
}

/// What a worker makes of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Its result.
    Response(Vec<u8>),
    /// It failed: class and message.
    Error(String, String),
    /// A result of so many bytes, of which nothing was kept.
    TooLarge(u64),
}

/// What the runner learns of a worker that it has offered a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// It answered.
    Answered(Answer),
    /// It cannot begin: class and message.
    InitFailed(String, String),
    /// It broke the rules while it had the task, in words.
    Broke(&'static str),
}

/// What a worker is told that asks for a task.
#[derive(Debug, PartialEq)]
pub(crate) enum Next {
    /// To do this.
    Take(Event),
    /// To wait.
    Wait,
    /// That it may not.
    Refuse(Refusal),
}

/// Why a call is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The status of the answer.
    pub(crate) status: StatusCode,
    /// The kind, as AWS has it.
    pub(crate) kind: &'static str,
    /// Why, in words.
    pub(crate) why: &'static str,
}

impl Refusal {
    const STATE: &'static str = "InvalidStateTransition";
    const ID: &'static str = "InvalidRequestID";

    fn forbidden(why: &'static str) -> Self {
        Self { status: StatusCode::FORBIDDEN, kind: Self::STATE, why }
    }

    fn bad_id(why: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, kind: Self::ID, why }
    }
}

const NOT_ANSWERED: &str = "asked for another task and had not answered the one it had";
const ANSWERED_TWICE: &str = "answered a task twice";
const NOT_ITS_OWN: &str = "answered a task that it does not have";
const INIT_ERROR_LATE: &str = "said that it cannot begin when it had begun";

#[derive(Debug, PartialEq)]
enum Stage {
    /// There is no task for it.
    Idle,
    /// There is, and it has not asked.
    Offered(Event),
    /// It has this task.
    Running(String),
    /// There is something that the runner has not heard.
    Told(News),
}

/// Where a worker stands.
#[derive(Debug)]
pub(crate) struct Protocol {
    stage: Stage,
    has_begun: bool,
    /// The task that it answered last.
    last: Option<String>,
    breach: Option<&'static str>,
}

impl Protocol {
    /// A worker that was just started.
    pub(crate) fn new() -> Self {
        Self { stage: Stage::Idle, has_begun: false, last: None, breach: None }
    }

    // What the runner does.

    /// There is a task. To be called for a worker that has none.
    pub(crate) fn offer(&mut self, event: Event) {
        self.stage = Stage::Offered(event);
    }

    /// The task back if the worker has not taken it.
    pub(crate) fn withdraw(&mut self) -> Option<Event> {
        match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Offered(event) => Some(event),
            other => {
                self.stage = other;
                None
            }
        }
    }

    /// What the worker has made known, once.
    pub(crate) fn news(&mut self) -> Option<News> {
        match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Told(news) => Some(news),
            other => {
                let is_offered = matches!(other, Stage::Offered(_));
                self.stage = other;
                // It will not get what it is offered.
                self.breach.filter(|_| is_offered).map(News::Broke)
            }
        }
    }

    /// Whether it has ever asked for a task.
    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Whether it has the task that it was offered.
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.stage, Stage::Running(_))
    }

    /// How it broke the rules: it must not get another task.
    pub(crate) fn breach(&self) -> Option<&'static str> {
        self.breach
    }

    // What the worker does.

    /// It asks for a task.
    pub(crate) fn next(&mut self) -> Next {
        if self.breach.is_some() {
            return Next::Wait;
        }
        self.has_begun = true;
        match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Offered(event) => {
                self.stage = Stage::Running(event.id.clone());
                Next::Take(event)
            }
            Stage::Running(_) => {
                self.breach = Some(NOT_ANSWERED);
                self.stage = Stage::Told(News::Broke(NOT_ANSWERED));
                Next::Refuse(Refusal::forbidden(NOT_ANSWERED))
            }
            other => {
                self.stage = other;
                Next::Wait
            }
        }
    }

    /// Whether it may answer the task `id`. To be asked before the answer is read, which may be long.
    pub(crate) fn may_answer(&mut self, id: &str) -> Result<(), Refusal> {
        if let Stage::Running(own) = &self.stage
            && own == id
        {
            return Ok(());
        }
        let why = if self.last.as_deref() == Some(id) { ANSWERED_TWICE } else { NOT_ITS_OWN };
        self.breach = Some(why);
        // If it has a task, it answered one it does not have: nothing it says of its own can be believed.
        if self.is_running() {
            self.stage = Stage::Told(News::Broke(why));
        }
        Err(Refusal::bad_id(why))
    }

    /// It answers the task `id`.
    pub(crate) fn answer(&mut self, id: &str, answer: Answer) -> Result<(), Refusal> {
        self.may_answer(id)?;
        self.last = Some(id.to_owned());
        self.stage = Stage::Told(News::Answered(answer));
        Ok(())
    }

    /// It cannot begin.
    pub(crate) fn init_error(&mut self, class: String, msg: String) -> Result<(), Refusal> {
        if self.has_begun {
            self.breach = Some(INIT_ERROR_LATE);
            if self.is_running() {
                self.stage = Stage::Told(News::Broke(INIT_ERROR_LATE));
            }
            return Err(Refusal::forbidden(INIT_ERROR_LATE));
        }
        self.breach = Some("cannot begin");
        self.stage = Stage::Told(News::InitFailed(class, msg));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str) -> Event {
        Event { id: id.to_owned(), headers: HeaderMap::new(), payload: Bytes::new() }
    }

    fn fine() -> Answer {
        Answer::Response(b"fine".to_vec())
    }

    /// A worker that has taken the task `1`.
    fn running() -> Protocol {
        let mut protocol = Protocol::new();
        protocol.offer(event("1"));
        assert_eq!(protocol.next(), Next::Take(event("1")));
        protocol
    }

    #[test]
    fn a_worker_asks_and_answers_in_turn() {
        let mut protocol = Protocol::new();
        assert_eq!((protocol.has_begun(), protocol.next(), protocol.has_begun()), (false, Next::Wait, true));
        for id in ["1", "2"] {
            protocol.offer(event(id));
            assert_eq!(protocol.next(), Next::Take(event(id)));
            assert_eq!(protocol.news(), None);
            assert_eq!(protocol.answer(id, fine()), Ok(()));
            // It asks again before the runner has heard.
            assert_eq!(protocol.next(), Next::Wait);
            assert_eq!((protocol.news(), protocol.news()), (Some(News::Answered(fine())), None));
            assert_eq!(protocol.breach(), None);
        }
    }

    #[test]
    fn a_second_answer_changes_nothing_and_is_the_last() {
        let mut protocol = running();
        protocol.answer("1", fine()).unwrap();
        let again = protocol.answer("1", Answer::Error("E".to_owned(), "no".to_owned()));
        assert_eq!(again.unwrap_err().kind, "InvalidRequestID");
        assert_eq!(protocol.news(), Some(News::Answered(fine())));
        assert_eq!(protocol.breach(), Some(ANSWERED_TWICE));
        // Nothing more is handed to it, and a task that was offered meanwhile is taken back.
        protocol.offer(event("2"));
        assert_eq!(protocol.next(), Next::Wait);
        assert_eq!(protocol.news(), Some(News::Broke(ANSWERED_TWICE)));
        assert_eq!(protocol.withdraw(), Some(event("2")));
    }

    #[test]
    fn the_answer_to_anothers_task_ends_its_own() {
        let mut protocol = running();
        assert_eq!(protocol.may_answer("2").unwrap_err().status, StatusCode::BAD_REQUEST);
        assert_eq!(protocol.news(), Some(News::Broke(NOT_ITS_OWN)));
        assert!(protocol.answer("1", fine()).is_err());
    }

    #[test]
    fn to_ask_again_without_an_answer_ends_the_task() {
        let mut protocol = running();
        assert!(matches!(protocol.next(), Next::Refuse(refusal) if refusal.status == StatusCode::FORBIDDEN));
        assert_eq!(protocol.news(), Some(News::Broke(NOT_ANSWERED)));
        assert!(protocol.breach().is_some());
    }

    #[test]
    fn it_cannot_begin_only_before_it_has() {
        let mut protocol = Protocol::new();
        protocol.offer(event("1"));
        protocol.init_error("E".to_owned(), "no module".to_owned()).unwrap();
        assert_eq!(protocol.news(), Some(News::InitFailed("E".to_owned(), "no module".to_owned())));
        let mut protocol = running();
        assert!(protocol.init_error("E".to_owned(), String::new()).is_err());
        assert_eq!(protocol.news(), Some(News::Broke(INIT_ERROR_LATE)));
    }

    #[test]
    fn a_task_can_be_withdrawn_until_it_is_taken() {
        let mut protocol = Protocol::new();
        protocol.offer(event("1"));
        assert_eq!((protocol.withdraw(), protocol.withdraw()), (Some(event("1")), None));
        let mut protocol = running();
        assert_eq!(protocol.withdraw(), None);
        assert!(protocol.is_running());
    }
}
