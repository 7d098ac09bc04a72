//! Connections, and streams that ask for no account: so many on each port, a share of them for one address, an end to each,
//! whatever its caller does or takes.
#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot be set up has failed")]
#![allow(dead_code, reason = "this file uses a part of what the tests share")]

mod support;

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use bursar_proto::event::v1::{WatchRequest, WatchResponse, event_service_client::EventServiceClient};
use bursar_runtime::PaymentProvider;
use bursar_testkit::{STEP, get, in_steps, until};
use futures::{Stream, StreamExt as _, channel::mpsc, stream};
use support::{Running, settings};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::{pause, resume, timeout},
};
use tonic::{
    Code, Response, Status, Streaming,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, ServerReflectionResponse, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest,
};

/// How long anything may take that happens by itself.
const PATIENCE: Duration = Duration::from_secs(20);

/// How every caller of HTTP/2 begins: the preface, and settings that change nothing.
const OPENING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// A connection from one of this machine's own addresses.
async fn connect(host: u8, port: u16) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from(([127, 0, 0, host], 0))).expect("an address of this machine");
    socket.connect(SocketAddr::from(([127, 0, 0, 1], port))).await.expect("connects")
}

/// One on which HTTP/2 is answered; `None` if it is closed instead.
async fn open(host: u8, port: u16) -> Option<TcpStream> {
    let mut stream = connect(host, port).await;
    stream.write_all(OPENING).await.ok()?;
    stream.read_u8().await.ok()?;
    Some(stream)
}

/// A channel from one of this machine's own addresses.
fn from(host: u8, port: u16) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}")).expect("a URL");
    endpoint.local_address(Some(IpAddr::from([127, 0, 0, host]))).connect_lazy()
}

/// Begins to watch a name, as far as the first answer.
async fn watch(client: &mut HealthClient<Channel>, name: &str) -> Result<Streaming<HealthCheckResponse>, Status> {
    let mut answers = client.watch(HealthCheckRequest { service: name.to_owned() }).await?.into_inner();
    answers.message().await?;
    Ok(answers)
}

fn listing() -> ServerReflectionRequest {
    let message_request = Some(MessageRequest::ListServices(String::new()));
    ServerReflectionRequest { host: String::new(), message_request }
}

async fn reflect(
    channel: Channel,
    requests: impl Stream<Item = ServerReflectionRequest> + Send + 'static,
) -> Result<Streaming<ServerReflectionResponse>, Status> {
    let answers = ServerReflectionClient::new(channel).server_reflection_info(requests).await;
    answers.map(Response::into_inner)
}

/// What a refusal says to programs.
fn said(refused: &Status) -> (Code, String) {
    (refused.code(), bursar_rpc::problem::reason_of(refused).unwrap_or_default())
}

/// How many connections to this port were refused, by the operations port.
async fn refused(operations: u16, port: &'static str) -> Option<u32> {
    counted(operations, "refused", port).await
}

/// How many connections to this port met with this, by the operations port.
async fn counted(operations: u16, what: &'static str, port: &'static str) -> Option<u32> {
    let page = tokio::task::spawn_blocking(move || get(operations, "/metrics")).await.expect("no panic");
    let (_, page) = page.expect("metrics");
    let (name, label) = (format!("bursar_places_{what}_total{{"), format!("port=\"{port}\""));
    let is_it = |line: &&str| line.starts_with(&name) && line.contains("kind=\"connections\"") && line.contains(&label);
    page.lines().find(is_it)?.rsplit(' ').next()?.parse().ok()
}

#[tokio::test]
async fn connections_of_one_address_leave_room_for_others_and_their_places_come_back() {
    let (mut settings, ports) = settings();
    settings.limits.connections = 8;
    let running = Running::start(settings, &ports, true).await;
    let port = ports.nth(3);
    let mut first = Vec::new();
    for _ in 0..8 {
        first.extend(open(1, port).await);
    }
    assert_eq!(first.len(), 4, "as many as are left for everybody else");
    let second = open(2, port).await.expect("room for an address that has none");
    assert_eq!(refused(ports.base(), "billing").await, Some(4));
    assert!(open(1, port).await.is_none(), "it has its share");
    drop(first.pop());
    until(PATIENCE, "a place comes back", async || open(1, port).await.is_some()).await;
    drop((first, second));
    running.stop().await.expect("stops");
}

