//! Registered consumers of the change stream. Replicas may forget a change when every required consumer has
//! passed it. A shard without required consumers forgets nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::limits::MAX_CONSUMERS;
use crate::{ConsumerLocation, ConsumerName, ConsumerView, Refusal};

use super::Ledger;

/// All consumers of a shard, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Consumers(BTreeMap<ConsumerName, Consumer>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Consumer {
    required: bool,
    location: ConsumerLocation,
    through_seq: u64,
    advanced_at_ms: u64,
}

/// A command about a consumer that will take effect.
pub(crate) enum ConsumerPlan<'a> {
    Register {
        name: &'a ConsumerName,
        required: bool,
        location: &'a ConsumerLocation,
    },
    Remove {
        name: &'a ConsumerName,
    },
}

impl Consumers {
    pub(crate) fn decide_register<'a>(
        &self,
        name: &'a ConsumerName,
        required: bool,
        location: &'a ConsumerLocation,
    ) -> Result<ConsumerPlan<'a>, Refusal> {
        if !self.0.contains_key(name) && self.0.len() >= MAX_CONSUMERS {
            return Err(Refusal::LimitReached {
                what: "consumers".to_owned(),
                limit: MAX_CONSUMERS as u64,
            });
        }
        Ok(ConsumerPlan::Register {
            name,
            required,
            location,
        })
    }

    pub(crate) fn decide_remove<'a>(&self, name: &'a ConsumerName) -> Result<ConsumerPlan<'a>, Refusal> {
        match self.0.contains_key(name) {
            true => Ok(ConsumerPlan::Remove { name }),
            false => Err(unknown(name)),
        }
    }

    pub(crate) fn execute(&mut self, plan: ConsumerPlan<'_>, now_ms: u64) {
        match plan {
            ConsumerPlan::Register {
                name,
                required,
                location,
            } => match self.0.get_mut(name) {
                Some(known) if known.location == *location => known.required = required,
                _ => {
                    let consumer = Consumer {
                        required,
                        location: location.clone(),
                        through_seq: 0,
                        advanced_at_ms: now_ms,
                    };
                    self.0.insert(name.clone(), consumer);
                }
            },
            ConsumerPlan::Remove { name } => drop(self.0.remove(name)),
        }
    }

    pub(crate) fn advance(&mut self, name: &ConsumerName, through_seq: u64, now_ms: u64) {
        if let Some(consumer) = self.0.get_mut(name) {
            consumer.through_seq = consumer.through_seq.max(through_seq);
            consumer.advanced_at_ms = now_ms;
        }
    }

    pub(crate) fn check(&self, last_seq: u64, log_time_ms: u64) -> Result<(), String> {
        if self.0.len() > MAX_CONSUMERS {
            return Err(format!(
                "{} consumers are registered, at most {MAX_CONSUMERS} may be",
                self.0.len()
            ));
        }
        let is_wrong =
            |consumer: &Consumer| consumer.through_seq > last_seq || consumer.advanced_at_ms > log_time_ms;
        match self.0.iter().find(|(_, consumer)| is_wrong(consumer)) {
            Some((name, _)) => Err(format!("consumer {name} is ahead of the shard")),
            None => Ok(()),
        }
    }
}

impl Ledger {
    /// Decides an advance. Returns whether it moves the consumer.
    pub(crate) fn decide_advance(
        &self,
        name: &ConsumerName,
        location: &ConsumerLocation,
        through_seq: u64,
    ) -> Result<bool, Refusal> {
        let consumer = self.consumers.0.get(name).ok_or_else(|| unknown(name))?;
        if consumer.location != *location {
            return Err(Refusal::InvalidRequest(format!(
                "consumer `{name}` is registered for the location `{}`, and this advance is for `{location}`: register \
                 the consumer anew if it has moved",
                consumer.location
            )));
        }
        let last_seq = self.last_seq();
        if through_seq > last_seq {
            return Err(Refusal::PositionInFuture {
                as_of_seq: through_seq,
                last_seq,
            });
        }
        Ok(through_seq > consumer.through_seq)
    }

    /// Returns the registered consumers of the change stream, in order of their names.
    pub fn consumers(&self) -> impl Iterator<Item = ConsumerView> {
        self.consumers.0.iter().map(|(name, consumer)| ConsumerView {
            name: name.clone(),
            required: consumer.required,
            location: consumer.location.clone(),
            through_seq: consumer.through_seq,
            advanced_at_ms: consumer.advanced_at_ms,
        })
    }

    /// Returns the last change that every required consumer has passed. None when no consumer is required, so
    /// that nothing may be forgotten.
    pub fn passed_seq(&self) -> Option<u64> {
        let required = self.consumers.0.values().filter(|consumer| consumer.required);
        required.map(|consumer| consumer.through_seq).min()
    }
}

fn unknown(name: &ConsumerName) -> Refusal {
    Refusal::UnknownConsumer { name: name.clone() }
}
