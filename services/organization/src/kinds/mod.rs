//! Reading the kinds of library items: those that every deployment has, and the file of a deployment's own. What kinds must
//! be is the domain's to say ([`Kinds::new`]).

mod file;
mod form;

use std::fmt::{self, Display};
use std::fs;
use std::path::{Path, PathBuf};

use crate::domain::kind::Kinds;

/// The kinds of every deployment.
const BUILT_IN: &str = include_str!("../../kinds.toml");

/// The largest file that is read.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// The kinds of this deployment: the built-in ones with those of the file at `path`.
pub(crate) fn load(path: Option<&Path>) -> Result<Kinds, KindsError> {
    let text = path.map(read).transpose().map_err(|flaw| KindsError::of(path, vec![flaw]))?;
    parse(text.as_deref()).map_err(|flaws| KindsError::of(path, flaws))
}

fn read(path: &Path) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let length = fs::metadata(path).map_err(unreadable)?.len();
    if length > MAX_BYTES {
        return Err(format!("is too long: {length} of at most {MAX_BYTES} bytes"));
    }
    fs::read_to_string(path).map_err(unreadable)
}

/// The kinds of a file's text beside the built-in ones, or every flaw in its form and in what it declares, so that nobody starts
/// anew for each. A text that is no TOML has that flaw alone, and a kind that nobody can name those of its form.
fn parse(own: Option<&str>) -> Result<Kinds, Vec<String>> {
    let mut flaws = Vec::new();
    let Some(built_in) = form::read(BUILT_IN, &[], &mut flaws) else { return Err(flaws) };
    let own = match own {
        Some(text) => form::read(text, &built_in, &mut flaws),
        None => Some(Vec::new()),
    };
    let Some(own) = own else { return Err(flaws) };
    match Kinds::new(built_in, own) {
        Ok(kinds) if flaws.is_empty() => Ok(kinds),
        Ok(_) => Err(flaws),
        Err(more) => Err(flaws.into_iter().chain(more).collect()),
    }
}

/// Why there are no kinds: everything that is wrong with the file.
#[derive(Debug)]
pub(crate) struct KindsError {
    path: Option<PathBuf>,
    flaws: Vec<String>,
}

impl KindsError {
    fn of(path: Option<&Path>, flaws: Vec<String>) -> Self {
        Self { path: path.map(Path::to_owned), flaws }
    }
}

impl Display for KindsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            None => write!(f, "the built-in kinds are wrong:")?,
            Some(path) => write!(f, "the kinds file {} is wrong:", path.display())?,
        }
        self.flaws.iter().try_for_each(|flaw| write!(f, "\n  {}", flaw.trim_end()))
    }
}

