//! The budget of bytes that callers may have in a node, and may send a second in large messages. It has a
//! limit for all callers together, for each caller, and for each connection.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use holdfast_ledger::Principal;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::pace::{Pace, TooFast};

/// The divisor of a caller's limit: one caller may have at most the total divided by this.
pub(crate) const CALLER_PART: usize = 2;
/// The divisor of a connection's limit: one connection may have at most the total divided by this.
pub(crate) const CONNECTION_PART: usize = 4;

/// A caller with a limit of its own: a principal, or an address when there is no certificate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Party {
    /// A caller that its certificate names.
    Principal(Principal),
    /// All callers without a certificate at one address.
    Address(IpAddr),
}

/// The limit that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Exhausted {
    /// The limit of the connection.
    #[error("this connection has as many bytes in the node as one connection may have")]
    Connection,
    /// The limit of the caller.
    #[error("this caller has as many bytes in the node as one caller may have")]
    Caller,
    /// The limit of all callers together.
    #[error("the callers have as many bytes in the node as all of them may have")]
    Node,
}

impl Exhausted {
    /// Returns the limit's word in the label of a metric.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Connection => "connection_bytes",
            Self::Caller => "caller_bytes",
            Self::Node => "node_bytes",
        }
    }
}

/// A number of bytes, with a limit.
#[derive(Debug)]
struct Account {
    limit: usize,
    taken: AtomicUsize,
}

