//! What a task finds in its own namespace.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use super::world::*;
use crate::sandbox::network::{Network, Resolvers, Services, Settings};

/// Runs the services of a network in this host's namespace while `act` runs.
fn served(services: Services, resolv_conf: &std::path::Path, act: impl FnOnce()) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let services = runtime.spawn(services.run(Resolvers::in_file(resolv_conf)));
    act();
    services.abort();
    runtime.shutdown_background();
}

#[test]
fn a_task_finds_the_api_and_a_resolver_where_the_host_keeps_them_on_its_loopback() {
    on_a_host(|_| {
        let (network, services) = Network::open(&Settings::default(), 2, &api()).unwrap();
        let server = TcpListener::bind("127.0.0.1:7070").unwrap();
        thread::spawn(move || {
            for stream in server.incoming() {
                let mut stream = stream.unwrap();
                let mut request = Vec::new();
                let _ = stream.read_to_end(&mut request);
                let _ = stream.write_all(&request.repeat(2));
            }
        });
        let resolver = UdpSocket::bind("127.0.0.1:53").unwrap();
        thread::spawn(move || {
            let mut buffer = [0; 512];
            loop {
                let (length, from) = resolver.recv_from(&mut buffer).unwrap();
                // The first answer is to no question of ours.
                let mut other = buffer[..length].to_vec();
                other[0] ^= 1;
                let _ = resolver.send_to(&other, from);
                let answer = [&buffer[..length], b"answer"].concat();
                let _ = resolver.send_to(&answer, from);
            }
        });
        let over_tcp = TcpListener::bind("127.0.0.1:53").unwrap();
        thread::spawn(move || {
            for stream in over_tcp.incoming() {
                let _ = stream.unwrap().write_all(b"long answer");
            }
        });
        let folder = tempfile::tempdir().unwrap();
        let resolv_conf = folder.path().join("resolv.conf");
        // Nobody listens there: the next is asked.
        std::fs::write(&resolv_conf, "nameserver 127.0.0.2\nnameserver 127.0.0.1\n").unwrap();
        served(services, &resolv_conf, || {
            for slot in 0..2 {
                inside(network.slot(slot).unwrap().egress(), || {
                    let mut stream = TcpStream::connect("127.0.0.80:80").unwrap();
                    stream.write_all(&[7; 100_000]).unwrap();
                    stream.shutdown(std::net::Shutdown::Write).unwrap();
                    let mut answer = Vec::new();
                    stream.read_to_end(&mut answer).unwrap();
                    assert!(answer == [7; 200_000], "{} bytes", answer.len());

                    assert_eq!(resolve(b"0123456789ab question").unwrap(), b"0123456789ab questionanswer");
                    let mut answer = String::new();
                    TcpStream::connect("127.0.0.53:53").unwrap().read_to_string(&mut answer).unwrap();
                    assert_eq!(answer, "long answer");
                });
            }
            let _silent = UdpSocket::bind("127.0.0.3:53").unwrap();
            std::fs::write(&resolv_conf, "nameserver 127.0.0.2\nnameserver 127.0.0.3").unwrap();
            inside(network.slot(0).unwrap().egress(), || {
                let answer = resolve(b"ab\x01\x00........question").unwrap();
                assert_eq!(answer, b"ab\x81\x82........question", "told at once that nobody answers");
            });
        });
        inside(network.slot(0).unwrap().none(), || {
            assert_eq!(TcpStream::connect("127.0.0.80:80").unwrap_err().kind(), ErrorKind::ConnectionRefused);
        });
    });
}

fn resolve(question: &[u8]) -> io::Result<Vec<u8>> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    socket.connect("127.0.0.53:53")?;
    socket.send(question)?;
    let mut buffer = vec![0; 512];
    let length = socket.recv(&mut buffer)?;
    buffer.truncate(length);
    Ok(buffer)
}

#[test]
fn connections_beyond_the_most_wait_and_nothing_is_lost() {
    on_a_host(|_| {
        let (network, services) = Network::open(&Settings::default(), 1, &api()).unwrap();
        let server = TcpListener::bind("127.0.0.1:7070").unwrap();
        thread::spawn(move || {
            for stream in server.incoming() {
                let mut stream = stream.unwrap();
                thread::spawn(move || {
                    let mut byte = [0];
                    let _ = stream.read_exact(&mut byte);
                    let _ = stream.write_all(&byte);
                });
            }
        });
        served(services, std::path::Path::new("/nowhere"), || {
            inside(network.slot(0).unwrap().egress(), || {
                let connect = |_| TcpStream::connect("127.0.0.80:80").unwrap();
                let mut streams: Vec<_> = (0..100).map(connect).collect();
                for (number, stream) in (0..).zip(&mut streams) {
                    stream.write_all(&[number]).unwrap();
                    let mut answer = [0];
                    stream.read_exact(&mut answer).unwrap();
                    assert_eq!(answer, [number]);
                    stream.shutdown(std::net::Shutdown::Both).unwrap();
                }
            });
        });
    });
}
