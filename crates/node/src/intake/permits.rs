//! Permits for calls that may last long. All callers together have a fixed number, and each caller at most
//! half of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_api::reasons;
use holdfast_api::v1::{Reason, Refusal};
use parking_lot::Mutex;

use super::budget::Party;

/// The pause that a refused caller is asked to make, in milliseconds. A place may be free after it.
const RETRY_AFTER_MS: u64 = 1_000;

/// The places of a node. Cheap to clone; all clones share the same places.
#[derive(Debug, Clone)]
pub(crate) struct Permits {
    /// The plural name of the calls that need these places, for messages.
    what: &'static str,
    limit: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_party: BTreeMap<Party, usize>,
}

impl Permits {
    /// Returns `limit` free places for calls of this kind.
    pub(crate) fn new(what: &'static str, limit: usize) -> Self {
        Self {
            what,
            limit,
            taken: Arc::default(),
        }
    }

    /// Returns how many places one caller may have.
    fn of_one(&self) -> usize {
        self.limit.div_ceil(2)
    }

    /// Takes a place until the returned value is dropped.
    ///
    /// # Errors
    /// All places are taken, or all that this caller may have.
    pub(crate) fn take(&self, party: Party) -> Result<Permit, Refusal> {
        let mut taken = self.taken.lock();
        let own = taken.by_party.get(&party).copied().unwrap_or_default();
        let message = if taken.all >= self.limit {
            format!(
                "this node already serves {} {}, which is its limit: try again later, or ask another node",
                self.limit, self.what
            )
        } else if own >= self.of_one() {
            format!(
                "this node already serves {} {} of this caller, which is its limit: end some first, or ask another node",
                self.of_one(),
                self.what
            )
        } else {
            taken.all += 1;
            taken.by_party.insert(party.clone(), own + 1);
            return Ok(Permit {
                places: self.clone(),
                party,
            });
        };
        Err(Refusal {
            retry_after_ms: RETRY_AFTER_MS,
            ..reasons::refusal(Reason::Overloaded, message)
        })
    }
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    places: Permits,
    party: Party,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock();
        taken.all -= 1;
        if let Some(own) = taken.by_party.get_mut(&self.party) {
            *own -= 1;
            if *own == 0 {
                taken.by_party.remove(&self.party);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use holdfast_ledger::Principal;

    use super::*;

    #[test]
    fn one_caller_has_at_most_half_of_the_places_and_a_dropped_one_is_free_again() {
        let places = Permits::new("streams", 4);
        let party = |name| Party::Principal(Principal::new(name).unwrap());
        let first = places.take(party("greedy")).unwrap();
        let _second = places.take(party("greedy")).unwrap();
        let refusal = places.take(party("greedy")).unwrap_err();
        assert_eq!(refusal.reason(), Reason::Overloaded);
        assert!(refusal.message.contains("of this caller"), "{}", refusal.message);
        let _others = (
            places.take(party("one")).unwrap(),
            places.take(party("two")).unwrap(),
        );
        assert!(places.take(party("three")).is_err());
        drop(first);
        places.take(party("three")).unwrap();
        assert_eq!(places.taken.lock().by_party.len(), 3);
    }
}
