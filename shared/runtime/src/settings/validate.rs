//! Rules that one value cannot show to be broken by itself: ranges, and settings that exclude each other.

use std::{str::FromStr, time::Duration};

use bursar_time::MOST_DIFFERENCE;
use tracing_subscriber::EnvFilter;

use super::{ConfigError, Mode, Program, Settings, VERIFICATION_TTL_MAX, span};
use crate::{Service, tls};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
/// The longest name of a product, in bytes.
const PRODUCT_MAX: usize = 100;
/// How many lines may say who sells, and how many characters one of them has at most.
const ISSUER_LINES_MAX: usize = 8;
const ISSUER_LINE_MAX: usize = 120;
/// Of what is rationed by the day when each was is kept, in one row that is written anew for each: so many take 80 kB.
const RATION_MAX: u32 = 10_000;
/// A network has ten times as many as an address of it.
const RATION_OF_ADDRESS_MAX: u32 = RATION_MAX / 10;
/// Fewer would refuse whoever has the most branches that a session may have, each refreshed as its access tokens expire.
const REFRESHES_MIN: u32 = 600;
/// Each leaves a row behind that is kept as long as the token would have been good.
const REFRESHES_MAX: u32 = 36_000;
/// So many contents of an export take half a gigabyte of memory.
const EXPORT_CONTENTS_MAX: u32 = 1_000_000;
/// Whoever is alone may have half of them, and has room for any message that is not refused for its size: one for which there is
/// never room would be told for ever to come again.
const MESSAGE_BYTES_MIN: usize = 40 * 1024 * 1024;
const _: () =
    assert!(MESSAGE_BYTES_MIN >= 2 * bursar_rpc::stack::MESSAGE_MEMORY_MAX, "half of it has room for any message");
/// A program that was told to stop is gone before this.
const SHUTDOWN_MAX: Duration = Duration::from_secs(9);
/// A heartbeat comes every five seconds, and one that is missed is no silence yet.
const STALENESS_MIN: Duration = Duration::from_secs(15);
/// The longest life of an access token: for so long at most does a revoked session still get in.
const TOKEN_TTL_MAX: Duration = bursar_rpc::token::LONGEST_LIFE.to_std();

impl Settings {
    /// Checks everything that the types do not, and reports every violation at once.
    pub(crate) fn validate(&self, program: Program) -> Result<(), ConfigError> {
        let mut problems = Vec::new();
        self.check_ports(&mut problems);
        self.check_urls(&mut problems);
        self.check_limits(&mut problems);
        if program.services().contains(&Service::Organization) {
            self.check_bucket(&mut problems);
        }
        self.check_spans(&mut problems);
        self.check_stripe(program, &mut problems);
        let product = self.mail.product.as_str();
        if product.trim().is_empty() || product.len() > PRODUCT_MAX || product.contains(char::is_control) {
            problems.push(format!("mail.product: must be one line of 1 to {PRODUCT_MAX} bytes"));
        }
        let issuer = self.invoices.issuer.as_str();
        let is_line = |line: &str| line.chars().count() <= ISSUER_LINE_MAX && !line.contains(char::is_control);
        if issuer.lines().count() > ISSUER_LINES_MAX || !issuer.lines().all(is_line) {
            problems.push(format!(
                "invoices.issuer: must be at most {ISSUER_LINES_MAX} lines of at most {ISSUER_LINE_MAX} characters"
            ));
        }
        if let Err(error) = EnvFilter::builder().parse(&self.log.filter) {
            problems.push(format!("log.filter: {error}"));
        }
        problems.extend(tls::problems(self));
        if self.mode != Mode::Development {
            problems.extend(self.unfit_for_production(program));
        }
        if problems.is_empty() { Ok(()) } else { Err(ConfigError::new(problems)) }
    }

    fn check_ports(&self, problems: &mut Vec<String>) {
        let highest = Service::last_port_offset();
        if self.port_base == 0 || self.port_base > u16::MAX - highest {
            problems.push(format!(
                "port_base (--port-base): {} is out of range, use 1 to {}",
                self.port_base,
                u16::MAX - highest
            ));
            return;
        }
        for service in Service::ALL {
            if self.operations_port == self.port_base + service.port_offset() {
                problems.push(format!("operations_port: {} is the port of {service}", self.operations_port));
            }
        }
        if self.operations_port == 0 {
            problems.push("operations_port: 0 is not a port to find".to_owned());
        }
    }

    fn check_urls(&self, problems: &mut Vec<String>) {
        let otlp = self.otlp_endpoint.as_deref().map(|url| ("otlp_endpoint", url));
        // A collector runs beside the program; the exporter is built without TLS.
        if otlp.is_some_and(|(_, url)| url.starts_with("https:")) {
            problems.push("otlp_endpoint: only http:// is supported; use a collector on this host".to_owned());
        }
        let peers = self.urls.iter().map(|(service, url)| (service.url_key(), url.as_str()));
        let links = ("mail.link_base_url", self.mail.link_base_url.as_str());
        for (key, url) in peers.chain([links]).chain(otlp) {
            if !is_http(url) {
                problems.push(format!("{key}: `{url}` is not of the form http://HOST:PORT or https://HOST:PORT"));
            }
        }
    }

