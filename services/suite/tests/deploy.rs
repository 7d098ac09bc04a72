//! The files in deploy/ speak of settings, ports and accounts that exist.
#![allow(clippy::expect_used, clippy::panic, reason = "helpers of a test fail by panicking")]

use std::{collections::BTreeMap, fs, path::Path};

use bursar_id::ServiceAccountId;
use bursar_runtime::{Loader, Mode, Program, Service, Settings};

fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The two ways in which pods may speak: components of the kustomization.
const WAYS: [&str; 2] = ["tls", "plaintext"];

/// The literals of one map under `configMapGenerator`, if there is such a map.
fn literals(kustomization: &str, name: &str) -> Option<Vec<(String, String)>> {
    let text = file(&format!("kubernetes/{kustomization}"));
    let start = text.find(&format!("  - name: {name}\n"))?;
    let lines = text[start..].lines().skip_while(|line| *line != "    literals:").skip(1);
    let literals =
        lines.filter(|line| !line.trim_start().starts_with('#')).map_while(|line| line.strip_prefix("      - "));
    let pairs = literals.map(|literal| literal.split_once('=').expect("NAME=value"));
    Some(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

/// A pod's environment with these components, as it is in the files but for its secret files, which are in `secrets`.
fn environment(service: Service, components: &[&str], secrets: &Path) -> BTreeMap<String, String> {
    let own = format!("bursar-{service}");
    // What is said later holds, as it does when maps are merged.
    let mut environment = BTreeMap::new();
    for map in ["bursar", own.as_str()] {
        environment.extend(literals("kustomization.yaml", map).expect("the map"));
        for component in components {
            environment.extend(literals(&format!("{component}/kustomization.yaml"), map).unwrap_or_default());
        }
    }
    let secrets = secrets.display().to_string();
    for value in environment.values_mut() {
        *value = value.replace("/run/secrets/bursar", &secrets).replace("/run/secrets/tls", &secrets);
    }
    environment
}

/// What a pod's environment makes of the settings, once somebody has put their own domain in it.
fn pod(service: Service, components: &[&str], secrets: &Path) -> Settings {
    let environment = environment(service, components, secrets);
    let own = environment.into_iter().map(|(name, value)| (name, value.replace("example.com", "acme.test")));
    let loaded = Loader::new(Program::Single(service)).environment(own).load();
    loaded.unwrap_or_else(|error| panic!("the pods of {service} would refuse their settings ({components:?}): {error}"))
}

/// The files that Secrets become: those of secrets.sh, what Stripe gives, and a certificate.
fn secrets() -> tempfile::TempDir {
    let secrets = tempfile::tempdir().expect("a directory");
    let authority = bursar_testkit::Authority::new("a cluster");
    let certificate = authority.certificate(&["bursar-billing"]);
    let (key, token) = ("7".repeat(64), "A".repeat(43));
    for (name, text) in [
        ("store", "postgres://bursar:secret@db.example.com/x?sslmode=verify-full"),
        ("smtp", "smtps://bursar:secret@mail.example.com:465"),
        ("s3", "secret"),
        ("master.key", &key),
        ("identity", &token),
        ("organization", &token),
        ("billing", &token),
        ("stripe", "sk_live_x"),
        ("whsec", "whsec_x"),
        ("tls.crt", &certificate.chain),
        ("tls.key", &certificate.key),
        ("ca.crt", authority.pem()),
    ] {
        fs::write(secrets.path().join(name), text).expect("a file");
    }
    secrets
}

#[test]
fn kubernetes_pods_accept_their_settings() {
    let secrets = secrets();
    for (service, way) in Service::ALL.into_iter().flat_map(|service| WAYS.map(|way| (service, way))) {
        let settings = pod(service, &[way], secrets.path());
        assert_eq!(settings.mode, Mode::Production, "{service}");
        assert_eq!(settings.store(service).engine(), bursar_db::Engine::Postgres, "{service}");
        assert!(!settings.migrate_on_start, "{service}: an init container migrates");
        assert!(settings.listen_address.is_unspecified(), "{service}: other pods must reach it");
        assert!(settings.operations_address.is_unspecified(), "{service}: the kubelet must reach it");
        let scheme = if way == "tls" { "https" } else { "http" };
        assert_eq!(settings.tls.certificate_file.is_some(), way == "tls", "{service}");
        assert!(settings.operations_tls.certificate_file.is_none(), "{service}: probes speak plaintext");
        for peer in Service::ALL {
            let expected = format!("{scheme}://bursar-{peer}:{}", settings.service_address(peer).port());
            assert_eq!(settings.peer_url(peer), expected);
        }
    }
}

#[test]
fn kubernetes_pods_refuse_addresses_that_nobody_has_made_their_own() {
    let secrets = secrets();
    let placeholders: [(Service, &[&str], &[&str]); 3] = [
        (Service::Identity, &["tls"], &["mail.from", "mail.link_base_url"]),
        (Service::Organization, &["tls"], &["mail.from", "mail.link_base_url"]),
        (Service::Billing, &["tls", "stripe"], &["payments.stripe.return_url"]),
    ];
    for (service, components, keys) in placeholders {
        let environment = environment(service, components, secrets.path());
        let loaded = Loader::new(Program::Single(service)).environment(environment).load();
        let refusal = loaded.expect_err("letters would go out in the name of nobody").to_string();
        for key in keys {
            assert!(refusal.contains(&format!("  - {key}: ")), "{service}: {key} in {refusal}");
        }
    }
}

#[test]
fn kubernetes_mounts_and_asks_for_the_certificates_that_the_settings_name() {
    let (component, certificates) =
        (file("kubernetes/tls/kustomization.yaml"), file("kubernetes/tls/certificates.yaml"));
    for service in Service::ALL {
        let secret = format!("secretName: bursar-{service}-tls");
        assert!(component.contains(&secret) && certificates.contains(&secret), "{secret}");
        assert!(
            certificates.contains(&format!("    - bursar-{service}\n")),
            "no certificate for the name that peers call"
        );
    }
    assert_eq!(
        component.matches("mountPath: /run/secrets/tls,").count(),
        2,
        "the init container reads its settings, too"
    );
}

#[test]
fn kubernetes_pods_listen_where_their_services_point() {
    let secrets = secrets();
    for service in Service::ALL {
        let manifest = file(&format!("kubernetes/{service}.yaml"));
        let settings = pod(service, &["plaintext"], secrets.path());
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
fn kubernetes_pods_take_stripes_payments_with_its_component() {
    let (secrets, port) = (secrets(), webhooks_port());
    for way in WAYS {
        let settings = pod(Service::Billing, &[way, "stripe"], secrets.path());
        let listener = settings.inbox_listener().expect("webhooks are listened for");
        assert_eq!(listener.port(), port, "{way}: where the Service points");
        assert!(listener.ip().is_unspecified(), "{way}: an ingress must reach it");
        assert!(!settings.allow_sandbox_payments, "{way}: nobody buys for nothing");
        assert_eq!(settings.inbox_tls.certificate_file.is_some(), way == "tls", "{way}");
        assert!(settings.inbox_tls.client_ca_file.is_none(), "{way}: an ingress has no certificate of ours");
        assert_eq!(
            pod(Service::Billing, &[way], secrets.path()).inbox_listener(),
            None,
            "{way}: without it nobody listens"
        );
    }
    // A patch adds the port by the name that the Service asks for.
    let component = file("kubernetes/stripe/kustomization.yaml");
    assert!(component.contains(&format!("{{name: webhooks, containerPort: {port}}}\n")), "{component}");
    assert!(component.contains("      kind: Deployment\n      name: bursar-billing\n"), "{component}");
    let (service, _) = webhooks();
    assert!(service.contains("      targetPort: webhooks\n"), "{service}");
    let name = within(&service, "metadata:\n").trim().strip_prefix("name: ").expect("a name");
    let certificates = file("kubernetes/tls/certificates.yaml");
    assert!(certificates.contains(&format!("    - {name}\n")), "no certificate for the name that an ingress calls");
}

#[test]
fn kubernetes_opens_the_port_for_webhooks_to_an_ingress_alone() {
    let (service, policy) = webhooks();
    let port = webhooks_port();
    // Both speak of billing's pods by a label that they have.
    let label = within(&service, "  selector:\n").trim().to_owned();
    assert_eq!(within(&policy, "  podSelector:\n").trim().replace("matchLabels:\n      ", ""), label);
    let billing = file("kubernetes/billing.yaml");
    let deployment = billing.split("---\n").find(|it| it.contains("kind: Deployment\n")).expect("billing's");
    for labels in
        [within(deployment, "    matchLabels:\n"), within(deployment, "  template:\n    metadata:\n      labels:\n")]
    {
        assert!(labels.lines().any(|line| line.trim() == label), "{label} is none of {labels}");
    }
    // One rule: from namespaces with a label, whatever their pods, to one port.
    assert!(policy.contains("  policyTypes: [Ingress]\n"), "{policy}");
    let rule = within(&policy, "  ingress:\n");
    let rule: Vec<&str> = rule.lines().map(str::trim).filter(|line| !line.starts_with('#')).collect();
    let to = format!("- port: {port}");
    assert_eq!(
        rule,
        ["- from:", "- namespaceSelector:", "matchLabels:", "bursar.webhooks: ingress", "ports:", to.as_str()]
    );
}

#[test]
fn kubernetes_keeps_the_port_for_webhooks_closed_without_the_component() {
    let base = file("kubernetes/kustomization.yaml");
    assert!(!base.lines().any(|line| line.trim_start().starts_with("- stripe")), "it is for those who take money");
    let policies = file("kubernetes/network-policy.yaml");
    // Of pods that a policy selects, what none opens is closed; this one selects all.
    assert_eq!(within(&policies, "  podSelector:\n").trim(), "matchLabels:\n      app.kubernetes.io/part-of: bursar");
    assert!(policies.contains("  policyTypes: [Ingress, Egress]\n"), "{policies}");
    assert!(base.contains(
        "      app.kubernetes.io/part-of: bursar\n    includeSelectors: false\n    includeTemplates: true\n"
    ));
    let ingress = within(&policies, "  ingress:\n");
    let opened = ingress.lines().filter_map(|line| line.trim().strip_prefix("- port: "));
    let opened: Vec<u16> = opened.map(|port| port.parse().expect("one port, and no range")).collect();
    assert_eq!(opened, [7401, 7402, 7403, 7400]);
    assert_eq!(ingress.matches("ports:\n").count(), ingress.matches("- from:\n").count(), "a rule without opens all");
    assert!(!ingress.contains("endPort"), "{ingress}");
    assert!(!opened.contains(&webhooks_port()));
}

/// The Service for Stripe's webhooks, and the policy that lets them in.
fn webhooks() -> (String, String) {
    let text = file("kubernetes/stripe/webhooks.yaml");
    let (service, policy) = text.split_once("---\n").expect("two of them");
    assert!(service.contains("kind: Service\n") && policy.contains("kind: NetworkPolicy\n"), "{text}");
    assert_eq!(file("kubernetes/stripe/kustomization.yaml").matches("  - webhooks.yaml\n").count(), 1, "it is applied");
    (service.to_owned(), policy.to_owned())
}

/// Where the Service for webhooks listens.
fn webhooks_port() -> u16 {
    let (service, _) = webhooks();
    let port = service.lines().find_map(|line| line.trim().strip_prefix("port: ")).expect("a port");
    port.parse().expect("a number")
}

/// The lines of a manifest below these, as long as they are further in than the last of these.
fn within<'a>(manifest: &'a str, these: &str) -> &'a str {
    let start = manifest.find(&format!("\n{these}")).unwrap_or_else(|| panic!("no {these} in {manifest}"));
    let rest = &manifest[start + 1 + these.len()..];
    let last = these.lines().last().unwrap_or_default();
    let depth = |line: &str| line.len() - line.trim_start().len();
    let lines = rest.split_inclusive('\n').take_while(|line| depth(line) > depth(last));
    let length: usize = lines.map(str::len).sum();
    &rest[..length]
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

/// What somebody types into secrets.sh.
const URLS: &str = "postgres://bursar:hidden1@db.example.com/\nsmtps://USER:hidden2@mail.example.com:465\nhidden3\n";
/// The programs that secrets.sh calls.
const CALLED: [&str; 8] = ["head", "od", "tr", "base64", "mktemp", "dirname", "ln", "rm"];

/// secrets.sh in a folder of its own, its programs noting how they were called.
struct Making {
    folder: tempfile::TempDir,
    programs: tempfile::TempDir,
}

impl Making {
    /// `failing`: this one of its programs fails.
    fn new(failing: Option<&str>) -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let (folder, programs) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let log = programs.path().join("log");
        for name in CALLED {
            let real = ["/usr/bin", "/bin"].map(|folder| format!("{folder}/{name}"));
            let real = real.iter().find(|path| Path::new(path).exists()).expect("it is installed");
            let run = if failing == Some(name) { "exit 1".to_owned() } else { format!("exec {real} \"$@\"") };
            let text = format!("#!/bin/sh\nprintf '%s\\n' \"{name} $*\" >>'{}'\n{run}\n", log.display());
            let path = programs.path().join(name);
            fs::write(&path, text).expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("made a program");
        }
        Self { folder, programs }
    }

    fn out(&self) -> std::path::PathBuf {
        self.folder.path().join("secrets.yaml")
    }

    /// The exit code and everything that was printed.
    fn run(&self, arguments: &[&str], typed: &str) -> (Option<i32>, String) {
        use std::io::Write as _;
        use std::process::{Command, Stdio};
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/kubernetes/secrets.sh");
        let path = format!("{}:/usr/bin:/bin", self.programs.path().display());
        // A careless umask, and the variables of nobody's shell.
        let mut shell = Command::new("bash");
        shell.args(["-c", "umask 000; exec \"$@\"", "bash"]).arg(script).args(arguments).env_clear().env("PATH", path);
        shell.current_dir(self.folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running = shell.spawn().expect("bash runs");
        // One that ends at once reads nothing.
        let _ = running.stdin.take().expect("its input").write_all(typed.as_bytes());
        let output = running.wait_with_output().expect("it ends");
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).expect("text"))
    }

    fn left(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).expect("a folder");
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
    }

    fn called(&self) -> String {
        fs::read_to_string(self.programs.path().join("log")).unwrap_or_default()
    }
}