#[tokio::test]
async fn probes_are_answered_beside_whoever_holds_the_operations_port() {
    let (mut settings, ports) = settings();
    settings.limits.connections = 4;
    let running = Running::start(settings, &ports, true).await;
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(connect(2, ports.base()).await);
    }
    // Whoever comes is accepted in turn, so all of those have been by the time that this one is.
    assert_eq!(refused(ports.base(), "operations").await, Some(6), "half of four places are held");
    drop(held);
    running.stop().await.expect("stops");
}

/// The type of the frame with which HTTP/2 says farewell.
const GOAWAY: u8 = 7;

/// The types of the frames that were said, of which [`open`] has read the first byte, a zero.
fn frames(rest: &[u8]) -> Vec<u8> {
    let said = [&[0_u8][..], rest].concat();
    let (mut left, mut types) = (said.as_slice(), Vec::new());
    while let [high, middle, low, kind, more @ ..] = left {
        types.push(*kind);
        let length = u32::from_be_bytes([0, *high, *middle, *low]);
        // Flags and the number of a stream, then what it says.
        left = more.get(5 + usize::try_from(length).expect("a length")..).unwrap_or_default();
    }
    types
}

#[tokio::test]
async fn of_those_who_hold_all_connections_one_says_farewell_for_one_who_comes() {
    let (mut settings, ports) = settings();
    settings.limits.connections = 4;
    let running = Running::start(settings, &ports, true).await;
    let port = ports.nth(3);
    let mut first = open(1, port).await.expect("room");
    asked(&mut first).await;
    let mut others = Vec::new();
    for host in [1, 2, 3] {
        let mut other = open(host, port).await.expect("room");
        asked(&mut other).await;
        others.push(other);
    }
    others.push(open(4, port).await.expect("whoever has two makes room"));
    assert_eq!(counted(ports.base(), "gave_way", "billing").await, Some(1));
    // It answers nobody who asks whether it has heard, and ends none the less.
    pause();
    let steps = in_steps(STEP);
    let mut rest = Vec::new();
    let ended = timeout(Duration::from_secs(15), first.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "it keeps its connection open");
    let types = frames(rest.strip_prefix(&[0]).expect("no frame is that long"));
    assert!(types.contains(&GOAWAY), "it is told: {rest:?}");
    drop(steps);
    resume();
    drop(others);
    running.stop().await.expect("stops");
}

/// Asks whether anybody is there, and gives what is said until that is answered.
async fn asked(stream: &mut TcpStream) -> Vec<u8> {
    stream.write_all(PING).await.expect("written");
    let mut said = Vec::new();
    while !said.ends_with(b"whoisit?") {
        said.push(stream.read_u8().await.expect("it is answered"));
    }
    said
}

#[tokio::test]
async fn who_has_not_opened_a_connection_makes_room_before_who_has_more_and_has() {
    let (mut settings, ports) = settings();
    settings.limits.connections = 8;
    let running = Running::start(settings, &ports, true).await;
    let port = ports.nth(3);
    let mut opened = Vec::new();
    for _ in 0..4 {
        let mut stream = open(1, port).await.expect("room");
        // The server says its own settings before it has read anything.
        asked(&mut stream).await;
        opened.push(stream);
    }
    let mut silent = Vec::new();
    for host in [2, 2, 3, 4] {
        silent.push(connect(host, port).await);
    }
    let newcomer = open(5, port).await.expect("one makes room");
    let mut rest = Vec::new();
    // Sooner than it would be closed since it says nothing.
    let ended = timeout(Duration::from_secs(15), silent.remove(0).read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "it is not closed");
    assert_eq!(counted(ports.base(), "gave_way", "billing").await, Some(1));
    for stream in &mut opened {
        let said = asked(stream).await;
        let types = frames(said.strip_prefix(&[0]).expect("no frame is that long"));
        assert!(!types.contains(&GOAWAY), "it is told to go: {said:?}");
    }
    drop((opened, silent, newcomer));
    running.stop().await.expect("stops");
}

