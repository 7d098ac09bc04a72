//! What a lot's scope admits.

use proptest::prelude::*;

use crate::domain::*;

fn models(names: &str) -> Vec<ModelName> {
    names.split_whitespace().map(|name| ModelName::parse(name).unwrap()).collect()
}

fn projects(names: &str) -> Vec<ProjectName> {
    names.split_whitespace().map(|name| ProjectName::parse(name).unwrap()).collect()
}

fn admits(scope: &Scope, model: &str, project: &str) -> bool {
    scope.admits(models(model).first(), projects(project).first())
}

#[test]
fn a_scope_admits_what_both_of_its_lists_do() {
    // The scope's models and projects; the work's model and project; whether it is admitted.
    let cases = [
        ("veo", "", "veo", "", true),
        ("veo", "", "veo", "film", true),
        ("veo", "", "", "", false),
        ("veo", "", "", "film", false),
        ("veo", "", "kling", "film", false),
        ("veo kling", "", "kling", "", true),
        ("", "film", "", "film", true),
        ("", "film", "veo", "film", true),
        ("", "film", "veo", "", false),
        ("", "film", "veo", "ad", false),
        ("veo", "film ad", "veo", "ad", true),
        ("veo", "film ad", "veo", "book", false),
        ("veo", "film ad", "kling", "ad", false),
        ("veo", "film ad", "", "ad", false),
        ("veo", "film", "film", "veo", false),
    ];
    for (of_models, of_projects, model, project, expected) in cases {
        let scope = Scope::new(models(of_models), projects(of_projects)).unwrap();
        let case = format!("[{of_models}] × [{of_projects}] for {model:?} in {project:?}");
        assert_eq!(admits(&scope, model, project), expected, "{case}");
        assert!(admits(&Scope::default(), model, project), "no scope admits everything: {case}");
    }
}

#[test]
fn a_scope_names_something_and_nothing_twice() {
    let many = |count: usize| (0..count).map(|it| format!("n{it}")).collect::<Vec<_>>().join(" ");
    let cases = [
        (String::new(), String::new(), Err(ScopeError::Empty)),
        (many(32), many(32), Ok(())),
        (many(33), String::new(), Err(ScopeError::TooManyModels)),
        (String::new(), many(33), Err(ScopeError::TooManyProjects)),
        (many(10_000), many(10_000), Err(ScopeError::TooManyModels)),
        ("a b a".to_owned(), String::new(), Err(ScopeError::Repeated("a".to_owned()))),
        ("a".to_owned(), "b b".to_owned(), Err(ScopeError::Repeated("b".to_owned()))),
        ("a".to_owned(), "a".to_owned(), Ok(())),
    ];
    for (of_models, of_projects, expected) in cases {
        let made = Scope::new(models(&of_models), projects(&of_projects));
        assert_eq!(made.map(|_| ()), expected, "{} and {} bytes", of_models.len(), of_projects.len());
    }
    assert!(Scope::default().is_any());
    assert!(!Scope::new(models("a"), []).unwrap().is_any());
}

fn some() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::btree_set(0..4_u8, 0..3).prop_map(|set| set.into_iter().collect())
}

proptest! {
    #[test]
    fn a_scope_is_its_two_lists(
        of_models in some(), of_projects in some(), model in prop::option::of(0..4_u8), project in prop::option::of(0..4_u8),
    ) {
        let name = |number: &u8| format!("n{number}");
        let scope = Scope::new(
            of_models.iter().map(|it| ModelName::parse(&name(it)).unwrap()),
            of_projects.iter().map(|it| ProjectName::parse(&name(it)).unwrap()),
        );
        prop_assert_eq!(scope.is_err(), of_models.is_empty() && of_projects.is_empty());
        let scope = scope.unwrap_or_default();
        let one = |list: &[u8], it: Option<u8>| list.is_empty() || it.is_some_and(|it| list.contains(&it));
        let expected = one(&of_models, model) && one(&of_projects, project);
        let model = model.map(|it| ModelName::parse(&name(&it)).unwrap());
        let project = project.map(|it| ProjectName::parse(&name(&it)).unwrap());
        prop_assert_eq!(scope.admits(model.as_ref(), project.as_ref()), expected);
    }
}

#[test]
fn a_scope_of_before_names_what_is_spelled_in_one_way_now() {
    let stored = ["Cafe\u{301}  1", "film"].map(|name| ProjectName::parse(name).unwrap());
    let scope = Scope::new([], stored).unwrap();
    for (given, expected) in [("Cafe\u{301} 1", true), ("Caf\u{e9} 1", true), ("film", true), ("Cafe 1", false)] {
        let given = ProjectName::given(given).unwrap();
        assert_eq!(scope.admits(None, Some(&given)), expected, "{given}");
    }
}
