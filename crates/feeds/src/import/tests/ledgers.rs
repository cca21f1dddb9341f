//! Real ledgers in memory that answer as a cluster would, and whose answers can be cut off.

use bytes::Bytes;
use holdfast_api::slots::slot_of;
use holdfast_client::v1::batch_item::Request as Item;
use holdfast_ledger::{
    Acknowledgement, Action, CallerReason, Command, Coordinator, End, OperationId, OrderReply, OrderStep,
    Outcome, Principal, Reference, Refusal, ReturnOf, Sku,
};

use super::*;
use crate::import::steps::Sale;

/// One ledger for each shard.
pub(super) struct Ledgers(Mutex<Inner>);

struct Inner {
    shards: Vec<Ledger>,
    log_index: u64,
    now_ms: u64,
    changes: Vec<v1::Change>,
    sent: Vec<Request>,
    /// Number of requests that are still answered.
    left: Option<u64>,
    /// Fate of the first request after that.
    then: CutOff,
}

/// How far the first unanswered request gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CutOff {
    /// It never arrived.
    Before,
    /// An order over several shards was begun and prepared, and nobody decided it. Any other request never
    /// arrived.
    Undecided,
    /// It took effect, and its answer is lost.
    After,
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
            then: CutOff::Before,
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

    /// Answers this many more requests, then none.
    pub(super) fn cut_off_after(&self, requests: u64, then: CutOff) {
        let mut inner = self.0.lock().unwrap();
        inner.left = Some(requests);
        inner.then = then;
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
            for shard in 0..inner.shards.len() as u32 {
                inner.apply(shard, log_index, log_time_ms, Vec::new());
            }
            inner.settle();
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

    /// Returns the units received by SKU, from the requests alone.
    pub(super) fn received(&self) -> BTreeMap<String, i64> {
        let mut received = BTreeMap::new();
        for request in &self.0.lock().unwrap().sent {
            if let Request::Batched(Item::Receive(request)) = request {
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

    async fn await_given_back(&self, reservation_id: Bytes, sale: &Sale) -> Result<(), RunError> {
        let reservation_id = OperationId::from_slice(&reservation_id).unwrap();
        let inner = self.0.lock().unwrap();
        for shard in &sale.shards {
            let reply = inner.shards[*shard as usize]
                .query(&Query::Reservation { reservation_id })
                .unwrap();
            if !matches!(reply, QueryReply::Reservation(None)) {
                return Err(RunError::StillHeld {
                    document: sale.document.clone(),
                    shard: *shard,
                });
            }
        }
        Ok(())
    }
}

impl Inner {
    fn answer(&mut self, request: Request) -> Result<Answer, ClientError> {
        let cut_off = || ClientError::Unknown {
            message: "cut off".to_owned(),
        };
        if let Some(left) = &mut self.left {
            if *left == 0 {
                let then = std::mem::replace(&mut self.then, CutOff::Before);
                if then != CutOff::Before {
                    let _ = self.decide(request, then);
                }
                return Err(cut_off());
            }
            *left -= 1;
        }
        self.decide(request, CutOff::After)
    }

    fn decide(&mut self, request: Request, until: CutOff) -> Result<Answer, ClientError> {
        self.sent.push(request.clone());
        let taken = match request {
            Request::Adjust(request) => inbound::adjust(request),
            Request::Batched(item) => inbound::batch_item(Some(item)),
        };
        let refused = |refusal: v1::Refusal| ClientError::Refused(Box::new(refusal));
        let taken = taken.map_err(|invalid| refused(invalid.into()))?;
        let outcome = self.decide_command(taken.shard_hint, taken.command, until);
        self.settle();
        match outcome {
            Ok(Success::Reserved { replayed, lines, .. }) => Ok(Answer {
                replayed,
                granted: lines.into_iter().map(|line| (line.line, line.granted)).collect(),
            }),
            Ok(Success::Transitioned { replayed, .. } | Success::Stocked { replayed, .. }) => Ok(Answer {
                replayed,
                granted: Vec::new(),
            }),
            Ok(Success::Order { reply, .. }) => panic!("a step of an order was answered: {reply:?}"),
            Err(refusal) => Err(refused(outbound::refusal(refusal))),
        }
    }

    /// Decides a command as a node does, one step after the other.
    fn decide_command(&mut self, hint: Option<u32>, command: Command, until: CutOff) -> Outcome {
        if matches!(command.action, Action::Reserve { .. })
            && let Some(coordinator) = Coordinator::new(command.clone(), None, |sku| self.shard_of_sku(sku))?
        {
            return self.coordinate(coordinator, until);
        }
        let shard = hint.unwrap_or_else(|| self.shard_of(&command.action));
        if until == CutOff::Undecided {
            return Err(Refusal::UnknownReservation);
        }
        match self.submit(shard, command.clone()) {
            Err(Refusal::OverSeveralShards { .. }) => self.fulfil(&command),
            outcome => outcome,
        }
    }

    fn coordinate(&mut self, mut coordinator: Coordinator, until: CutOff) -> Outcome {
        let mut steps = coordinator.start();
        loop {
            let mut next = Vec::new();
            for target in steps {
                let answer = self.submit(target.shard, target.command);
                let progress = coordinator.on_answer(target.number, answer);
                if let Some(end) = progress.end {
                    let End::Outcome(outcome) = end else {
                        panic!("{end:?}")
                    };
                    return outcome;
                }
                next.extend(progress.send);
            }
            if until == CutOff::Undecided {
                return Err(Refusal::UnknownReservation);
            }
            steps = next;
        }
    }

    /// Sends the command to each shard, with the lines that the shard has.
    fn fulfil(&mut self, command: &Command) -> Outcome {
        let (Action::Ship { reservation_id, .. }
        | Action::Cancel { reservation_id, .. }
        | Action::Return {
            of: ReturnOf::Reservation { reservation_id, .. },
            ..
        }) = &command.action
        else {
            panic!("{command:?} is not done part by part")
        };
        let reservation_id = *reservation_id;
        let mut done = Err(Refusal::UnknownReservation);
        for shard in 0..self.shards.len() as u32 {
            let reply = self.shards[shard as usize].query(&Query::Reservation { reservation_id });
            let Ok(QueryReply::Reservation(Some(part))) = reply else {
                continue;
            };
            let mut action = command.action.clone();
            if let Action::Ship { lines, .. }
            | Action::Cancel { lines, .. }
            | Action::Return {
                of: ReturnOf::Reservation { lines, .. },
                ..
            } = &mut action
            {
                let everything = lines.is_empty();
                lines.retain(|wanted| part.lines.iter().any(|line| line.line == wanted.line));
                if lines.is_empty() && !everything {
                    continue;
                }
            }
            let of_part = Command {
                action: Action::OfPart(Box::new(action)),
                ..command.clone()
            };
            match self.submit(shard, of_part) {
                // This part has nothing left; another part may have.
                Err(Refusal::WrongState { .. }) if done.is_ok() => {}
                outcome => done = outcome,
            }
        }
        done
    }

    fn submit(&mut self, shard: u32, command: Command) -> Outcome {
        self.log_index += 1;
        self.apply(shard, self.log_index, self.now_ms, vec![command])
            .remove(0)
    }

    fn apply(
        &mut self,
        shard: u32,
        log_index: u64,
        log_time_ms: u64,
        commands: Vec<Command>,
    ) -> Vec<Outcome> {
        let entry = Entry {
            log_time_ms,
            commands,
        };
        let applied = self.shards[shard as usize].apply(log_index, &entry).unwrap();
        let changes = applied.changes.into_iter();
        self.changes
            .extend(changes.map(|change| outbound::change(shard, change)));
        applied.outcomes
    }

    /// Lets participants follow the decisions of the homes, and ask where they have not heard of one.
    fn settle(&mut self) {
        for home in 0..self.shards.len() as u32 {
            let reply = self.shards[home as usize].query(&Query::OrderWork { limit: 1_000 });
            let QueryReply::OrderWork(work) = reply.unwrap() else {
                panic!("order work")
            };
            for due in work.settle {
                let (id, settlement) = (due.reservation_id, due.settlement);
                let acknowledged = Acknowledgement {
                    reservation_id: id,
                    shard: due.shard,
                    attempt: settlement.attempt,
                    version: settlement.version,
                };
                self.step(due.shard, id, OrderStep::Settle(settlement));
                self.step(home, id, OrderStep::Acknowledge(vec![acknowledged]));
            }
            let shard = home;
            for due in work.inquire {
                let inquiry = OrderStep::Inquire {
                    shard,
                    attempt: due.attempt,
                    incarnation: due.incarnation,
                };
                if let OrderReply::Answered(Some(settlement)) =
                    self.step(due.home, due.reservation_id, inquiry)
                {
                    let settle = OrderStep::Settle(settlement.about(due.incarnation));
                    self.step(shard, due.reservation_id, settle);
                }
            }
        }
    }

    fn step(&mut self, shard: u32, id: OperationId, step: OrderStep) -> OrderReply {
        let command = Command {
            operation_id: id,
            principal: Principal::new("test").unwrap(),
            reference: Reference::default(),
            reason: CallerReason::default(),
            action: Action::Order(step),
            details: holdfast_ledger::Details::default(),
        };
        match self.submit(shard, command) {
            Ok(Success::Order { reply, .. }) => reply,
            other => panic!("{other:?}"),
        }
    }

    fn shard_of(&self, action: &Action) -> u32 {
        let sku = match action {
            Action::Reserve { lines, .. } => &lines[0].sku,
            Action::Receive { sku, .. } | Action::Adjust { sku, .. } => sku,
            Action::Return {
                of: ReturnOf::Unreferenced { sku, .. },
                ..
            } => sku,
            other => panic!("{other:?} has no shard"),
        };
        self.shard_of_sku(sku)
    }

    fn shard_of_sku(&self, sku: &Sku) -> u32 {
        let count = self.shards.len() as u32;
        (0..count)
            .find(|shard| u32::from(slot_of(sku.as_str())) < (shard + 1) * 4096 / count)
            .unwrap()
    }
}