#[tokio::test]
async fn a_connection_with_a_call_in_work_gives_way_only_when_that_has_ended() {
    let (mut settings, ports) = settings();
    settings.limits.connections = 4;
    let running = Running::start(settings, &ports, true).await;
    let port = ports.nth(3);
    let (mut channels, mut calls) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let channel = from(1, port);
        let call = EventServiceClient::new(channel.clone()).watch(WatchRequest::default()).await;
        let mut answers = call.expect("a call").into_inner();
        answers.message().await.expect("an answer").expect("it goes on");
        channels.push(channel);
        calls.push(answers);
    }
    let others = [open(2, port).await.expect("room"), open(3, port).await.expect("room")];
    let coming = tokio::spawn(open(4, port));
    drop(calls.pop());
    let come = timeout(PATIENCE, coming).await.expect("what is idle makes room").expect("no panic");
    assert!(come.is_some(), "it is answered");
    let mut first = calls.pop().expect("one call is left");
    // Whatever gives way has ended by then.
    pause();
    let steps = in_steps(STEP);
    let ended = timeout(Duration::from_secs(15), first.message()).await;
    assert!(ended.is_err(), "a call in work is cut: {ended:?}");
    drop(steps);
    resume();
    drop((first, channels, others, come));
    running.stop().await.expect("stops");
}

/// A channel that lets no answer come: those that ask over it have the head of each, and none of what it says.
fn without_a_window(host: u8, port: u16) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}")).expect("a URL");
    endpoint.local_address(Some(IpAddr::from([127, 0, 0, host]))).initial_stream_window_size(0_u32).connect_lazy()
}

/// Whether a stream ends by itself soon.
async fn ends(mut answers: Streaming<WatchResponse>) -> bool {
    timeout(Duration::from_secs(30), answers.message()).await.is_ok()
}

