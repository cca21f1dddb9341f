//! The requests of one channel.
//!
//! They are described in
//! <https://docs.snowflake.com/en/user-guide/snowpipe-streaming/snowpipe-streaming-high-performance-rest-api>.

use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use super::answers::{Appended, ChannelStatus, Opened, Statuses};
use super::offset::Offset;
use super::rows::Packed;
use super::session::{Body, Request, RequestError, Session};

/// The channel of a shard, in a pipe.
#[derive(Debug, Clone)]
pub(super) struct Channel {
    pub(super) shard: u32,
    database: String,
    schema: String,
    pipe: String,
    name: String,
}

impl Channel {
    /// Names the channel of a shard. The same cluster, sink and shard always have the same channel.
    pub(super) fn new(
        database: &str,
        schema: &str,
        pipe: &str,
        sink: &str,
        cluster_id: Uuid,
        shard: u32,
    ) -> Self {
        // Large letters only: some requests ignore the case of a channel's name, and some do not.
        let sink = sink.to_uppercase().replace('-', "_");
        let cluster = format!("{:X}", cluster_id.simple());
        Self {
            shard,
            database: database.to_uppercase(),
            schema: schema.to_uppercase(),
            pipe: pipe.to_owned(),
            name: format!("HOLDFAST_{sink}_{cluster}_{shard:04}"),
        }
    }

    /// Returns the name, as `SHOW CHANNELS` shows it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Reads the status, without disturbing a writer. `None` means that the channel does not exist.
    pub(super) async fn status(&self, session: &Session) -> Result<Option<ChannelStatus>, RequestError> {
        let pipe = format!("{}:bulk-channel-status", self.pipe);
        let request = Request {
            method: Method::POST,
            path: &[
                "v2",
                "streaming",
                "databases",
                &self.database,
                "schemas",
                &self.schema,
                "pipes",
                &pipe,
            ],
            query: &[],
            body: Body::Json(json!({ "channel_names": [self.name] })),
        };
        let statuses: Statuses = session.send("asking for the position", &request).await?;
        let mut statuses = statuses.channel_statuses.into_iter();
        Ok(statuses
            .find(|(name, _)| name.eq_ignore_ascii_case(&self.name))
            .map(|(_, status)| status))
    }

    /// Opens the channel, which shuts out any other writer. `begin` is the offset of a channel that Snowflake
    /// does not know. With `fail_on_uncommitted`, Snowflake refuses while rows are on their way; without, it
    /// discards them.
    pub(super) async fn open(
        &self,
        session: &Session,
        begin: Option<Offset>,
        fail_on_uncommitted: bool,
    ) -> Result<Opened, RequestError> {
        let mut body = json!({ "fail_on_uncommitted_rows": fail_on_uncommitted });
        if let (Some(begin), Some(body)) = (begin, body.as_object_mut()) {
            body.insert("offset_token".to_owned(), json!(begin.to_string()));
        }
        let request_id = Uuid::now_v7().to_string();
        let request = Request {
            method: Method::PUT,
            path: &[
                "v2",
                "streaming",
                "databases",
                &self.database,
                "schemas",
                &self.schema,
                "pipes",
                &self.pipe,
                "channels",
                &self.name,
            ],
            query: &[("requestId", &request_id)],
            body: Body::Json(body),
        };
        session.send("opening the channel", &request).await
    }

    /// Appends rows. The continuation token comes from the answer before.
    pub(super) async fn append(
        &self,
        session: &Session,
        continuation: &str,
        rows: &Packed,
        request_id: Uuid,
    ) -> Result<Appended, RequestError> {
        let (first, last) = (rows.first.to_string(), rows.last.to_string());
        let request_id = request_id.to_string();
        let request = Request {
            method: Method::POST,
            path: &[
                "v2",
                "streaming",
                "data",
                "databases",
                &self.database,
                "schemas",
                &self.schema,
                "pipes",
                &self.pipe,
                "channels",
                &self.name,
                "rows",
            ],
            query: &[
                ("continuationToken", continuation),
                ("startOffsetToken", &first),
                ("endOffsetToken", &last),
                ("requestId", &request_id),
            ],
            body: Body::Rows(rows.body.clone()),
        };
        session.send("sending rows", &request).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_channel_names_sink_cluster_and_shard() {
        let cluster = Uuid::from_u128(0xab);
        let channel = Channel::new("holdfast", "raw", "T-STREAMING", "facts-eu", cluster, 3);
        assert_eq!(
            channel.name(),
            "HOLDFAST_FACTS_EU_000000000000000000000000000000AB_0003"
        );
    }
}
