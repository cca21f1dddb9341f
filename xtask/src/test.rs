//! `cargo xtask test`: everything that proves Holdfast.

use anyhow::Result;
use clap::ValueEnum;

use crate::{needs, steps};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this part.
    #[arg(long, value_enum)]
    only: Option<Part>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Unit, property and real-process tests.
    Rust,
    /// The dbt project on generated histories, and its SQL in Snowflake's dialect.
    Warehouse,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let wanted = |part| args.only.is_none_or(|only| only == part);
    needs::python()?;
    if wanted(Part::Rust) {
        steps::say("building the tests and the holdfast binary they start");
        steps::run(steps::cargo().args(["build", "--workspace", "--all-targets"]))?;
        steps::say("unit, property and real-process tests");
        steps::run(steps::cargo().args(["test", "--workspace", "--no-fail-fast"]))?;
        steps::say("seeded faults, each of which the model has to notice");
        let faults = [
            "test",
            "--package",
            "holdfast-model",
            "--features",
            "faults",
            "--test",
            "seeded_faults",
        ];
        steps::run(steps::cargo().args(faults))?;
    }
    if wanted(Part::Warehouse) {
        steps::say("warehouse tests");
        steps::run(std::process::Command::new("python3").arg("warehouse/test.py"))?;
    }
    steps::say("all tests passed");
    Ok(())
}
