//! The repository's files, and how the rules look at them.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

/// The repository's root.
pub(crate) fn root() -> &'static Path {
    static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        root.canonicalize().expect("the workspace's root")
    });
    &ROOT
}

/// One source file, its path relative to the root.
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
    /// Whether this is a test, a part of one or a benchmark.
    pub(crate) is_test: bool,
}

impl Source {
    /// The lines of code that ship, numbered from 1: without comments and without a `#[cfg(test)]` module at the end.
    pub(crate) fn shipped(&self) -> impl Iterator<Item = (usize, &str)> {
        let mut lines = self.text.lines().enumerate().peekable();
        std::iter::from_fn(move || {
            let (index, line) = lines.next()?;
            let module = lines.peek().is_some_and(|(_, next)| next.starts_with("mod "));
            (line != "#[cfg(test)]" || !module).then_some((index + 1, line))
        })
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// The files of the modules that this one declares under `#[cfg(test)]`, without `.rs` or `/mod.rs`.
    fn test_modules(&self) -> Vec<String> {
        let (folder, file) = self.path.rsplit_once('/').unwrap_or(("", &self.path));
        let base = match file {
            "mod.rs" | "lib.rs" | "main.rs" => folder.to_owned(),
            _ => self.path.trim_end_matches(".rs").to_owned(),
        };
        let mut found = Vec::new();
        let mut lines = self.text.lines();
        while lines.any(|line| line == "#[cfg(test)]") {
            let mut path = None;
            for line in lines.by_ref() {
                if let Some(given) = line.strip_prefix("#[path = \"") {
                    path = given.strip_suffix(".rs\"]").map(|given| format!("{folder}/{given}"));
                } else if !line.starts_with("#[") {
                    let name = line.split_once("mod ").and_then(|(_, rest)| rest.strip_suffix(';'));
                    found.extend(name.map(|name| path.unwrap_or_else(|| format!("{base}/{name}"))));
                    break;
                }
            }
        }
        found
    }

    pub(crate) fn is_in(&self, folder: &str) -> bool {
        self.path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
    }

    /// For `services/<name>/src/<layer>/…` or `services/<name>/src/<layer>.rs`: the layer.
    pub(crate) fn layer(&self) -> Option<&str> {
        let mut parts = self.path.split('/');
        if parts.next() != Some("services") || parts.next() == Some("suite") {
            return None;
        }
        if parts.next() != Some("src") {
            return None;
        }
        parts.next().map(|part| part.strip_suffix(".rs").unwrap_or(part))
    }
}

/// Every file with one of the extensions that the repository owns, in the order of the paths.
pub(crate) fn sources(extensions: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![root().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a readable folder").flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() {
                // Neither builds nor data, nor what others wrote (proto/google).
                if !name.starts_with('.') && !matches!(name.as_str(), "target" | "data" | "google") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|e| extensions.iter().any(|wanted| e == *wanted)) {
                let text = fs::read_to_string(&path).expect("a source file is UTF-8");
                let path = path.strip_prefix(root()).expect("below the root").display().to_string();
                let is_test = path.split('/').any(|part| matches!(part, "tests" | "tests.rs" | "benches"));
                found.push(Source { path, text, is_test });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    let modules: Vec<String> = found.iter().flat_map(Source::test_modules).collect();
    for source in &mut found {
        let is_part = |module: &String| {
            let rest = source.path.strip_prefix(module.as_str());
            rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        };
        source.is_test |= modules.iter().any(is_part);
    }
    found
}

/// Every Rust source.
pub(crate) fn rust() -> &'static [Source] {
    static RUST: LazyLock<Vec<Source>> = LazyLock::new(|| sources(&["rs"]));
    assert!(RUST.len() > 50, "only {} Rust files found below {}", RUST.len(), root().display());
    &RUST
}

/// Fails with every breach on a line of its own.
#[track_caller]
pub(crate) fn assert_none(breaches: &[String]) {
    assert!(breaches.is_empty(), "{} breaches of the rules:\n{}", breaches.len(), breaches.join("\n"));
}

/// Each breach is a line of shipped code in `files` for which `complaint` finds something.
pub(crate) fn complain<'a>(
    files: impl IntoIterator<Item = &'a Source>,
    complaint: impl Fn(&str) -> Option<String>,
) -> Vec<String> {
    let check = |source: &'a Source| {
        source
            .shipped()
            .filter_map(|(line, text)| Some(format!("{}:{line}: {}", source.path, complaint(text)?)))
            .collect::<Vec<_>>()
    };
    files.into_iter().flat_map(check).collect()
}

/// Whether `word` stands in `line` as a whole identifier.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

/// The first of `words` that stands in `line` as a whole identifier.
pub(crate) fn first_word<'a>(line: &str, words: &[&'a str]) -> Option<&'a str> {
    words.iter().copied().find(|word| has_word(line, word))
}

/// The rules are only as good as these.
mod tests {
    use super::*;

    #[test]
    fn words_are_whole() {
        for (line, word, expected) in [
            ("use sqlx::query;", "sqlx", true),
            ("let sqlx_like = 1;", "sqlx", false),
            ("a.await?", "await", true),
            ("fn awaits()", "await", false),
            ("use crate::store;", "crate::store", true),
            ("use crate::stored;", "crate::store", false),
        ] {
            assert_eq!(has_word(line, word), expected, "{word} in {line}");
        }
    }

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), text: text.to_owned(), is_test: false }
    }

    #[test]
    fn shipped_code_has_no_comments_and_no_tests() {
        let text = "//! Doc.\nuse a;\n// sqlx\nfn f() {}\n#[cfg(test)]\nmod tests {\n    use sqlx;\n}\n";
        let source = source("services/x/src/domain/y.rs", text);
        let lines: Vec<_> = source.shipped().collect();
        assert_eq!(lines, [(2, "use a;"), (4, "fn f() {}")]);
        assert_eq!(source.layer(), Some("domain"));
        assert!(source.test_modules().is_empty(), "the module is in the file itself");
    }

    #[test]
    fn modules_of_tests_are_found() {
        let text = "mod a;\n#[cfg(test)]\nmod b;\n#[cfg(test)]\n#[path = \"c_tests.rs\"]\nmod tests;\n";
        assert_eq!(source("x/src/mod.rs", text).test_modules(), ["x/src/b", "x/src/c_tests"]);
        assert_eq!(source("x/src/y.rs", text).test_modules(), ["x/src/y/b", "x/src/c_tests"]);
    }
}
