//! What production refuses. Development conveniences are for a person who tries things; each of them is a way to lose
//! money, secrets or data once there are customers, so none of them is a default that production mode would take over.
//!
//! Everything is told at once, each by the setting that ends it. Where somebody may still know better (a network that
//! encrypts by itself, one replica on one disk), there is a setting that says so.

use std::{net::IpAddr, path::Path, str::FromStr as _};

use bursar_db::Engine;
use bursar_secret::{Sealer, Secret, Token};

use super::{ContentUrl, PaymentProvider, Program, Settings};
use crate::Service;

impl Settings {
    /// What `program` would do with these settings and must not do in production mode: one sentence for each setting.
    pub(super) fn unfit_for_production(&self, program: Program) -> Vec<String> {
        let mut problems = Vec::new();
        self.refuse_conveniences(program, &mut problems);
        self.refuse_letters_of_nowhere(program, &mut problems);
        self.refuse_weak_material(program, &mut problems);
        self.refuse_plaintext(program, &mut problems);
        self.refuse_unfit_stripe(program, &mut problems);
        problems
    }

    /// What these settings allow in production mode that would be refused without them, by the settings' names.
    pub(crate) fn allowances(&self) -> Vec<&'static str> {
        let all = [
            ("allow_sandbox_payments", self.allow_sandbox_payments),
            ("allow_plaintext", self.allow_plaintext),
            ("allow_plaintext_operations", self.allow_plaintext_operations),
            ("allow_plaintext_store", self.allow_plaintext_store),
            ("allow_plaintext_collector", self.allow_plaintext_collector),
            ("allow_plaintext_links", self.allow_plaintext_links),
            ("allow_sqlite", self.allow_sqlite),
        ];
        all.into_iter().filter_map(|(name, allowed)| allowed.then_some(name)).collect()
    }

    fn refuse_conveniences(&self, program: Program, problems: &mut Vec<String>) {
        let services = program.services();
        if self.test_clock {
            problems.push(
                "test_clock (--test-clock) is refused in production mode: \
                 whoever can set the time can expire or renew anything; use --mode development"
                    .to_owned(),
            );
        }
        let sandbox = self.payments.provider == PaymentProvider::Sandbox && !self.allow_sandbox_payments;
        if sandbox && services.iter().any(|service| service.takes_payments()) {
            problems.push(
                "allow_sandbox_payments (--allow-sandbox-payments): payments go through the sandbox, which takes no \
                 money; production mode sells for nothing only where this is true, and for money where \
                 payments.provider is stripe"
                    .to_owned(),
            );
        }
        if self.mail.smtp_url.is_none() && services.iter().any(|service| service.sends_mail()) {
            problems.push(format!(
                "mail.smtp_url: without a mail server, letters with their tokens are written to {}, which production \
                 mode refuses",
                self.mail_dir().display()
            ));
        }
        for service in services {
            if !self.allow_sqlite && self.store(*service).engine() == Engine::Sqlite {
                problems.push(format!(
                    "{}: {} is SQLite, which serves one replica on one disk; production mode needs postgres://, or \
                     allow_sqlite (--allow-sqlite)",
                    service.store_key(),
                    self.store(*service)
                ));
            }
        }
    }

    /// Letters that come from nowhere, and lead there: the defaults suit a person who reads them in a folder of this machine.
    fn refuse_letters_of_nowhere(&self, program: Program, problems: &mut Vec<String>) {
        if !program.services().iter().any(|service| service.sends_mail()) {
            return;
        }
        let (from, links) = (&self.mail.from, &self.mail.link_base_url);
        let domain = from.rsplit_once('@').map_or("", |(_, domain)| domain.trim_end_matches([' ', '>']));
        if is_nobodys(domain) {
            problems.push(format!(
                "mail.from: {from} is at a domain that is nobody's, from where no letter reaches a customer; set an address \
                 of yours"
            ));
        }
        if leads_nowhere(links) {
            problems.push(format!(
                "mail.link_base_url: {links} is on this machine or nobody's, where no customer can follow a link to; set \
                 where your product is"
            ));
        } else if is_exposed(links) && !self.allow_plaintext && !self.allow_plaintext_links {
            problems.push(format!(
                "mail.link_base_url: {links} would have customers send the tokens in links in plaintext, which production \
                 mode refuses; use https://, or allow_plaintext_links where the network encrypts on the way to customers"
            ));
        }
    }

    /// What customers read of a seller who has said nothing: by name, the settings whose defaults they are told. Nobody is
    /// refused for it, as the defaults may be meant.
    pub(crate) fn unsaid(&self, program: Program) -> Vec<&'static str> {
        let any = |does: fn(Service) -> bool| program.services().iter().any(|service| does(*service));
        let (mails, sells) = (any(Service::sends_mail), any(Service::takes_payments));
        let all = [
            ("mail.product", (mails || sells) && self.mail.product == super::sections::PRODUCT),
            ("invoices.issuer", sells && self.invoices.issuer.trim().is_empty()),
            ("catalog_file", sells && self.catalog_file.is_none()),
        ];
        all.into_iter().filter_map(|(name, unsaid)| unsaid.then_some(name)).collect()
    }

    /// Whether content of several replicas, which PostgreSQL serves, lies where it does by default, however that is written: in
    /// a folder of one of them. Nobody is refused for it, as there may be one replica, or one volume below all of them.
    pub(crate) fn keeps_content_to_itself(&self, program: Program) -> bool {
        let ContentUrl::Folder(folder) = &self.content_url else { return false };
        program.services().contains(&Service::Organization)
            && self.store(Service::Organization).engine() == Engine::Postgres
            && is_same_file(folder, &self.data_dir.join("content"))
    }

    fn refuse_weak_material(&self, program: Program, problems: &mut Vec<String>) {
        let own = self.data_dir.join(super::sections::MASTER_KEY);
        if is_same_file(&self.master_key_file, &own) {
            problems.push(format!(
                "master_key_file: {} is where a program keeps a key that it made itself; production mode needs a file \
                 elsewhere that somebody made and keeps",
                own.display()
            ));
        } else if let Err(error) = Sealer::load(&self.master_key_file) {
            problems.push(format!("master_key_file: {error}"));
        }
        // Identity checks everybody's secret, the others prove themselves by their own.
        let checks_all = program.services().contains(&Service::Identity);
        for service in if checks_all { &Service::ALL[..] } else { program.services() } {
            let path = &self.service_secrets[*service];
            let own = self.data_dir.join(super::sections::SECRETS).join(service.name());
            // Within one process, a secret that it made itself is as good as any other.
            if program == Program::Suite && *path == own && !path.exists() {
                continue;
            }
            if let Err(error) = self.existing_secret(*service) {
                problems.push(format!("{error:#}"));
            }
        }
        // Identity takes the operator's secret over from a file that is there before its first start.
        if checks_all
            && let Ok(text) = std::fs::read(&self.operator_file)
            && !holds_a_secret(&Secret::new(text))
        {
            problems.push(format!(
                "operator_file: {}: client_secret must be a token of 43 base64url characters",
                self.operator_file.display()
            ));
        }
    }

    fn refuse_plaintext(&self, program: Program, problems: &mut Vec<String>) {
        if self.allow_plaintext {
            return;
        }
        let ports = [
            ("listen_address", self.listen_address, "tls", self.tls.certificate_file.is_some(), "allow_plaintext"),
            (
                "operations_address",
                self.operations_address,
                "operations_tls",
                self.operations_tls.certificate_file.is_some() || self.allow_plaintext_operations,
                "allow_plaintext_operations",
            ),
        ];
        for (key, address, section, is_fine, allowance) in ports {
            if !is_fine && !is_loopback(address) {
                problems.push(format!(
                    "{key}: {address} would speak plaintext beyond this machine, which production mode refuses; set \
                     {section}.certificate_file and {section}.key_file, or {allowance} where the network encrypts"
                ));
            }
        }
        self.refuse_exposed_neighbours(program, problems);
        let endpoint = self.bucket_endpoint().filter(|(_, url)| is_exposed(url));
        if let Some((key, url)) = endpoint.filter(|_| program.services().contains(&Service::Organization)) {
            problems.push(format!(
                "{key}: {url} would carry content in plaintext beyond this machine, which production mode refuses; \
                 use https://, or allow_plaintext where the network encrypts"
            ));
        }
        let is_open = |url: &str| !bursar_mail::Transport::demands_encryption(url) && !is_here(url);
        // It is not repeated, as it may hold a password.
        if self.mail.smtp_url.as_ref().is_some_and(|url| is_open(url.expose()))
            && program.services().iter().any(|service| service.sends_mail())
        {
            problems.push(
                "mail.smtp_url: letters with their tokens would leave this machine in plaintext, which production mode \
                 refuses; use smtps:// or ?tls=required, or allow_plaintext where the network encrypts"
                    .to_owned(),
            );
        }
        if let Program::Single(own) = program {
            for (service, url) in self.urls.iter().filter(|(service, url)| *service != own && is_exposed(url)) {
                problems.push(format!(
                    "{}: {url} would carry tokens in plaintext beyond this machine, which production mode refuses; use \
                     https://, or allow_plaintext where the network encrypts",
                    service.url_key()
                ));
            }
        }
    }

    /// What a program keeps elsewhere and tells a collector.
    fn refuse_exposed_neighbours(&self, program: Program, problems: &mut Vec<String>) {
        for service in program.services() {
            let store = self.store(*service);
            if store.is_exposed() && !self.allow_plaintext_store {
                problems.push(format!(
                    "{}: {store} would carry all that is stored in plaintext beyond this machine, which production mode \
                     refuses; use ?sslmode=verify-full (or verify-ca, or require, which believe more servers), or \
                     allow_plaintext_store where the network encrypts on the way to it",
                    service.store_key()
                ));
            }
        }
        let collector = self.otlp_endpoint.as_deref().filter(|_| !self.allow_plaintext_collector);
        if let Some(url) = collector.filter(|url| is_exposed(url)) {
            problems.push(format!(
                "otlp_endpoint: {url} would carry traces, with everybody's ids, in plaintext beyond this machine, which \
                 production mode refuses; use a collector on this machine (in the same pod, say) that sends them on, or \
                 allow_plaintext_collector where the network encrypts on the way to it"
            ));
        }
    }
}

