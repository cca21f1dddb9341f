//! An account of Snowflake with one table, as far as Snowpipe Streaming shows it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::Read as _;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::account::check_signed;
use crate::channel::{Channel, Fate, Rowset};
use crate::faults::{Endpoint, Fault};
use crate::table::{ErrorRow, Row, Table};

/// The form of the answers with the host and with the token. The pages show both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AnswerForm {
    /// A JSON object with one field.
    #[default]
    Json,
    /// The plain text alone.
    Text,
}

/// The account that is played.
#[derive(Debug, Clone)]
pub struct Options {
    /// The account and the user in tokens: `ACCOUNT.USER`.
    pub subject: String,
    /// The public keys of the user, as SubjectPublicKeyInfo in DER. A user has two at most.
    pub public_keys: Vec<Vec<u8>>,
    /// The host that takes rows, without a port, as Snowflake tells it: it may have underscores.
    pub ingest_host: String,
    /// The DDL of the table.
    pub ddl: String,
    /// The database, the schema and the pipe.
    pub pipe: [String; 3],
    /// The form of the answers with the host and with the token.
    pub answers: AnswerForm,
    /// The lifetime of a token for the host that takes rows, in seconds.
    pub scoped_lifetime_s: i64,
    /// The largest body of an append, in bytes as they are sent.
    pub request_bytes_max: usize,
    /// The most requests of one channel in a second.
    pub requests_per_second_max: u64,
    /// The most bytes of one channel in a second, before they are compressed.
    pub bytes_per_second_max: u64,
}

/// The account.
#[derive(Debug)]
pub struct Snowflake {
    pub(crate) options: Options,
    /// The clock of Snowflake minus that of this machine, in seconds.
    pub clock_ahead_s: i64,
    /// How many looks at a channel (questions for its status, attempts to open it) an append waits for.
    pub commit_after_looks: u32,
    /// Whether the server has stopped. A connection that outlives it by a moment is broken.
    pub(crate) stopped: bool,
    table: Table,
    channels: BTreeMap<String, Channel>,
    rows: Vec<Row>,
    error_rows: Vec<ErrorRow>,
    scoped: BTreeMap<String, i64>,
    scoped_made: u64,
    faults: BTreeMap<Endpoint, VecDeque<Option<Fault>>>,
    requests: BTreeMap<Endpoint, u64>,
    statuses: BTreeMap<u16, u64>,
    violations: Vec<String>,
    discarded: usize,
    request_ids: BTreeSet<String>,
}

/// An answer that is not a success.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) retry_after: Option<String>,
}

/// An append as it arrived.
pub(crate) struct Append<'a> {
    pub(crate) channel: &'a str,
    pub(crate) query: &'a BTreeMap<String, String>,
    pub(crate) content_type: &'a str,
    pub(crate) encoding: &'a str,
    pub(crate) body: &'a [u8],
}

fn refusal(status: u16, code: &str, message: impl Into<String>) -> Refusal {
    Refusal {
        status,
        code: code.to_owned(),
        message: message.into(),
        retry_after: None,
    }
}

