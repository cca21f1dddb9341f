//! Claims decide where each file ends. The first exporter claims the end of a file before it writes the file.
//!
//! ```text
//!   changes/shard=0003/0003-00000000000000000001.parquet.claim      {"last_seq":4096}
//! ```
//!
//! Two exporters of one cluster read the same stream and would cut it at different changes. The second one
//! writes the file that the first one claimed, with the same changes. So the file gets written even if the
//! first exporter died.

use serde::{Deserialize, Serialize};

use super::{Archive, ArchiveError, name};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claim {
    last_seq: u64,
}

impl Archive {
    /// Claims that the file that begins with `first_seq` ends with `last_seq`. Returns the end in the first
    /// claim.
    pub(super) async fn claim(&self, shard: u32, first_seq: u64, last_seq: u64) -> Result<u64, ArchiveError> {
        let path = name::claim(self.location.prefix(), shard, first_seq, self.format);
        if self.put_small(&path, &Claim { last_seq }).await? {
            return Ok(last_seq);
        }
        let claimed: Option<Claim> = self.small(&path).await?;
        match claimed {
            Some(claim) if claim.last_seq >= first_seq => Ok(claim.last_seq),
            _ => Err(ArchiveError::Unreadable {
                path: path.to_string(),
                reason: "it claims a file without changes, or was removed".to_owned(),
            }),
        }
    }
}
