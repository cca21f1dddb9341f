//! `--as-of`: cells and reservations as they stood. The answer comes from a node, or from an archive and a
//! node's stream that continues it.

mod archived;
mod moment;

use holdfast_changes::archive::Archive;
use holdfast_changes::as_of::{Reservation, Stock};
use holdfast_client::{ClientError, id_bytes, v1};
use serde_json::{Value, json};

use self::moment::Moment;
use super::changes::{older, streams};
use super::reservation::shown;
use crate::arguments::ReservationArgs;
use crate::context::Context;
use crate::render;

/// Options that name a past moment, and the archive of older changes.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "As it stood")]
pub(crate) struct AsOfArgs {
    /// Show it as it stood at a time, such as 2026-11-21T09:30:00Z (or in milliseconds since the Unix epoch),
    /// or after a change, as SHARD:SEQ. All changes of the shard until then are read; allow time for a long
    /// history with --deadline
    #[arg(long, value_name = "TIME|SHARD:SEQ", value_parser = moment::moment, conflicts_with = "stale")]
    as_of: Option<Moment>,
    /// With --as-of: read an archive of changes (a folder, file:///folder or s3://bucket/prefix) as far as
    /// they go, and only the rest from a node. When left out, a registered archive is read if the nodes have
    /// dropped the changes
    #[arg(long, value_name = "URL|FOLDER", requires = "as_of")]
    archive: Option<String>,
}

impl AsOfArgs {
    /// Returns the moment and the archive, if `--as-of` was given.
    pub(crate) fn asked(&self) -> Option<AsOf<'_>> {
        self.as_of.map(|moment| AsOf {
            moment,
            archive: self.archive.as_deref(),
        })
    }
}

/// A past moment, and the archive to read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AsOf<'a> {
    moment: Moment,
    archive: Option<&'a str>,
}

/// The answer of a node, or the archive that has the changes which the nodes have dropped.
enum Live<A> {
    Answer(A),
    Archived(Archive),
}

