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
    /// The Helm chart, the alerts with their runbooks and the dashboard, against real nodes where that matters.
    Chart,
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
    if wanted(Part::Chart) {
        needs::promtool()?;
        steps::say("building the holdfast binary whose configuration and metrics the chart has to fit");
        steps::run(steps::cargo().args(["build", "--package", "holdfast"]))?;
        steps::say("tests of the chart, the alerts and the dashboard");
        let binary = steps::target().join("debug").join("holdfast");
        steps::run(
            std::process::Command::new("python3")
                .arg("helm/test.py")
                .env("HOLDFAST_BINARY", binary),
        )?;
    }
    steps::say("all tests passed");
    Ok(())
}
