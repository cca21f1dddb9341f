//! The choice of the SKU that the next buyer wants.

use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use rand_distr::{Distribution as _, Zipf};

/// Number of SKUs in stock.
pub(crate) const SKUS: usize = 100_000;

/// The one SKU that is sold out.
pub(crate) const SOLD_OUT: usize = SKUS;

/// Inequality of demand: the exponent of the YCSB benchmark's default (Cooper et al., 2010).
const ZIPF_EXPONENT: f64 = 0.99;

/// The SKUs that buyers want.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Workload {
    /// Everyone wants the same SKU.
    Hot,
    /// Each wants one of [`SKUS`], some of them far more often than others.
    Spread,
    /// Everyone wants the same SKU, and it is sold out.
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

/// A chooser of SKUs for one caller. The same caller makes the same choices in every run.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(workload: Workload, caller: usize) -> Vec<usize> {
        let mut chooser = Chooser::new(workload, caller).unwrap();
        (0..20_000).map(|_| chooser.next_sku()).collect()
    }

    #[test]
    fn one_hot_sku_and_one_that_is_sold_out() {
        assert!(chosen(Workload::Hot, 1).iter().all(|sku| *sku == 0));
        assert!(chosen(Workload::SoldOut, 1).iter().all(|sku| *sku == SOLD_OUT));
    }

    #[test]
    fn some_skus_are_wanted_far_more_often_than_others() {
        let mut chosen = chosen(Workload::Spread, 1);
        assert!(chosen.iter().all(|sku| *sku < SKUS));
        let share =
            |below: usize| chosen.iter().filter(|sku| **sku < below).count() as f64 / chosen.len() as f64;
        // The first of 100,000 by Zipf's law with this exponent: 1 / (1 + 1/2^0.99 + 1/3^0.99 + ...) = 7.8 %;
        // the first hundred: 41 %.
        assert!((0.065..0.09).contains(&share(1)), "{}", share(1));
        assert!((0.38..0.44).contains(&share(100)), "{}", share(100));
        chosen.sort_unstable();
        chosen.dedup();
        assert!(chosen.len() > 5_000, "only {} SKUs", chosen.len());
    }

    #[test]
    fn a_caller_wants_the_same_in_every_run_and_others_want_others() {
        assert_eq!(chosen(Workload::Spread, 3), chosen(Workload::Spread, 3));
        assert_ne!(chosen(Workload::Spread, 3), chosen(Workload::Spread, 4));
    }
}
