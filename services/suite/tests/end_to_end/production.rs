//! Production mode, seen from outside: what every program refuses, and three that run as customers need them.

use std::{fs, path::Path, time::Duration};

use bursar_rpc::{PeerTls, Transport};
use bursar_runtime::Service;
use bursar_testkit::{Authority, Ports, Process, Program};
use tokio::sync::watch;
use tonic::{
    Code,
    transport::{Certificate, ClientTlsConfig, Identity},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::support::programs;

/// How long a program may take that cannot start.
const SOON: Duration = Duration::from_secs(30);
/// How long a program may take to stop.
const STOPS_WITHIN: Duration = Duration::from_secs(10);

#[test]
fn every_program_refuses_development_conveniences_all_at_once() {
    programs::build();
    // The program, and the settings that it names beside those that all name.
    let cases: [(&str, &[&str]); 4] = [
        (
            "bursar",
            &[
                "allow_sandbox_payments",
                "mail.smtp_url",
                "mail.from",
                "mail.link_base_url",
                "identity_store",
                "organization_store",
                "billing_store",
            ],
        ),
        (
            "bursar-identity",
            &[
                "mail.smtp_url",
                "mail.from",
                "mail.link_base_url",
                "identity_store",
                "service_secrets.identity_file",
                "service_secrets.organization_file",
                "service_secrets.billing_file",
                "organization_url",
                "billing_url",
            ],
        ),
        (
            "bursar-organization",
            &[
                "mail.smtp_url",
                "mail.from",
                "mail.link_base_url",
                "organization_store",
                "service_secrets.organization_file",
                "identity_url",
            ],
        ),
        (
            "bursar-billing",
            &["allow_sandbox_payments", "billing_store", "service_secrets.billing_file", "identity_url"],
        ),
    ];
    let common = ["test_clock", "master_key_file", "listen_address", "operations_address"];
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("data");
    for (name, own) in cases {
        for command in [&["--check-config"][..], &["serve"], &["migrate"], &["healthcheck"]] {
            let mut program =
                Program::named(name).args(["--mode", "production", "--test-clock", "--data-dir"]).arg(&data);
            for address in ["LISTEN", "OPERATIONS"] {
                program = program.env(format!("BURSAR_{address}_ADDRESS"), "0.0.0.0");
            }
            for service in Service::ALL {
                let variable = format!("BURSAR_{}_URL", service.name().to_uppercase());
                program = program.env(variable, format!("http://{service}.test:1"));
            }
            let (status, log) = program.args(command).run(SOON);
            assert_eq!(status.code(), Some(2), "{name} {command:?}:\n{log}");
            for key in common.iter().chain(own) {
                let is_named = log.lines().any(|line| line.trim_start().starts_with(&format!("- {key}")));
                assert!(is_named, "{name} {command:?} does not name {key}:\n{log}");
            }
            assert!(!data.exists(), "{name} {command:?} refused to start and has made its data directory");
        }
    }
}

/// One service's program in production mode, with nothing that is refused: mutual TLS between all, SQLite by allowance.
fn fit(service: Service, ports: &Ports, folder: &Path) -> Program {
    let file = |name: &str| folder.join(name).display().to_string();
    let operations =
        if service == Service::Identity { 0 } else { Service::last_port_offset() + service.port_offset() - 1 };
    let mut program = Program::named(service.program())
        .args(["--allow-sqlite", "--data-dir"])
        .arg(folder.join(service.name()))
        .args(["--listen-address", "0.0.0.0", "--port-base"])
        .arg(ports.base().to_string())
        .env("BURSAR_OPERATIONS_PORT", ports.nth(operations).to_string())
        .env("BURSAR_OPERATIONS_ADDRESS", "127.0.0.1")
        .env("BURSAR_MASTER_KEY_FILE", file("master.key"))
        .env("BURSAR_MAIL__SMTP_URL", "smtps://mail.test:465")
        .env("BURSAR_MAIL__FROM", "Acme <no-reply@acme.test>")
        .env("BURSAR_MAIL__LINK_BASE_URL", "https://app.acme.test")
        .env("BURSAR_TLS__CERTIFICATE_FILE", file("port.crt"))
        .env("BURSAR_TLS__KEY_FILE", file("port.key"))
        .env("BURSAR_TLS__CLIENT_CA_FILE", file("ca.crt"))
        .env("BURSAR_PEER_TLS__CA_FILE", file("ca.crt"))
        .env("BURSAR_PEER_TLS__CERTIFICATE_FILE", file("peer.crt"))
        .env("BURSAR_PEER_TLS__KEY_FILE", file("peer.key"));
    if service.takes_payments() {
        program = program.arg("--allow-sandbox-payments");
    }
    for peer in Service::ALL {
        let name = peer.name().to_uppercase();
        program = program
            .env(format!("BURSAR_{name}_URL"), format!("https://localhost:{}", ports.nth(peer.port_offset())))
            .env(format!("BURSAR_SERVICE_SECRETS__{name}_FILE"), file(&format!("{peer}.secret")));
    }
    program
}

/// One call to a port, with what a caller of one's own believes and shows.
async fn call(port: u16, tls: ClientTlsConfig) -> Result<(), Code> {
    let tls = PeerTls::following(watch::channel(tls).1);
    let way = Transport::connect_with(&format!("https://localhost:{port}"), &tls).expect("an address");
    let answer = HealthClient::new(way).check(HealthCheckRequest::default()).await;
    answer.map(drop).map_err(|status| status.code())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_programs_in_production_mode_call_one_another_over_mutual_tls() {
    programs::build();
    let (dir, ports, authority) =
        (tempfile::tempdir().expect("a directory"), Ports::free(), Authority::new("a product"));
    let folder = dir.path();
    fs::write(folder.join("ca.crt"), authority.pem()).expect("written");
    authority.certificate(&["localhost"]).write(folder, "port");
    let own = authority.certificate(&["bursar"]);
    own.write(folder, "peer");
    fs::write(folder.join("master.key"), "0123456789abcdef".repeat(4)).expect("written");
    for (service, digit) in Service::ALL.into_iter().zip(["A", "E", "I"]) {
        fs::write(folder.join(format!("{service}.secret")), digit.repeat(43)).expect("written");
    }
    let mut running: Vec<(Service, Process)> =
        Service::ALL.into_iter().map(|service| (service, fit(service, &ports, folder).spawn())).collect();
    let mut operations = ports.base();
    // Billing is ready only once organization has told it the deployment's policies: the way between them works.
    for (service, process) in &mut running {
        process.ready(operations).await;
        operations = ports.nth(Service::last_port_offset() + service.port_offset());
        let port = ports.nth(service.port_offset());
        let trusting = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority.pem()));
        assert_eq!(call(port, trusting.clone()).await, Err(Code::Unavailable), "{service} without a certificate");
        let shown = trusting.identity(Identity::from_pem(&own.chain, &own.key));
        assert_eq!(call(port, shown).await, Ok(()), "{service}");
        assert!(process.log().contains("allow_sqlite"), "{service} does not say what was allowed:\n{}", process.log());
    }
    for (service, process) in &mut running {
        assert!(process.stop(STOPS_WITHIN).success(), "{service}:\n{}", process.log());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suite_speaks_tls_when_it_is_given_certificates() {
    let (dir, ports, authority) =
        (tempfile::tempdir().expect("a directory"), Ports::free(), Authority::new("a person"));
    authority.certificate(&["localhost"]).write(dir.path(), "port");
    let mut suite = Program::named("bursar")
        .args(["--port-base", &ports.base().to_string(), "--data-dir"])
        .arg(dir.path().join("data"))
        .env("BURSAR_TLS__CERTIFICATE_FILE", dir.path().join("port.crt"))
        .env("BURSAR_TLS__KEY_FILE", dir.path().join("port.key"))
        .spawn();
    suite.ready(ports.base()).await;
    suite.says("grpcurl -cacert", SOON).await;
    let trusting = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority.pem()));
    for service in Service::ALL {
        assert_eq!(call(ports.nth(service.port_offset()), trusting.clone()).await, Ok(()), "{service}");
    }
    assert!(suite.stop(STOPS_WITHIN).success(), "{}", suite.log());
}
