//! TLS over real sockets: who may connect to whom, and that certificates change while calls go on.
#![expect(clippy::expect_used, reason = "a test that cannot be set up has failed")]
#![allow(clippy::panic, reason = "a test fails by panicking")]

#[path = "support/securing.rs"]
mod securing;
#[allow(dead_code, reason = "it looks at more than these tests do")]
mod support;

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bursar_runtime::{Service, healthcheck, network_peers};
use bursar_testkit::{Authority, Certificate, STEP, in_steps};
use securing::{HttpPort, Secured, ask, call, eventually, shake};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::Code;

/// Who this server says it is.
const NAMES: [&str; 2] = ["127.0.0.1", "localhost"];

#[tokio::test]
async fn a_call_over_tls_with_an_authority_of_ones_own() {
    let place = Secured::new();
    let running = place.serve(&place.authority.certificate(&NAMES)).await;
    for host in NAMES {
        assert_eq!(call(&place.peer(host)).await, Ok(()), "{host}");
    }
    // HTTP/2 in plaintext is no TLS.
    let plain = support::channel(&format!("http://127.0.0.1:{}", place.port()));
    let refused = tonic_health::pb::health_client::HealthClient::new(plain)
        .check(tonic_health::pb::HealthCheckRequest::default())
        .await;
    refused.expect_err("a plaintext call was answered");
    running.stop().await.expect("stops");
}

/// Makes a certificate by an authority that callers believe, or by another.
type Made = fn(&Authority, &Authority) -> Certificate;

/// A server's certificate that nobody believes, made by the authority or the other one; why it is refused.
const UNBELIEVABLE: [(Made, &str); 3] = [
    (|own, _| own.expired(&NAMES), "certificate expired"),
    (|own, _| own.certificate(&["bursar.test", "127.0.0.2"]), "not valid for name"),
    (|_, other| other.certificate(&NAMES), "UnknownIssuer"),
];

#[tokio::test]
async fn a_server_that_is_not_who_it_should_be_is_refused() {
    let other = Authority::new("another");
    for (made, why) in UNBELIEVABLE {
        let place = Secured::new();
        let running = place.serve(&made(&place.authority, &other)).await;
        for host in NAMES {
            assert_eq!(call(&place.peer(host)).await, Err(Code::Unavailable), "{why} {host}");
        }
        let cause = shake(place.port(), &place.authority, None).await.expect_err(why);
        assert!(cause.contains(why), "no {why} in {cause}");
        running.stop().await.expect("stops");
    }
}

#[tokio::test]
async fn who_is_not_who_it_should_be_is_asked_for_no_metrics_and_sent_no_webhook() {
    let other = Authority::new("another");
    for (made, why) in UNBELIEVABLE {
        let mut place = Secured::new();
        place.secure_operations(None);
        place.secure_webhooks();
        let running = place.serve(&made(&place.authority, &other)).await;
        for port in HttpPort::ALL {
            let cause = ask(&place, port).await.expect_err(why);
            assert!(cause.contains(why), "{port:?}: no {why} in {cause}");
        }
        running.stop().await.expect("stops");
    }
}

