//! As-of reads: cells and reservations as they stood at a past moment.
//!
//! An as-of read adds up the changes of the shard, from its first change to the given moment. The changes
//! come from this node's change log. If this replica was caught up by a snapshot, its change log lacks
//! earlier changes, and those come from another node. If this replica has not reached the moment, a quorum
//! first confirms the log. So the read never misses a change that was acknowledged before the call.

use futures::future::try_join_all;
use holdfast_api::reasons;
use holdfast_api::v1::changes_client::ChangesClient;
use holdfast_api::v1::history_server::History;
use holdfast_api::v1::{self, Reason, Refusal};
use holdfast_guard::policy::Touched;
use holdfast_guard::verb::Verb;
use holdfast_history::{AsOfError, At, Fault, Reading, Reservation, Stock, Subject};
use holdfast_shard::{ChangeReadError, ChangeReader};
use tokio::time::Instant;
use tonic::metadata::AsciiMetadataValue;
use tonic::{Request, Response, Status};

use super::{Service, caller, changes, consumers, listing};
use crate::api::{Api, PROXIED};
use crate::clock::wall_clock_ms;
use crate::intake::Permit;
use crate::mapping::outbound;
use crate::reasoned;
use crate::security::Caller;
use crate::validation::{self, Invalid};

/// The stored bytes of changes that are read from the change log at a time.
const READ_BYTES: usize = 512 << 10;
/// The maximum size of a message from another node: one entry can have many changes.
const MAX_PROXIED_BYTES: usize = 256 << 20;

/// The reason why a part of the change log was not added up.
enum Stop {
    Unread(ChangeReadError),
    Fault(Fault),
    Defect(String),
}

/// Adds up the next changes of this node's change log. Returns false when there are no more for the moment.
/// Blocks on the disk.
fn advance<S: Subject>(reader: &ChangeReader, reading: &mut Reading<S>) -> Result<bool, Stop> {
    let changes = reader
        .read(reading.next_seq(), READ_BYTES)
        .map_err(Stop::Unread)?;
    let any = !changes.is_empty();
    for change in changes {
        let change = outbound::change(reading.shard(), change);
        reading.observe(&change).map_err(Stop::Fault)?;
    }
    Ok(any)
}

