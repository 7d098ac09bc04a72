//! `bursar-organization`: the organization service in a process of its own.

use std::process::ExitCode;

use bursar_id::{OrganizationId, UserId};
use bursar_organization::usecase::ownerless::Mending;
use bursar_runtime::{Service, Settings};
use clap::Subcommand;

/// The most ownerless organizations that are listed.
const LISTED: i64 = 1_000;

/// What organization can do besides the commands that every service has.
#[derive(Debug, Subcommand)]
enum Command {
    /// Organizations whose owner deleted the account: there should be none.
    #[command(subcommand)]
    Ownerless(Ownerless),
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Ownerless {
    /// List them, with the owner that is gone.
    List,
    /// Make a member the owner of one of them.
    Mend {
        /// The organization, org_….
        organization: OrganizationId,
        /// The member, usr_….
        user: UserId,
    },
}

fn main() -> ExitCode {
    let extra = async |settings: &Settings, Command::Ownerless(command)| ownerless(settings, command).await;
    bursar_runtime::run_single_with(
        Service::Organization,
        bursar_organization::check,
        bursar_organization::open_migrated,
        bursar_organization::start,
        bursar_organization::migrate,
        extra,
    )
}

#[expect(clippy::print_stdout, reason = "this is what the command prints")]
async fn ownerless(settings: &Settings, command: Ownerless) -> anyhow::Result<ExitCode> {
    let organization = bursar_organization::at_rest(settings).await?;
    match command {
        Ownerless::List => {
            let found = organization.ownerless(LISTED).await?;
            for (id, owner) in &found {
                println!("{id}: its owner {owner} deleted the account");
            }
            println!("{} ownerless organizations", found.len());
        }
        Ownerless::Mend { organization: id, user } => {
            organization.mend(Mending { organization: id, user }).await?;
            println!("{user} owns {id} now");
        }
    }
    organization.parts().db.close().await;
    Ok(ExitCode::SUCCESS)
}
