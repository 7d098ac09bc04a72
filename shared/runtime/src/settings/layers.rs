//! Reading the settings: defaults, then the TOML file, then the environment, then flags; what comes
//! later wins, key by key. Every problem of every layer is reported at once.

use std::{
    fmt::{self, Write as _},
    path::{Path, PathBuf},
};

use figment::{
    Figment, Metadata, Profile, Provider,
    error::Kind,
    value::{Dict, Map, Value},
};
use serde::Serialize;

use super::{
    Mode, Preset, Program, Settings, grouping,
    keys::{self, FILE_SUFFIX, Vocabulary, secret_keys},
    sections::DEFAULT_PORT_BASE,
};

/// What every environment variable of ours starts with.
const ENV_PREFIX: &str = "BURSAR_";

/// Why a configuration was refused: one sentence for each problem. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<String>,
}

impl ConfigError {
    pub(crate) fn new(problems: Vec<String>) -> Self {
        Self { problems }
    }

    /// The problems, one sentence each.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration is refused:")?;
        for problem in &self.problems {
            write!(f, "\n  - {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// Where a layer's keys were written, and how a person writes them there.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    File(PathBuf),
    Environment,
    Flags,
}

impl Source {
    /// By which figment leads an error back to its source.
    const fn label(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Environment => "environment",
            Self::Flags => "flags",
        }
    }

    /// The key as it is written in this source.
    fn spell(&self, path: &[String]) -> String {
        match self {
            Self::File(file) => format!("key `{}` in {}", path.join("."), file.display()),
            Self::Environment => format!("environment variable {}", env_name(path)),
            Self::Flags => format!("flag --{}", path.join("-").replace('_', "-")),
        }
    }

    /// The bare name of a key in this source, for suggestions.
    fn name(&self, path: &[String]) -> String {
        match self {
            Self::File(_) => path.join("."),
            Self::Environment => env_name(path),
            Self::Flags => format!("--{}", path.join("-").replace('_', "-")),
        }
    }
}

fn env_name(path: &[String]) -> String {
    format!("{ENV_PREFIX}{}", path.join("__").to_uppercase())
}

/// One layer, as figment takes it.
struct Layer {
    source: Source,
    dict: Dict,
}

impl Provider for &Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.source.label())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(grouping::grouped(self.dict.clone())))
    }
}

/// Gathers the layers of one program's configuration and reads them.
#[derive(Debug)]
pub struct Loader {
    program: Program,
    file: Option<PathBuf>,
    environment: Vec<(String, String)>,
    flags: Dict,
}

impl Loader {
    /// Nothing but defaults so far.
    pub const fn new(program: Program) -> Self {
        Self { program, file: None, environment: Vec::new(), flags: Dict::new() }
    }

