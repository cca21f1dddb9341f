//! `cargo xtask mutants`: checks that the tests notice wrong code.
//!
//! A mutant is an edit of the source, which is made in a copy of the tree. There are two kinds. Those of
//! `tests/mutants/` name a test each. The test has to fail with the edit, and to pass without it
//! (`mutant.rs`). Those of the order protocol (`tests/model/faults/`) are all put into one ledger and
//! switched on one by one. The model has to find each (`fault.rs`).

mod copy;
mod edit;
mod fault;
mod mutant;
mod timed;

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};

use self::copy::Copy;
use self::fault::Fault;
use self::mutant::Mutant;
use crate::steps;

/// Longest time of a test. A test that takes longer has not noticed the fault.
const TEST_TIMEOUT: Duration = Duration::from_secs(300);

const DAY_SECONDS: u64 = 24 * 3_600;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many states of the model are explored in parallel.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Every mutant; the same as no choice at all
    #[arg(long, conflicts_with_all = ["few", "only"])]
    all: bool,
    /// This many of those that name a test, other ones each day. With --only: of those
    #[arg(long)]
    few: Option<usize>,
    /// With --few: which ones, as an earlier run printed it [default: the number of the day]
    #[arg(long, requires = "few")]
    turn: Option<u64>,
    /// The mutants whose names contain this; `order_` stands for the order protocol
    #[arg(long)]
    only: Option<String>,
    /// Print the names and what each breaks, and run nothing
    #[arg(long)]
    list: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mutants = mutant::read_all(&steps::root())?;
    let faults = fault::read_all(&steps::root())?;
    let (mutants, chosen) = choose(&mutants, &faults, args)?;
    if args.list {
        let of_orders = chosen.iter().map(|fault| (&fault.name, &fault.breaks));
        let others = mutants.iter().map(|mutant| (&mutant.name, &mutant.breaks));
        for (name, breaks) in of_orders.chain(others) {
            writeln!(std::io::stdout(), "{name:<44} {breaks}")?;
        }
        return Ok(());
    }
    if !chosen.is_empty() {
        fault::run(&faults, &chosen, args.threads)?;
    }
    if !mutants.is_empty() {
        edits(&mutants)?;
    }
    Ok(())
}

fn choose<'a>(
    mutants: &'a [Mutant],
    faults: &'a [Fault],
    args: &Args,
) -> Result<(Vec<&'a Mutant>, Vec<&'a Fault>)> {
    let part = args.only.as_deref().unwrap_or_default();
    let mutants: Vec<&Mutant> = mutants.iter().filter(|it| it.name.contains(part)).collect();
    let faults: Vec<&Fault> = faults.iter().filter(|it| it.name.contains(part)).collect();
    let Some(few) = args.few else {
        ensure!(
            !(mutants.is_empty() && faults.is_empty()),
            "no mutant has {part} in its name"
        );
        return Ok((mutants, faults));
    };
    ensure!(
        !mutants.is_empty(),
        "no mutant in tests/mutants has {part} in its name"
    );
    #[expect(clippy::disallowed_methods, reason = "the day says whose turn it is")]
    let turn = match args.turn {
        Some(turn) => turn,
        None => SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() / DAY_SECONDS,
    };
    steps::say(&format!(
        "these mutants again: the same command with --turn {turn}"
    ));
    Ok((of_turn(&mutants, few, turn), Vec::new()))
}

/// Chooses the mutants of a turn. They follow one after the other, so that every mutant has its turn.
fn of_turn<'a>(mutants: &[&'a Mutant], few: usize, turn: u64) -> Vec<&'a Mutant> {
    let first = (turn % mutants.len().max(1) as u64) as usize * few;
    (first..)
        .take(few.min(mutants.len()))
        .map(|place| mutants[place % mutants.len()])
        .collect()
}

