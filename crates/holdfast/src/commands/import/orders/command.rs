//! `holdfast import orders`, from its arguments to its summary.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use holdfast_feeds::import::{
    ArchivedChanges, Ended, Import, Notice, OrderFile, OrderFileError, PlannedImport, Stop, Tell,
};
use tokio::signal::unix::{SignalKind, signal};

use super::archive;
use super::args::Args;
use super::progress::Progress;
use super::summary::lines;
use crate::clock;
use crate::context::Context;
use crate::failure::Usage;
use crate::output::Output;

/// Runs the command.
///
/// # Errors
/// When the file cannot be read or is not a table of orders, when another import has the state or rejects
/// file, when the cluster gives no outcome, or when the import was interrupted.
pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let output = context.output;
    let orders =
        OrderFile::read(&args.file, args.mapping.as_deref(), args.options()).map_err(usage_or_failure)?;
    let import = Import::begin(context.client()?, orders, &args.files()).await?;
    let archive = archive::open(args.archive.as_deref(), import.cluster_id()).await?;
    let files_from = archive
        .as_ref()
        .map(|archive| move |shard, from_seq| archive::files_from(archive, shard, from_seq));
    let archived = files_from
        .as_ref()
        .map(|files_from| files_from as &ArchivedChanges<'_>);

    let steps_done = AtomicU64::new(0);
    let tell = |notice| match notice {
        Notice::NoStateFile => {
            output.note("no state file: looking through the change stream for what earlier imports brought");
        }
        Notice::AppliedBefore(count) => output.note(format!(
            "{count} operations of this file were applied by an earlier run"
        )),
        Notice::NewIds => {
            output.note("the earlier run is long ago: what it did not come to gets new operation ids");
        }
        Notice::StepsDone(count) => steps_done.store(count, Ordering::Relaxed),
    };
    let planned = import.plan(now_ms()?, archived, &tell).await?;
    let ended = drive(planned, &tell, &steps_done, output).await?;
    if context.json {
        output.json(&ended.summary)?;
    } else {
        lines(&ended.summary)
            .iter()
            .try_for_each(|line| output.line(line))?;
    }
    ended
        .outcome
        .context("the import stopped; run the same command again to go on")?;
    anyhow::ensure!(
        ended.summary.finished,
        "interrupted; run the same command again to go on"
    );
    Ok(())
}

/// Runs the import, shows its progress, and stops it when a signal asks for it.
async fn drive(
    planned: PlannedImport,
    tell: &Tell<'_>,
    steps_done: &AtomicU64,
    output: Output,
) -> anyhow::Result<Ended> {
    let progress = Progress::new(output, planned.steps());
    let mut show = tokio::time::interval(progress.interval());
    show.reset();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = Stop::default();
    let mut work = pin!(planned.run(&stop, tell));
    loop {
        tokio::select! {
            ended = &mut work => return Ok(ended?),
            _ = show.tick() => progress.show(steps_done.load(Ordering::Relaxed)),
            _ = interrupt.recv() => ask_to_stop(&stop, output),
            _ = terminate.recv() => ask_to_stop(&stop, output),
        }
    }
}

fn ask_to_stop(stop: &Stop, output: Output) {
    if stop.ask() {
        output.note("stopping after the operations in flight; once more to stop at once");
    }
}

/// Returns the command's failure: an option that is not valid is a wrong argument.
fn usage_or_failure(error: OrderFileError) -> anyhow::Error {
    match error {
        OrderFileError::Options(error) => Usage(error.to_string()).into(),
        error => error.into(),
    }
}

/// Returns this machine's time, which becomes the epoch of an import and part of every operation id.
fn now_ms() -> anyhow::Result<u64> {
    let since = clock::since_epoch().context("this machine's clock is before 1970")?;
    Ok(u64::try_from(since.as_millis())?)
}