impl<A> Live<A> {
    /// Returns the node's answer, or the archive that its refusal names.
    fn of(answer: Result<A, ClientError>) -> anyhow::Result<Self> {
        match answer {
            Ok(answer) => Ok(Self::Answer(answer)),
            Err(ClientError::Refused(refusal)) if !refusal.archives.is_empty() => {
                let places = refusal
                    .archives
                    .iter()
                    .map(|archive| older::open(&archive.location));
                // The first that opens, or else the reason why the last one does not.
                let mut found: Option<anyhow::Result<Archive>> = None;
                for place in places {
                    if !matches!(found, Some(Ok(_))) {
                        found = Some(place);
                    }
                }
                found
                    .unwrap_or_else(|| Err(ClientError::Refused(refusal).into()))
                    .map(Self::Archived)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Prints the cells of a SKU as they stood; an empty warehouse means all warehouses.
pub(crate) async fn stock(
    sku: &str,
    warehouse: &str,
    asked: AsOf<'_>,
    context: &Context,
) -> anyhow::Result<()> {
    let request = v1::GetStockAsOfRequest {
        sku: sku.to_owned(),
        warehouse: warehouse.to_owned(),
        at: Some(asked.moment.of_stock()),
    };
    let client = context.client()?;
    let live = match asked.archive {
        None => Live::of(client.get_stock_as_of(request).await)?,
        Some(place) => Live::Archived(Archive::open_existing(place)?),
    };
    let (as_of, cells) = match live {
        Live::Answer(answer) => {
            let as_of = answer.as_of.ok_or_else(without_moment)?;
            (as_of, answer.cells)
        }
        Live::Archived(archive) => {
            let shard = match asked.moment {
                Moment::Position(position) => position.shard,
                Moment::LogTimeMs(_) => client.shard_of(sku).await?,
            };
            let subject = Stock::new(sku, warehouse);
            let (as_of, stock) = archived::read(&archive, shard, asked.moment, subject, context).await??;
            (as_of, stock.cells())
        }
    };
    if context.json {
        let cells: Vec<Value> = cells.iter().map(render::cell).collect();
        let answer = json!({ "as_of": render::as_of(&as_of), "cells": cells });
        return Ok(context.output.json(&answer)?);
    }
    if cells.is_empty() {
        let note = render::as_of_note(&as_of);
        return Ok(context
            .output
            .line(format!("{sku} had never had stock there ({note})"))?);
    }
    let rows: Vec<Vec<String>> = cells.iter().map(render::cell_row).collect();
    context.output.table(&render::CELL_HEADERS, &rows)?;
    context.output.note(render::as_of_note(&as_of));
    Ok(())
}

/// Prints a reservation as it stood: the part of each shard.
pub(crate) async fn reservation(
    of: &ReservationArgs,
    asked: AsOf<'_>,
    context: &Context,
) -> anyhow::Result<()> {
    let request = v1::GetReservationAsOfRequest {
        reservation: of.key(),
        at: Some(asked.moment.of_reservation()),
    };
    let live = match asked.archive {
        None => Live::of(context.client()?.get_reservation_as_of(request).await)?,
        Some(place) => Live::Archived(Archive::open_existing(place)?),
    };
    let parts = match live {
        Live::Answer(answer) => answer.parts,
        Live::Archived(archive) => archived_parts(&archive, of, asked.moment, context).await?,
    };
    let mut told = Vec::new();
    for part in &parts {
        let as_of = part.as_of.as_ref().ok_or_else(without_moment)?;
        let reservation = part.reservation.as_ref();
        let reservation = reservation.ok_or_else(|| anyhow::anyhow!("the answer has no reservation"))?;
        told.push((as_of, reservation, part.home));
    }
    if context.json {
        let part = |(as_of, reservation, home): &(&v1::AsOf, &v1::Reservation, Option<u32>)| {
            json!({
                "as_of": render::as_of(as_of),
                "reservation": shown::json(reservation),
                "home": home,
            })
        };
        let parts: Vec<Value> = told.iter().map(part).collect();
        return Ok(context.output.json(&json!({ "parts": parts }))?);
    }
    for (at, (as_of, reservation, home)) in told.iter().enumerate() {
        if at > 0 {
            context.output.line("")?;
        }
        shown::print(reservation, context)?;
        context.output.note(render::as_of_note(as_of));
        if let Some(home) = home {
            context.output.note(format!(
                "part of an order over several shards, decided by shard {home}"
            ));
        }
    }
    Ok(())
}

async fn archived_parts(
    archive: &Archive,
    of: &ReservationArgs,
    moment: Moment,
    context: &Context,
) -> anyhow::Result<Vec<v1::ReservationPart>> {
    let shards: Vec<u32> = match (moment, of.shard) {
        (Moment::Position(position), _) => vec![position.shard],
        (Moment::LogTimeMs(_), Some(shard)) => vec![shard],
        (Moment::LogTimeMs(_), None) => {
            let positions = streams::positions(context.client()?, None).await?;
            positions.iter().map(|position| position.shard).collect()
        }
    };
    let mut parts = Vec::new();
    // One after the other, because each needs the memory of one archived file.
    for shard in &shards {
        let subject = Reservation::new(id_bytes(of.reservation));
        match archived::read(archive, *shard, moment, subject, context).await? {
            Ok((as_of, subject)) => {
                parts.extend(subject.reservation().map(|reservation| v1::ReservationPart {
                    as_of: Some(as_of),
                    reservation: Some(reservation.clone()),
                    home: subject.home(),
                }));
            }
            Err(error) if shards.len() == 1 => return Err(error.into()),
            // The reservation had no line in a shard that began later.
            Err(_) => {}
        }
    }
    anyhow::ensure!(
        !parts.is_empty(),
        "there was no reservation {} by then: it was granted later, in another shard, or never",
        of.reservation
    );
    Ok(parts)
}

fn without_moment() -> anyhow::Error {
    anyhow::anyhow!("the answer does not say which moment it describes")
}
