//! Offset tokens: how far a channel is, as a text that Snowflake keeps for us.
//!
//! `0003:00000000000000000042` is change 42 of shard 3. Both numbers are padded, so that tokens sort as texts
//! as they do as numbers. `0003:00000000000000000042+00012` is the same change when it is the twelfth of an
//! entry that goes on: an entry that is too large for one request is sent in several. Readers of the stream
//! take whole entries only, so they begin with change 31 again, and the writer leaves out the twelve.

use std::fmt;

/// A change of a shard, and how many rows of an unfinished entry it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offset {
    pub(super) shard: u32,
    pub(super) seq: u64,
    /// The changes of the unfinished entry up to this one; 0 when the entry is whole.
    pub(super) unfinished: u32,
}

impl Offset {
    /// Returns the last change of the last whole entry.
    pub(super) fn whole_through(self) -> u64 {
        self.seq.saturating_sub(u64::from(self.unfinished))
    }

    /// Reads a token; `None` when it is not one of ours.
    pub(super) fn parse(token: &str) -> Option<Self> {
        let (shard, rest) = token.split_once(':')?;
        let (seq, unfinished) = match rest.split_once('+') {
            Some((seq, unfinished)) => (seq, Some(unfinished)),
            None => (rest, None),
        };
        let offset = Self {
            shard: shard.parse().ok()?,
            seq: seq.parse().ok()?,
            unfinished: unfinished.map_or(Some(0), |text| text.parse().ok())?,
        };
        // Only the text that we write is ours: no sign, no other padding.
        (offset.to_string() == token && u64::from(offset.unfinished) <= offset.seq).then_some(offset)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:04}:{:020}", self.shard, self.seq)?;
        if self.unfinished > 0 {
            write!(out, "+{:05}", self.unfinished)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn offset(shard: u32, seq: u64, unfinished: u32) -> Offset {
        Offset {
            shard,
            seq,
            unfinished,
        }
    }

    #[test]
    fn a_token_names_shard_and_change() {
        assert_eq!(offset(3, 42, 0).to_string(), "0003:00000000000000000042");
        assert_eq!(offset(3, 42, 12).to_string(), "0003:00000000000000000042+00012");
        assert_eq!(offset(3, 42, 12).whole_through(), 30);
    }

    #[test]
    fn what_we_did_not_write_is_not_a_token() {
        for token in [
            "",
            "42",
            "3:42",
            "0003:42",
            "0003:+0000000000000000042",
            "0003:00000000000000000042+",
            "0003:00000000000000000042+00000",
            "0003:00000000000000000001+00002",
            "0003:99999999999999999999",
        ] {
            assert_eq!(Offset::parse(token), None, "{token}");
        }
    }

    proptest! {
        #[test]
        fn tokens_sort_as_their_changes_do(a in 1u64.., b in 1u64.., unfinished in 0u32..9) {
            let (x, y) = (offset(3, a, unfinished.min(a as u32)), offset(3, b, 0));
            prop_assert_eq!(Offset::parse(&x.to_string()), Some(x));
            if a != b {
                prop_assert_eq!(x.to_string() < y.to_string(), a < b);
            }
        }
    }
}
