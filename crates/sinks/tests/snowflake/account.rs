//! An account with one table, the sink that writes to it, and a small runner.

use std::sync::LazyLock;
use std::time::Duration;

use holdfast_api::v1::{Bucket, BucketMove, Cause, Change, ChangeKind, ReservationEffect, ReservationState};
use holdfast_sinks::sink::{Position, Sink, SinkError, Writer};
use holdfast_sinks::snowflake::{SnowflakeConfig, SnowflakeSink};
use holdfast_test_snowflake::{AnswerForm, Options, Server};
use rcgen::{PKCS_RSA_SHA256, PublicKeyData};
use uuid::Uuid;

/// The DDL that operators run.
pub(crate) const DDL: &str = include_str!("../../../../warehouse/snowflake/streaming_once.sql");
pub(crate) const SHARD: u32 = 3;

/// The key of the user. Making one takes long, so the tests of a process share it.
pub(crate) static KEY: LazyLock<rcgen::KeyPair> =
    LazyLock::new(|| rcgen::KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap());

/// An account, and the settings of a sink for it.
pub(crate) struct Account {
    pub(crate) server: Server,
    pub(crate) config: SnowflakeConfig,
    pub(crate) cluster_id: Uuid,
    client: reqwest::Client,
    _folder: tempfile::TempDir,
}

pub(crate) fn options() -> Options {
    Options {
        subject: "MYORG-MY_ACCOUNT.HOLDFAST_SINK".to_owned(),
        public_keys: vec![KEY.subject_public_key_info()],
        // Snowflake tells it with underscores when the account has some.
        ingest_host: "myorg-my_account.ingest.test".to_owned(),
        ddl: DDL.to_owned(),
        pipe: ["HOLDFAST", "RAW", "CHANGES_STREAMED-STREAMING"].map(str::to_owned),
        answers: AnswerForm::Json,
        scoped_lifetime_s: 3_600,
        request_bytes_max: 4_000_000,
        requests_per_second_max: u64::MAX,
        bytes_per_second_max: u64::MAX,
    }
}

impl Account {
    pub(crate) fn new() -> Self {
        Self::with(options())
    }

    pub(crate) fn with(options: Options) -> Self {
        let server = Server::start(options);
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("rsa_key.p8");
        std::fs::write(&key, KEY.serialize_pem()).unwrap();
        let mut config: SnowflakeConfig = toml::from_str(&format!(
            "account = 'myorg-my_account'\nuser = 'holdfast_sink'\nurl = '{}'\nprivate_key = {{ file = '{}' }}",
            server.url(),
            key.display()
        ))
        .unwrap();
        config.limits.requests_per_second = 1_000_000;
        config.limits.status_every = Duration::from_millis(1);
        config.limits.throttled_pause = Duration::from_millis(1);
        config.limits.commit_patience = Duration::from_millis(60);
        config.limits.count_patience = Duration::from_millis(20);
        config.limits.uncommitted_patience = Duration::from_millis(500);
        let client = reqwest::Client::builder()
            .resolve("myorg-my-account.ingest.test", server.address())
            .build()
            .unwrap();
        Self {
            server,
            config,
            cluster_id: Uuid::now_v7(),
            client,
            _folder: folder,
        }
    }

    /// Makes the sink, as a new process does.
    pub(crate) fn sink(&self) -> SnowflakeSink {
        let client = Some(self.client.clone());
        SnowflakeSink::with_client("facts", self.cluster_id, &self.config, client).unwrap()
    }

    /// Returns shard and number of each row in the table, in its order.
    pub(crate) fn landed(&self) -> Vec<(u64, u64)> {
        let number = |value: &serde_json::Value| value.as_u64().unwrap();
        self.server.with(|snowflake| {
            let rows = snowflake.rows().iter();
            rows.map(|row| (number(&row.values["SHARD"]), number(&row.values["SEQ"])))
                .collect()
        })
    }