#[tokio::test]
async fn mutual_tls_refuses_whom_the_authority_does_not_know() {
    let clients = Authority::new("of clients");
    let mut place = Secured::new();
    place.ask_callers_for_certificates_of(&clients);
    let running = place.serve(&place.authority.certificate(&NAMES)).await;
    // What a caller shows; why it is refused.
    let cases = [
        (None, "CertificateRequired"),
        (Some(place.authority.certificate(&["billing"])), "alert"),
        (Some(clients.expired(&["billing"])), "CertificateExpired"),
    ];
    for (shown, why) in cases {
        place.show_to_peers(shown.as_ref());
        assert_eq!(call(&place.peer("127.0.0.1")).await, Err(Code::Unavailable), "{why}");
        let cause = shake(place.port(), &place.authority, shown.as_ref()).await.expect_err(why);
        assert!(cause.contains(why), "no {why} in {cause}");
    }
    place.show_to_peers(Some(&clients.certificate(&["billing"])));
    assert_eq!(call(&place.peer("127.0.0.1")).await, Ok(()));
    running.stop().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_rotate_under_load() {
    let place = Secured::new();
    let running = place.serve(&place.authority.certificate(&NAMES)).await;
    let (over, made, calls) =
        (Arc::new(AtomicBool::new(false)), place.peer("127.0.0.1"), Arc::new(AtomicUsize::new(0)));
    let callers: Vec<_> = (0..8)
        .map(|n| {
            let (over, made, calls, place) = (Arc::clone(&over), made.clone(), Arc::clone(&calls), place.clone());
            tokio::spawn(async move {
                while !over.load(Ordering::SeqCst) {
                    // Half of them keep one connection, half make a new one for each call.
                    let peer = if n % 2 == 0 { made.clone() } else { place.peer("localhost") };
                    assert_eq!(call(&peer).await, Ok(()), "a call failed while certificates rotated");
                    calls.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    for round in 0..4 {
        let (next, before) = (place.authority.certificate(&NAMES), calls.load(Ordering::SeqCst));
        next.write(place.folder(), "port");
        eventually("a new connection sees the new certificate", async || {
            shake(place.port(), &place.authority, None).await.expect("a handshake") == securing::der(&next)
        })
        .await;
        eventually("calls go on", async || calls.load(Ordering::SeqCst) > before + 16).await;
        assert!(callers.iter().all(|caller| !caller.is_finished()), "round {round}");
    }
    over.store(true, Ordering::SeqCst);
    for caller in callers {
        caller.await.expect("no call failed");
    }
    running.stop().await.expect("stops");
}

/// Kind A: each kind of port follows its files by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_for_probes_and_webhooks_rotate_under_load() {
    let mut place = Secured::new();
    place.secure_operations(None);
    place.secure_webhooks();
    let running = place.serve(&place.authority.certificate(&NAMES)).await;
    let over = Arc::new(AtomicBool::new(false));
    let (mut callers, mut counts) = (Vec::new(), Vec::new());
    for port in HttpPort::ALL.into_iter().cycle().take(8) {
        let calls = Arc::new(AtomicUsize::new(0));
        counts.push(Arc::clone(&calls));
        let (over, place) = (Arc::clone(&over), place.clone());
        callers.push(tokio::spawn(async move {
            while !over.load(Ordering::SeqCst) {
                let (_, answer) = ask(&place, port).await.expect("a call failed while certificates rotated");
                assert!(answer.starts_with("HTTP/1.1 200"), "{port:?}: {answer}");
                calls.fetch_add(1, Ordering::SeqCst);
            }
        }));
    }
    for round in 0..4 {
        let next = place.authority.certificate(&NAMES);
        let before: Vec<usize> = counts.iter().map(|calls| calls.load(Ordering::SeqCst)).collect();
        next.write(place.folder(), "port");
        for port in HttpPort::ALL {
            eventually("a new connection sees the new certificate", async || {
                ask(&place, port).await.expect("an answer").0 == securing::der(&next)
            })
            .await;
        }
        eventually("each caller's calls go on", async || {
            counts.iter().zip(&before).all(|(calls, before)| calls.load(Ordering::SeqCst) > before + 2)
        })
        .await;
        assert!(callers.iter().all(|caller| !caller.is_finished()), "round {round}");
    }
    over.store(true, Ordering::SeqCst);
    for caller in callers {
        caller.await.expect("no call failed");
    }
    running.stop().await.expect("stops");
}

#[tokio::test]
async fn a_broken_new_file_keeps_the_certificate_before() {
    let place = Secured::new();
    let first = place.authority.certificate(&NAMES);
    let running = place.serve(&first).await;
    let refusals = async || place.metric("bursar_tls_loads_total", "refused").await.unwrap_or(0);
    let next = place.authority.certificate(&NAMES);
    let [crt, key] = ["port.crt", "port.key"].map(|name| place.folder().join(name));
    let half = &next.chain[..next.chain.len() / 2];
    // Each leaves the files as they are for whoever looks next: no certificate, half of one, one without its key, none.
    let breaks: [&dyn Fn(); 4] = [
        &|| fs::write(&crt, "no certificate").expect("written"),
        &|| fs::write(&crt, half).expect("written"),
        &|| fs::write(&crt, &next.chain).expect("written"),
        &|| fs::remove_file(&key).expect("removed"),
    ];
    for (count, damage) in breaks.iter().enumerate() {
        let before = refusals().await;
        damage();
        eventually("the change is told", async || refusals().await > before).await;
        assert_eq!(place.metric("bursar_tls_refused", "tls").await, Some(1));
        let seen = shake(place.port(), &place.authority, None).await.expect("a handshake");
        assert!(seen == securing::der(&first), "the certificate before is gone after change {count}");
        assert_eq!(call(&place.peer("127.0.0.1")).await, Ok(()));
    }
    fs::write(&key, &next.key).expect("written");
    eventually("the whole pair is taken", async || {
        shake(place.port(), &place.authority, None).await.expect("a handshake") == securing::der(&next)
    })
    .await;
    assert_eq!(place.metric("bursar_tls_refused", "tls").await, Some(0));
    running.stop().await.expect("stops");
}

#[tokio::test]
async fn what_peers_are_shown_and_whom_they_believe_rotates_too() {
    let clients = Authority::new("of clients");
    let mut place = Secured::new();
    place.ask_callers_for_certificates_of(&clients);
    place.show_to_peers(Some(&place.authority.certificate(&["billing"])));
    let running = place.serve(&place.authority.certificate(&NAMES)).await;
    let peer = place.peer("127.0.0.1");
    assert_eq!(call(&peer).await, Err(Code::Unavailable), "of the wrong authority");
    clients.certificate(&["billing"]).write(place.folder(), "peer");
    eventually("the peer is believed with its new certificate", async || call(&peer).await == Ok(())).await;
    // The server's authority for callers is replaced: whoever connects from now on needs another certificate.
    let later = Authority::new("of later clients");
    fs::write(place.folder().join("clients.crt"), later.pem()).expect("written");
    let old = clients.certificate(&["billing"]);
    eventually("a certificate of the authority before is refused", async || {
        shake(place.port(), &place.authority, Some(&old)).await.is_err()
    })
    .await;
    running.stop().await.expect("stops");
}

#[tokio::test]
async fn the_operations_port_speaks_tls_and_healthcheck_with_it() {
    let clients = Authority::new("of clients");
    for mutual in [false, true] {
        let mut place = Secured::new();
        place.secure_operations(mutual.then_some(&clients));
        let running = place.serve(&place.authority.certificate(&NAMES)).await;
        let base = place.base();
        let plain = tokio::task::spawn_blocking(move || bursar_testkit::get(base, "/readyz")).await.expect("no panic");
        plain.expect_err("plaintext was answered");
        let outcome = healthcheck(place.settings()).await;
        assert_eq!(outcome.is_ok(), !mutual, "without a certificate: {outcome:?}");
        place.show_to_peers(Some(&clients.certificate(&["probe"])));
        let outcome = healthcheck(place.settings()).await;
        assert!(outcome.is_ok(), "with a certificate: {outcome:?}");
        running.stop().await.expect("stops");
    }
}

#[tokio::test]
async fn who_never_finishes_a_handshake_holds_up_nobody() {
    let place = Secured::new();
    let running = place.serve(&place.authority.certificate(&NAMES)).await;
    let connect = async || tokio::net::TcpStream::connect(("127.0.0.1", place.port())).await.expect("connects");
    let mut silent = Vec::new();
    for n in 0..64_usize {
        let stream = connect().await;
        // Some have begun: a record's head that promises more than ever comes.
        if n % 2 == 0 {
            stream.try_write(&[22, 3, 1, 2, 0, 1]).expect("written");
        }
        silent.push(stream);
    }
    assert_eq!(call(&place.peer("127.0.0.1")).await, Ok(()));
    let begin = Instant::now();
    running.stop().await.expect("stops");
    assert!(begin.elapsed() < Duration::from_secs(2), "took {:?}", begin.elapsed());
}

#[tokio::test]
async fn a_handshake_that_is_never_finished_ends() {
    let place = Secured::new();
    let running = place.serve(&place.authority.certificate(&NAMES)).await;
    let mut begun = tokio::net::TcpStream::connect(("127.0.0.1", place.port())).await.expect("connects");
    begun.write_all(&[22, 3, 1, 2, 0, 1]).await.expect("written");
    // Time passes as soon as there is nothing else to do.
    tokio::time::pause();
    let steps = in_steps(STEP);
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_mins(2), begun.read_to_end(&mut rest)).await;
    let _ = ended.expect("it ends");
    drop(steps);
    tokio::time::resume();
    running.stop().await.expect("stops");
}

#[tokio::test]
async fn a_program_whose_certificates_cannot_be_read_does_not_start() {
    let place = Secured::new();
    fs::write(place.folder().join("port.crt"), "no certificate").expect("written");
    fs::write(place.folder().join("port.key"), "no key").expect("written");
    let refusal = place.start().await.expect_err("started without certificates").to_string();
    assert!(refusal.contains("tls.certificate_file") && refusal.contains("port.crt"), "{refusal}");
    let mut settings = place.settings().clone();
    settings.peer_tls.ca_file = Some(place.folder().join("port.crt"));
    let env = bursar_runtime::Env::for_test(bursar_time::Clock::system(), bursar_secret::Entropy::system());
    let refusal = network_peers(&settings, &env).expect_err("no authority").to_string();
    assert!(refusal.contains("peer_tls.ca_file"), "{refusal}");
    settings.peer_tls.ca_file = None;
    settings.urls[Service::Billing] = "https://a..b:1".to_owned();
    let refusal = network_peers(&settings, &env).expect_err("no name").to_string();
    assert!(refusal.contains("billing_url"), "{refusal}");
}
