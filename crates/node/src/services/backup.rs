//! One node's part of a backup: its shards stand still together, are copied, and are sent.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::try_join_all;
use holdfast_api::reasons;
use holdfast_api::v1::backup_server::Backup;
use holdfast_api::v1::take_request::Step;
use holdfast_api::v1::take_response::Answer;
use holdfast_api::v1::{self, Reason, Refusal};
use holdfast_guard::audit;
use holdfast_guard::policy::Touched;
use holdfast_guard::verb::Verb;
use holdfast_shard::{ShardCut, ShardFreeze};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{Service, caller};
use crate::api::Api;
use crate::reasoned;
use crate::undecodable;

/// The time after which the freeze of a backup ends by itself. Callers of the shard wait at most so long.
const FREEZE_LEASE: Duration = Duration::from_millis(1_000);
/// The time that a caller may be silent between two steps. After it, the caller counts as gone.
const PATIENCE: Duration = Duration::from_secs(60);
/// The bytes of a copy in one message.
const CHUNK_BYTES: usize = 256 << 10;
/// The maximum number of messages that wait to be sent to the caller.
const ANSWERS: usize = 4;
/// The time in milliseconds that a caller should wait while this node gives another backup.
const RETRY_AFTER_MS: u64 = 500;

const METHOD: &str = "Take";

type Answers = mpsc::Sender<Result<v1::TakeResponse, Status>>;

/// The reason why a session ends early.
enum End {
    /// The caller has gone away.
    Gone,
    /// The caller gets this refusal.
    Told(Refusal),
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        Self::Told(refusal)
    }
}

/// The session of one caller.
struct Session {
    api: Arc<Api>,
    steps: Streaming<v1::TakeRequest>,
    answers: Answers,
}

impl Session {
    async fn serve(mut self) {
        let (api, answers) = (Arc::clone(&self.api), self.answers.clone());
        let end = tokio::select! {
            end = self.run() => end,
            () = answers.closed() => Err(End::Gone),
            () = api.stopping.cancelled() => {
                Err(reasons::refusal(Reason::NoLeader, "the node is stopping: begin the backup again").into())
            }
        };
        if let Err(End::Told(refusal)) = end {
            let _ = answers.send(Err(api.refused(METHOD, refusal))).await;
        }
    }

    async fn run(&mut self) -> Result<(), End> {
        let Some(Step::Freeze(v1::FreezeShards { shards })) = self.step().await? else {
            return Err(reasons::invalid("the first step must be freeze").into());
        };
        let freezes = self.freeze(shards).await?;
        self.answer(Answer::Frozen(v1::Frozen {
            node_id: self.api.identity.node_id,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }))
        .await?;

        let Some(Step::Cut(v1::CutShards {})) = self.step().await? else {
            return Err(reasons::invalid("the step after freeze must be cut").into());
        };
        // A shard goes on as soon as its copy is made. All shards stood still before the first copy.
        let cuts = freezes.into_iter().map(|(shard, freeze)| async move {
            let cut = freeze.cut().await;
            cut.map_err(|error| reasoned::told_of_shard(shard, &error))
        });
        let mut cuts: Vec<ShardCut> = try_join_all(cuts).await?;
        let shards = cuts.iter().map(shard_cut).collect();
        self.answer(Answer::Cut(v1::Cut { shards })).await?;

        while let Some(step) = self.step().await? {
            let Step::Send(v1::SendShard { shard }) = step else {
                return Err(reasons::invalid("only send may come after cut").into());
            };
            let Some(at) = cuts.iter().position(|cut| cut.shard == shard) else {
                return Err(
                    reasons::invalid(format!("send: there is no copy of shard {shard} (any more)")).into(),
                );
            };
            self.send(cuts.swap_remove(at)).await?;
        }
        Ok(())
    }

    /// Returns the next step, or None when the caller has closed its side.
    async fn step(&mut self) -> Result<Option<Step>, End> {
        match tokio::time::timeout(PATIENCE, self.steps.message()).await {
            Ok(Ok(Some(request))) => match request.step {
                Some(step) => Ok(Some(step)),
                None => Err(reasons::invalid("step: it is not set").into()),
            },
            Ok(Ok(None)) => Ok(None),
            Ok(Err(status)) => Err(undecodable::of_stream(&status).map_or(End::Gone, End::Told)),
            Err(_) => {
                let message = "the caller was silent for too long: begin the backup again";
                Err(reasons::refusal(Reason::Deadline, message).into())
            }
        }
    }