#[tokio::test]
async fn a_connection_whose_caller_takes_no_answer_gives_way_in_time() {
    let (mut settings, ports) = settings();
    settings.limits.connections = 4;
    settings.limits.connection_age = Duration::from_hours(1);
    let running = Running::start(settings, &ports, true).await;
    let port = ports.nth(3);
    let (mut channels, mut stuck, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..2 {
        let channel = without_a_window(1, port);
        let call = EventServiceClient::new(channel.clone()).watch(WatchRequest::default()).await;
        stuck.push(call.expect("the head of an answer").into_inner());
        channels.push(channel);
    }
    for host in [2, 3] {
        let channel = from(host, port);
        let call = EventServiceClient::new(channel.clone()).watch(WatchRequest::default()).await;
        let mut answers = call.expect("a call").into_inner();
        answers.message().await.expect("an answer").expect("it goes on");
        others.push(answers);
        channels.push(channel);
    }
    // Each of them answers whoever asks whether it is there.
    pause();
    let steps = in_steps(STEP);
    let mut client = EventServiceClient::new(from(4, port));
    let coming = timeout(Duration::from_mins(3), client.watch(WatchRequest::default())).await;
    let come = coming.expect("what nobody takes keeps nobody out").expect("a call");
    let mut gone = 0;
    for answers in stuck {
        gone += usize::from(ends(answers).await);
    }
    assert_eq!(gone, 1, "one for one that comes");
    for answers in others {
        assert!(!ends(answers).await, "an answer that is not ready is cut");
    }
    drop(steps);
    resume();
    assert_eq!(counted(ports.base(), "gave_way", "billing").await, Some(1));
    drop((channels, come));
    running.stop().await.expect("stops");
}

#[tokio::test]
async fn whoever_asks_nothing_of_probes_or_webhooks_makes_room_for_one_who_does() {
    let (mut settings, ports) = settings();
    settings.limits.connections = 4;
    settings.payments.provider = PaymentProvider::Stripe;
    let running = Running::start(settings, &ports, true).await;
    let table =
        [(ports.base(), "operations", "/livez", "alive\n"), (ports.nth(4), "inbox", "/webhooks/stripe", "here\n")];
    for (port, name, path, answer) in table {
        let mut held = Vec::new();
        for host in [2, 2, 3, 4] {
            let mut stream = connect(host, port).await;
            stream.write_all(b"GET ").await.expect("written");
            held.push(stream);
        }
        let mut newcomer = connect(5, port).await;
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
        newcomer.write_all(request.as_bytes()).await.expect("written");
        let mut said = String::new();
        timeout(PATIENCE, newcomer.read_to_string(&mut said)).await.expect("it ends").expect("it is answered");
        assert!(said.starts_with("HTTP/1.1 200") && said.ends_with(answer), "{said}");
        assert_eq!(counted(ports.base(), "gave_way", name).await, Some(1), "{name}");
    }
    running.stop().await.expect("stops");
}

#[tokio::test]
async fn whoever_never_finishes_opening_keeps_no_place() {
    let (mut settings, ports) = settings();
    settings.payments.provider = PaymentProvider::Stripe;
    let running = Running::start(settings, &ports, true).await;
    let (preface, _) = OPENING.split_at(10);
    let (operations, billing, inbox) = (ports.base(), ports.nth(3), ports.nth(4));
    let beginnings: [(u16, &[u8]); 7] = [
        (billing, b""),
        (billing, preface),
        // It opens, and then answers nobody who asks whether it is there.
        (billing, OPENING),
        (operations, b""),
        (operations, b"GET /livez HTTP/1.1\r\nhost: x\r\n"),
        (inbox, b""),
        (inbox, b"POST /webhooks/stripe HTTP/1.1\r\n"),
    ];
    let mut begun = Vec::new();
    for (port, beginning) in beginnings {
        let mut stream = connect(1, port).await;
        stream.write_all(beginning).await.expect("written");
        begun.push((port, beginning.len(), stream));
    }
    // Time passes as soon as there is nothing else to do. A connection reaches its age later than this.
    pause();
    let steps = in_steps(STEP);
    for (port, length, stream) in &mut begun {
        let mut rest = Vec::new();
        let ended = timeout(Duration::from_mins(2), stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "{length} bytes keep a connection to {port} open");
    }
    drop(steps);
    resume();
    running.stop().await.expect("stops");
}

/// Asks whether anybody is there (a frame of eight bytes, of the sixth type, on no stream).
const PING: &[u8] = b"\0\0\x08\x06\0\0\0\0\0whoisit?";

#[tokio::test]
async fn whoever_never_reads_keeps_no_place_however_much_it_asks() {
    let (settings, ports) = settings();
    let running = Running::start(settings, &ports, true).await;
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("a small buffer");
    let mut stream = socket.connect(SocketAddr::from(([127, 0, 0, 1], ports.nth(3)))).await.expect("connects");
    stream.write_all(OPENING).await.expect("written");
    let pings = PING.repeat(1_000);
    // Once its answers wait nothing of it is read any more, and nothing that is asked or said behind them reaches it. Its
    // connection reaches its age later than this.
    pause();
    let steps = in_steps(STEP);
    let asking = async { while stream.write_all(&pings).await.is_ok() {} };
    let ended = timeout(Duration::from_mins(3), asking).await;
    assert!(ended.is_ok(), "it keeps its connection open");
    drop(steps);
    resume();
    running.stop().await.expect("stops");
}

#[tokio::test]
async fn streams_without_an_account_of_one_address_leave_room_for_others_and_their_places_come_back() {
    let (mut settings, ports) = settings();
    settings.limits.connections = 8;
    let running = Running::start(settings, &ports, true).await;
    let port = ports.nth(3);
    let (channel, overloaded) = (from(1, port), (Code::ResourceExhausted, "OVERLOADED".to_owned()));
    let mut client = HealthClient::new(channel.clone());
    let mut watches = Vec::new();
    for name in ["", "no.such.Service", ""] {
        watches.push(watch(&mut client, name).await.expect("room"));
    }
    let (asking, requests) = mpsc::unbounded();
    let reflecting = reflect(channel.clone(), requests).await.expect("room");
    let refusal = watch(&mut client, "").await.expect_err("half of eight places are taken");
    assert_eq!(said(&refusal), overloaded);
    let refusal = reflect(channel.clone(), stream::pending()).await.expect_err("they are the same places");
    assert_eq!(said(&refusal), overloaded);
    client.check(HealthCheckRequest::default()).await.expect("a probe needs no place");

    let another = watch(&mut HealthClient::new(from(2, port)), "").await.expect("room for an address that has none");
    drop(watches.pop());
    until(PATIENCE, "a watch's place comes back", async || watch(&mut client, "").await.is_ok()).await;
    watches.push(watch_when_there_is_room(&mut client).await);
    drop((asking, reflecting));
    watches.push(watch_when_there_is_room(&mut client).await);
    drop((watches, another));
    running.stop().await.expect("stops");
}

/// Watches the port once it may.
async fn watch_when_there_is_room(client: &mut HealthClient<Channel>) -> Streaming<HealthCheckResponse> {
    let mut watching = None;
    until(PATIENCE, "a place comes back", async || {
        watching = watch(client, "").await.ok();
        watching.is_some()
    })
    .await;
    watching.expect("there was room")
}

#[tokio::test]
async fn a_watch_of_health_ends_in_time_whatever_it_watches() {
    let (mut settings, ports) = settings();
    // Its connection reaches its age before, and goes on for it.
    settings.limits.connection_age = Duration::from_hours(1);
    let running = Running::start(settings, &ports, true).await;
    let mut client = HealthClient::new(from(1, ports.nth(3)));
    let mut watches = Vec::new();
    for name in ["", support::EVENTS, "no.such.Service"] {
        watches.push((name, watch(&mut client, name).await.expect("a stream")));
    }
    pause();
    // So much time in steps as long as that of other tests would take a while; who is asked whether it is there has 10 seconds.
    let steps = in_steps(STEP * 10);
    let (name, first) = watches.first_mut().expect("one");
    let early = timeout(Duration::from_mins(100), first.message()).await;
    assert!(
        early.is_err(),
        "a watch of {name:?} ends before connections that live for an hour have all gone: {early:?}"
    );
    for (name, watch) in &mut watches {
        let end = timeout(Duration::from_hours(1), watch.message()).await;
        let end = end.unwrap_or_else(|_| panic!("a watch of {name:?} goes on"));
        let end = end.expect_err("it is told why");
        assert_eq!(said(&end), (Code::Unavailable, "STREAM_OVER".to_owned()), "{name:?}");
    }
    drop(steps);
    resume();
    watch(&mut client, "").await.expect("it may begin another");
    running.stop().await.expect("stops");
}

#[tokio::test]
async fn reflection_ends_where_nobody_asks_and_where_somebody_asks_too_much() {
    let (settings, ports) = settings();
    let running = Running::start(settings, &ports, true).await;
    let channel = from(1, ports.nth(3));
    let over = (Code::Unavailable, "STREAM_OVER".to_owned());

    let once = stream::iter([listing()]).chain(stream::pending());
    let mut answers = reflect(channel.clone(), once).await.expect("a stream");
    answers.message().await.expect("an answer").expect("it goes on");
    pause();
    let steps = in_steps(STEP);
    let end = timeout(Duration::from_mins(3), answers.message()).await.expect("it ends");
    assert_eq!(said(&end.expect_err("it is told why")), over);
    drop(steps);
    resume();

    let many = stream::iter(std::iter::repeat_with(listing).take(1_001));
    let mut answers = reflect(channel, many).await.expect("a stream");
    for number in 1..=1_000 {
        let answer = answers.message().await.unwrap_or_else(|end| panic!("{number}: {end}"));
        assert!(answer.is_some(), "{number}");
    }
    assert_eq!(said(&answers.message().await.expect_err("one more than it answers")), over);
    running.stop().await.expect("stops");
}
