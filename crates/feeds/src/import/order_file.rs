//! The file of orders that is imported, read whole.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::Instant;

use xxhash_rust::xxh3::Xxh3;

use super::identity::Source;
use super::options::{ImportOptions, OptionsError};
use super::state::KeptOptions;
use crate::read::{FeedError, MAX_MAPPING_BYTES, Mapping, MappingError, OrderRows, read_orders};

/// Largest file that is taken, in bytes: the content of its rows is kept in memory.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// The reason why a file cannot be imported. The cluster was not asked.
#[derive(Debug, thiserror::Error)]
pub enum OrderFileError {
    /// The mapping cannot be read.
    #[error("cannot read the mapping {}", path.display())]
    UnreadableMapping {
        /// Path of the mapping.
        path: PathBuf,
        /// The fault of the file system.
        source: io::Error,
    },
    /// The file of the mapping is none.
    #[error("{} is no mapping", path.display())]
    NoMapping {
        /// Path of the mapping.
        path: PathBuf,
        /// The fault of the text.
        source: MappingError,
    },
    /// An option is not valid.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The file cannot be opened.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// Path of the file.
        path: PathBuf,
        /// The fault of the file system.
        source: io::Error,
    },
    /// The file is a folder.
    #[error("{} is a folder, not a file of orders", path.display())]
    IsFolder {
        /// Path of the folder.
        path: PathBuf,
    },
    /// The file is larger than the memory for its rows may be.
    #[error(
        "{} has {bytes} bytes, at most {MAX_FILE_BYTES} are allowed; split it between two orders",
        path.display()
    )]
    TooLarge {
        /// Path of the file.
        path: PathBuf,
        /// Size of the file in bytes.
        bytes: u64,
    },
    /// The content is not a table of orders.
    #[error("cannot import {}, and nothing of it was", path.display())]
    NoOrders {
        /// Path of the file.
        path: PathBuf,
        /// The fault of the content.
        source: FeedError,
    },
}

/// A file of orders that was read whole, with the options for its import.
#[derive(Debug)]
pub struct OrderFile {
    pub(super) path: PathBuf,
    pub(super) rows: OrderRows,
    pub(super) source: Source,
    pub(super) options: ImportOptions,
    /// The options as the state file keeps them.
    pub(super) kept: KeptOptions,
    /// The moment at which the work began.
    pub(super) began: Instant,
}

impl OrderFile {
    /// Reads a file as a mapping file describes it. Without a mapping file, it is read by the plain mapping.
    ///
    /// # Errors
    /// When one of the files cannot be read or is not of its kind, or when an option is not valid.
    pub fn read(path: &Path, mapping: Option<&Path>, options: ImportOptions) -> Result<Self, OrderFileError> {
        let began = Instant::now();
        let (mapping, mapping_hash) = read_mapping(mapping)?;
        let kept = options.kept(&mapping_hash)?;
        let mapping = mapping.without_stock(&kept.not_stock);
        let mut content = Hashed::new(open(path)?);
        let rows = read_orders(BufReader::new(&mut content), &mapping).map_err(|source| {
            OrderFileError::NoOrders {
                path: path.to_owned(),
                source,
            }
        })?;
        Ok(Self {
            path: path.to_owned(),
            rows,
            source: Source::of_hash(&options.source, content.hash()),
            options,
            kept,
            began,
        })
    }
}

fn open(path: &Path) -> Result<File, OrderFileError> {
    let cannot = |source| OrderFileError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(cannot)?;
    let metadata = file.metadata().map_err(cannot)?;
    let (path, bytes) = (path.to_owned(), metadata.len());
    if metadata.is_dir() {
        return Err(OrderFileError::IsFolder { path });
    }
    if bytes > MAX_FILE_BYTES {
        return Err(OrderFileError::TooLarge { path, bytes });
    }
    Ok(file)
}

/// Reads the mapping in this file. Returns it with its hash; without a file, the plain mapping.
fn read_mapping(path: Option<&Path>) -> Result<(Mapping, String), OrderFileError> {
    let Some(path) = path else {
        return Ok((Mapping::plain(), String::new()));
    };
    let mut text = String::new();
    // One byte more than the limit is read, so that a file that is too large is recognized and never read
    // whole.
    File::open(path)
        .and_then(|file| file.take(MAX_MAPPING_BYTES as u64 + 1).read_to_string(&mut text))
        .map_err(|source| OrderFileError::UnreadableMapping {
            path: path.to_owned(),
            source,
        })?;
    let mapping = Mapping::parse(&text).map_err(|source| OrderFileError::NoMapping {
        path: path.to_owned(),
        source,
    })?;
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