impl Account {
    fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            taken: AtomicUsize::new(0),
        })
    }

    fn take(&self, bytes: usize) -> bool {
        let more = |taken: usize| taken.checked_add(bytes).filter(|sum| *sum <= self.limit);
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.taken.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The limits that all callers of a node share, or all connections of one caller.
#[derive(Debug)]
struct SharedLimits {
    bytes: Arc<Account>,
    large: Pace,
}

impl SharedLimits {
    fn new(bytes: usize, large_bytes_per_second: u64) -> Arc<Self> {
        Arc::new(Self {
            bytes: Account::new(bytes),
            large: Pace::new(large_bytes_per_second),
        })
    }
}

/// The budget of all callers of a node.
pub(crate) struct Budget {
    node: Arc<SharedLimits>,
    large_bytes_per_second: u64,
    parties: Mutex<BTreeMap<Party, Weak<SharedLimits>>>,
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

impl Budget {
    /// Returns a budget of so many bytes in total, and so many bytes a second in large messages.
    pub(crate) fn new(bytes: usize, large_bytes_per_second: u64) -> Self {
        Self {
            node: SharedLimits::new(bytes, large_bytes_per_second),
            large_bytes_per_second,
            parties: Mutex::default(),
        }
    }

    /// Returns how many bytes are taken.
    pub(crate) fn taken(&self) -> usize {
        self.node.bytes.taken.load(Ordering::Relaxed)
    }

    /// Returns the share of a new connection.
    pub(crate) fn connection(&self, party: Party) -> Share {
        let mut parties = self.parties.lock();
        let known = parties.get(&party).and_then(Weak::upgrade);
        let caller = known.unwrap_or_else(|| {
            // Callers without a connection have taken nothing, so they are forgotten.
            parties.retain(|_, limits| limits.strong_count() > 0);
            let limits = SharedLimits::new(
                self.node.bytes.limit / CALLER_PART,
                self.large_bytes_per_second / CALLER_PART as u64,
            );
            parties.insert(party, Arc::downgrade(&limits));
            limits
        });
        Share {
            connection: Account::new(self.node.bytes.limit / CONNECTION_PART),
            caller,
            node: Arc::clone(&self.node),
        }
    }
}

/// The share of one connection in the budget.
#[derive(Debug, Clone)]
pub(crate) struct Share {
    connection: Arc<Account>,
    caller: Arc<SharedLimits>,
    node: Arc<SharedLimits>,
}

impl Share {
    fn take(&self, bytes: usize) -> Result<(), Exhausted> {
        if !self.connection.take(bytes) {
            return Err(Exhausted::Connection);
        }
        if !self.caller.bytes.take(bytes) {
            self.connection.give_back(bytes);
            return Err(Exhausted::Caller);
        }
        if !self.node.bytes.take(bytes) {
            self.connection.give_back(bytes);
            self.caller.bytes.give_back(bytes);
            return Err(Exhausted::Node);
        }
        Ok(())
    }

    /// Returns the moment when these bytes of a large message may be processed.
    pub(super) fn pace(&self, bytes: usize) -> Result<Instant, TooFast> {
        let now = Instant::now();
        // The caller's own pace comes first: bytes that it sends too fast take nothing from the pace of all.
        let of_the_caller = self.caller.large.take(bytes, now)?;
        let of_all = self.node.large.take(bytes, now)?;
        Ok(of_the_caller.max(of_all))
    }

    /// Takes bytes until the charge is dropped.
    ///
    /// # Errors
    /// [`Exhausted`] names the limit; nothing is taken.
    pub(crate) fn charge(&self, bytes: usize) -> Result<Charge, Exhausted> {
        self.take(bytes)?;
        Ok(Charge {
            share: self.clone(),
            bytes,
        })
    }
}

/// A number of bytes that are taken until this is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    share: Share,
    bytes: usize,
}

impl Charge {
    /// Sets the number of bytes, by taking more or by giving some back.
    ///
    /// # Errors
    /// [`Exhausted`] names the limit; the number stays as it was.
    pub(crate) fn set(&mut self, bytes: usize) -> Result<(), Exhausted> {
        if bytes > self.bytes {
            self.share.take(bytes - self.bytes)?;
        } else {
            self.give_back(self.bytes - bytes);
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Adds another charge of the same connection to this one.
    pub(crate) fn merge(&mut self, mut other: Self) {
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Moves all bytes into a new charge.
    pub(crate) fn split_off(&mut self) -> Self {
        Self {
            share: self.share.clone(),
            bytes: std::mem::take(&mut self.bytes),
        }
    }

    fn give_back(&self, bytes: usize) {
        self.share.connection.give_back(bytes);
        self.share.caller.bytes.give_back(bytes);
        self.share.node.bytes.give_back(bytes);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn party(name: &str) -> Party {
        Party::Principal(Principal::new(name).unwrap())
    }

    #[test]
    fn a_connection_a_caller_and_all_callers_have_their_limits_and_get_back_what_is_dropped() {
        let budget = Budget::new(1_000, 1_000);
        let (one, two, three) = (
            budget.connection(party("greedy")),
            budget.connection(party("greedy")),
            budget.connection(party("greedy")),
        );
        let first = one.charge(250).unwrap();
        assert_eq!(one.charge(1).unwrap_err(), Exhausted::Connection);
        let _second = two.charge(250).unwrap();
        assert_eq!(three.charge(1).unwrap_err(), Exhausted::Caller);
        let modest = budget.connection(party("modest"));
        let _third = modest.charge(250).unwrap();
        let mut fourth = budget.connection(party("modest")).charge(250).unwrap();
        let late = budget.connection(party("late"));
        assert_eq!(late.charge(1).unwrap_err(), Exhausted::Node);
        fourth.set(200).unwrap();
        assert_eq!(late.charge(51).unwrap_err(), Exhausted::Node);
        assert_eq!(budget.taken(), 950);
        drop(late.charge(50).unwrap());
        drop(first);
        assert_eq!(budget.taken(), 700);
        one.charge(250).unwrap();
    }

    #[test]
    fn charges_are_moved_and_merged_without_being_counted_twice() {
        let budget = Budget::new(1_000, 1_000);
        let share = budget.connection(party("one"));
        let mut kept = share.charge(100).unwrap();
        let mut other = share.charge(50).unwrap();
        kept.merge(other.split_off());
        drop(other);
        assert_eq!(budget.taken(), 150);
        drop(kept);
        assert_eq!(budget.taken(), 0);
    }

    #[test]
    fn callers_without_a_connection_are_forgotten() {
        let budget = Budget::new(1_000, 1_000);
        for number in 0..100 {
            drop(budget.connection(party(&number.to_string())));
        }
        assert!(budget.parties.lock().len() <= 1);
    }
}
