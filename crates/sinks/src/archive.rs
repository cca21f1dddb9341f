//! An archive of changes as a sink: files that are written once and named by a chained manifest.
//!
//! The files and their proof are in [`holdfast_changes::archive`]. The position of a shard is its last
//! manifest entry, which is written after its file. Two runners cut the same files, so they do no harm.

use std::error::Error as _;
use std::io::ErrorKind;
use std::time::Duration;

use async_trait::async_trait;
use holdfast_api::v1::{Change, GetPositionsRequest};
use holdfast_changes::archive::{self, Archive, ArchiveError, Cut, Format, Head, spans, whole_place};
use holdfast_lake::{PutError, ReadError};
use serde::Deserialize;
use tokio::time::Instant;

use crate::runner::Cluster;
use crate::settings::SettingError;
use crate::sink::{Position, Sink, SinkError, Writer};

/// Where an archive is, and how its files are cut.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchiveConfig {
    /// A folder's whole path, `file:///folder`, or `s3://bucket/prefix`. Credentials, region and endpoint of
    /// S3 come from the usual `AWS_*` variables.
    pub place: String,
    /// Locks each file for this many days from its last log time on. The bucket must have object lock.
    #[serde(default)]
    pub lock_days: Option<u32>,
    /// The rows at which a file is closed, 1 to 10,000,000.
    #[serde(default = "default_rows")]
    pub rows_per_file: usize,
    /// The log time after which a file is closed.
    #[serde(default = "default_period", deserialize_with = "crate::settings::time")]
    pub period: Duration,
    /// The longest that a change waits for its file while the stream stands still.
    #[serde(default = "default_max_wait", deserialize_with = "crate::settings::time")]
    pub max_wait: Duration,
}

fn default_rows() -> usize {
    Cut::default().rows
}

fn default_period() -> Duration {
    Cut::default().period
}

fn default_max_wait() -> Duration {
    Cut::default().max_wait
}

/// The archive of a cluster.
#[derive(Debug, Clone)]
pub struct ArchiveSink {
    place: String,
    archive: Archive,
    cut: Cut,
    cluster: Cluster,
}

impl ArchiveSink {
    /// Opens the place. A missing folder is made.
    ///
    /// # Errors
    /// [`SettingError`]: the place or another setting cannot be used.
    pub fn new(name: &str, config: &ArchiveConfig, cluster: Cluster) -> Result<Self, SettingError> {
        let wrong = |reason: String| SettingError::Sink {
            sink: name.to_owned(),
            reason,
        };
        if !(1..=10_000_000).contains(&config.rows_per_file) {
            return Err(wrong("rows_per_file must be 1 to 10,000,000".to_owned()));
        }
        let mut archive =
            Archive::open(&config.place, Format::Parquet).map_err(|error| wrong(error.to_string()))?;
        if let Some(days) = config.lock_days {
            archive = archive
                .with_lock(days)
                .map_err(|error| wrong(error.to_string()))?;
        }
        Ok(Self {
            place: whole_place(&config.place).map_err(|error| wrong(error.to_string()))?,
            archive,
            cut: Cut {
                rows: config.rows_per_file,
                period: config.period,
                max_wait: config.max_wait,
            },
            cluster,
        })
    }

    fn fault(&self, error: ArchiveError) -> SinkError {
        fault(&self.place, error)
    }
}

#[async_trait]
impl Sink for ArchiveSink {
    fn location(&self) -> Option<String> {
        Some(self.place.clone())
    }

    async fn position(&self, shard: u32) -> Result<Position, SinkError> {
        let last = self.archive.last_entry(shard).await;
        let last = last.map_err(|error| self.fault(error))?;
        Ok(position(last.map(|(_, head)| head).as_ref()))
    }

    async fn open(&self, shard: u32) -> Result<Box<dyn Writer>, SinkError> {
        let ends = self.cluster.client.get_positions(GetPositionsRequest {}).await?;
        let belongs = self
            .archive
            .belong_to(self.cluster.cluster_id, &spans(&ends.shards))
            .await;
        belongs.map_err(|error| self.fault(error))?;
        let writer = self.archive.writer(shard, self.cut).await;
        let writer = writer.map_err(|error| self.fault(error))?;
        Ok(Box::new(ArchiveWriter {
            place: self.place.clone(),
            opened_at: position(writer.head()),
            writer,
        }))
    }
}

struct ArchiveWriter {
    place: String,
    writer: archive::Writer,
    opened_at: Position,
}

/// Returns the position after the last manifest entry.
fn position(head: Option<&Head>) -> Position {
    head.map_or_else(Position::default, |head| Position {
        through_seq: head.last_seq,
        log_time_ms: head.last_log_time_ms,
    })
}

#[async_trait]
impl Writer for ArchiveWriter {
    fn opened_at(&self) -> Position {
        self.opened_at
    }

    async fn write(&mut self, changes: &[Change]) -> Result<(), SinkError> {
        let written = self.writer.push(changes.to_vec()).await;
        written.map_err(|error| fault(&self.place, error))
    }

    async fn settle(&mut self) -> Result<Position, SinkError> {
        if self.writer.due().is_some_and(|due| due <= Instant::now()) {
            return self.finish().await;
        }
        Ok(position(self.writer.head()))
    }

    async fn finish(&mut self) -> Result<Position, SinkError> {
        self.writer
            .flush()
            .await
            .map_err(|error| fault(&self.place, error))?;
        Ok(position(self.writer.head()))
    }
}

/// Turns an error of an archive into what the runner does about it.
fn fault(place: &str, error: ArchiveError) -> SinkError {
    let what = format!("archive {place}: {error}");
    let advice = match &error {
        ArchiveError::Put(PutError::Store(source)) | ArchiveError::Read(ReadError::Store(source)) => {
            match of_store(source) {
                Some(advice) => advice,
                None => {
                    return SinkError::Unavailable {
                        what,
                        retry_after_ms: 0,
                    };
                }
            }
        }
        ArchiveError::Sequence(_) => "this is a defect of the cluster: report it",
        ArchiveError::Put(PutError::NoLock { .. }) => {
            "choose a bucket with object lock, or leave lock_days out"
        }
        _ => "nothing was written; see docs/archive.md",
    };
    SinkError::Refused {
        what,
        advice: advice.to_owned(),
    }
}

/// Returns what a person must do about an error of an object store, or None for one that passes by itself.
fn of_store(error: &object_store::Error) -> Option<&'static str> {
    match error {
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
            Some("give credentials that may list, read and write there")
        }
        object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. } => {
            Some("the store cannot do what an archive needs: it must put a file only where there is none")
        }
        error => match io_kind(error)? {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Some("the disk is full: make room"),
            ErrorKind::PermissionDenied => {
                Some("this process may not write there: change the owner or the mode of the folder")
            }
            ErrorKind::ReadOnlyFilesystem => Some("the file system is read-only"),
            _ => None,
        },
    }
}

/// Returns the kind of the file system's error that is behind an error, if there is one.
fn io_kind(error: &object_store::Error) -> Option<ErrorKind> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return Some(error.kind());
        }
        cause = error.source();
    }
    None
}
