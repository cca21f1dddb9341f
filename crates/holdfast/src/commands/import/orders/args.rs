//! Arguments of `holdfast import orders`, and the options that follow from them.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use clap::ValueEnum;
use holdfast_api::names::{StorefrontId, WarehouseId};

use super::initial_stock::InitialStock;
use super::plan::PlanOptions;
use super::state::Options;

/// Most warehouses that orders can be dealt out to. Every line of an order names all of them.
const MAX_WAREHOUSES: usize = 16;

/// Length of a source's name in bytes. The name is part of a file's name.
const SOURCE_LENGTH: RangeInclusive<usize> = 1..=64;

fn is_source_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b".-_".contains(&byte)
}

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
    /// Returns the options that an import keeps from its first run to its last. `mapping` is the mapping's
    /// hash.
    ///
    /// # Errors
    /// When a name is not valid.
    pub(super) fn options(&self, mapping: &str) -> anyhow::Result<Options> {
        let count = self.warehouses.len();
        anyhow::ensure!(
            count <= MAX_WAREHOUSES,
            "{count} warehouses, at most {MAX_WAREHOUSES} are allowed"
        );
        for (index, name) in self.warehouses.iter().enumerate() {
            WarehouseId::new(name.as_str())?;
            anyhow::ensure!(
                !self.warehouses[..index].contains(name),
                "warehouse {name} is named twice"
            );
        }
        StorefrontId::new(self.storefront.as_str())?;
        anyhow::ensure!(
            SOURCE_LENGTH.contains(&self.source.len()) && self.source.bytes().all(is_source_byte),
            "--source is {:?}; it has 1 to {} letters, digits, dots, hyphens or underscores",
            self.source,
            SOURCE_LENGTH.end()
        );
        let mut not_stock: Vec<String> = self
            .not_stock
            .iter()
            .map(|code| code.trim().to_ascii_uppercase())
            .collect();
        not_stock.sort();
        not_stock.dedup();
        let mode = match self.mode {
            Mode::AllOrNothing => "all-or-nothing",
            Mode::BestEffort => "best-effort",
        };
        Ok(Options {
            initial_stock: self.initial_stock.to_string(),
            mode: mode.to_owned(),
            warehouses: self.warehouses.clone(),
            storefront: self.storefront.clone(),
            source: self.source.clone(),
            not_stock,
            mapping: mapping.to_owned(),
        })
    }

    /// Returns the options that shape the plan.
    pub(super) fn plan_options(&self, options: &Options) -> PlanOptions {
        PlanOptions {
            warehouses: options.warehouses.len(),
            initial_stock: self.initial_stock,
        }
    }
}

impl FromStr for InitialStock {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "enough" => Ok(Self::Enough),
            None if text == "none" => Ok(Self::None),
            Some(("share", share)) => match share.parse::<f64>() {
                Ok(share) if (0.0..=1.0).contains(&share) => Ok(Self::Share(share)),
                _ => Err("the share must be a number from 0 to 1, as in share:0.8".to_owned()),
            },
            _ => Err("say enough, share:F (such as share:0.8) or none".to_owned()),
        }
    }
}

impl std::fmt::Display for InitialStock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Enough => f.write_str("enough"),
            Self::Share(share) => write!(f, "share:{share}"),
            Self::None => f.write_str("none"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn initial_stock_is_read_as_it_is_written() {
        for text in ["enough", "none", "share:0.8", "share:0", "share:1"] {
            assert_eq!(text.parse::<InitialStock>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "lots",
            "share",
            "share:",
            "share:1.01",
            "share:-0.1",
            "share:NaN",
            "enough:1",
        ] {
            assert!(text.parse::<InitialStock>().is_err(), "{text}");
        }
    }
}
