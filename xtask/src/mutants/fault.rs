//! Faults of the order protocol. One copy of the ledger gets all of them, each behind a switch, and the model
//! has to find each.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::copy::Copy;
use super::edit::{self, Edit};
use super::timed;
use crate::steps;

/// The longest time of one run of the model.
const TIMEOUT: Duration = Duration::from_secs(300);

/// The end of each run of the model, which is far behind the state in which the last fault shows. The same
/// states are searched with a fault and without.
const REACHED_STATES: usize = 400_000;

/// The condition in the replaced text of every edit. In the copy, it is whether its fault is switched on.
const SWITCH: &str = "is_seeded()";

/// The variable that names the fault that a process switches on. `tests/model/faults/fault.rs` reads it.
const VARIABLE: &str = "HOLDFAST_FAULT";

const LEDGER: &str = "crates/ledger/src";

/// One file of `tests/model/faults/`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fault {
    /// Name of the file, without its ending.
    #[serde(skip)]
    pub(super) name: String,
    /// The fault, in a sentence.
    pub(super) breaks: String,
    /// Name of the model's scope in which it shows.
    scope: String,
    #[serde(rename = "edit")]
    edits: Vec<Edit>,
}

/// Reads all faults, sorted by name. Fails unless each of their edits has the switch of its fault, and their
/// scopes are there.
pub(super) fn read_all(root: &Path) -> Result<Vec<Fault>> {
    let scopes = fs::read_to_string(root.join("tests/model/src/scopes.rs"))?;
    let faults = edit::read_all::<Fault>(&root.join("tests/model/faults"))?;
    faults
        .into_iter()
        .map(|(name, mut fault)| {
            fault
                .prepare(&name, &scopes)
                .with_context(|| format!("tests/model/faults/{name}.toml"))?;
            fault.name = name;
            Ok(fault)
        })
        .collect()
}

impl Fault {
    /// Checks the fault, and writes its name into its switches.
    fn prepare(&mut self, name: &str, scopes: &str) -> Result<()> {
        ensure!(!self.edits.is_empty(), "it edits nothing");
        let has_scope = scopes.contains(&format!("name: \"{}\"", self.scope));
        ensure!(has_scope, "the model has no scope {}", self.scope);
        for edit in &mut self.edits {
            ensure!(
                edit.file.starts_with(LEDGER),
                "{} is not in the ledger",
                edit.file.display()
            );
            ensure!(
                edit.replace.contains(SWITCH),
                "no {SWITCH} is in the replaced text\n{}",
                edit.replace
            );
            let switch = format!("crate::fault::is_seeded({name:?})");
            edit.replace = edit.replace.replace(SWITCH, &switch);
        }
        Ok(())
    }
}

/// Returns the content of each file of a ledger that has all faults.
pub(super) fn seeded(root: &Path, faults: &[Fault]) -> Result<BTreeMap<PathBuf, String>> {
    let edits = faults
        .iter()
        .flat_map(|fault| fault.edits.iter().map(|edit| (fault.name.as_str(), edit)));
    let mut files = edit::edited(root, edits)?;
    let ledger = root.join(LEDGER);
    let library = ledger.join("lib.rs");
    ensure!(
        !files.contains_key(&library),
        "a fault edits {}, which gets another edit",
        library.display()
    );
    let content = fs::read_to_string(&library)?;
    files.insert(library, format!("{content}\nmod fault;\n"));
    let switch = fs::read_to_string(root.join("tests/model/faults/fault.rs"))?;
    files.insert(ledger.join("fault.rs"), switch);
    Ok(files)
}

/// Puts all faults into one copy of the tree and runs the model there with each chosen one. Without a fault,
/// the same ledger must pass in as many states of the same scopes.
pub(super) fn run(all: &[Fault], chosen: &[&Fault], threads: usize) -> Result<()> {
    let folder = steps::target().join("mutants");
    let copy = Copy::make(&folder)?;
    for (path, content) in seeded(copy.root(), all)? {
        fs::write(&path, content).with_context(|| path.display().to_string())?;
    }
    steps::say("building the model with a ledger that can be wrong");
    let model = Model {
        program: build(copy.root(), &folder)?,
        log: folder.join("model.log"),
        threads,
    };
    let mut out = std::io::stdout();
    let mut wrong = Vec::new();
    let scopes: BTreeSet<&str> = chosen.iter().map(|fault| fault.scope.as_str()).collect();
    for scope in scopes {
        match model.broken_claim(scope, None) {
            Ok(None) => writeln!(out, "without a fault: right: {scope}")?,
            Ok(Some(claim)) => wrong.push(format!("without a fault: broke: {claim}: {scope}")),
            Err(error) => wrong.push(format!("without a fault: {error:#}")),
        }
    }
    let mut caught = 0;
    for fault in chosen {
        match model.broken_claim(&fault.scope, Some(&fault.name)) {
            Ok(Some(claim)) => {
                writeln!(out, "{:<34} broke: {claim}", fault.name)?;
                caught += 1;
            }
            Ok(None) => wrong.push(format!("{}: NOT NOTICED: {}", fault.name, fault.breaks)),
            Err(error) => wrong.push(format!("{}: {error:#}", fault.name)),
        }
    }
    writeln!(out, "{caught} of {} caught", chosen.len())?;
    ensure!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    Ok(())
}

/// Builds the model of the copy. Returns its program, which is moved away, so that nobody takes it for the
/// tree's own.
fn build(root: &Path, folder: &Path) -> Result<PathBuf> {
    let mut build = steps::cargo();
    build
        .current_dir(root)
        // Dependencies that are built already can be used. Only the copy's own packages are built again.
        .env("CARGO_TARGET_DIR", steps::target())
        .args(["build", "--quiet", "--package", "holdfast-model"]);
    steps::run(&mut build)?;
    let program = folder.join("holdfast-model");
    let built = steps::target().join("debug/holdfast-model");
    fs::rename(&built, &program).with_context(|| built.display().to_string())?;
    Ok(program)
}

/// The model of a ledger that can be wrong.
struct Model {
    program: PathBuf,
    log: PathBuf,
    threads: usize,
}

impl Model {
    /// Runs the model in one scope. Returns the claim that it finds broken, or None if every state is right.
    /// It is an error when the model does not start, does not end, or fails in another way.
    fn broken_claim(&self, scope: &str, fault: Option<&str>) -> Result<Option<String>> {
        let mut command = Command::new(&self.program);
        command
            .args(["--threads", &self.threads.to_string()])
            .args(["complete", "--scope", scope])
            .args(["--reached", &REACHED_STATES.to_string()])
            .env_remove(VARIABLE);
        if let Some(fault) = fault {
            command.env(VARIABLE, fault);
        }
        let (status, output) = timed::run(command, &self.log, TIMEOUT)?;
        let claim = output.lines().find_map(|line| line.strip_prefix("BROKEN: "));
        match (status.code(), claim) {
            (Some(0), None) => Ok(None),
            (Some(1), Some(claim)) => Ok(Some(claim.to_owned())),
            _ => bail!("it is not known what the model says:\n{output}"),
        }
    }
}
