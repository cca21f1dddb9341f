//! The access policy: rules in a file say which principal may use which verb at which storefronts and
//! warehouses. A request that no rule allows is denied.
//!
//! ```toml
//! [[rules]]
//! principals = ["spiffe://shop/checkout"]
//! verbs = ["reserve", "commit", "release", "read"]
//! storefronts = ["web"]
//! warehouses = ["*"]
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_api::names::{IdError, Principal, StorefrontId, WarehouseId};
use serde::Deserialize;

use crate::verb::{Verb, Verbs};

/// The maximum size of an access policy file, in bytes.
const MAX_FILE_BYTES: usize = 4 << 20;
/// The maximum number of rules in a file.
const MAX_RULES: usize = 10_000;
/// The word that stands for every name.
const ALL: &str = "*";

/// The reason why an access policy cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The file cannot be read.
    #[error("cannot read the access policy {} (security.policy): {source}", path.display())]
    Read {
        /// The path of the file.
        path: PathBuf,
        /// The error of the file system.
        source: std::io::Error,
    },
    /// The file is too large.
    #[error(
        "the access policy has {found} {what}, at most {limit} are allowed: write `*` in place of long lists, or fewer rules"
    )]
    TooLarge {
        /// The unit that is counted: bytes or rules.
        what: &'static str,
        /// The number found.
        found: usize,
        /// The limit of that number.
        limit: usize,
    },
    /// The file is not TOML, has an unknown key, or lacks a key.
    #[error("the access policy is not valid: {0}")]
    Parse(String),
    /// The file has no rule.
    #[error("the access policy has no rules, so nobody could do anything: write at least one [[rules]]")]
    Empty,
    /// A list in a rule is wrong.
    #[error("rule {rule} of the access policy, {key}: {message}")]
    Rule {
        /// The number of the rule, counted from 1.
        rule: usize,
        /// The key of the list.
        key: &'static str,
        /// The mistake in the list.
        message: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    rules: Vec<FileRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRule {
    principals: Vec<String>,
    verbs: Vec<String>,
    storefronts: Vec<String>,
    warehouses: Vec<String>,
}

/// A set of names, or every name.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Names {
    All,
    These(BTreeSet<String>),
}

impl Names {
    fn contain(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::These(names) => names.contains(name),
        }
    }
}

/// The permissions that one rule gives.
#[derive(Debug, PartialEq, Eq)]
struct Grant {
    verbs: Verbs,
    storefronts: Names,
    warehouses: Names,
}

/// All permissions of one principal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    /// The permissions by rules that name the principal.
    own: Vec<Arc<Grant>>,
    /// The permissions by rules for everybody.
    all: Arc<Vec<Arc<Grant>>>,
}

/// The rules of a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct AccessPolicy {
    named: BTreeMap<String, Grants>,
    /// The permissions of every principal that no rule names.
    others: Grants,
}

/// The storefronts, or the warehouses, that a request touches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Touched<'a> {
    /// The request touches none.
    Nothing,
    /// The request may touch every one.
    Everything,
    /// The request touches the ones with these names.
    These(Vec<&'a str>),
}

impl<'a> Touched<'a> {
    /// Returns a value that touches only this name.
    pub fn one(name: &'a str) -> Self {
        Self::These(vec![name])
    }

    /// Returns a value that touches only this name, or everything if no name is given.
    pub fn one_or_everything(name: Option<&'a str>) -> Self {
        name.map_or(Self::Everything, Self::one)
    }

    /// Returns the text for a field of an audit line: names separated by commas, `*` for everything.
    pub fn to_text(&self) -> String {
        match self {
            Self::Nothing => String::new(),
            Self::Everything => ALL.to_owned(),
            Self::These(names) => names.join(","),
        }
    }
}

/// The first part of a request that no rule of its principal allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// No rule names the principal.
    Principal,
    /// None of the principal's rules has the verb.
    Verb,
    /// None of the rules with that verb has the storefront.
    Storefront,
    /// None of the rules with that verb and storefront has the warehouse.
    Warehouse,
}

impl Denied {
    /// Returns the denial's word in metrics and audit lines.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Principal => "principal",
            Self::Verb => "verb",
            Self::Storefront => "storefront",
            Self::Warehouse => "warehouse",
        }
    }
}

impl Grants {
    /// Checks whether a request is allowed. Different rules may allow different pairs of a storefront and a
    /// warehouse.
    pub fn check(
        &self,
        verb: Verb,
        storefronts: &Touched<'_>,
        warehouses: &Touched<'_>,
    ) -> Result<(), Denied> {
        if self.is_empty() {
            return Err(Denied::Principal);
        }
        let grants = || self.own.iter().chain(self.all.iter());
        let with_verb = || grants().filter(|grant| grant.verbs.contains(verb));
        if with_verb().next().is_none() {
            return Err(Denied::Verb);
        }
        let each: Vec<Option<&str>> = match storefronts {
            Touched::Nothing | Touched::Everything => vec![None],
            Touched::These(names) => names.iter().map(|name| Some(*name)).collect(),
        };
        for storefront in each {
            let with_storefront = || {
                with_verb().filter(|grant| match (storefronts, storefront) {
                    (Touched::Nothing, _) => true,
                    (_, Some(name)) => grant.storefronts.contain(name),
                    (_, None) => grant.storefronts == Names::All,
                })
            };
            if with_storefront().next().is_none() {
                return Err(Denied::Storefront);
            }
            let allowed = match warehouses {
                Touched::Nothing => true,
                Touched::Everything => with_storefront().any(|grant| grant.warehouses == Names::All),
                Touched::These(names) => names
                    .iter()
                    .all(|name| with_storefront().any(|grant| grant.warehouses.contain(name))),
            };
            if !allowed {
                return Err(Denied::Warehouse);
            }
        }
        Ok(())
    }

