//! A server that plays Snowpipe Streaming.