    /// Demands that the table has each change up to this one once, in order, and that no rule was broken.
    pub(crate) fn assert_each_once(&self, through: u64) {
        let expected: Vec<_> = (1..=through).map(|seq| (u64::from(SHARD), seq)).collect();
        assert_eq!(self.landed(), expected);
        self.assert_no_rule_broken();
    }

    pub(crate) fn assert_no_rule_broken(&self) {
        self.server.with(|snowflake| {
            assert_eq!(snowflake.violations(), [""; 0]);
        });
    }
}

/// Returns changes in entries of one, two or three.
pub(crate) fn changes(through: u64) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut seq = 1;
    while seq <= through {
        let wanted = u32::try_from(1 + seq % 3).unwrap();
        let entry_changes = wanted.min(u32::try_from(through - seq + 1).unwrap());
        for entry_offset in 0..entry_changes {
            changes.push(change(seq, entry_offset, entry_changes));
            seq += 1;
        }
    }
    changes
}

pub(crate) fn change(seq: u64, entry_offset: u32, entry_changes: u32) -> Change {
    Change {
        shard: SHARD,
        seq,
        entry_changes,
        entry_offset,
        log_index: seq - u64::from(entry_offset),
        log_time_ms: 1_700_000_000_000 + seq - u64::from(entry_offset),
        kind: ChangeKind::Reserved.into(),
        sku: format!("SKU-{seq}"),
        warehouse: "W1".to_owned(),
        storefront: "web".to_owned(),
        moves: vec![BucketMove {
            bucket: Bucket::Free.into(),
            delta: -1,
            after: 9,
        }],
        reservation: Some(ReservationEffect {
            reservation_id: Uuid::from_u128(u128::from(seq)).as_bytes().to_vec().into(),
            state: ReservationState::Held.into(),
            expires_at_ms: 1_700_000_060_000,
            requested: 1,
            quantity: 1,
            ..ReservationEffect::default()
        }),
        cause: Some(Cause {
            operation_id: Uuid::from_u128(u128::from(seq)).as_bytes().to_vec().into(),
            reference: format!("#{seq}"),
            ..Cause::default()
        }),
        ..Change::default()
    }
}

/// Returns the changes after a position, as the stream sends them: it must be the end of an entry.
pub(crate) fn after(changes: &[Change], position: Position) -> &[Change] {
    let rest = &changes[usize::try_from(position.through_seq).unwrap()..];
    assert!(
        rest.first().is_none_or(|change| change.entry_offset == 0),
        "a stream begins with a whole entry"
    );
    rest
}

/// Opens a writer and writes everything after its position, `batch` changes at a time.
pub(crate) async fn deliver_once(
    sink: &dyn Sink,
    changes: &[Change],
    batch: usize,
) -> Result<Position, SinkError> {
    let mut writer = sink.open(SHARD).await?;
    let rest = after(changes, writer.opened_at());
    for some in
        rest.chunk_by(|a, b| (b.seq - rest[0].seq) / batch as u64 == (a.seq - rest[0].seq) / batch as u64)
    {
        writer.write(some).await?;
        writer.settle().await?;
    }
    writer.finish().await
}

/// Delivers everything, with a new writer after each error that passes.
pub(crate) async fn deliver(sink: &dyn Sink, changes: &[Change]) -> Result<Position, SinkError> {
    loop {
        match deliver_once(sink, changes, 10).await {
            Err(error) if !error.needs_a_person() => {}
            done => return done,
        }
    }
}

/// Opens a writer that has nothing behind it.
pub(crate) async fn open(sink: &SnowflakeSink) -> Box<dyn Writer> {
    sink.open(SHARD).await.unwrap()
}

/// Returns the error of an opening.
pub(crate) async fn refused(sink: &SnowflakeSink) -> String {
    match sink.open(SHARD).await {
        Ok(_) => panic!("it was opened"),
        Err(error) => {
            assert!(error.needs_a_person(), "{error}");
            error.to_string()
        }
    }
}