    async fn answer(&self, answer: Answer) -> Result<(), End> {
        let message = v1::TakeResponse { answer: Some(answer) };
        self.answers.send(Ok(message)).await.map_err(|_| End::Gone)
    }

    async fn freeze(&self, mut shards: Vec<u32>) -> Result<Vec<(u32, ShardFreeze)>, Refusal> {
        let asked = shards.len();
        shards.sort_unstable();
        shards.dedup();
        if shards.is_empty() || shards.len() != asked {
            return Err(reasons::invalid("freeze.shards: it must name shards, each once"));
        }
        let freezes = shards.into_iter().map(|shard| async move {
            let handle = self.api.router.shard("freeze.shards", shard)?;
            let freeze = handle.freeze(FREEZE_LEASE).await;
            Ok((
                shard,
                freeze.map_err(|error| reasoned::told_of_shard(shard, &error))?,
            ))
        });
        try_join_all(freezes).await
    }

    async fn send(&self, cut: ShardCut) -> Result<(), End> {
        let shard = cut.shard;
        let encoded = cut.encode().await;
        let (bytes, digest) = encoded.map_err(|error| {
            let message = format!("the ledger of shard {shard} could not be copied: {error}");
            reasons::refusal(Reason::Internal, message)
        })?;
        let size_bytes = bytes.len() as u64;
        let mut rest = Bytes::from(bytes);
        while !rest.is_empty() {
            let chunk = rest.split_to(CHUNK_BYTES.min(rest.len()));
            self.answer(Answer::Chunk(chunk)).await?;
        }
        let sent = v1::Sent {
            bytes: size_bytes,
            state_digest: Bytes::copy_from_slice(&digest),
        };
        self.answer(Answer::Sent(sent)).await
    }
}

fn shard_cut(cut: &ShardCut) -> v1::ShardCut {
    let options = cut.ledger.options();
    v1::ShardCut {
        shard: cut.shard,
        term: cut.term,
        log_index: cut.log_index,
        log_time_ms: cut.ledger.log_time_ms(),
        last_seq: cut.ledger.last_seq(),
        frozen_us: u64::try_from(cut.frozen.as_micros()).unwrap_or(u64::MAX),
        options: Some(v1::LedgerOptions {
            operation_window_ms: options.operation_window_ms,
            operation_lead_ms: options.operation_lead_ms,
            closed_retention_ms: options.closed_retention_ms,
            shipped_retention_ms: options.shipped_retention_ms,
            order_decision_ms: options.order_decision_ms,
        }),
    }
}

#[tonic::async_trait]
impl Backup for Service {
    type TakeStream = ReceiverStream<Result<v1::TakeResponse, Status>>;

    async fn take(
        &self,
        request: Request<Streaming<v1::TakeRequest>>,
    ) -> Result<Response<Self::TakeStream>, Status> {
        let caller = caller(&request)?;
        let steps = request.into_inner();
        self.api
            .unary(METHOD, async {
                self.api.allow_admin(&caller)?;
                // A ledger contains everything of all storefronts and warehouses.
                self.api
                    .allow(&caller, Verb::Admin, &Touched::Everything, &Touched::Everything)?;
                let place = Arc::clone(&self.api.backups).try_acquire_owned();
                let place = place.map_err(|_| Refusal {
                    retry_after_ms: RETRY_AFTER_MS,
                    ..reasons::refusal(
                        Reason::Overloaded,
                        "this node serves another backup, and it serves one at a time: try again later",
                    )
                })?;
                audit::administered(caller.asker(), "take_backup", &[], None);
                let (answers, outgoing) = mpsc::channel(ANSWERS);
                let session = Session {
                    api: Arc::clone(&self.api),
                    steps,
                    answers,
                };
                self.api.tasks.spawn("backup", async move {
                    session.serve().await;
                    drop(place);
                });
                Ok(ReceiverStream::new(outgoing))
            })
            .await
    }
}
