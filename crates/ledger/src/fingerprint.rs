//! The fingerprint of a command: equal for a retry, different for another request.

use serde::Serialize;

use crate::{Action, CallerReason, Command, Details, Reference, codec};

impl Command {
    /// Returns the fingerprint that a sealed id is remembered with.
    pub(crate) fn fingerprint_of_seal() -> u64 {
        let details = Details::default();
        fingerprint(
            &Action::Seal,
            &Reference::default(),
            &CallerReason::default(),
            &details,
        )
    }

    /// Returns a fingerprint of 60 bits over everything that a retry must repeat.
    pub fn fingerprint(&self) -> u64 {
        fingerprint(&self.action, &self.reference, &self.reason, &self.details)
    }
}

fn fingerprint(action: &Action, reference: &Reference, reason: &CallerReason, details: &Details) -> u64 {
    if details.is_empty() {
        hashed(&(action, reference, reason))
    } else {
        hashed(&(action, reference, reason, details))
    }
}

fn hashed(body: &impl Serialize) -> u64 {
    let hash = |body: &[u8]| xxhash_rust::xxh3::xxh3_64(body) >> 4;
    // Nearly every body fits in this buffer, so nothing is allocated.
    let mut buffer = [codec::VERSION; 512];
    let written = postcard::to_slice(body, &mut buffer[1..]).map(|body| body.len());
    match written {
        Ok(bytes) => hash(&buffer[..=bytes]),
        Err(_) => hash(&codec::encode(body)),
    }
}