#[test]
fn making_secrets_leaves_nothing_readable() {
    use std::os::unix::fs::PermissionsExt as _;
    let making = Making::new(None);
    let (code, said) = making.run(&["secrets.yaml", "sslmode=verify-full"], URLS);
    assert_eq!((code, said.as_str()), (Some(0), ""), "nothing is printed");
    assert_eq!(making.left(), ["secrets.yaml"], "and no draft is left");
    let mode = fs::metadata(making.out()).expect("made").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "whatever the umask");
    let text = fs::read_to_string(making.out()).expect("read");
    for service in Service::ALL {
        assert!(
            text.contains(&format!(
                "store: \"postgres://bursar:hidden1@db.example.com/{service}?sslmode=verify-full\""
            ))
        );
    }
    let other = Making::new(None);
    assert_eq!(other.run(&["secrets.yaml"], URLS), (Some(0), String::new()));
    let unsaid = fs::read_to_string(other.out()).expect("read");
    assert_eq!(unsaid.matches("?sslmode=verify-full\"").count(), 3, "encrypted where nobody says anything");
    assert_eq!(text.matches("smtp: \"smtps://USER:hidden2@mail.example.com:465\"").count(), 2);
    assert_eq!(text.matches("s3: \"hidden3\"").count(), 1, "for organization alone");
    let values: Vec<&str> = text.split('"').filter(|it| it.len() == 43 || it.len() == 64).collect();
    assert_eq!(values.len(), 9, "three keys, five secrets of services as two see them, one operator's: {text}");
    let called = making.called();
    assert!(called.contains("mktemp "), "{called}");
    for secret in values.iter().chain(&["hidden1", "hidden2", "hidden3"]) {
        assert!(!called.contains(secret), "in a command line, where everybody can read it: {called}");
    }
}

