//! What a lot may pay for: chosen models, chosen projects, or everything.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::attribution::{AttributionError, ModelName, ProjectName};
use super::refusal::Inconsistent;

/// Which work a lot pays for: where both its models and its projects admit it. An empty list admits any.
///
/// The default scope names nothing and admits everything: a lot that has no scope.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Names", into = "Names")]
pub struct Scope {
    models: BTreeSet<ModelName>,
    projects: BTreeSet<ProjectName>,
}

/// Why something is not a scope; each message is a sentence for the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// It names no model and no project.
    #[error("must name a model or a project; to pay for everything, leave it out")]
    Empty,
    /// More than [`Scope::MAX`] models.
    #[error("must name at most {} models", Scope::MAX)]
    TooManyModels,
    /// More than [`Scope::MAX`] projects.
    #[error("must name at most {} projects", Scope::MAX)]
    TooManyProjects,
    /// The same model or project twice.
    #[error("names {0} twice")]
    Repeated(String),
}

impl Scope {
    /// How many models, and how many projects, a scope may name.
    pub const MAX: usize = 32;

    /// A scope that names these models and projects; at least one of either.
    ///
    /// # Errors
    /// [`ScopeError`], for the models first.
    pub fn new(
        models: impl IntoIterator<Item = ModelName>,
        projects: impl IntoIterator<Item = ProjectName>,
    ) -> Result<Self, ScopeError> {
        let models = set(models, ScopeError::TooManyModels)?;
        let projects = set(projects, ScopeError::TooManyProjects)?;
        let scope = Self { models, projects };
        if scope.is_any() { Err(ScopeError::Empty) } else { Ok(scope) }
    }

    /// Whether it names nothing and admits everything.
    pub fn is_any(&self) -> bool {
        self.models.is_empty() && self.projects.is_empty()
    }

    /// The models it names, in order; none: any.
    pub fn models(&self) -> &BTreeSet<ModelName> {
        &self.models
    }

    /// The projects it names, in order; none: any.
    pub fn projects(&self) -> &BTreeSet<ProjectName> {
        &self.projects
    }

    /// Whether it pays for work with this model for this project. Work that names no model is not the work of a named
    /// one, nor that without a project the work for a named one.
    pub fn admits(&self, model: Option<&ModelName>, project: Option<&ProjectName>) -> bool {
        let is_model = |it| self.models.iter().any(|stored| stored.names(it));
        let is_project = |it| self.projects.iter().any(|stored| stored.names(it));
        let among_models = self.models.is_empty() || model.is_some_and(is_model);
        let among_projects = self.projects.is_empty() || project.is_some_and(is_project);
        among_models && among_projects
    }
}

/// What a scope is stored as.
#[derive(Serialize, Deserialize)]
struct Names {
    #[serde(default)]
    models: BTreeSet<String>,
    #[serde(default)]
    projects: BTreeSet<String>,
}

impl From<Scope> for Names {
    fn from(scope: Scope) -> Self {
        Self {
            models: scope.models.iter().map(|it| it.as_str().to_owned()).collect(),
            projects: scope.projects.iter().map(|it| it.as_str().to_owned()).collect(),
        }
    }
}

impl TryFrom<Names> for Scope {
    type Error = Inconsistent;

    fn try_from(names: Names) -> Result<Self, Inconsistent> {
        let models: Result<Vec<_>, AttributionError> = names.models.iter().map(|it| ModelName::parse(it)).collect();
        let projects: Result<Vec<_>, AttributionError> =
            names.projects.iter().map(|it| ProjectName::parse(it)).collect();
        match (models, projects) {
            (Ok(models), Ok(projects)) if models.is_empty() && projects.is_empty() => Ok(Self::default()),
            (Ok(models), Ok(projects)) => {
                Self::new(models, projects).map_err(|_| Inconsistent("a scope names too much"))
            }
            _ => Err(Inconsistent("a scope names what is no name")),
        }
    }
}

/// The names as a set, reading no further than the bound.
fn set<T: Ord + ToString>(names: impl IntoIterator<Item = T>, too_many: ScopeError) -> Result<BTreeSet<T>, ScopeError> {
    let mut seen = BTreeSet::new();
    for name in names {
        if seen.len() == Scope::MAX {
            return Err(too_many);
        }
        if seen.contains(&name) {
            return Err(ScopeError::Repeated(name.to_string()));
        }
        seen.insert(name);
    }
    Ok(seen)
}
