//! Arguments of `holdfast import orders`, and the options of the engine that follow from them.

use std::path::PathBuf;

use clap::ValueEnum;
use holdfast_feeds::import::{ImportFiles, ImportOptions, InitialStock};

/// Arguments of `holdfast import orders`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  holdfast import orders orders.csv
  holdfast import orders orders.csv --mapping docs/mappings/shopify-orders.toml
  holdfast import orders orders.csv --initial-stock share:0.8 --mode best-effort
  holdfast import orders orders.csv --warehouses UK-1,UK-2 --rejects rejected.csv --json
  holdfast import orders today.csv --source shop-eu --initial-stock none

Interrupted? Run the same command again and it goes on. Run it once more and it changes nothing.
An order that another file of the same source brought before is not done again.
What becomes of each kind of row is told in docs/import-orders.md.")]
pub(crate) struct Args {
    /// The rows of orders, as CSV with a header
    #[arg(value_name = "FILE.csv")]
    pub(super) file: PathBuf,
    /// Mapping of the file: how it is written and what its rows mean, described in docs/import-orders.md;
    /// without it, columns named InvoiceNo,StockCode,Quantity,InvoiceDate,UnitPrice,CustomerID
    #[arg(long, value_name = "MAPPING.toml")]
    pub(super) mapping: Option<PathBuf>,
    /// Name of the shop or feed; a document's number means the same order in all files of one source
    #[arg(long, value_name = "NAME", default_value = "orders")]
    pub(super) source: String,
    /// Stock before the first order: enough, share:F (F from 0 to 1, of what the file needs), or none
    #[arg(long, value_name = "HOW", default_value = "enough")]
    pub(super) initial_stock: InitialStock,
    /// Behaviour when there is not enough stock for an order
    #[arg(long, value_enum, default_value_t = Mode::AllOrNothing)]
    pub(super) mode: Mode,
    /// Warehouses that orders are dealt out to by their numbers, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "UK-1")]
    pub(super) warehouses: Vec<String>,
    /// The storefront that sells
    #[arg(long, value_name = "NAME", default_value = "online")]
    pub(super) storefront: String,
    /// More stock codes that are not goods, separated by commas
    #[arg(long, value_name = "CODES", value_delimiter = ',')]
    pub(super) not_stock: Vec<String>,
    /// Archive of changes (Parquet), for changes that the nodes no longer have: a folder, file:///folder or
    /// s3://bucket/prefix
    #[arg(long, value_name = "URL|FOLDER")]
    pub(super) archive: Option<String>,
    /// Where to keep what a resumed import needs [default: ./data/imports/FILE-HASH-CLUSTER.json]
    #[arg(long, value_name = "FILE")]
    pub(super) state: Option<PathBuf>,
    /// Where to write the rejected rows [default: beside the state file]
    #[arg(long, value_name = "FILE")]
    pub(super) rejects: Option<PathBuf>,
}

/// Behaviour when there is not enough stock for an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Mode {
    /// Refuse the whole reservation
    AllOrNothing,
    /// Fill as much of each line as there is
    BestEffort,
}

impl Args {
    /// Returns the options of the import. The engine checks them.
    pub(super) fn options(&self) -> ImportOptions {
        ImportOptions {
            source: self.source.clone(),
            initial_stock: self.initial_stock,
            best_effort: self.mode == Mode::BestEffort,
            warehouses: self.warehouses.clone(),
            storefront: self.storefront.clone(),
            not_stock: self.not_stock.clone(),
        }
    }

    /// Returns the files that the import writes.
    pub(super) fn files(&self) -> ImportFiles {
        ImportFiles {
            state: self.state.clone(),
            rejects: self.rejects.clone(),
        }
    }
}