/// Whether the text of an operator's file holds a secret that nobody can guess.
fn holds_a_secret(text: &Secret<Vec<u8>>) -> bool {
    #[derive(serde::Deserialize)]
    struct OperatorFile {
        client_secret: Secret,
    }
    serde_json::from_slice::<OperatorFile>(text.expose())
        .is_ok_and(|file| Token::parse(file.client_secret.expose()).is_ok())
}

/// Whether only this machine can reach the address.
pub(super) fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// Whether calls to this URL are readable on their way to another machine.
pub(super) fn is_exposed(url: &str) -> bool {
    http::Uri::from_str(url).is_ok_and(|uri| uri.scheme_str() == Some("http")) && !is_here(url)
}

/// Whether this URL leads to this machine itself.
pub(super) fn is_here(url: &str) -> bool {
    http::Uri::from_str(url).is_ok_and(|uri| {
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        host == "localhost" || host.parse().is_ok_and(is_loopback)
    })
}

/// Whether no customer's machine finds anything at this URL but itself, or a page that says so.
pub(super) fn leads_nowhere(url: &str) -> bool {
    http::Uri::from_str(url).is_ok_and(|uri| uri.host().is_some_and(is_nobodys))
}

/// Whether a host is whoever's machine asks for it, or nobody's by agreement (RFC 2606, 6761). Those of `.test` are for trials of
/// networks that have them.
fn is_nobodys(host: &str) -> bool {
    const ONES_OWN: [&str; 3] = ["localhost", "example", "invalid"];
    const EXAMPLES: [&str; 3] = ["example.com", "example.net", "example.org"];
    let host = host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
    if let Ok(address) = host.parse::<IpAddr>() {
        return is_loopback(address) || address.to_canonical().is_unspecified();
    }
    let is_below =
        |domain: &str| host.strip_suffix(domain).is_some_and(|rest: &str| rest.is_empty() || rest.ends_with('.'));
    ONES_OWN.into_iter().chain(EXAMPLES).any(is_below)
}

