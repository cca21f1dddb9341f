use proptest::prelude::*;

use super::*;

const SHOP: &str = r#"
[[rules]]
principals = ["spiffe://shop/checkout"]
verbs = ["reserve", "commit"]
storefronts = ["web"]
warehouses = ["*"]

[[rules]]
principals = ["spiffe://shop/checkout"]
verbs = ["reserve"]
storefronts = ["app"]
warehouses = ["LONDON", "PARIS"]

[[rules]]
principals = ["spiffe://shop/wms", "erp"]
verbs = ["receive", "ship"]
storefronts = ["*"]
warehouses = ["LONDON"]

[[rules]]
principals = ["sre"]
verbs = ["*"]
storefronts = ["*"]
warehouses = ["*"]
"#;

fn check(
    policy: &AccessPolicy,
    principal: &str,
    verb: Verb,
    storefront: &str,
    warehouses: &Touched<'_>,
) -> Result<(), Denied> {
    let storefronts = match storefront {
        "" => Touched::Nothing,
        "*" => Touched::Everything,
        name => Touched::one(name),
    };
    let principal = Principal::new(principal).unwrap();
    policy
        .of_principal(&principal)
        .check(verb, &storefronts, warehouses)
}

#[test]
fn what_no_rule_allows_is_denied_and_the_denial_says_what_was_missing() {
    let policy = AccessPolicy::parse(SHOP).unwrap();
    let (checkout, wms) = ("spiffe://shop/checkout", "spiffe://shop/wms");
    let (anywhere, nothing) = (Touched::Everything, Touched::Nothing);
    let these = |names: &[&'static str]| Touched::These(names.to_vec());
    for (principal, verb, storefront, warehouses, expected) in [
        (checkout, Verb::Reserve, "web", anywhere.clone(), Ok(())),
        (checkout, Verb::Commit, "web", nothing.clone(), Ok(())),
        (
            checkout,
            Verb::Commit,
            "app",
            nothing.clone(),
            Err(Denied::Storefront),
        ),
        (
            checkout,
            Verb::Reserve,
            "outlet",
            anywhere.clone(),
            Err(Denied::Storefront),
        ),
        (
            checkout,
            Verb::Reserve,
            "app",
            these(&["LONDON", "PARIS"]),
            Ok(()),
        ),
        (
            checkout,
            Verb::Reserve,
            "app",
            these(&["LONDON", "ROME"]),
            Err(Denied::Warehouse),
        ),
        (
            checkout,
            Verb::Reserve,
            "app",
            anywhere.clone(),
            Err(Denied::Warehouse),
        ),
        (checkout, Verb::Release, "web", nothing.clone(), Err(Denied::Verb)),
        (checkout, Verb::Changes, "*", anywhere.clone(), Err(Denied::Verb)),
        (
            checkout,
            Verb::Reserve,
            "*",
            anywhere.clone(),
            Err(Denied::Storefront),
        ),
        (wms, Verb::Receive, "", these(&["LONDON"]), Ok(())),
        (wms, Verb::Receive, "", these(&["PARIS"]), Err(Denied::Warehouse)),
        ("erp", Verb::Ship, "web", these(&["LONDON"]), Ok(())),
        ("sre", Verb::Admin, "*", anywhere.clone(), Ok(())),
        ("stranger", Verb::Read, "", nothing, Err(Denied::Principal)),
    ] {
        let found = check(&policy, principal, verb, storefront, &warehouses);
        assert_eq!(
            found, expected,
            "{principal} {verb:?} {storefront} {warehouses:?}"
        );
    }
}

#[test]
fn rules_for_everybody_add_to_those_for_one() {
    let text = format!(
        "{SHOP}\n[[rules]]\nprincipals = [\"*\"]\nverbs = [\"read\"]\nstorefronts = [\"*\"]\nwarehouses = [\"*\"]\n"
    );
    let policy = AccessPolicy::parse(&text).unwrap();
    for principal in ["stranger", "erp", "sre"] {
        let read = check(&policy, principal, Verb::Read, "*", &Touched::Everything);
        assert_eq!(read, Ok(()), "{principal}");
    }
    let denied = check(&policy, "stranger", Verb::Reserve, "web", &Touched::Nothing);
    assert_eq!(denied, Err(Denied::Verb));
}

#[test]
fn a_mistake_is_told_with_its_rule_and_key_and_never_passed_over() {
    let rule = |principals: &str, verbs: &str, storefronts: &str, warehouses: &str| {
        format!(
            "[[rules]]\nprincipals = {principals}\nverbs = {verbs}\nstorefronts = {storefronts}\nwarehouses = {warehouses}\n"
        )
    };
    let good = rule("[\"a\"]", "[\"read\"]", "[\"*\"]", "[\"*\"]");
    AccessPolicy::parse(&good).unwrap();
    for (text, says) in [
        (String::new(), "no rules"),
        ("rules = 3".to_owned(), "invalid type"),
        (format!("{good}colour = 3\n"), "colour"),
        (format!("allow_all = true\n{good}"), "allow_all"),
        (good.replace("warehouses = [\"*\"]\n", ""), "warehouses"),
        (
            rule("[]", "[\"read\"]", "[\"*\"]", "[\"*\"]"),
            "principals: is empty",
        ),
        (rule("[\"a\"]", "[]", "[\"*\"]", "[\"*\"]"), "verbs: is empty"),
        (
            rule("[\"a\"]", "[\"Read\"]", "[\"*\"]", "[\"*\"]"),
            "`Read` is not one of reserve, commit",
        ),
        (
            rule("[\"a\"]", "[\"read\", \"*\"]", "[\"*\"]", "[\"*\"]"),
            "`*` is not one of",
        ),
        (
            rule("[\"a\"]", "[\"read\"]", "[\"web\", \"*\"]", "[\"*\"]"),
            "storefronts: `*` already means every name",
        ),
        (
            rule("[\"a\"]", "[\"read\"]", "[\"*\"]", "[\"EU-*\"]"),
            "warehouses: `EU-*`",
        ),
        (
            rule("[\"Jane Doe\"]", "[\"read\"]", "[\"*\"]", "[\"*\"]"),
            "rule 1 of the access policy, principals",
        ),
        (
            rule("[\"a\", \"a\"]", "[\"read\"]", "[\"*\"]", "[\"*\"]"),
            "listed twice",
        ),
        (rule("\"a\"", "[\"read\"]", "[\"*\"]", "[\"*\"]"), "invalid type"),
        (good.repeat(MAX_RULES + 1), "rules, at most"),
        ("#".repeat(MAX_FILE_BYTES + 1), "bytes, at most"),
    ] {
        let error = AccessPolicy::parse(&text).expect_err(says).to_string();
        assert!(error.contains(says), "{says}: {error}");
    }
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![Just("*".to_owned()), "[a-c]", "[a-zA-Z0-9._:/-]{1,40}", ".{0,5}"]
}

fn list() -> impl Strategy<Value = Vec<String>> {
    prop_oneof![
        Just(vec!["*".to_owned()]),
        proptest::collection::vec(name(), 0..4)
    ]
}

fn verb_list() -> impl Strategy<Value = Vec<String>> {
    let verb = proptest::sample::select(Verb::ALL.map(|verb| verb.as_str().to_owned()).to_vec());
    prop_oneof![
        Just(vec!["*".to_owned()]),
        proptest::collection::vec(prop_oneof![4 => verb, 1 => name()], 0..4)
    ]
}

type Lists = (Vec<String>, Vec<String>, Vec<String>, Vec<String>);

fn file(rules: &[Lists]) -> String {
    let list = |list: &[String]| toml::Value::from(list.to_vec()).to_string();
    let rule = |(principals, verbs, storefronts, warehouses): &Lists| {
        format!(
            "[[rules]]\nprincipals = {}\nverbs = {}\nstorefronts = {}\nwarehouses = {}\n",
            list(principals),
            list(verbs),
            list(storefronts),
            list(warehouses)
        )
    };
    rules.iter().map(rule).collect()
}

proptest! {
    #[test]
    fn any_text_is_taken_or_refused_and_nothing_panics(text in ".{0,400}") {
        let _ = AccessPolicy::parse(&text);
    }

    #[test]
    fn a_file_cut_or_changed_anywhere_is_taken_or_refused(at in 0..SHOP.len(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut bytes = SHOP.as_bytes().to_vec();
        bytes[at] = byte;
        if cut {
            bytes.truncate(at);
        }
        if let Ok(text) = String::from_utf8(bytes) {
            let _ = AccessPolicy::parse(&text);
        }
    }

    /// Answers the same question by reading the lists of the rules one by one.
    #[test]
    fn what_is_allowed_is_what_some_rule_says(
        rules in proptest::collection::vec((list(), verb_list(), list(), list()), 1..5),
        principal in "[a-c]",
        verb in proptest::sample::select(Verb::ALL.to_vec()),
        storefront in "[a-c]",
        warehouse in "[a-c]",
    ) {
        let Ok(policy) = AccessPolicy::parse(&file(&rules)) else {
            return Ok(());
        };
        let has = |list: &[String], name: &str| list.iter().any(|entry| entry == "*" || entry == name);
        let expected = rules.iter().any(|(principals, verbs, storefronts, warehouses)| {
            has(principals, &principal)
                && has(verbs, verb.as_str())
                && has(storefronts, &storefront)
                && has(warehouses, &warehouse)
        });
        let found = check(&policy, &principal, verb, &storefront, &Touched::one(&warehouse));
        prop_assert_eq!(found.is_ok(), expected);
    }
}
