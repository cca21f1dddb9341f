//! The changes after which the goods of a request moved, one for each shard.

use holdfast_ledger::Refusal;

/// Positions by shard, as the caller named them. A shard of None means the one shard that decides. An empty
/// list means that nothing is booked late.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AsOf(pub Vec<(Option<u32>, u64)>);

impl AsOf {
    /// Returns the position for work that one shard does alone.
    ///
    /// # Errors
    /// A refusal when positions are named, but none for this shard.
    pub fn of_only(&self, shard: u32) -> Result<Option<u64>, Refusal> {
        match &self.0[..] {
            [] => Ok(None),
            [(None, seq)] => Ok(Some(*seq)),
            _ => self.of_part(shard),
        }
    }

    /// Returns the position for one shard's part of work that `shards` shards share.
    ///
    /// # Errors
    /// A refusal when positions are named, but none for this shard.
    pub fn of_one_of(&self, shard: u32, shards: usize) -> Result<Option<u64>, Refusal> {
        match shards {
            1 => self.of_only(shard),
            _ => self.of_part(shard),
        }
    }

    /// Returns the position for one shard's part.
    ///
    /// # Errors
    /// A refusal when positions are named, but none for this shard.
    pub fn of_part(&self, shard: u32) -> Result<Option<u64>, Refusal> {
        let named = self.0.iter().find(|(named, _)| *named == Some(shard));
        match named {
            Some((_, seq)) => Ok(Some(*seq)),
            None if self.0.is_empty() => Ok(None),
            None => Err(Refusal::InvalidRequest(format!(
                "operation.as_of: names no change of shard {shard}, which this request also concerns: add one, as {shard}:SEQ"
            ))),
        }
    }
}
