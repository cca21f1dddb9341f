//! `holdfast import orders`, from its arguments to its summary.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use holdfast_changes::archive::{Archive, Format};
use holdfast_client::{Client, v1};
use holdfast_feeds::{MAX_MAPPING_BYTES, Mapping, OrderRows, read_orders};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use xxhash_rust::xxh3::Xxh3;

use super::applied::{Applied, scan};
use super::args::{Args, Mode};
use super::book::Book;
use super::identity::Source;
use super::known::Known;
use super::plan::plan;
use super::progress::Progress;
use super::reject::write_rejects;
use super::requests::{Requests, first_day};
use super::run::Run;
use super::state::{Options, State};
use super::summary::Account;
use super::target::{Cluster, Target};
use crate::clock;
use crate::context::Context;
use crate::failure::Usage;
use crate::output::Output;
use crate::render;

/// Largest file that is taken, in bytes: the content of its rows is kept in memory.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// Greatest age of an epoch that is used for new operations, in milliseconds. Ids must lie within the
/// cluster's operation window (24 h by default), even at the end of a long run.
const MAX_EPOCH_AGE_MS: u64 = 12 * 60 * 60 * 1000;

/// Time between two saves of the state while operations are under way.
const SAVE_EVERY: Duration = Duration::from_secs(2);

/// Runs the command.
///
/// # Errors
/// When the file cannot be read or is not a table of orders, when another import has the state or rejects
/// file, when the cluster gives no outcome, or when the import was interrupted.
pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let started = Instant::now();
    let (mapping, mapping_hash) = mapping(args.mapping.as_deref())?;
    let options = args
        .options(&mapping_hash)
        .map_err(|error| Usage(error.to_string()))?;
    let mapping = mapping.without_stock(&options.not_stock);
    let mut content = Hashed::new(open(&args.file)?);
    let file = read_orders(BufReader::new(&mut content), &mapping)
        .with_context(|| format!("cannot import {}, and nothing of it was", args.file.display()))?;
    let source = Source::of_hash(&options.source, content.hash());

    let client = context.client()?;
    let topology = client.refresh_topology().await?;
    check_whole(&topology)?;
    let cluster = render::id(&topology.cluster_id);
    let paths = Paths::choose(&args, &source, &cluster)?;
    let _turn = take_turn(&paths.state, &source, &cluster)?;
    let archive = match &args.archive {
        Some(place) => Some(Archive::open_existing(place, Format::Parquet)?),
        None => None,
    };
    if let Some(archive) = &archive {
        archive
            .check_owner(Uuid::from_slice(&topology.cluster_id)?)
            .await?;
    }
    let earlier = Earlier {
        client,
        source: &source,
        archive: archive.as_ref(),
    };
    let (mut state, applied) = begin(&earlier, &cluster, &options, &paths.state, context.output).await?;
    let known = Known::find(&file.rows, &source, &applied, args.mode == Mode::BestEffort);
    if let Some(document) = known.foreign() {
        anyhow::bail!(
            "document {document} of this very file is in the ledger already, under another --source, by another mapping, \
             or by an older version of this program: to import the file again would do it twice. Name the same --source \
             and --mapping as then"
        );
    }
    let plan = plan(&file, &topology, &args.plan_options(&options), &known);

    let run = Run {
        target: &Cluster::new(client.clone()),
        rows: &file.rows,
        plan: &plan,
        requests: Requests {
            source: &source,
            epoch_ms: state.epoch_ms,
            warehouses: &options.warehouses,
            storefront: &options.storefront,
            best_effort: args.mode == Mode::BestEffort,
            first_day: first_day(&file.rows, state.epoch_ms),
        },
        applied: &applied,
        stop: CancellationToken::new(),
        book: Mutex::new(book_of(&file, &state)),
    };
    // Save before anything is sent: when the state or the rejects file cannot be written, the import ends
    // here.
    state.save(&paths.state)?;
    write_rejects(&paths.rejects, &plan.rejects)?;
    let outcome = drive(&run, &mut state, &paths, context.output).await;
    state.finished = outcome.is_ok() && !run.stop.is_cancelled();
    state.refused = run.with_book(|book| book.refusals(&file.rows));
    state.save(&paths.state)?;
    let rejects = run.with_book(|book| book.rejects(&file.rows, &plan.rejects));
    write_rejects(&paths.rejects, &rejects)?;

    let summary = run.with_book(|book| {
        let account = Account {
            file: &args.file,
            source: &source,
            known: &known,
            rows_read: file.count(),
            finished: state.finished,
            plan: &plan,
            book,
            rejects: &rejects,
            rejects_file: &paths.rejects,
            state_file: &paths.state,
            elapsed_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        };
        account.summary()
    });
    if context.json {
        context.output.json(&summary)?;
    } else {
        summary
            .lines()
            .iter()
            .try_for_each(|line| context.output.line(line))?;
    }
    outcome.context("the import stopped; run the same command again to go on")?;
    anyhow::ensure!(state.finished, "interrupted; run the same command again to go on");
    Ok(())
}