    fn check_limits(&self, problems: &mut Vec<String>) {
        for (key, count) in [
            ("limits.in_flight", self.limits.in_flight),
            ("limits.connections", self.limits.connections),
            ("limits.streams_per_connection", self.limits.streams_per_connection as usize),
            ("postgres.connections", self.postgres.connections as usize),
            ("sqlite.readers", self.sqlite.readers as usize),
            ("organizations.max_created_per_day", self.organizations.max_created_per_day as usize),
            ("invitations.max_pending", self.invitations.max_pending as usize),
            ("invitations.max_per_day", self.invitations.max_per_day as usize),
            ("invitations.max_per_day_at_first", self.invitations.max_per_day_at_first as usize),
            ("invitations.max_per_day_by_sender", self.invitations.max_per_day_by_sender as usize),
            ("invitations.max_per_day_to_address", self.invitations.max_per_day_to_address as usize),
            ("invitations.max_per_day_by_origin", self.invitations.max_per_day_by_origin as usize),
            ("billing.batch_max", self.billing.batch_max),
            ("billing.queue_max", self.billing.queue_max),
        ] {
            if count == 0 {
                problems.push(format!("{key}: must be at least 1"));
            }
        }
        let (invitations, library) = (&self.invitations, &self.library);
        for (key, count, most) in [
            ("invitations.max_per_day_by_sender", invitations.max_per_day_by_sender, RATION_MAX),
            ("invitations.max_per_day_to_address", invitations.max_per_day_to_address, RATION_MAX),
            ("invitations.max_per_day_by_origin", invitations.max_per_day_by_origin, RATION_OF_ADDRESS_MAX),
        ] {
            if count > most {
                problems.push(format!("{key}: {count} is out of range, use 1 to {most}"));
            }
        }
        for (key, bytes) in
            [("library.quota_bytes", library.quota_bytes), ("library.upload_bytes", library.upload_bytes)]
        {
            if i64::try_from(bytes).is_err() {
                problems.push(format!("{key}: {bytes} is out of range"));
            }
        }
        let bytes = self.limits.message_bytes;
        // The first kilobyte of each call's message goes with its place: what is left is to be shared.
        let least = MESSAGE_BYTES_MIN.saturating_add(self.limits.in_flight.saturating_mul(1024));
        if bytes < least {
            problems.push(format!("limits.message_bytes: {bytes} is out of range, use {least} or more"));
        }
        let refreshes = self.tokens.max_refreshes_per_hour;
        if !(REFRESHES_MIN..=REFRESHES_MAX).contains(&refreshes) {
            problems.push(format!(
                "tokens.max_refreshes_per_hour: {refreshes} is out of range, use {REFRESHES_MIN} to {REFRESHES_MAX}"
            ));
        }
        let contents = library.export_contents;
        if !(1..=EXPORT_CONTENTS_MAX).contains(&contents) {
            problems
                .push(format!("library.export_contents: {contents} is out of range, use 1 to {EXPORT_CONTENTS_MAX}"));
        }
        if self.limits.drain >= self.limits.shutdown {
            problems.push("limits.drain: must be shorter than limits.shutdown, which includes it".to_owned());
        }
    }

    fn check_spans(&self, problems: &mut Vec<String>) {
        let (limits, tokens) = (&self.limits, &self.tokens);
        let mut within = |key: &str, value: Duration, least: Duration, most: Duration| {
            if value < least || value > most {
                let [value, least, most] = [value, least, most].map(span::print);
                problems.push(format!("{key}: {value} is out of range, use {least} to {most}"));
            }
        };
        within("limits.deadline", limits.deadline, SECOND, HOUR);
        within("limits.stream_deadline", limits.stream_deadline, SECOND, DAY);
        within("limits.message_deadline", limits.message_deadline, SECOND, HOUR);
        within("library.idle_timeout", self.library.idle_timeout, Duration::from_millis(100), HOUR);
        within("limits.shutdown", limits.shutdown, SECOND, SHUTDOWN_MAX);
        within("limits.connection_age", limits.connection_age, SECOND, DAY);
        within("max_clock_difference", self.max_clock_difference, SECOND, MOST_DIFFERENCE.to_std());
        within("tls_reload", self.tls_reload, Duration::from_millis(100), HOUR);
        within("max_staleness", self.max_staleness, STALENESS_MIN, HOUR);
        within("postgres.acquire_timeout", self.postgres.acquire_timeout, SECOND, HOUR);
        within("tokens.access_ttl", tokens.access_ttl, SECOND, TOKEN_TTL_MAX);
        within("tokens.service_ttl", tokens.service_ttl, SECOND, TOKEN_TTL_MAX);
        within("tokens.refresh_ttl", tokens.refresh_ttl, SECOND, 366 * DAY);
        within("tokens.session_age", tokens.session_age, SECOND, 3_660 * DAY);
        within("tokens.refresh_grace", tokens.refresh_grace, Duration::ZERO, HOUR);
        within("tokens.verification_ttl", tokens.verification_ttl, SECOND, VERIFICATION_TTL_MAX);
        within("invitations.ttl", self.invitations.ttl, HOUR, 30 * DAY);
        within("audit.retention", self.audit.retention, DAY, 3_660 * DAY);
        within("invoice_retention", self.invoice_retention, DAY, 36_600 * DAY);
        within("billing.hold_ttl_max", self.billing.hold_ttl_max, SECOND, DAY);
        within("billing.top_up_cooldown", self.billing.top_up_cooldown, MINUTE, 30 * DAY);
    }
}

pub(super) fn is_http(url: &str) -> bool {
    http::Uri::from_str(url)
        .is_ok_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some())
}