#[test]
fn secrets_that_cannot_be_made_leave_nothing_behind() {
    let password = "postgres://bursar:hidden1@db.example.com";
    // Arguments, what is typed, exit code.
    let refused: [(&[&str], &str, i32); 8] = [
        (&[], URLS, 2),
        (&[password, "smtps://u:p@m"], "", 2),
        (&["secrets.yaml", password], URLS, 2),
        (&["secrets.yaml"], "", 2),
        (&["secrets.yaml"], "postgres://only.one\n", 2),
        (&["secrets.yaml"], "postgres://but\nsmtps://no.key\n", 2),
        (&["secrets.yaml"], "postgres://a\"b\nsmtp://c\n", 2),
        (&["no/such/folder/secrets.yaml"], URLS, 1),
    ];
    for (arguments, typed, expected) in refused {
        let making = Making::new(None);
        let (code, said) = making.run(arguments, typed);
        assert_eq!(code, Some(expected), "{arguments:?}: {said}");
        assert!(!said.contains("hidden1") && making.left().is_empty(), "{arguments:?}: {said} {:?}", making.left());
    }
    for failing in ["head", "od", "base64", "mktemp", "ln"] {
        let making = Making::new(Some(failing));
        let (code, said) = making.run(&["secrets.yaml"], URLS);
        assert_eq!(code, Some(1), "{failing}: {said}");
        assert!(making.left().is_empty(), "{failing}: {:?}", making.left());
    }
    let making = Making::new(None);
    fs::write(making.out(), "kept").expect("written");
    assert_eq!(making.run(&["secrets.yaml"], URLS).0, Some(1), "secrets are made once");
    assert_eq!(fs::read_to_string(making.out()).expect("read"), "kept");
}
