//! A check without any log: is there an order of what clients did to one stock that explains all their
//! answers, and in which nobody is answered before the request? It is Wing and Gong's search, which remembers
//! the states that it has visited.

use std::collections::{BTreeSet, HashSet};

/// An event of a stock: what somebody did, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StockEvent {
    /// Time of the request.
    pub invoked_at: u64,
    /// Time of the answer; none if it never came. Then the event may have happened at any time after the
    /// request, or not at all.
    pub answered_at: Option<u64>,
    /// Change of the free units.
    pub delta: i64,
    /// The free units that the answer reports.
    pub sees: Sees,
}

/// The statement of an answer about the free units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sees {
    /// The answer says nothing about them.
    Nothing,
    /// There were at least this many.
    AtLeast(i64),
    /// There were exactly this many.
    Exactly(i64),
}

/// Returns whether such an order exists, from an empty stock on. All effects add up, so the set of events
/// that have happened determines the state.
///
/// The time grows with the number of events, and doubles with each event that is under way at the same time
/// as another: give it one stock and a few clients at a time.
pub fn is_linearizable(events: &[StockEvent]) -> bool {
    let mut events: Vec<&StockEvent> = events.iter().collect();
    events.sort_by_key(|event| event.invoked_at);
    let mut seen: HashSet<(usize, BTreeSet<usize>)> = HashSet::new();
    // A state is (how many of the first events have happened, which of those have not, the free units). So an
    // event that is answered very late is one number, however many events have happened since its request.
    let mut open: Vec<(usize, BTreeSet<usize>, i64)> = vec![(0, BTreeSet::new(), 0)];
    while let Some((upto, left, free)) = open.pop() {
        let is_unanswered = |index: usize| events[index].answered_at.is_none();
        if left.iter().copied().chain(upto..events.len()).all(is_unanswered) {
            return true;
        }
        let mut pending = pending(&events, upto, &left);
        // The stack pops the last one first, so the event that was answered first is tried first. It is most
        // often the right one.
        pending.sort_by_key(|index| std::cmp::Reverse(events[*index].answered_at.unwrap_or(u64::MAX)));
        for index in pending {
            let event = events[index];
            let possible = match event.sees {
                Sees::Nothing => true,
                Sees::AtLeast(units) => free >= units,
                Sees::Exactly(units) => free == units,
            };
            if !possible {
                continue;
            }
            let mut left = left.clone();
            if !left.remove(&index) {
                left.extend(upto..index);
            }
            let upto = upto.max(index + 1);
            if seen.insert((upto, left.clone())) {
                open.push((upto, left, free + event.delta));
            }
        }
    }
    false
}

/// Returns the events that may happen next: those that were requested before the earliest answer that is
/// still to come.
fn pending(events: &[&StockEvent], upto: usize, left: &BTreeSet<usize>) -> Vec<usize> {
    let mut deadline = u64::MAX;
    let mut pending = Vec::new();
    for index in left.iter().copied().chain(upto..events.len()) {
        let event = events[index];
        if event.invoked_at > deadline {
            break;
        }
        deadline = deadline.min(event.answered_at.unwrap_or(u64::MAX));
        pending.push(index);
    }
    pending
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(invoked_at: u64, answered_at: Option<u64>, delta: i64, sees: Sees) -> StockEvent {
        StockEvent {
            invoked_at,
            answered_at,
            delta,
            sees,
        }
    }

    #[test]
    fn a_history_that_no_order_explains_is_found() {
        let stocked = event(0, Some(1), 5, Sees::Nothing);
        let sold = event(2, Some(9), -5, Sees::AtLeast(5));
        assert!(is_linearizable(&[stocked.clone(), sold.clone()]));
        let sold_again = event(3, Some(8), -1, Sees::AtLeast(1));
        assert!(
            !is_linearizable(&[stocked.clone(), sold.clone(), sold_again]),
            "oversold"
        );
        let seen_during = event(4, Some(5), 0, Sees::Exactly(5));
        assert!(
            is_linearizable(&[stocked.clone(), sold.clone(), seen_during]),
            "either side of the sale"
        );
        let seen_after = event(10, Some(11), 0, Sees::Exactly(5));
        assert!(
            !is_linearizable(&[stocked.clone(), sold, seen_after]),
            "a stale read"
        );
        let perhaps = event(2, None, -5, Sees::AtLeast(5));
        for left in [0, 5] {
            let seen = event(10, Some(11), 0, Sees::Exactly(left));
            assert!(
                is_linearizable(&[stocked.clone(), perhaps.clone(), seen]),
                "it happened or it did not"
            );
        }
        let back = event(12, Some(13), 0, Sees::Exactly(5));
        let gone = event(10, Some(11), 0, Sees::Exactly(0));
        assert!(
            !is_linearizable(&[stocked, perhaps, gone, back]),
            "it cannot be undone"
        );
    }

    #[test]
    fn a_long_history_with_one_answer_at_its_very_end_is_searched() {
        let mut events = vec![event(0, Some(1), 10_000, Sees::Nothing)];
        events.push(event(2, Some(1_000_000), -1, Sees::AtLeast(1)));
        let sales =
            (0..2_000_u64).map(|sale| event(10 + sale * 10, Some(25 + sale * 10), -1, Sees::AtLeast(1)));
        events.extend(sales);
        // The event without an answer so far happened before this one.
        events.push(event(30_000, Some(30_001), 0, Sees::Exactly(10_000 - 2_001)));
        assert!(is_linearizable(&events));
        events.push(event(30_002, Some(30_003), 0, Sees::Exactly(10_000 - 2_000)));
        assert!(!is_linearizable(&events), "it cannot be undone");
    }
}
