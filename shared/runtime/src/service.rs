//! The set of services as one table: name, program, port, keys of the settings, account. Settings, flags, checks,
//! wiring and the tests' kit are made from it; nothing else lists the services.

use std::{
    fmt,
    ops::{Index, IndexMut},
    slice,
};

use bursar_id::ServiceAccountId;
use bursar_rpc::ServiceRole;

/// One of Bursar's services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// Users, sessions, tokens.
    Identity,
    /// Organizations, members, invitations, projects.
    Organization,
    /// Accounts, credits, plans.
    Billing,
}

/// What is true of one service.
struct Row {
    service: Service,
    /// In settings, metrics and file names.
    name: &'static str,
    /// The program that runs it alone.
    program: &'static str,
    /// How far above the base port it listens. Part of the interface (`--port-base N`: operations on N, identity on
    /// N+1, …).
    port_offset: u16,
    /// The settings' key of its store.
    store_key: &'static str,
    /// The settings' key of the address at which others find it.
    url_key: &'static str,
    /// The settings' key, in `[service_secrets]`, of the file with its secret.
    secret_key: &'static str,
    /// The account by which it proves itself to the others, and what that account may do.
    account: ServiceAccountId,
    role: ServiceRole,
    /// Whether it writes letters to people.
    sends_mail: bool,
    /// Whether it takes payments.
    takes_payments: bool,
}

/// In the order of the ports, which is also that of [`Service`]'s variants.
static TABLE: [Row; Service::COUNT] = [
    Row {
        service: Service::Identity,
        name: "identity",
        program: "bursar-identity",
        port_offset: 1,
        store_key: "identity_store",
        url_key: "identity_url",
        secret_key: "identity_file",
        account: ServiceAccountId::IDENTITY,
        role: ServiceRole::Identity,
        sends_mail: true,
        takes_payments: false,
    },
    Row {
        service: Service::Organization,
        name: "organization",
        program: "bursar-organization",
        port_offset: 2,
        store_key: "organization_store",
        url_key: "organization_url",
        secret_key: "organization_file",
        account: ServiceAccountId::ORGANIZATION,
        role: ServiceRole::Organization,
        sends_mail: true,
        takes_payments: false,
    },
    Row {
        service: Service::Billing,
        name: "billing",
        program: "bursar-billing",
        port_offset: 3,
        store_key: "billing_store",
        url_key: "billing_url",
        secret_key: "billing_file",
        account: ServiceAccountId::BILLING,
        role: ServiceRole::Billing,
        sends_mail: false,
        takes_payments: true,
    },
];

impl Service {
    /// How many there are.
    pub const COUNT: usize = 3;
    /// Every service, in the order of their ports.
    pub const ALL: [Self; Self::COUNT] = [Self::Identity, Self::Organization, Self::Billing];

    fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// The service of this name.
    pub fn named(name: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.name == name).map(|row| row.service)
    }

    /// The lower-case name, as it appears in settings, metrics and file names.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The name of the program that runs it alone, such as `bursar-billing`.
    pub fn program(self) -> &'static str {
        self.row().program
    }

    /// How far above the base port this service listens.
    pub fn port_offset(self) -> u16 {
        self.row().port_offset
    }

    /// The highest offset of all.
    pub fn last_port_offset() -> u16 {
        TABLE.iter().map(|row| row.port_offset).max().unwrap_or_default()
    }

    /// The settings' key of its store: `billing_store`.
    pub fn store_key(self) -> &'static str {
        self.row().store_key
    }

    /// The settings' key of the address at which other programs find it: `billing_url`.
    pub fn url_key(self) -> &'static str {
        self.row().url_key
    }

    /// The settings' key of its secret's file, within `[service_secrets]`: `billing_file`.
    pub fn secret_key(self) -> &'static str {
        self.row().secret_key
    }

    /// The environment variable that sets its store: `BURSAR_BILLING_STORE`.
    pub fn store_variable(self) -> String {
        format!("BURSAR_{}", self.store_key().to_uppercase())
    }

    /// The account by which it proves itself to the other services.
    pub fn account(self) -> ServiceAccountId {
        self.row().account
    }

    /// What its account may do.
    pub fn role(self) -> ServiceRole {
        self.row().role
    }

    /// Whether it writes letters to people.
    pub fn sends_mail(self) -> bool {
        self.row().sends_mail
    }

    /// Whether it takes payments.
    pub fn takes_payments(self) -> bool {
        self.row().takes_payments
    }

    /// This one alone, for whoever takes several.
    pub fn alone(self) -> &'static [Self] {
        slice::from_ref(&self.row().service)
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One value for each service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Each<T>([T; Service::COUNT]);

impl<T> Each<T> {
    /// What `make` gives for each.
    pub fn of(make: impl FnMut(Service) -> T) -> Self {
        Self(Service::ALL.map(make))
    }

    /// What `make` gives for each, or its first refusal.
    pub fn try_of<E>(mut make: impl FnMut(Service) -> Result<T, E>) -> Result<Self, E> {
        let [identity, organization, billing] = Service::ALL;
        Ok(Self([make(identity)?, make(organization)?, make(billing)?]))
    }

    /// The values in the order of [`Service::ALL`].
    pub const fn new(values: [T; Service::COUNT]) -> Self {
        Self(values)
    }

    /// Turns each value into another.
    pub fn map<U>(self, turn: impl FnMut(T) -> U) -> Each<U> {
        Each(self.0.map(turn))
    }

    /// Each service with its value.
    pub fn iter(&self) -> impl Iterator<Item = (Service, &T)> {
        Service::ALL.into_iter().zip(&self.0)
    }
}

impl<T> Index<Service> for Each<T> {
    type Output = T;
    fn index(&self, service: Service) -> &T {
        &self.0[service as usize]
    }
}

impl<T> IndexMut<Service> for Each<T> {
    fn index_mut(&mut self, service: Service) -> &mut T {
        &mut self.0[service as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_row_for_each_service_and_no_value_twice() {
        for (service, row) in Service::ALL.into_iter().zip(&TABLE) {
            assert_eq!((row.service, service.row().name), (service, row.name));
            assert_eq!(Service::named(row.name), Some(service));
            assert_eq!(row.program, format!("bursar-{}", row.name));
            let keys = [row.store_key, row.url_key, row.secret_key];
            assert_eq!(keys, ["store", "url", "file"].map(|what| format!("{}_{what}", row.name)));
            assert_eq!(row.role.as_str(), row.name);
            let twice = |other: &&Row| other.port_offset == row.port_offset || other.account == row.account;
            assert_eq!(TABLE.iter().filter(twice).count(), 1, "{service}");
        }
        assert!(TABLE.is_sorted_by_key(|row| row.port_offset));
        assert_eq!(Service::named("operations"), None);
    }
}
