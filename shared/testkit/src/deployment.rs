//! A whole Bursar for a test: the suite in one process, or one process for each service.

use std::{
    path::{Path, PathBuf},
    process::ExitStatus,
    time::{Duration, Instant},
};

use bursar_runtime::Service;

use crate::{
    engines::TestDb,
    mailbox::Mailbox,
    ports::Ports,
    process::{Operator, Process, Program},
    reaper,
};

/// How the services are spread over processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// `bursar`: all three in one process, calling one another within it.
    Suite,
    /// `bursar-identity`, `bursar-organization` and `bursar-billing`, with real sockets between them.
    Split,
}

impl Topology {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Suite, Self::Split];
}

/// What to start: a topology, its stores and further arguments.
#[derive(Debug)]
pub struct Plan {
    topology: Topology,
    data: PathBuf,
    _own: Option<tempfile::TempDir>,
    stores: Vec<TestDb>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Plan {
    /// A deployment with a data directory of its own and SQLite in it.
    pub fn new(topology: Topology) -> Self {
        let own = reaper::directory("data-");
        Self {
            topology,
            data: own.path().to_owned(),
            _own: Some(own),
            stores: Vec::new(),
            arguments: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// Keeps each service's store on PostgreSQL; call it where [`crate::postgres::database`] gave databases, one for
    /// identity, one for organization, one for billing.
    #[must_use]
    pub fn stores(mut self, stores: [TestDb; Service::COUNT]) -> Self {
        self.stores = stores.into();
        self
    }

    /// Adds an argument of every process, for example `--test-clock`.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Sets an environment variable of every process.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Starts it and waits until every process is ready.
    pub async fn start(self) -> Deployment {
        let mailbox = Mailbox::new(&self.data);
        let mut deployment =
            Deployment { plan: self, ports: Ports::free(), processes: Vec::new(), mailbox, started_in: Duration::ZERO };
        deployment.start().await;
        deployment
    }

    /// The programs with their operations ports.
    fn programs(&self, ports: &Ports) -> Vec<(Program, u16)> {
        match self.topology {
            Topology::Suite => vec![(self.program("bursar", ports), ports.base())],
            Topology::Split => {
                // The first takes the base port for operations, the others ports behind those of the services.
                let behind = (Service::last_port_offset() + 1..).map(|offset| ports.nth(offset));
                let operations = std::iter::once(ports.base()).chain(behind);
                let each = Service::ALL.into_iter().zip(operations);
                each.map(|(service, port)| {
                    let program = self.program(service.program(), ports);
                    (program.env("BURSAR_OPERATIONS_PORT", port.to_string()), port)
                })
                .collect()
            }
        }
    }

    fn program(&self, name: &str, ports: &Ports) -> Program {
        let mut program = Program::named(name)
            .args(["--mode", "development", "--port-base", &ports.base().to_string(), "--data-dir"])
            .arg(&self.data)
            .args(&self.arguments);
        for (service, store) in Service::ALL.into_iter().zip(&self.stores) {
            // By the environment, where an address belongs that may hold a password.
            program = program.env(service.store_variable(), store.url());
        }
        for (name, value) in &self.environment {
            program = program.env(name, value);
        }
        program
    }
}

/// A running deployment. Dropping it kills its processes and removes its data.
#[derive(Debug)]
pub struct Deployment {
    plan: Plan,
    ports: Ports,
    processes: Vec<Process>,
    mailbox: Mailbox,
    started_in: Duration,
}

impl Deployment {
    /// How it is spread.
    pub fn topology(&self) -> Topology {
        self.plan.topology
    }

    /// The address of one service, for example `http://127.0.0.1:20001`.
    pub fn url(&self, service: Service) -> String {
        format!("http://127.0.0.1:{}", self.port(service))
    }

    /// The gRPC port of one service.
    pub fn port(&self, service: Service) -> u16 {
        self.ports.nth(service.port_offset())
    }

    /// The operations port of the suite, of identity where the services are split.
    pub fn operations_port(&self) -> u16 {
        self.ports.base()
    }

    /// The operations port of every process.
    pub fn operations_ports(&self) -> Vec<u16> {
        self.plan.programs(&self.ports).into_iter().map(|(_, port)| port).collect()
    }

    /// The data directory that all processes share.
    pub fn data_dir(&self) -> &Path {
        &self.plan.data
    }

    /// The mail it has sent.
    pub fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }

    /// The operator's service account.
    pub fn operator(&self) -> Operator {
        Operator::of(&self.plan.data)
    }

    /// The processes: one, or identity, organization and billing.
    pub fn processes(&mut self) -> &mut [Process] {
        &mut self.processes
    }

    /// The process that runs one service.
    pub fn process(&mut self, service: Service) -> &mut Process {
        let place = self.place(service);
        &mut self.processes[place]
    }

    /// The address of one service's store on PostgreSQL; `None` on SQLite.
    pub fn store(&self, service: Service) -> Option<&str> {
        self.plan.stores.get(service as usize).map(TestDb::url)
    }

    /// Starts the process of one service again, after it has ended, and waits until it is ready.
    pub async fn restart(&mut self, service: Service) {
        let place = self.place(service);
        let (program, operations) = self.plan.programs(&self.ports).swap_remove(place);
        self.processes[place] = program.spawn();
        self.processes[place].ready(operations).await;
    }

    /// Which of the processes runs a service.
    fn place(&self, service: Service) -> usize {
        match self.plan.topology {
            Topology::Suite => 0,
            Topology::Split => service as usize,
        }
    }

    /// How long the last start took until everything was ready.
    pub fn started_in(&self) -> Duration {
        self.started_in
    }

    /// Kills every process on the spot.
    pub fn kill(&mut self) {
        self.processes.iter_mut().for_each(Process::kill);
    }

    /// Asks every process to stop; all must have ended within `limit`.
    pub fn stop(&mut self, limit: Duration) -> Vec<ExitStatus> {
        self.processes.iter().for_each(Process::terminate);
        self.processes.iter_mut().map(|process| process.wait(limit)).collect()
    }

    /// Starts the processes (again), on the same ports and data, and waits until they are ready.
    pub async fn start(&mut self) {
        let begun = Instant::now();
        let programs = self.plan.programs(&self.ports);
        self.processes = programs.iter().map(|(program, _)| program.spawn()).collect();
        for (process, (_, operations)) in self.processes.iter_mut().zip(&programs) {
            process.ready(*operations).await;
        }
        self.started_in = begun.elapsed();
    }
}