impl Service {
    /// Adds up the changes of a shard to the given moment.
    async fn as_of<S: Subject + Send + 'static>(
        &self,
        shard: u32,
        at: At,
        subject: S,
        deadline: Instant,
    ) -> Result<Result<(v1::AsOf, S), AsOfError>, Refusal> {
        let api = &*self.api;
        let reader = api.changes_of(shard).await?;
        let mut confirmed = None;
        if let At::Seq(seq) = at
            && seq > reader.last_seq()
        {
            let last_seq = listing::wait_until_confirmed(api, shard, deadline).await?;
            if seq > last_seq {
                return Ok(Err(AsOfError::InFuture { shard, seq, last_seq }));
            }
            confirmed = Some(last_seq);
        }
        let mut reading = Reading::new(shard, at, subject);
        while !reading.is_passed() {
            in_time(api, &reading, deadline)?;
            let read = reader.clone();
            let work = tokio::task::spawn_blocking(move || {
                let advanced = advance(&read, &mut reading);
                (reading, advanced)
            });
            let advanced;
            (reading, advanced) = work
                .await
                .map_err(|error| told(shard, Stop::Defect(error.to_string())))?;
            match advanced {
                Ok(true) => {}
                Ok(false) if confirmed.is_some_and(|last_seq| reading.next_seq() > last_seq) => break,
                Ok(false) => {
                    confirmed = Some(listing::wait_until_confirmed(api, shard, deadline).await?);
                }
                Err(Stop::Unread(ChangeReadError::NotHere { first_seq })) => {
                    from_peers(api, &mut reading, first_seq, deadline).await?;
                }
                Err(stop) => return Err(told(shard, stop)),
            }
        }
        Ok(reading.finish())
    }

    /// Takes a place among those of change streams, because an as-of read costs as much as a stream.
    fn place(&self, caller: &Caller) -> Result<Permit, Refusal> {
        self.api.change_streams.take(caller.party())
    }

    async fn stock_as_of(
        &self,
        caller: &Caller,
        request: v1::GetStockAsOfRequest,
        deadline: Instant,
    ) -> Result<v1::GetStockAsOfResponse, Refusal> {
        use v1::get_stock_as_of_request::At as Asked;
        let sku = validation::sku("sku", request.sku)?;
        let warehouse = validation::optional_warehouse("warehouse", request.warehouse)?;
        // A cell shows the pools of all storefronts.
        let warehouses = Touched::one_or_everything(warehouse.as_ref().map(|name| name.as_str()));
        self.api
            .allow(caller, Verb::Read, &Touched::Everything, &warehouses)?;
        let shard = self.api.router.shard_of(&sku);
        let at = match validation::required("at", request.at)? {
            Asked::Position(position) => position_of(shard, position)?,
            Asked::LogTimeMs(at_ms) => not_in_future(at_ms)?,
        };
        let _place = self.place(caller)?;
        let warehouse = warehouse.map(String::from).unwrap_or_default();
        let stock = Stock::new(String::from(sku), warehouse);
        let (as_of, stock) = self.as_of(shard, at, stock, deadline).await?.map_err(refused)?;
        Ok(v1::GetStockAsOfResponse {
            as_of: Some(as_of),
            cells: stock.cells(),
        })
    }

    async fn reservation_as_of(
        &self,
        caller: &Caller,
        request: v1::GetReservationAsOfRequest,
        deadline: Instant,
    ) -> Result<v1::GetReservationAsOfResponse, Refusal> {
        use v1::get_reservation_as_of_request::At as Asked;
        let (id, hint) = validation::reservation_key("reservation", request.reservation)?;
        if let Some(shard) = hint {
            self.api.router.shard("reservation.shard", shard)?;
        }
        let (at, shards) = match validation::required("at", request.at)? {
            Asked::Position(position) => {
                self.api.router.shard("position.shard", position.shard)?;
                let shard = hint.unwrap_or(position.shard);
                (position_of(shard, position)?, shard..shard + 1)
            }
            Asked::LogTimeMs(at_ms) => {
                let all = 0..self.api.router.shards().len() as u32;
                (not_in_future(at_ms)?, hint.map_or(all, |shard| shard..shard + 1))
            }
        };
        let _place = self.place(caller)?;
        let only_one = shards.len() == 1;
        let parts = shards.map(|shard| async move {
            let subject = Reservation::new(*id.as_bytes());
            match self.as_of(shard, at, subject, deadline).await? {
                Ok((as_of, subject)) => {
                    let part = |reservation: &v1::Reservation| v1::ReservationPart {
                        as_of: Some(as_of),
                        reservation: Some(reservation.clone()),
                        home: subject.home(),
                    };
                    Ok(subject.reservation().map(part))
                }
                Err(error) if only_one => Err(refused(error)),
                // A shard that began later had no line of the reservation.
                Err(_) => Ok::<_, Refusal>(None),
            }
        });
        let parts: Vec<_> = try_join_all(parts).await?.into_iter().flatten().collect();
        if parts.is_empty() {
            let message =
                "there was no such reservation by then: it was granted later, in another shard, or never";
            return Err(reasons::refusal(Reason::UnknownReservation, message));
        }
        for reservation in parts.iter().filter_map(|part| part.reservation.as_ref()) {
            let lines = reservation.lines.iter();
            let allocations = lines.flat_map(|line| line.allocations.iter());
            let warehouses = allocations
                .map(|allocation| allocation.warehouse.as_str())
                .collect();
            let storefront = Touched::one(&reservation.storefront);
            self.api
                .allow(caller, Verb::Read, &storefront, &Touched::These(warehouses))?;
        }
        Ok(v1::GetReservationAsOfResponse { parts })
    }
}

#[tonic::async_trait]
impl History for Service {
    async fn get_stock_as_of(
        &self,
        request: Request<v1::GetStockAsOfRequest>,
    ) -> Result<Response<v1::GetStockAsOfResponse>, Status> {
        let deadline = self.api.deadline(request.metadata());
        let caller = caller(&request)?;
        let answer = self.stock_as_of(&caller, request.into_inner(), deadline);
        self.api.unary("GetStockAsOf", answer).await
    }

    async fn get_reservation_as_of(
        &self,
        request: Request<v1::GetReservationAsOfRequest>,
    ) -> Result<Response<v1::GetReservationAsOfResponse>, Status> {
        let deadline = self.api.deadline(request.metadata());
        let caller = caller(&request)?;
        let answer = self.reservation_as_of(&caller, request.into_inner(), deadline);
        self.api.unary("GetReservationAsOf", answer).await
    }
}