    /// Adds a TOML file. It must exist.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(path.into());
        self
    }

    /// Adds environment variables, for example [`std::env::vars`]. Those that do not start with
    /// `BURSAR_` are left alone, and so are those that tests (`BURSAR_TEST_…`,
    /// `BURSAR_REQUIRE_…`), the command line (`BURSAR_CONFIG`) and Kubernetes
    /// (`BURSAR_IDENTITY_SERVICE_HOST`, …) use.
    #[must_use]
    pub fn environment(mut self, vars: impl IntoIterator<Item = (String, String)>) -> Self {
        self.environment.extend(vars);
        self
    }

    /// Adds flags: a value that serializes to the keys that were given, and no others.
    #[must_use]
    pub fn flags(mut self, flags: &impl Serialize) -> Self {
        if let Ok(Value::Dict(_, dict)) = Value::serialize(flags) {
            self.flags.extend(dict);
        }
        self
    }

    /// Reads everything and checks it.
    pub fn load(self) -> Result<Settings, ConfigError> {
        let any = Settings::defaults(self.program, Mode::Development, PathBuf::from("data"), DEFAULT_PORT_BASE);
        let vocabulary = Vocabulary::new(any.as_written()?);
        let mut problems = Vec::new();
        let mut layers = self.layers(&vocabulary, &mut problems);
        for layer in &mut layers {
            refuse_unknown(&vocabulary, layer, &mut problems);
            read_secret_files(layer, &mut problems);
        }
        refuse_half_a_unit(&layers, &mut problems);
        if !problems.is_empty() {
            return Err(ConfigError::new(problems));
        }
        let mut figment = Figment::from(figment::providers::Serialized::defaults(self.defaults(&layers)));
        for layer in &layers {
            figment = figment.merge(layer);
        }
        let settings: Settings = figment
            .extract()
            .map_err(|error| ConfigError::new(error.into_iter().map(|e| explain(&e, &layers)).collect()))?;
        settings.validate(self.program)?;
        Ok(settings)
    }

    /// The layers from the weakest to the strongest.
    fn layers(&self, vocabulary: &Vocabulary, problems: &mut Vec<String>) -> Vec<Layer> {
        let mut layers = Vec::new();
        if let Some(path) = &self.file {
            match read_toml(path) {
                Ok(dict) => layers.push(Layer { source: Source::File(path.clone()), dict }),
                Err(problem) => problems.push(problem),
            }
        }
        layers.push(Layer { source: Source::Environment, dict: environment_dict(&self.environment, vocabulary) });
        layers.push(Layer { source: Source::Flags, dict: self.flags.clone() });
        layers
    }

    /// The defaults that follow from what the layers say about the settings others depend on. A value
    /// that does not fit is ignored here and refused when everything is read.
    fn defaults(&self, layers: &[Layer]) -> Settings {
        let strongest = |key: &str| layers.iter().rev().find_map(|layer| layer.dict.get(key));
        let mode = match strongest("mode").and_then(Value::as_str) {
            Some("development") => Mode::Development,
            Some("production") => Mode::Production,
            _ => self.program.default_mode(),
        };
        let data_dir = strongest("data_dir").and_then(Value::as_str).unwrap_or("data");
        let port_base = strongest("port_base")
            .and_then(whole_number)
            .and_then(|port| u16::try_from(port).ok())
            .unwrap_or(DEFAULT_PORT_BASE);
        let preset = strongest("preset").and_then(|value| value.deserialize::<Preset>().ok()).unwrap_or_default();
        let defaults = Settings::defaults(self.program, mode, PathBuf::from(data_dir), port_base);
        Settings { preset, policies: preset.policies(), ..defaults }
    }
}

/// A number as TOML (signed) or the environment and the flags (unsigned) write it.
fn whole_number(value: &Value) -> Option<u128> {
    value.to_u128().or_else(|| value.to_i128().and_then(|number| u128::try_from(number).ok()))
}

fn read_toml(path: &Path) -> Result<Dict, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    toml::from_str(&text).map_err(|error| {
        // The parser's own text quotes the line, which may hold a password.
        let line = error.span().map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
        format!("{} line {line} is not TOML: {}", path.display(), error.message())
    })
}

fn environment_dict(vars: &[(String, String)], vocabulary: &Vocabulary) -> Dict {
    let mut root = Dict::new();
    for (name, text) in vars {
        let Some(rest) = name.strip_prefix(ENV_PREFIX) else {
            continue;
        };
        if is_foreign(rest, text) {
            continue;
        }
        let path: Vec<String> = rest.to_lowercase().split("__").map(str::to_owned).collect();
        let kind = vocabulary.kind(&path).unwrap_or(keys::Kind::Text);
        insert(&mut root, &path, keys::coerce(text.clone(), kind));
    }
    root
}

/// Variables with our prefix that are not settings: what tests and the command line read, and what
/// Kubernetes puts into every pod for a service called `bursar` or `bursar-…`.
fn is_foreign(rest: &str, text: &str) -> bool {
    let own = rest.starts_with("REQUIRE_") || rest == "CONFIG" || (rest.starts_with("TEST_") && rest != "TEST_CLOCK");
    let name = format!("_{rest}");
    let link = name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.split_once("_PORT_").is_some_and(|(_, port)| port.starts_with(|c: char| c.is_ascii_digit()))
        || (name.ends_with("_PORT") && text.contains("://"));
    own || link
}