/// Runs each named test without the edits, which also builds what the tests have in common, and then with
/// each edit.
fn edits(mutants: &[&Mutant]) -> Result<()> {
    let copy = Copy::make(&steps::target().join("mutants"))?;
    let mut wrong = Vec::new();
    for mutant in mutants {
        mutant.check(copy.root())?;
    }
    for mutant in mutants {
        steps::say(&format!("without {}", mutant.name));
        if let Err(error) = test(mutant, copy.root()).and_then(Tested::must_pass) {
            wrong.push(format!("{}: {error:#}", mutant.name));
        }
    }
    for mutant in mutants {
        steps::say(&format!("with {}: {}", mutant.name, mutant.breaks));
        let edited = mutant.apply(copy.root())?;
        let tested = test(mutant, copy.root());
        edited.undo()?;
        if let Err(error) = tested.and_then(Tested::must_fail) {
            wrong.push(format!("{}: {error:#}", mutant.name));
        }
    }
    ensure!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    steps::say(&format!("{} edits, each noticed by its test", mutants.len()));
    Ok(())
}

/// The result of the named test.
struct Tested {
    passed: bool,
    output: String,
}

impl Tested {
    fn must_pass(self) -> Result<()> {
        ensure!(self.passed, "its test fails without it:\n{}", self.output);
        Ok(())
    }

    fn must_fail(self) -> Result<()> {
        ensure!(!self.passed, "NOT NOTICED: its test passes with it");
        Ok(())
    }
}

/// Builds and runs the named test. It is an error when the edit does not compile, when the test does not
/// exist, and when it does not end: none of these shows that the fault was noticed.
fn test(mutant: &Mutant, root: &Path) -> Result<Tested> {
    let mut build = mutant.command(root);
    build
        .args(["--no-run", "--quiet"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let built = build.output().context("cargo does not start")?;
    ensure!(
        built.status.success(),
        "it does not compile:\n{}",
        String::from_utf8_lossy(&built.stderr)
    );
    let mut command = mutant.command(root);
    command.args(["--", "--exact", &mutant.test]);
    let log = root.with_file_name("test.log");
    let (status, output) = timed::run(command, &log, TEST_TIMEOUT).context("its test")?;
    let verdict = |word: &str| {
        let line = format!("test {} ... {word}", mutant.test);
        output.lines().any(|it| it.trim_end() == line)
    };
    match (status.success(), verdict("ok"), verdict("FAILED")) {
        (true, true, false) => Ok(Tested { passed: true, output }),
        (false, false, true) => Ok(Tested {
            passed: false,
            output,
        }),
        _ => bail!("it is not known what its test {} says:\n{output}", mutant.test),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An edit that no longer fits is found at once, not only when its turn comes.
    #[test]
    fn every_mutant_fits_the_source_and_names_a_test_that_is_there() {
        let root = steps::root();
        let mutants = mutant::read_all(&root).unwrap();
        assert!(
            mutants.len() >= 16,
            "with the 24 of the order protocol there are at least 40"
        );
        for mutant in &mutants {
            mutant.check(&root).unwrap();
        }
    }

    #[test]
    fn every_mutant_of_the_order_protocol_fits_the_source_beside_the_others() {
        let root = steps::root();
        let faults = fault::read_all(&root).unwrap();
        assert!(faults.len() >= 35);
        let source: String = fault::seeded(&root, &faults).unwrap().into_values().collect();
        for fault in &faults {
            let switch = format!("crate::fault::is_seeded({:?})", fault.name);
            assert!(source.contains(&switch), "no switch of {}", fault.name);
        }
    }

    #[test]
    fn in_turn_every_mutant_is_run() {
        let mutants = mutant::read_all(&steps::root()).unwrap();
        let mut met = std::collections::BTreeSet::new();
        for turn in 0..mutants.len() as u64 {
            let chosen = of_turn(&mutants.iter().collect::<Vec<_>>(), 3, turn);
            assert_eq!(chosen.len(), 3);
            met.extend(chosen.iter().map(|it| it.name.clone()));
        }
        assert_eq!(met.len(), mutants.len());
    }
}
