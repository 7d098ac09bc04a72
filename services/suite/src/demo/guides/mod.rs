//! The walk-throughs of the three products' guides, each under its preset: a module and a page each.
//!
//! - a guide's page (`*.md`) is its checklist: every sentence about behaviour by number, and the steps that show it
//! - `library.rs` is what people do beside `cast/calls.rs`, `steps.rs` what they do in more than one guide, `roles.rs` what
//!   roles may not do, `fit.rs` looks whether a suite runs with the preset, `erasure.rs` what a deletion leaves
//!
//! Whoever adds a step says which sentences it shows ([`Stage::proving`]), and names the step in the page: a performance ends
//! well only when the two agree.

mod employees;
mod erasure;
mod fit;
mod flexsite;
mod flik;
mod library;
mod roles;
mod steps;

use bursar_runtime::Preset;
use clap::ValueEnum;

use super::{cast::Play, checklist::Checklist, stage::Stage};

/// A product whose guide is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Guide {
    /// `FlexSite`: organizations for clients, work and oneself, each with projects, members and billing of its own.
    Flexsite,
    /// AI employees: personal accounts beside organizations, which share agents and a balance.
    Employees,
    /// Flik AI: a team on one plan, with one pool of credits, beside everybody's Personal mode.
    Flik,
}

impl Guide {
    /// The policies under which its product runs.
    pub(crate) fn preset(self) -> Preset {
        match self {
            Self::Flexsite => Preset::Flexsite,
            Self::Employees => Preset::Employees,
            Self::Flik => Preset::Flik,
        }
    }

    /// Its name on the command line: that of its preset.
    pub(crate) fn name(self) -> &'static str {
        self.preset().name()
    }

    /// What its walk-through is called.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Flexsite => "FlexSite's guide “Organization Management”, over real gRPC",
            Self::Employees => "The AI employees' guide to organizations, over real gRPC",
            Self::Flik => "Flik AI's guide to organization mode, over real gRPC",
        }
    }

    /// What it says, sentence by sentence.
    pub(super) fn checklist(self) -> anyhow::Result<Checklist> {
        Checklist::read(match self {
            Self::Flexsite => flexsite::PAGE,
            Self::Employees => employees::PAGE,
            Self::Flik => flik::PAGE,
        })
    }

    /// Its walk-through, from the first step to the last.
    pub(super) async fn perform(self, play: &mut Play, stage: &mut Stage) -> anyhow::Result<()> {
        match self {
            Self::Flexsite => flexsite::perform(play, stage).await,
            Self::Employees => employees::perform(play, stage).await,
            Self::Flik => flik::perform(play, stage).await,
        }?;
        stage.conclude()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_guide_has_a_checklist() {
        for guide in Guide::value_variants() {
            assert_eq!(guide.to_possible_value().expect("not skipped").get_name(), guide.name());
            let list = guide.checklist().unwrap_or_else(|error| panic!("{guide:?}: {error:#}"));
            let (all, shown) = list.counts();
            assert!(all > 20 && shown * 10 >= all * 8, "{guide:?}: {shown} of {all} sentences are shown");
        }
    }
}