/// Whether two paths lead to one file, however they are written, and also before there is one.
fn is_same_file(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path)).ok();
    one == other || real(one).is_some_and(|one| real(other) == Some(one))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Each;

    #[test]
    fn customers_are_told_no_default_without_the_operators_hearing_of_it() {
        let mut settings = Settings::for_test("data");
        let (identity, billing) = (Program::Single(Service::Identity), Program::Single(Service::Billing));
        assert_eq!(settings.unsaid(identity), ["mail.product"]);
        for program in [billing, Program::Suite] {
            assert_eq!(settings.unsaid(program), ["mail.product", "invoices.issuer", "catalog_file"], "{program:?}");
        }
        settings.mail.product = "Acme".to_owned();
        settings.invoices.issuer = "Acme Ltd".to_owned();
        settings.catalog_file = Some("catalog.toml".into());
        for program in [identity, billing, Program::Suite] {
            assert!(settings.unsaid(program).is_empty(), "{program:?}");
        }
    }

    #[test]
    fn hosts_that_are_nobodys_are_told_from_others() {
        let nobodys = [
            "localhost",
            "LOCALHOST.",
            "bursar.localhost",
            "127.0.0.1",
            "127.9.9.9",
            "[::1]",
            "::ffff:127.0.0.1",
            "0.0.0.0",
            "[::]",
            "example.com",
            "app.Example.com",
            "example.org",
            "a.example.net",
            "app.example",
            "x.invalid",
        ];
        for host in nobodys {
            assert!(is_nobodys(host), "{host}");
        }
        let somebodys = [
            "acme.test",
            "localhost.test",
            "notlocalhost",
            "myexample.com",
            "example.com.test",
            "example.io",
            "10.0.0.7",
            "",
            "[2001:db8::1]",
        ];
        for host in somebodys {
            assert!(!is_nobodys(host), "{host}");
        }
    }

    #[test]
    fn content_in_a_replicas_own_folder_is_noticed_where_there_may_be_other_replicas() {
        let own = std::path::absolute("data/content").expect("a path");
        let elsewhere = "file:///mnt/content".to_owned();
        let table = [
            (Program::Suite, "postgres://db.test/x", "file://data/content".to_owned(), true),
            (Program::Single(Service::Organization), "postgres://db.test/x", format!("file://{}", own.display()), true),
            (Program::Suite, "postgres://db.test/x", elsewhere, false),
            (Program::Suite, "postgres://db.test/x", "s3://acme-content".to_owned(), false),
            (Program::Suite, "sqlite://data/organization.db", "file://data/content".to_owned(), false),
            (Program::Single(Service::Billing), "postgres://db.test/x", "file://data/content".to_owned(), false),
        ];
        for (program, store, content, expected) in table {
            let mut settings = Settings::for_test("data");
            settings.stores = Each::of(|_| store.parse().expect("a store"));
            settings.content_url = content.parse().expect("a place");
            assert_eq!(settings.keeps_content_to_itself(program), expected, "{program:?} {store} {content}");
        }
    }
}
