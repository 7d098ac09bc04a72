//! The files in deploy/ speak of settings, ports and accounts that exist.
#![allow(clippy::expect_used, clippy::panic, reason = "helpers of a test fail by panicking")]

use std::{fs, path::Path};

use bursar_id::ServiceAccountId;
use bursar_runtime::{Loader, Program, Service, Settings};

fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The literals of one map under `configMapGenerator`.
fn map(name: &str) -> Vec<(String, String)> {
    let text = file("kubernetes/kustomization.yaml");
    let start = text.find(&format!("  - name: {name}\n    literals:\n")).expect("the map");
    let lines = text[start..].lines().skip(2);
    let literals = lines.map_while(|line| line.strip_prefix("      - "));
    let pairs = literals.map(|literal| literal.split_once('=').expect("NAME=value"));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// What a pod's environment makes of the settings, with its secret files in `secrets`.
fn pod(service: Service, secrets: &Path) -> Settings {
    let environment = map("bursar").into_iter().chain(map(&format!("bursar-{service}")));
    let secrets = secrets.display().to_string();
    let moved = environment.map(|(name, value)| (name, value.replace("/run/secrets/bursar", &secrets)));
    let loaded = Loader::new(Program::Single(service)).environment(moved).load();
    loaded.unwrap_or_else(|error| panic!("the pods of {service} would refuse their settings: {error}"))
}

#[test]
fn kubernetes_pods_accept_their_settings() {
    let secrets = tempfile::tempdir().expect("a directory");
    fs::write(secrets.path().join("store"), "postgres://bursar:secret@db.example.com/x\n").expect("a file");
    fs::write(secrets.path().join("smtp"), "smtps://bursar:secret@mail.example.com:465\n").expect("a file");
    for service in Service::ALL {
        let settings = pod(service, secrets.path());
        assert_eq!(settings.store(service).engine(), bursar_db::Engine::Postgres, "{service}");
        assert!(!settings.migrate_on_start, "{service}: an init container migrates");
        assert!(settings.listen_address.is_unspecified(), "{service}: other pods must reach it");
        assert!(settings.operations_address.is_unspecified(), "{service}: the kubelet must reach it");
        for peer in Service::ALL {
            let expected = format!("http://bursar-{peer}:{}", settings.service_address(peer).port());
            assert_eq!(settings.peer_url(peer), expected);
        }
    }
}

#[test]
fn kubernetes_pods_listen_where_their_services_point() {
    for service in Service::ALL {
        let manifest = file(&format!("kubernetes/{service}.yaml"));
        let text = map("bursar").into_iter();
        let settings = Loader::new(Program::Single(service)).environment(text).load().expect("the common map");
        let grpc = settings.service_address(service).port();
        let operations = settings.operations_listener().port();
        for line in [
            format!("      port: {grpc}\n"),
            format!("containerPort: {grpc}\n"),
            format!("      port: {operations}\n"),
            format!("containerPort: {operations}\n"),
            format!("command: [\"bursar-{service}\"]\n"),
            format!("command: [\"bursar-{service}\", \"migrate\"]\n"),
        ] {
            assert!(manifest.contains(&line), "{service}.yaml has no `{}`", line.trim());
        }
    }
}

#[test]
fn compose_names_settings_that_exist() {
    let text = file("compose.yaml");
    let variables = text.lines().filter_map(|line| line.trim().strip_prefix("BURSAR_"));
    let environment: Vec<(String, String)> = variables
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (format!("BURSAR_{name}"), value.replace("${BURSAR_DB_PASSWORD:-bursar}", "bursar")))
        .collect();
    assert!(environment.len() > 6, "only {environment:?} found");
    for service in Service::ALL {
        let loaded = Loader::new(Program::Single(service)).environment(environment.clone()).load();
        let settings = loaded.unwrap_or_else(|error| panic!("{service} would refuse its settings: {error}"));
        assert_eq!(settings.store(service).engine(), bursar_db::Engine::Postgres);
    }
}

#[test]
fn the_operators_secret_is_for_the_operators_account() {
    let script = file("kubernetes/secrets.sh");
    let expected = format!("{{\"client_id\": \"{}\", ", ServiceAccountId::OPERATOR);
    assert!(script.contains(&expected), "secrets.sh makes no file of {}", ServiceAccountId::OPERATOR);
}