impl Snowflake {
    /// Makes the account.
    ///
    /// # Panics
    /// When the DDL cannot be read.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            table: Table::of(&options.ddl),
            options,
            clock_ahead_s: 0,
            commit_after_looks: 0,
            stopped: false,
            channels: BTreeMap::new(),
            rows: Vec::new(),
            error_rows: Vec::new(),
            scoped: BTreeMap::new(),
            scoped_made: 0,
            faults: BTreeMap::new(),
            requests: BTreeMap::new(),
            statuses: BTreeMap::new(),
            violations: Vec::new(),
            discarded: 0,
            request_ids: BTreeSet::new(),
        }
    }

    /// Orders a failure of the next request of this kind that has none yet.
    pub fn plan(&mut self, endpoint: Endpoint, fault: Fault) {
        self.faults.entry(endpoint).or_default().push_back(Some(fault));
    }

    /// Orders that this many requests of this kind go well, before the failure that is ordered next.
    pub fn let_pass(&mut self, endpoint: Endpoint, requests: usize) {
        let planned = self.faults.entry(endpoint).or_default();
        planned.extend(std::iter::repeat_n(None, requests));
    }

    /// Returns how many ordered failures have not happened yet.
    #[must_use]
    pub fn planned(&self) -> usize {
        self.faults.values().flatten().flatten().count()
    }

    /// Returns the rows of the table, in the order in which they were committed.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Returns the rows of the error table.
    #[must_use]
    pub fn error_rows(&self) -> &[ErrorRow] {
        &self.error_rows
    }

    /// Returns each rule that a client has broken.
    #[must_use]
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    /// Returns how many accepted rows were discarded because a channel was opened again.
    #[must_use]
    pub fn discarded(&self) -> usize {
        self.discarded
    }

    /// Returns how many requests of this kind have come.
    #[must_use]
    pub fn requests(&self, endpoint: Endpoint) -> u64 {
        self.requests.get(&endpoint).copied().unwrap_or(0)
    }

    /// Returns how many answers had this HTTP status.
    #[must_use]
    pub fn answers(&self, status: u16) -> u64 {
        self.statuses.get(&status).copied().unwrap_or(0)
    }

    /// Returns the names of the columns of the table.
    #[must_use]
    pub fn columns(&self) -> Vec<String> {
        self.table.names()
    }

    /// Ends every token for the host that takes rows.
    pub fn expire_tokens(&mut self) {
        self.scoped.clear();
    }

    /// Makes a token for the host that takes rows, for requests that a test writes by hand.
    pub fn issue_token(&mut self) -> String {
        self.scoped_made += 1;
        let token = format!("scoped-{}", self.scoped_made);
        let until = self.now_s() + self.options.scoped_lifetime_s;
        self.scoped.insert(token.clone(), until);
        token
    }

    /// Replaces the public keys of the user.
    pub fn set_public_keys(&mut self, keys: Vec<Vec<u8>>) {
        self.options.public_keys = keys;
    }

    /// Forgets a channel with its offset, as Snowflake does after 30 days without rows.
    pub fn forget(&mut self, channel: &str) {
        self.channels.remove(channel);
    }

    /// Sets the offset token that a channel has committed, as another program might.
    pub fn set_offset(&mut self, channel: &str, token: &str) {
        let one = self.channels.entry(channel.to_owned());
        let one = one.or_insert_with(|| Channel::new(channel, None));
        one.open(Some(token.to_owned()));
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the clock of the account, which a test moves"
    )]
    pub(crate) fn now_s(&self) -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(now.as_secs()).unwrap_or(i64::MAX) + self.clock_ahead_s
    }

    pub(crate) fn violate(&mut self, text: impl Into<String>) {
        self.violations.push(text.into());
    }

    pub(crate) fn answered(&mut self, status: u16) {
        *self.statuses.entry(status).or_default() += 1;
    }

    /// Counts a request, and returns the failure that was ordered for it.
    pub(crate) fn begin(&mut self, endpoint: Endpoint) -> Option<Fault> {
        if self.stopped {
            return Some(Fault::LoseRequest);
        }
        *self.requests.entry(endpoint).or_default() += 1;
        self.faults.get_mut(&endpoint)?.pop_front().flatten()
    }

    pub(crate) fn check_user(&mut self, token: &str, kind: Option<&str>) -> Result<(), Refusal> {
        if kind.is_some_and(|kind| kind != "KEYPAIR_JWT") {
            return Err(refusal(401, "390100", "the type of the token is wrong"));
        }
        let (subject, keys) = (&self.options.subject, &self.options.public_keys);
        check_signed(token, subject, keys, self.now_s())
            .map_err(|text| refusal(401, "390144", format!("JWT token is invalid: {text}")))
    }

    /// Returns the host that takes rows, as Snowflake tells it.
    pub(crate) fn ingest_host(&self, port: u16) -> String {
        format!("{}:{port}", self.options.ingest_host)
    }

    pub(crate) fn exchange(&mut self, form: &BTreeMap<String, String>, port: u16) -> Result<String, Refusal> {
        let grant = form.get("grant_type").map(String::as_str);
        if grant != Some("urn:ietf:params:oauth:grant-type:jwt-bearer") {
            return Err(refusal(400, "invalid_grant", "grant_type is wrong"));
        }
        let scope = form.get("scope").map(String::as_str).unwrap_or_default();
        if scope != self.ingest_host(port).replace('_', "-") {
            self.violate(format!("the scope is {scope}"));
            return Err(refusal(400, "invalid_scope", "the scope is not the ingest host"));
        }
        Ok(self.issue_token())
    }

    pub(crate) fn check_scoped(&mut self, token: &str, host: &str, port: u16) -> Result<(), Refusal> {
        if host.contains('_') || host != self.ingest_host(port).replace('_', "-") {
            self.violate(format!("a request for rows was sent to {host}"));
            return Err(refusal(500, "ERR_INTERNAL", "internal error"));
        }
        match self.scoped.get(token) {
            Some(until) if *until > self.now_s() => Ok(()),
            _ => Err(refusal(401, "390303", "the token is invalid or has expired")),
        }
    }

    pub(crate) fn check_pipe(&mut self, path: [&str; 3]) -> Result<(), Refusal> {
        let is_ours = path
            .iter()
            .zip(&self.options.pipe)
            .all(|(name, ours)| name.eq_ignore_ascii_case(ours));
        if is_ours {
            return Ok(());
        }
        let code = "ERR_PIPE_DOES_NOT_EXIST_OR_NOT_AUTHORIZED";
        Err(refusal(
            404,
            code,
            format!("the pipe {} does not exist or is not authorized", path.join(".")),
        ))
    }

    /// Lets another client open a channel, or gives it a status code, when that was ordered.
    pub(crate) fn disturb(&mut self, fault: Option<&Fault>, channel: &str) {
        let Some(one) = self.channels.get_mut(&channel.to_uppercase()) else {
            return;
        };
        match fault {
            Some(Fault::TakeOver) => {
                // Whoever opens it waits for rows that are on their way, as we do.
                while one.has_uncommitted() {
                    one.look(&self.table, &mut self.rows, &mut self.error_rows);
                }
                one.open(None);
            }
            Some(Fault::Invalidate(code)) => one.status_code.clone_from(code),
            _ => {}
        }
    }

    pub(crate) fn open(&mut self, channel: &str, body: &[u8]) -> Result<Value, Refusal> {
        let body: Value = if body.is_empty() {
            json!({})
        } else {
            serde_json::from_slice(body)
                .map_err(|error| refusal(400, "ERR_BAD_REQUEST", error.to_string()))?
        };
        let offset_token = body["offset_token"].as_str().map(str::to_owned);
        let fails = body["fail_on_uncommitted_rows"].as_bool().unwrap_or(false);
        let name = channel.to_uppercase();
        let one = self.channels.entry(name.clone());
        let one = one.or_insert_with(|| Channel::new(&name, None));
        one.look(&self.table, &mut self.rows, &mut self.error_rows);
        if fails && one.has_uncommitted() {
            let code = "ERR_CHANNEL_HAS_UNCOMMITTED_DATA";
            return Err(refusal(409, code, "the channel has uncommitted data"));
        }
        self.discarded += one.open(offset_token);
        Ok(json!({
            "next_continuation_token": one.continuation(),
            "channel_status": one.status("rows_error_count"),
        }))
    }

    /// Notes that an append has begun to arrive.
    pub(crate) fn arriving(&mut self, channel: &str) {
        let Some(one) = self.channels.get_mut(&channel.to_uppercase()) else {
            return;
        };
        one.in_flight += 1;
        if one.in_flight > 1 {
            self.violations
                .push(format!("two requests are in flight for {channel}"));
        }
    }

    /// Notes that an append was answered.
    pub(crate) fn arrived(&mut self, channel: &str) {
        if let Some(one) = self.channels.get_mut(&channel.to_uppercase()) {
            one.in_flight = one.in_flight.saturating_sub(1);
        }
    }

    pub(crate) fn append(&mut self, append: &Append<'_>, fault: Option<&Fault>) -> Result<Value, Refusal> {
        if append.body.len() > self.options.request_bytes_max {
            self.violate(format!("a request has {} bytes", append.body.len()));
            return Err(refusal(413, "ERR_PAYLOAD_TOO_LARGE", "the payload is too large"));
        }
        let text = self.text_of(append)?;
        let query = |name: &str| append.query.get(name).map(String::as_str);
        let request_id = query("requestId").unwrap_or_default();
        if uuid::Uuid::parse_str(request_id).is_err() {
            self.violate("requestId is not a UUID");
        }
        let name = append.channel.to_uppercase();
        let Some(one) = self.channels.get_mut(&name) else {
            let code = "ERR_CHANNEL_DOES_NOT_EXIST_OR_IS_NOT_AUTHORIZED";
            return Err(refusal(404, code, "the channel does not exist"));
        };
        let (requests, bytes) = (
            self.options.requests_per_second_max,
            self.options.bytes_per_second_max,
        );
        if let Some(wrong) = one.rates.count(text.len() as u64, requests, bytes) {
            self.violate(wrong.clone());
            return Err(refusal(429, "ERR_THROTTLED", wrong));
        }
        if one.status_code != "SUCCESS" {
            return Err(refusal(409, &one.status_code.clone(), "the channel is invalid"));
        }
        let token = query("continuationToken").unwrap_or_default();
        let (client, row) = (one.client_sequencer, one.row_sequencer);
        let sequencers = token
            .strip_prefix(&format!("{name}/"))
            .and_then(|token| token.split_once('+'))
            .and_then(|(client, row)| Some((client.parse::<u64>().ok()?, row.parse::<u64>().ok()?)));
        match sequencers {
            Some(sequencers) if sequencers == (client, row) => {}
            Some((of_client, _)) if of_client != client => {
                let code = "STALE_CONTINUATION_TOKEN_SEQUENCER";
                return Err(refusal(400, code, "another client has opened the channel"));
            }
            _ => {
                self.violate(format!("the continuation token {token:?} is used out of order"));
                let code = "ERR_CHANNEL_HAS_INVALID_ROW_SEQUENCER";
                return Err(refusal(400, code, "the continuation token is not the next one"));
            }
        }
        if !self.request_ids.insert(request_id.to_owned()) {
            self.violate("two requests have one requestId");
        }
        let Some(one) = self.channels.get_mut(&name) else {
            return Err(refusal(500, "ERR_INTERNAL", "internal error"));
        };
        let (start, end) = (
            query("startOffsetToken"),
            query("endOffsetToken").map(str::to_owned),
        );
        let grows =
            start.is_none_or(|start| *start > *one.last_end && end.as_deref().is_none_or(|end| start <= end));
        one.accept(Rowset {
            lines: text.lines().map(str::to_owned).collect(),
            end,
            looks_left: self.commit_after_looks,
            fate: match fault {
                Some(Fault::Discard) => Fate::Discarded,
                Some(Fault::LoseRow) => Fate::LosesRow,
                _ => Fate::Committed,
            },
        });
        let next = one.continuation();
        if !grows {
            self.violate(format!(
                "the offset token {start:?} does not follow the one before"
            ));
        }
        Ok(json!({ "next_continuation_token": next }))
    }

    fn text_of(&mut self, append: &Append<'_>) -> Result<String, Refusal> {
        let bad = |text: &str| refusal(400, "ERR_BAD_REQUEST", text);
        if append.content_type != "application/x-ndjson" {
            self.violate(format!("the content type is {}", append.content_type));
        }
        let mut text = Vec::new();
        match append.encoding {
            "" => text.extend_from_slice(append.body),
            "zstd" => {
                text = zstd::decode_all(append.body).map_err(|_| bad("the body is not zstd"))?;
            }
            "gzip" => {
                let mut decoder = flate2::read::GzDecoder::new(append.body);
                decoder
                    .read_to_end(&mut text)
                    .map_err(|_| bad("the body is not gzip"))?;
            }
            _ => return Err(bad("the content encoding is not known")),
        }
        let text = String::from_utf8(text).map_err(|_| bad("the body is not UTF-8"))?;
        if text.is_empty() || !text.ends_with('\n') {
            self.violate("the last row does not end with a line feed");
            return Err(bad("each row must end with a line feed"));
        }
        Ok(text)
    }

    pub(crate) fn statuses(&mut self, body: &[u8]) -> Result<Value, Refusal> {
        let body: Value = serde_json::from_slice(body)
            .map_err(|error| refusal(400, "ERR_BAD_REQUEST", error.to_string()))?;
        let names = body["channel_names"].as_array().cloned().unwrap_or_default();
        let mut statuses = serde_json::Map::new();
        for name in names.iter().filter_map(Value::as_str) {
            // Names are compared with their case here.
            if let Some(one) = self.channels.get_mut(name) {
                one.look(&self.table, &mut self.rows, &mut self.error_rows);
                statuses.insert(name.to_owned(), one.status("rows_errors"));
            }
        }
        Ok(json!({ "channel_statuses": statuses }))
    }
}