fn position_of(shard: u32, position: v1::ChangePosition) -> Result<At, Invalid> {
    if position.shard != shard {
        let message = format!(
            "is {}, but what the request asks for is in shard {shard}",
            position.shard
        );
        return Err(Invalid::new("position.shard", message));
    }
    if position.seq == 0 {
        return Err(Invalid::new(
            "position.seq",
            "is 0, but changes are counted from 1",
        ));
    }
    Ok(At::Seq(position.seq))
}

/// Refuses a time that has not passed by this node's clock, because changes before it may still come.
fn not_in_future(at_ms: u64) -> Result<At, Refusal> {
    let now_ms = wall_clock_ms();
    if at_ms > now_ms {
        let message = format!("log_time_ms: {at_ms} has not come yet, this node's clock shows {now_ms}");
        return Err(reasons::refusal(Reason::PositionInFuture, message));
    }
    Ok(At::LogTimeMs(at_ms))
}

fn in_time<S: Subject>(api: &Api, reading: &Reading<S>, deadline: Instant) -> Result<(), Refusal> {
    if api.stopping.is_cancelled() {
        let message = "the node is stopping: ask another node";
        return Err(reasons::refusal(Reason::NoLeader, message));
    }
    if Instant::now() < deadline {
        return Ok(());
    }
    let message = format!(
        "shard {}: the deadline passed after change {}: allow more time, or read an archive",
        reading.shard(),
        reading.next_seq() - 1
    );
    Err(reasons::refusal(Reason::Deadline, message))
}

/// Adds up changes before `first_seq` from another node, because this node does not have them.
async fn from_peers<S: Subject>(
    api: &Api,
    reading: &mut Reading<S>,
    first_seq: u64,
    deadline: Instant,
) -> Result<(), Refusal> {
    let from_seq = reading.next_seq();
    // Whether every other node has said that it does not have them either.
    let mut all_lack_them = true;
    for node_id in api.peers.ids() {
        let Some(channel) = api.peers.client_channel(node_id) else {
            all_lack_them = false;
            continue;
        };
        let mut request = Request::new(v1::TailChangesRequest {
            shard: reading.shard(),
            from_seq: reading.next_seq(),
            ..v1::TailChangesRequest::default()
        });
        request
            .metadata_mut()
            .insert(PROXIED, AsciiMetadataValue::from_static("1"));
        let mut client = ChangesClient::new(channel).max_decoding_message_size(MAX_PROXIED_BYTES);
        let mut stream = match tokio::time::timeout_at(deadline, client.tail_changes(request)).await {
            Ok(Ok(stream)) => stream.into_inner(),
            Ok(Err(status)) => {
                all_lack_them &= changes::lacks_them(&status);
                continue;
            }
            Err(_) => {
                all_lack_them = false;
                continue;
            }
        };
        loop {
            let message = match tokio::time::timeout_at(deadline, stream.message()).await {
                Ok(Ok(Some(message))) => message,
                Ok(Err(status)) => {
                    all_lack_them &= changes::lacks_them(&status);
                    break;
                }
                Ok(Ok(None)) | Err(_) => {
                    all_lack_them = false;
                    break;
                }
            };
            for change in &message.changes {
                reading
                    .observe(change)
                    .map_err(|fault| told(reading.shard(), Stop::Fault(fault)))?;
            }
            if reading.is_passed() || reading.next_seq() >= first_seq {
                return Ok(());
            }
            in_time(api, reading, deadline)?;
        }
    }
    if reading.next_seq() > from_seq {
        return Ok(());
    }
    let (shard, last_seq) = (reading.shard(), first_seq - 1);
    Err(if all_lack_them {
        consumers::dropped(api, shard, from_seq).await
    } else {
        let message = format!(
            "shard {shard}: no node that can be reached has the changes {from_seq} to {last_seq}: try again"
        );
        reasons::refusal(Reason::NoLeader, message)
    })
}

fn refused(error: AsOfError) -> Refusal {
    let reason = match error {
        AsOfError::NoChange { .. } | AsOfError::BeforeFirst { .. } => Reason::PositionTooOld,
        AsOfError::InFuture { .. } => Reason::PositionInFuture,
    };
    reasons::refusal(reason, error.to_string())
}

fn told(shard: u32, stop: Stop) -> Refusal {
    match stop {
        Stop::Unread(error) => reasoned::told_of_shard(shard, &error),
        Stop::Fault(fault) => reasons::refusal(Reason::Internal, fault.to_string()),
        Stop::Defect(message) => reasons::refusal(Reason::Internal, message),
    }
}

#[cfg(test)]
mod tests;