impl std::error::Error for KindsError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn flaws(text: &str) -> Vec<String> {
        parse(Some(text)).err().unwrap_or_default()
    }

    #[test]
    fn the_built_in_kinds_are_those_of_the_product() {
        let kinds = load(None).expect("good");
        let names: Vec<_> = kinds.iter().map(|kind| kind.name.as_str()).collect();
        let expected = [
            "agent",
            "brand_asset",
            "broadcast",
            "chat",
            "connection",
            "knowledge_base",
            "persona",
            "profile",
            "project_template",
            "prompt_template",
            "reference_library",
        ];
        assert_eq!(names, expected);
        assert!(kinds.iter().all(|kind| kind.may_stand_alone));
        let under = |parent: &str| -> Vec<_> {
            kinds.iter().filter(|kind| kind.parents.contains(parent)).map(|kind| kind.name.as_str()).collect()
        };
        assert_eq!(under("agent"), ["chat", "knowledge_base", "persona"]);
        assert_eq!(under("project_template"), ["brand_asset"]);
    }

    #[test]
    fn a_file_adds_kinds_and_replaces_those_of_the_same_name() {
        let text = "[[kinds]]\nname = 'agent'\nschema = '{\"required\":[\"model\"]}'\n[[kinds]]\nname = 'note'\nparents = ['chat']\nmay_stand_alone = false\n";
        let kinds = parse(Some(text)).expect("good");
        assert_eq!(kinds.iter().count(), 12);
        assert!(kinds.get("agent").is_some_and(|kind| kind.schema.is_some()));
        assert!(kinds.get("note").is_some_and(|kind| !kind.may_stand_alone));
    }

    #[test]
    fn every_mistake_is_named_at_once() {
        let text = r##"
            [[kinds]]
            name = "Agent!"
            [[kinds]]
            name = "note"
            parents = ["nowhere", "chat", "chat"]
            secret_fields = ["a b", "pin", "pin"]
            [[kinds]]
            name = "note"
            [[kinds]]
            name = "island"
            may_stand_alone = false
            [[kinds]]
            name = "hen"
            parents = ["egg"]
            [[kinds]]
            name = "egg"
            parents = ["hen"]
            [[kinds]]
            name = "self"
            parents = ["self"]
            [[kinds]]
            name = "broken"
            schema = "{"
            [[kinds]]
            name = "wrong"
            schema = '{"type": 7}'
            [[kinds]]
            name = "far"
            schema = '{"$ref": "https://example.com/schema.json"}'
            [[kinds]]
            name = "endless"
            schema = '{"allOf": [{"$ref": "#"}]}'
            [[kinds]]
            name = "slow"
            schema = '{"pattern": "(?=a)b"}'
        "##;
        let found = flaws(text);
        let expected = [
            "kind \"Agent!\": ",
            "kind note: parents: there is no kind \"nowhere\"",
            "kind note: parents: names chat twice",
            "kind note: secret_fields: \"a b\" ",
            "kind note: secret_fields: names pin twice",
            "kind note: is declared twice",
            "kind island: may stand nowhere",
            "kinds egg, hen: ",
            "kind self: ",
            "kind broken: schema: is no JSON",
            "kind wrong: schema: ",
            "kind far: schema: ",
            "kind endless: schema: ",
            "kind slow: schema: ",
        ];
        for start in expected {
            assert!(found.iter().any(|flaw| flaw.starts_with(start)), "{start:?} is not in {found:#?}");
        }
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        assert_eq!(flaws("[[kinds]]\nname = 'x'\ncolour = 1").len(), 1, "a flaw in the form");
        let missing = load(Some(Path::new("/nowhere/kinds.toml"))).expect_err("missing").to_string();
        assert!(missing.starts_with("the kinds file /nowhere/kinds.toml is wrong:\n  cannot be read"), "{missing}");
    }

    #[test]
    fn of_a_kind_that_cannot_be_read_everything_else_is_told() {
        let cases: [(&str, &[&str]); 13] = [
            // A misspelt key is read as the one that was meant.
            (
                "[[kinds]]\nnmae = 'note'\nparents = ['nowhere']",
                &["did you mean `name`?", "kind note: parents: there is no kind \"nowhere\""],
            ),
            (
                "[[knids]]\nname = 'note'\nparents = ['nowhere']",
                &["did you mean `kinds`?", "kind note: parents: there is no kind \"nowhere\""],
            ),
            (
                "[[kinds]]\nname = 'note'\nhas_contents = 'yes'\nschema = '{'\n[[kinds]]\nname = 'Bad!'",
                &[
                    "did you mean `has_content`?",
                    "invalid type: string \"yes\", expected a boolean",
                    "kind note: schema: is no JSON",
                    "kind \"Bad!\": ",
                ],
            ),
            // One that is far was none.
            (
                "[[kinds]]\nname = 'note'\ncolour = 1\nparents = ['nowhere']",
                &["unknown field `colour`", "kind note: parents: there is no kind \"nowhere\""],
            ),
            // What cannot be read is no flaw of any other sort.
            ("[[kinds]]\nname = 'note'\nparents = 5\nmay_stand_alone = false", &["invalid type: integer `5`"]),
            ("[[kinds]]\nname = 'note'\nparents = [7]\nmay_stand_alone = false", &["invalid type: integer `7`"]),
            (
                "[[kinds]]\nname = 'note'\nparents = [7, 'nowhere']\nmay_stand_alone = 'no'\nsecret_fields = [8, 'a b']",
                &[
                    "invalid type: integer `7`",
                    "invalid type: string \"no\"",
                    "invalid type: integer `8`",
                    "kind note: parents: there is no kind \"nowhere\"",
                    "kind note: secret_fields: \"a b\" ",
                ],
            ),
            (
                "[[kinds]]\nname = 'note'\nschema = {}\nsecret_fields = 'pin'",
                &["invalid type: map", "invalid type: string \"pin\""],
            ),
            // Of what nobody can name, its form alone; nor is it known which kind it was.
            (
                "[[kinds]]\nname = 5\nhas_content = 1\n[[kinds]]\nname = 'note'\nparents = ['other', 'chat', 'chat']",
                &["invalid type: integer `5`", "invalid type: integer `1`", "kind note: parents: names chat twice"],
            ),
            ("[[kinds]]\nparents = ['nowhere']", &["missing field `name`"]),
            ("kinds = 5", &["invalid type: integer `5`"]),
            ("kinds = [1, 2]", &["invalid type: integer `1`", "invalid type: integer `2`"]),
            ("colour = 1\n[[kinds]]\nname = 'note'\nparents = ['other']", &["unknown field `colour`"]),
        ];
        for (text, told) in cases {
            let found = flaws(text);
            for said in told {
                assert_eq!(found.iter().filter(|flaw| flaw.contains(said)).count(), 1, "{said:?} of {found:#?}");
            }
            assert_eq!(found.len(), told.len(), "each once, and nothing else: {found:#?}");
        }
        assert_eq!(flaws("[[kinds").len(), 1, "what is no TOML has that flaw alone");
        // What stands for a text that cannot be read stands for none in a file of which all can be.
        let odd = flaws("[[kinds]]\nname = \"\\u0000unread\"");
        assert!(odd.len() == 1 && odd[0].starts_with("kind \"\\0unread\": name"), "{odd:#?}");
    }

    /// An operator's file with edits: every flaw is told, and none is a panic.
    #[test]
    fn fuzz_kinds() {
        const OWN: &str = r#"
            [[kinds]]
            name = "scene"
            parents = ["agent"]
            may_stand_alone = false
            secret_fields = ["token"]
            schema = '{"type": "object", "properties": {"text": {"type": "string"}}}'
        "#;
        assert!(parse(Some(OWN)).is_ok());
        bursar_fuzz::fuzz("kinds", &[OWN, BUILT_IN], |bytes| match parse(Some(&String::from_utf8_lossy(bytes))) {
            Ok(kinds) => assert!(kinds.iter().all(|kind| kinds.get(&kind.name).is_some())),
            Err(flaws) => assert!(!flaws.is_empty(), "it is refused for nothing"),
        });
    }
}
