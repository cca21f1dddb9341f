//! `cargo xtask mutants`: checks that the tests notice wrong code.
//!
//! There are two kinds of faults. The faults of the order protocol are compiled into the ledger and switched
//! on one by one; the model has to find each (`crates/ledger/src/fault.rs`). All others are edits of the
//! source, one file each in `tests/mutants/`. The test that the file names has to fail on a copy of the tree
//! with the edit, and to pass without it.

mod copy;
mod edit;

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};

use self::copy::Copy;
use self::edit::Mutant;
use crate::steps;

/// Longest time of a test. A test that takes longer has not noticed the fault.
const TEST_TIMEOUT: Duration = Duration::from_secs(300);

const DAY_SECONDS: u64 = 24 * 3_600;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many states of the model are explored in parallel.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Every edit and every fault of the order protocol; the same as no choice at all
    #[arg(long, conflicts_with_all = ["few", "only"])]
    all: bool,
    /// This many of the edits, other ones each day; no faults of the order protocol. With --only: of those
    #[arg(long)]
    few: Option<usize>,
    /// With --few: which ones, as an earlier run printed it [default: the number of the day]
    #[arg(long, requires = "few")]
    turn: Option<u64>,
    /// The edits whose names contain this; no faults of the order protocol
    #[arg(long)]
    only: Option<String>,
    /// Print the names and what each breaks, and run nothing
    #[arg(long)]
    list: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mutants = edit::read_all(&steps::root().join("tests/mutants"))?;
    let chosen = choose(&mutants, args)?;
    if args.list {
        for mutant in &chosen {
            writeln!(std::io::stdout(), "{:<44} {}", mutant.name, mutant.breaks)?;
        }
        return Ok(());
    }
    if args.few.is_none() && args.only.is_none() {
        order_protocol(args.threads)?;
    }
    edits(&chosen)
}

/// Runs the model with each of the faults that are compiled into the ledger.
fn order_protocol(threads: usize) -> Result<()> {
    let threads = threads.to_string();
    steps::say("building the model with a ledger that can be wrong");
    let run = [
        "run",
        "--quiet",
        "--package",
        "holdfast-model",
        "--features",
        "faults",
        "--",
    ];
    steps::run(steps::cargo().args(run).args(["--threads", &threads, "mutants"]))
}

fn choose<'a>(mutants: &'a [Mutant], args: &Args) -> Result<Vec<&'a Mutant>> {
    let part = args.only.as_deref().unwrap_or_default();
    let chosen: Vec<&Mutant> = mutants.iter().filter(|it| it.name.contains(part)).collect();
    ensure!(
        !chosen.is_empty(),
        "no edit in tests/mutants has {part} in its name"
    );
    let Some(few) = args.few else {
        return Ok(chosen);
    };
    #[expect(clippy::disallowed_methods, reason = "the day says whose turn it is")]
    let turn = match args.turn {
        Some(turn) => turn,
        None => SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() / DAY_SECONDS,
    };
    steps::say(&format!(
        "these mutants again: the same command with --turn {turn}"
    ));
    Ok(of_turn(&chosen, few, turn))
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
    let file = std::fs::File::create(&log)?;
    command.stdout(file.try_clone()?).stderr(file);
    let mut running = command.spawn().context("cargo does not start")?;
    let until = Instant::now() + TEST_TIMEOUT;
    let status = loop {
        if let Some(status) = running.try_wait()? {
            break status;
        }
        if Instant::now() >= until {
            running.kill()?;
            running.wait()?;
            bail!("its test does not end within {} s", TEST_TIMEOUT.as_secs());
        }
        #[expect(clippy::disallowed_methods, reason = "a process that ends tells nobody")]
        std::thread::sleep(Duration::from_millis(50));
    };
    let output = std::fs::read_to_string(&log).context("the output of the test")?;
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
        let mutants = edit::read_all(&root.join("tests/mutants")).unwrap();
        assert!(
            mutants.len() >= 16,
            "with the 24 of the order protocol there are at least 40"
        );
        for mutant in &mutants {
            mutant.check(&root).unwrap();
        }
    }

    #[test]
    fn in_turn_every_mutant_is_run() {
        let mutants = edit::read_all(&steps::root().join("tests/mutants")).unwrap();
        let mut met = std::collections::BTreeSet::new();
        for turn in 0..mutants.len() as u64 {
            let chosen = of_turn(&mutants.iter().collect::<Vec<_>>(), 3, turn);
            assert_eq!(chosen.len(), 3);
            met.extend(chosen.iter().map(|it| it.name.clone()));
        }
        assert_eq!(met.len(), mutants.len());
    }
}
