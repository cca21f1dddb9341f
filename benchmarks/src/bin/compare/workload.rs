//! Which SKU the next buyer wants.

use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use rand_distr::{Distribution as _, Zipf};

/// How many SKUs are in stock.
pub(crate) const SKUS: usize = 100_000;

/// The one SKU that nobody has any more.
pub(crate) const SOLD_OUT: usize = SKUS;

/// How unequal demand is: the exponent of the YCSB benchmark's default (Cooper et al., 2010).
const ZIPF_EXPONENT: f64 = 0.99;

/// What buyers want.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Workload {
    /// All the same SKU.
    Hot,
    /// One of [`SKUS`], some far more often than others.
    Spread,
    /// All the same SKU, of which there is none.
    SoldOut,
}

impl Workload {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hot => "one hot SKU",
            Self::Spread => "100K SKUs, zipf",
            Self::SoldOut => "sold out",
        }
    }
}

/// Chooses for one caller; the same caller chooses the same in every run.
pub(crate) struct Chooser {
    workload: Workload,
    random: SmallRng,
    zipf: Zipf<f64>,
}

impl Chooser {
    pub(crate) fn new(workload: Workload, caller: usize) -> anyhow::Result<Self> {
        Ok(Self {
            workload,
            random: SmallRng::seed_from_u64(caller as u64),
            zipf: Zipf::new(SKUS as f64, ZIPF_EXPONENT)?,
        })
    }

    pub(crate) fn next_sku(&mut self) -> usize {
        match self.workload {
            Workload::Hot => 0,
            Workload::SoldOut => SOLD_OUT,
            // Ranks begin with 1.
            Workload::Spread => (self.zipf.sample(&mut self.random) as usize - 1).min(SKUS - 1),
        }
    }
}
