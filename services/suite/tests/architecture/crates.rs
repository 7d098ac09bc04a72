//! Which crate may depend on which.

use std::{collections::BTreeSet, fs};

use bursar_runtime::Service;
use cargo_metadata::{DependencyKind, MetadataCommand, Package};

use crate::sources::{assert_none, root};

const SUITE: &str = "bursar";
const TESTKIT: &str = "bursar-testkit";

/// Whether a crate is a service: its name is that of the program.
fn is_a_service(name: &str) -> bool {
    Service::ALL.iter().any(|service| service.program() == name)
}

fn packages() -> Vec<Package> {
    let manifest = root().join("Cargo.toml");
    let metadata = MetadataCommand::new().manifest_path(manifest).no_deps().exec();
    metadata.expect("cargo metadata").packages
}

/// The workspace's own crates that a package depends on, with how.
fn own_dependencies(package: &Package, all: &[Package]) -> Vec<(String, DependencyKind)> {
    let own: BTreeSet<&str> = all.iter().map(|package| package.name.as_str()).collect();
    let dependencies = package.dependencies.iter().filter(|d| own.contains(d.name.as_str()));
    dependencies.map(|d| (d.name.clone(), d.kind)).collect()
}

fn folder(package: &Package) -> String {
    let manifest = package.manifest_path.as_std_path();
    let folder = manifest.parent().expect("a manifest is in a folder");
    folder.strip_prefix(root()).expect("below the root").display().to_string()
}

/// What is wrong with one edge of the graph, if anything.
fn judge(package: &Package, dependency: &str, kind: DependencyKind) -> Option<&'static str> {
    let name = package.name.as_str();
    let folder = folder(package);
    let is_service = is_a_service(dependency);
    if dependency == SUITE {
        return Some("nothing depends on the suite");
    }
    if dependency == TESTKIT && kind != DependencyKind::Development {
        return Some("the testkit is a dev-dependency only");
    }
    if is_service && is_a_service(name) {
        return Some("no service depends on another's crate, only on its protobuf client");
    }
    if is_service && name != SUITE {
        return Some("only the suite depends on services");
    }
    if folder == "proto" {
        return Some("the protos depend on no crate of ours");
    }
    None
}

#[test]
fn dependencies_go_one_way() {
    let all = packages();
    let mut breaches = Vec::new();
    for package in &all {
        for (dependency, kind) in own_dependencies(package, &all) {
            if let Some(rule) = judge(package, &dependency, kind) {
                breaches.push(format!("{} -> {dependency}: {rule}", package.name));
            }
        }
    }
    assert_none(&breaches);
}

#[test]
fn every_crate_is_where_it_belongs_and_has_the_workspaces_lints() {
    let all = packages();
    let mut breaches = Vec::new();
    for package in &all {
        let folder = folder(package);
        let expected = match package.name.strip_prefix("bursar-") {
            None => "services/suite".to_owned(),
            Some("proto") => "proto".to_owned(),
            Some(name) if is_a_service(&package.name) => {
                format!("services/{name}")
            }
            Some(name) => format!("shared/{name}"),
        };
        if folder != expected {
            breaches.push(format!("{} is in {folder}, not in {expected}", package.name));
        }
        let manifest = fs::read_to_string(&package.manifest_path).expect("a manifest");
        if !manifest.contains("[lints]\nworkspace = true") {
            breaches.push(format!("{folder}/Cargo.toml does not take the workspace's lints"));
        }
    }
    assert_none(&breaches);
}
