//! Resolving names for a slot: its questions are passed on to the host's resolvers, as they are.
//!
//! A name may lead to an address that the slot does not reach: packets are judged by their address, not by its name.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::pipe;
use super::resolvers::Resolvers;

/// Questions of a slot at once; more are not heard, and asked again by whoever asked.
const QUESTIONS: usize = 128;

/// How long one resolver is waited for. Whoever asks waits for five seconds by habit.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Length of the header of every message.
const HEADER: usize = 12;

/// Longest message over UDP: nobody asks for longer ones.
const MESSAGE: usize = 4096;

/// Time before hearing is tried again, after it failed.
const RETRY: Duration = Duration::from_millis(100);

/// Answers the questions that arrive over UDP, for ever.
pub(super) async fn serve_udp(door: UdpSocket, resolvers: Arc<Resolvers>) {
    let door = Arc::new(door);
    let free = Arc::new(Semaphore::new(QUESTIONS));
    let mut question = [0; MESSAGE];
    loop {
        let (length, from) = match door.recv_from(&mut question).await {
            Ok(heard) => heard,
            // An error may be about an answer that nobody waits for any more.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
            Err(_) => {
                sleep(RETRY).await;
                continue;
            }
        };
        if length < HEADER {
            continue;
        }
        if let Ok(place) = free.clone().try_acquire_owned() {
            let (door, resolvers) = (door.clone(), resolvers.clone());
            let question = question[..length].to_vec();
            tokio::spawn(async move {
                let answer = match ask_all(&question, &resolvers.current()).await {
                    Some(answer) => answer,
                    None => failure(question),
                };
                let _ = door.send_to(&answer, from).await;
                drop(place);
            });
        }
    }
}

/// Passes connections on to the first resolver that takes them, for ever.
pub(super) async fn serve_tcp(door: TcpListener, resolvers: Arc<Resolvers>) {
    pipe::serve(door, || connect(resolvers.current())).await;
}

async fn connect(resolvers: Arc<[SocketAddr]>) -> io::Result<TcpStream> {
    for resolver in resolvers.iter() {
        if let Ok(Ok(stream)) = timeout(PATIENCE, TcpStream::connect(resolver)).await {
            return Ok(stream);
        }
    }
    Err(io::ErrorKind::NotConnected.into())
}

/// The answer of the first resolver that has one.
async fn ask_all(question: &[u8], resolvers: &[SocketAddr]) -> Option<Vec<u8>> {
    for &resolver in resolvers {
        if let Ok(Ok(answer)) = timeout(PATIENCE, ask(question, resolver)).await {
            return Some(answer);
        }
    }
    None
}

/// Asks from a port of its own: who wants to answer in the resolver's place has to guess it.
async fn ask(question: &[u8], resolver: SocketAddr) -> io::Result<Vec<u8>> {
    let any = if resolver.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(resolver).await?;
    socket.send(question).await?;
    let mut answer = vec![0; MESSAGE];
    loop {
        let length = socket.recv(&mut answer).await?;
        if length >= HEADER && answer[..2] == question[..2] {
            answer.truncate(length);
            return Ok(answer);
        }
    }
}

/// The question as its own answer: that it could not be answered.
fn failure(mut question: Vec<u8>) -> Vec<u8> {
    const IS_ANSWER: u8 = 0x80;
    const RECURSION_AND_SERVER_FAILURE: u8 = 0x82;
    question[2] |= IS_ANSWER;
    question[3] = RECURSION_AND_SERVER_FAILURE;
    question
}
