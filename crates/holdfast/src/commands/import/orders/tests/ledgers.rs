//! Real ledgers in memory that answer as a cluster would, and can be cut off.

use super::*;

/// One ledger for each shard.
pub(super) struct Ledgers(Mutex<Inner>);

struct Inner {
    shards: Vec<Ledger>,
    log_index: u64,
    now_ms: u64,
    changes: Vec<v1::Change>,
    sent: Vec<Request>,
    /// Requests that are still answered.
    left: Option<u64>,
    /// The first one after that takes effect, and its answer is lost.
    lose_the_answer: bool,
}

impl Ledgers {
    pub(super) fn new(shards: usize, now_ms: u64) -> Self {
        Self(Mutex::new(Inner {
            shards: (0..shards)
                .map(|_| Ledger::new(LedgerOptions::default()))
                .collect(),
            log_index: 0,
            now_ms,
            changes: Vec::new(),
            sent: Vec::new(),
            left: None,
            lose_the_answer: false,
        }))
    }

    pub(super) fn topology(&self) -> v1::GetTopologyResponse {
        let count = self.0.lock().unwrap().shards.len() as u32;
        let shards = (0..count).map(|shard| v1::Shard {
            shard,
            first_slot: shard * 4096 / count,
            last_slot: (shard + 1) * 4096 / count - 1,
            ..Default::default()
        });
        v1::GetTopologyResponse {
            shards: shards.collect(),
            slots: 4096,
            ..Default::default()
        }
    }

    /// Answers so many requests more, then none.
    pub(super) fn cut_off_after(&self, requests: u64, lose_the_answer: bool) {
        let mut inner = self.0.lock().unwrap();
        inner.left = Some(requests);
        inner.lose_the_answer = lose_the_answer;
    }

    pub(super) fn mend(&self) {
        self.0.lock().unwrap().left = None;
    }

    /// Lets time pass, entry by entry, as a leader would.
    pub(super) fn pass(&self, ms: u64) {
        let mut inner = self.0.lock().unwrap();
        inner.now_ms += ms;
        for _ in 0..3 {
            inner.log_index += 1;
            let (log_index, log_time_ms) = (inner.log_index, inner.now_ms);
            for ledger in &mut inner.shards {
                ledger
                    .apply(
                        log_index,
                        &Entry {
                            log_time_ms,
                            commands: Vec::new(),
                        },
                    )
                    .unwrap();
            }
        }
    }

    pub(super) fn changes(&self) -> Vec<v1::Change> {
        self.0.lock().unwrap().changes.clone()
    }

    pub(super) fn hide_changes(&self) {
        self.0.lock().unwrap().changes.clear();
    }

    pub(super) fn sent(&self) -> Vec<Request> {
        self.0.lock().unwrap().sent.clone()
    }

    pub(super) fn cells(&self) -> Vec<CellView> {
        let inner = self.0.lock().unwrap();
        let all = Query::ListCells {
            after: None,
            limit: 10_000,
        };
        let listed = inner.shards.iter().map(|ledger| ledger.query(&all).unwrap());
        listed
            .flat_map(|reply| {
                if let QueryReply::Cells(cells) = reply {
                    cells
                } else {
                    panic!("cells")
                }
            })
            .collect()
    }

    /// Units received by SKU, from the requests alone.
    pub(super) fn received(&self) -> BTreeMap<String, i64> {
        let mut received = BTreeMap::new();
        for request in &self.0.lock().unwrap().sent {
            if let Request::Receive(request) = request {
                *received.entry(request.sku.clone()).or_default() += request.quantity;
            }
        }
        received
    }
}

impl Target for Ledgers {
    async fn submit(&self, requests: Vec<Request>) -> Vec<Result<Answer, ClientError>> {
        tokio::task::yield_now().await;
        requests
            .into_iter()
            .map(|request| self.0.lock().unwrap().answer(request))
            .collect()
    }
}

impl Inner {
    fn answer(&mut self, request: Request) -> Result<Answer, ClientError> {
        let cut_off = || ClientError::Unknown {
            message: "cut off".to_owned(),
        };
        if let Some(left) = &mut self.left {
            if *left == 0 {
                if std::mem::take(&mut self.lose_the_answer) {
                    let _ = self.decide(request);
                }
                return Err(cut_off());
            }
            *left -= 1;
        }
        self.decide(request)
    }

    fn decide(&mut self, request: Request) -> Result<Answer, ClientError> {
        self.sent.push(request.clone());
        let taken = match request {
            Request::Receive(request) => inbound::receive(request),
            Request::Adjust(request) => inbound::adjust(request),
            Request::Reservation(item) => inbound::batch_item(Some(item)),
        };
        let refused = |refusal: v1::Refusal| ClientError::Refused(Box::new(refusal));
        let taken = taken.map_err(|invalid| refused(invalid.into()))?;
        self.log_index += 1;
        let (log_index, log_time_ms) = (self.log_index, self.now_ms);
        let shard = taken
            .shard_hint
            .unwrap_or_else(|| self.shard_of(&taken.command.action));
        let entry = Entry {
            log_time_ms,
            commands: vec![taken.command],
        };
        let mut applied = self.shards[shard as usize].apply(log_index, &entry).unwrap();
        self.changes.extend(
            applied
                .changes
                .into_iter()
                .map(|change| outbound::change(shard, change)),
        );
        match applied.outcomes.remove(0) {
            Ok(Success::Reserved { replayed, lines, .. }) => Ok(Answer {
                replayed,
                granted: lines.into_iter().map(|line| (line.line, line.granted)).collect(),
            }),
            Ok(Success::Transitioned { replayed, .. } | Success::Stocked { replayed, .. }) => Ok(Answer {
                replayed,
                granted: Vec::new(),
            }),
            Ok(Success::Order { reply, .. }) => panic!("no step of an order was sent: {reply:?}"),
            Err(refusal) => Err(refused(outbound::refusal(refusal))),
        }
    }

    fn shard_of(&self, action: &holdfast_ledger::Action) -> u32 {
        use holdfast_ledger::{Action, ReturnOf, slot_of};
        let sku = match action {
            Action::Reserve { lines, .. } => &lines[0].sku,
            Action::Receive { sku, .. } | Action::Adjust { sku, .. } => sku,
            Action::Return {
                of: ReturnOf::Unreferenced { sku, .. },
                ..
            } => sku,
            other => panic!("{other:?} has no shard"),
        };
        let count = self.shards.len() as u32;
        (0..count)
            .find(|shard| u32::from(slot_of(sku)) < (shard + 1) * 4096 / count)
            .unwrap()
    }
}