    /// Returns whether this verb is allowed at every storefront and warehouse. If it is, the caller need not
    /// find out which ones a request touches.
    pub fn allow_anywhere(&self, verb: Verb) -> bool {
        self.check(verb, &Touched::Everything, &Touched::Everything)
            .is_ok()
    }

    /// Returns whether no rule applies to the principal.
    pub fn is_empty(&self) -> bool {
        self.own.is_empty() && self.all.is_empty()
    }
}

impl AccessPolicy {
    /// Reads an access policy file.
    ///
    /// # Errors
    /// [`PolicyError`] says what is wrong with it.
    pub fn read(path: &Path) -> Result<Self, PolicyError> {
        let text = std::fs::read_to_string(path).map_err(|source| PolicyError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text)
    }

    /// Parses the text of an access policy file. An unknown key or a missing key is an error and is never
    /// ignored.
    ///
    /// # Errors
    /// [`PolicyError`] says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let limited = |what, found, limit| match found > limit {
            true => Err(PolicyError::TooLarge { what, found, limit }),
            false => Ok(()),
        };
        limited("bytes", text.len(), MAX_FILE_BYTES)?;
        let file: File = toml::from_str(text).map_err(|error| PolicyError::Parse(error.to_string()))?;
        limited("rules", file.rules.len(), MAX_RULES)?;
        if file.rules.is_empty() {
            return Err(PolicyError::Empty);
        }
        let mut rules = Vec::with_capacity(file.rules.len());
        for (index, rule) in file.rules.into_iter().enumerate() {
            let wrong = |key: &'static str| {
                move |message| PolicyError::Rule {
                    rule: index + 1,
                    key,
                    message,
                }
            };
            let principals = names(rule.principals, |name| Principal::new(name).map(drop));
            let storefronts = names(rule.storefronts, |name| StorefrontId::new(name).map(drop));
            let warehouses = names(rule.warehouses, |name| WarehouseId::new(name).map(drop));
            let grant = Grant {
                verbs: verbs(&rule.verbs).map_err(wrong("verbs"))?,
                storefronts: storefronts.map_err(wrong("storefronts"))?,
                warehouses: warehouses.map_err(wrong("warehouses"))?,
            };
            rules.push((principals.map_err(wrong("principals"))?, Arc::new(grant)));
        }
        Ok(Self::of(&rules))
    }

    fn of(rules: &[(Names, Arc<Grant>)]) -> Self {
        let for_all = rules.iter().filter(|(principals, _)| *principals == Names::All);
        let others = Grants {
            own: Vec::new(),
            all: Arc::new(for_all.map(|(_, grant)| Arc::clone(grant)).collect()),
        };
        let mut named: BTreeMap<String, Grants> = BTreeMap::new();
        for (principals, grant) in rules {
            let Names::These(principals) = principals else {
                continue;
            };
            for principal in principals {
                let of_principal = named.entry(principal.clone()).or_insert_with(|| others.clone());
                of_principal.own.push(Arc::clone(grant));
            }
        }
        Self { named, others }
    }

    /// Returns all permissions of a principal.
    pub fn of_principal(&self, principal: &Principal) -> &Grants {
        self.named.get(principal.as_str()).unwrap_or(&self.others)
    }
}

fn names(list: Vec<String>, check: impl Fn(&str) -> Result<(), IdError>) -> Result<Names, String> {
    if list.is_empty() {
        return Err(format!("is empty: name some, or write [\"{ALL}\"]"));
    }
    if list.iter().any(|name| name == ALL) {
        return match list.len() {
            1 => Ok(Names::All),
            _ => Err(format!(
                "`{ALL}` already means every name: write it alone, or leave it out"
            )),
        };
    }
    let mut names = BTreeSet::new();
    for name in list {
        check(&name).map_err(|error| format!("`{name}`: {error}"))?;
        if names.contains(&name) {
            return Err(format!("`{name}` is listed twice"));
        }
        names.insert(name);
    }
    Ok(Names::These(names))
}

fn verbs(list: &[String]) -> Result<Verbs, String> {
    match list {
        [] => Err(format!("is empty: name some, or write [\"{ALL}\"]")),
        [all] if all == ALL => Ok(Verbs::all()),
        list => {
            let mut verbs = Verbs::default();
            for name in list {
                let verb = Verb::parse(name).ok_or_else(|| {
                    format!(
                        "`{name}` is not one of {}",
                        Verb::ALL.map(Verb::as_str).join(", ")
                    )
                })?;
                if verbs.contains(verb) {
                    return Err(format!("`{name}` is listed twice"));
                }
                verbs.insert(verb);
            }
            Ok(verbs)
        }
    }
}

#[cfg(test)]
mod tests;