fn insert(dict: &mut Dict, path: &[String], value: Value) {
    match path {
        [] => {}
        [key] => {
            dict.insert(key.clone(), value);
        }
        [key, rest @ ..] => {
            let entry = dict.entry(key.clone()).or_insert_with(|| Value::from(Dict::new()));
            if let Value::Dict(_, inner) = entry {
                insert(inner, rest, value);
            } else {
                // A section was given as a plain value as well: keep the nested key, which names the mistake.
                let mut inner = Dict::new();
                insert(&mut inner, rest, value);
                *entry = Value::from(inner);
            }
        }
    }
}

fn refuse_unknown(vocabulary: &Vocabulary, layer: &Layer, problems: &mut Vec<String>) {
    for path in vocabulary.unknown(&layer.dict) {
        let mut problem = format!("unknown {}", layer.source.spell(&path));
        if let Some(meant) = vocabulary.nearest(&path) {
            let _ = write!(problem, "; did you mean {}?", layer.source.name(&meant));
        }
        problems.push(problem);
    }
}

/// What a credit is called takes both words, whichever layers say them: one beside the other of a preset is no unit.
fn refuse_half_a_unit(layers: &[Layer], problems: &mut Vec<String>) {
    let said = |word: &str| layers.iter().rev().find(|layer| named_unit(layer).is_some_and(|it| it.contains_key(word)));
    for (word, missing) in [("singular", "plural"), ("plural", "singular")] {
        if let (Some(layer), None) = (said(word), said(missing)) {
            let here = layer.source.spell(&["policies", "credit_unit", word].map(str::to_owned));
            problems.push(format!("{here}: policies.credit_unit.{missing} is not set: set both"));
        }
    }
}

fn named_unit(layer: &Layer) -> Option<&Dict> {
    let policies = layer.dict.get("policies")?.as_dict()?;
    policies.get("credit_unit")?.as_dict()
}

/// Replaces `X_file = path` by `X = content of path`, within one layer, so that precedence holds.
fn read_secret_files(layer: &mut Layer, problems: &mut Vec<String>) {
    for key in secret_keys() {
        let Some((last, parents)) = key.split_last() else {
            continue;
        };
        let Some(dict) = section(&mut layer.dict, parents) else {
            continue;
        };
        let file_key = format!("{last}{FILE_SUFFIX}");
        let Some(file) = dict.remove(&file_key) else {
            continue;
        };
        let mut path: Vec<String> = parents.iter().map(|part| (*part).to_owned()).collect();
        path.push(file_key);
        let here = layer.source.spell(&path);
        if dict.contains_key(*last) {
            problems.push(format!("{here}: {last} itself is set here, too: use one"));
            continue;
        }
        let file = file.as_str().unwrap_or_default();
        match std::fs::read_to_string(file) {
            Ok(text) => {
                dict.insert((*last).to_owned(), Value::from(text.trim_end().to_owned()));
            }
            Err(error) => problems.push(format!("{here}: cannot read {file}: {error}")),
        }
    }
}

/// The table at a path, if there is one.
fn section<'a>(dict: &'a mut Dict, path: &[&str]) -> Option<&'a mut Dict> {
    path.iter().try_fold(dict, |dict, part| match dict.get_mut(*part) {
        Some(Value::Dict(_, inner)) => Some(inner),
        _ => None,
    })
}

/// One of figment's errors in words that say where to look. What a secret setting holds is not quoted.
fn explain(error: &figment::Error, layers: &[Layer]) -> String {
    let source = error
        .metadata
        .as_ref()
        .and_then(|metadata| layers.iter().map(|layer| &layer.source).find(|source| metadata.name == source.label()));
    let path = grouping::written_path(&error.path);
    let place = source.map_or_else(|| format!("key `{}`", path.join(".")), |source| source.spell(&path));
    let secret = secret_keys().any(|key| path == key);
    match &error.kind {
        Kind::InvalidType(_, expected) | Kind::InvalidValue(_, expected) if secret => {
            format!("{place}: expected {expected}")
        }
        kind => format!("{place}: {kind}"),
    }
}