/// The files that an import writes.
struct Paths {
    state: PathBuf,
    rejects: PathBuf,
}

impl Paths {
    fn choose(args: &Args, source: &Source, cluster: &str) -> anyhow::Result<Self> {
        let default_state = || {
            let stem = args.file.file_stem().unwrap_or_default().to_string_lossy();
            let cluster = last_digits(cluster);
            Path::new("data/imports").join(format!("{stem}-{}-{cluster}.json", source.short()))
        };
        let state = args.state.clone().unwrap_or_else(default_state);
        let rejects = args
            .rejects
            .clone()
            .unwrap_or_else(|| state.with_extension("rejects.csv"));
        let absolute = |path: &Path| {
            std::path::absolute(path)
                .with_context(|| format!("{:?} is no file name", path.display().to_string()))
        };
        let (orders, state_file, rejects_file) =
            (absolute(&args.file)?, absolute(&state)?, absolute(&rejects)?);
        anyhow::ensure!(
            orders != state_file && orders != rejects_file && state_file != rejects_file,
            "the order file, --state and --rejects must be three files"
        );
        Ok(Self { state, rejects })
    }
}

/// Shortens a cluster's id for a file name. The end is taken, because the beginning is the time of the id's
/// creation.
fn last_digits(cluster: &str) -> &str {
    cluster
        .len()
        .checked_sub(8)
        .and_then(|at| cluster.get(at..))
        .unwrap_or(cluster)
}

/// Keeps others from importing files of this source into this cluster until the returned file is dropped. Two
/// imports that do not see each other's operations would both do a document that both have.
fn take_turn(state: &Path, source: &Source, cluster: &str) -> anyhow::Result<File> {
    let folder = state
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let cluster = last_digits(cluster);
    let path = folder.join(format!("{}-{cluster}.lock", source.name()));
    let cannot = || format!("cannot write {}", path.display());
    std::fs::create_dir_all(folder).with_context(cannot)?;
    let file = File::create(&path).with_context(cannot)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => anyhow::bail!(
            "another import of the source {} is running; wait for its end, or name another source with --source",
            source.name()
        ),
        Err(TryLockError::Error(error)) => Err(error).with_context(cannot),
    }
}

/// Sources of what earlier imports did: the cluster's streams, and their archive.
struct Earlier<'a> {
    client: &'a Client,
    source: &'a Source,
    archive: Option<&'a Archive>,
}

impl Earlier<'_> {
    async fn scan(
        &self,
        from_seq: &BTreeMap<u32, u64>,
        positions: &v1::GetPositionsResponse,
    ) -> anyhow::Result<Applied> {
        scan(self.client, self.source, from_seq, positions, self.archive).await
    }
}

/// Returns the state to go on with, and the operations of earlier runs.
async fn begin(
    earlier: &Earlier<'_>,
    cluster: &str,
    options: &Options,
    path: &Path,
    output: Output,
) -> anyhow::Result<(State, Applied)> {
    let source = earlier.source;
    let known = State::load(path, source.file(), cluster, options)?;
    let positions = earlier.client.get_positions(v1::GetPositionsRequest {}).await?;
    let now_ms = now_ms()?;
    let (mut state, applied) = match known {
        Some(state) => {
            let applied = earlier.scan(&state.from_seq, &positions).await?;
            (state, applied)
        }
        None => {
            output.note("no state file: looking through the change stream for what earlier imports brought");
            let mut from_seq = BTreeMap::new();
            let applied = earlier.scan(&from_seq, &positions).await?;
            if applied.len() == 0 {
                from_seq = positions
                    .shards
                    .iter()
                    .map(|position| (position.shard, position.last_seq + 1))
                    .collect();
            }
            let epoch_ms = applied.latest_epoch_ms().unwrap_or(now_ms);
            (
                State::new(source.file(), cluster, options.clone(), epoch_ms, from_seq),
                applied,
            )
        }
    };
    let before = applied.count_of_this_file();
    if before > 0 {
        output.note(format!(
            "{before} operations of this file were applied by an earlier run"
        ));
    }
    if now_ms.saturating_sub(state.epoch_ms) > MAX_EPOCH_AGE_MS {
        // The change stream shows what took effect, and nothing that was sent so long ago is still under way.
        output.note("the earlier run is long ago: what it did not come to gets new operation ids");
        state.epoch_ms = now_ms;
    }
    state.finished = false;
    Ok((state, applied))
}

/// Runs the plan, shows its progress, saves the state at intervals, and stops when asked to.
async fn drive<T: Target>(
    run: &Run<'_, T>,
    state: &mut State,
    paths: &Paths,
    output: Output,
) -> anyhow::Result<()> {
    let progress = Progress::new(output, run.plan.steps.len() as u64);
    let mut show = tokio::time::interval(progress.interval());
    show.reset();
    let mut save = tokio::time::interval(SAVE_EVERY);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut work = pin!(run.run());
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = show.tick() => progress.show(run.with_book(|book| book.steps_done)),
            _ = save.tick() => {
                let refused = run.with_book(|book| book.refusals(run.rows));
                if refused != state.refused {
                    state.refused = refused;
                    state.save(&paths.state)?;
                }
            }
            _ = interrupt.recv() => stop(run, output)?,
            _ = terminate.recv() => stop(run, output)?,
        }
    }
}

/// Stops the run. The first call lets operations in flight finish; the second one returns an error, which
/// stops at once.
fn stop<T>(run: &Run<'_, T>, output: Output) -> anyhow::Result<()> {
    anyhow::ensure!(
        !run.stop.is_cancelled(),
        "stopped at once; the next run settles the operations in flight"
    );
    run.stop.cancel();
    output.note("stopping after the operations in flight; once more to stop at once");
    Ok(())
}

/// Makes a book that knows the refusals of earlier runs.
fn book_of(file: &OrderRows, state: &State) -> Book {
    let mut book = Book::new(file.rows.len());
    for (index, row) in file.rows.iter().enumerate() {
        if let Some(refused) = state.refused.get(&row.number) {
            book.refuse(index, refused.reason, refused.detail.clone());
        }
    }
    book
}

fn open(path: &Path) -> anyhow::Result<File> {
    let cannot = || format!("cannot read {}", path.display());
    let file = File::open(path).with_context(cannot)?;
    let metadata = file.metadata().with_context(cannot)?;
    anyhow::ensure!(
        !metadata.is_dir(),
        "{} is a folder, not a file of orders",
        path.display()
    );
    anyhow::ensure!(
        metadata.len() <= MAX_FILE_BYTES,
        "{} has {} bytes, at most {MAX_FILE_BYTES} are allowed; split it between two orders",
        path.display(),
        metadata.len()
    );
    Ok(file)
}

/// Reads the mapping in this file. Returns it with its hash; without a file, the plain mapping.
fn mapping(path: Option<&Path>) -> anyhow::Result<(Mapping, String)> {
    let Some(path) = path else {
        return Ok((Mapping::plain(), String::new()));
    };
    let mut text = String::new();
    // One byte more than the limit is read, so that a file that is too large is recognized and never read
    // whole.
    File::open(path)
        .and_then(|file| file.take(MAX_MAPPING_BYTES as u64 + 1).read_to_string(&mut text))
        .with_context(|| format!("cannot read the mapping {}", path.display()))?;
    let mapping = Mapping::parse(&text).with_context(|| format!("{} is no mapping", path.display()))?;
    let hash = format!("{:016x}", xxhash_rust::xxh3::xxh3_64(text.as_bytes()));
    Ok((mapping, hash))
}

/// A file that is hashed while it is read.
struct Hashed<R> {
    inner: R,
    hasher: Xxh3,
}

impl<R: Read> Hashed<R> {
    fn new(inner: R) -> Self {
        Self {
            inner,
            hasher: Xxh3::new(),
        }
    }

    /// Returns the hash of what was read.
    fn hash(&self) -> u128 {
        self.hasher.digest128()
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

/// Checks that every slot has a shard. Otherwise rows would be rejected because the topology is incomplete at
/// the moment.
fn check_whole(topology: &v1::GetTopologyResponse) -> anyhow::Result<()> {
    let owned: u64 = topology
        .shards
        .iter()
        .map(|shard| u64::from(shard.last_slot.saturating_sub(shard.first_slot)) + 1)
        .sum();
    anyhow::ensure!(
        topology.slots > 0 && owned == u64::from(topology.slots),
        "the cluster's topology is not whole: {owned} of {} slots have a shard",
        topology.slots
    );
    Ok(())
}

/// Returns this machine's time, which becomes the epoch of an import and part of every operation id.
fn now_ms() -> anyhow::Result<u64> {
    let since = clock::since_epoch().context("this machine's clock is before 1970")?;
    Ok(u64::try_from(since.as_millis())?)
}
