//! Several shards and the orders between them, written step by step.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_api::v1::{self, Change, ChangeKind, ReservationState};

use super::super::world::{START_MS, World, operation_id};
use super::super::{Check, Report, Verifier, last_seq};

pub(super) const TTL_MS: u64 = 60_000;
/// More lines than an order of these tests has in one shard.
const LINES_OF_A_SHARD: u32 = 100;

/// A shop: shards that each have twenty shirts, and the orders between them.
pub(super) struct Shop {
    pub(super) worlds: Vec<World>,
    pub(super) homes: BTreeMap<[u8; 16], u32>,
    /// Holds of one shard that are not part of an order with their id.
    pub(super) alone: BTreeSet<(u32, Vec<u8>)>,
    /// Shards whose lines have the numbers of another shard's lines.
    lines_as_in: BTreeMap<u32, u32>,
    operations: u64,
}

impl Shop {
    pub(super) fn new(shards: u32) -> Self {
        let worlds = (0..shards).map(|shard| {
            let mut world = World::of_shard(shard);
            world.receive("SHIRT", "EAST", 20);
            world.end_entry();
            world
        });
        Self {
            worlds: worlds.collect(),
            homes: BTreeMap::new(),
            alone: BTreeSet::new(),
            lines_as_in: BTreeMap::new(),
            operations: 0,
        }
    }

    pub(super) fn operation(&mut self) -> [u8; 16] {
        self.operations += 1;
        operation_id(u64::MAX >> 1 & !0xffff | self.operations)
    }

    /// Makes the id of a new order that this shard decides.
    pub(super) fn order(&mut self, home: u32) -> [u8; 16] {
        let id = self.operation();
        self.homes.insert(id, home);
        id
    }

    pub(super) fn prepare(&mut self, shard: u32, id: [u8; 16], quantity: i64) {
        let world = &mut self.worlds[shard as usize];
        let undecided = (ReservationState::Prepared, 0);
        let wanted = [("SHIRT", "EAST", quantity)];
        world.take(ChangeKind::Prepared, id, "web", &wanted, undecided);
        world.end_entry();
    }

    /// Gives the lines of a shard the numbers of another shard's lines.
    pub(super) fn same_lines(&mut self, shard: u32, as_in: u32) {
        self.lines_as_in.insert(shard, as_in);
    }

    /// Returns the order's units in a shard, undecided or held.
    pub(super) fn hold(&self, shard: u32, id: [u8; 16]) -> Option<usize> {
        let open = [ReservationState::Prepared, ReservationState::Held];
        let holds = &self.worlds[shard as usize].holds;
        holds
            .iter()
            .rposition(|hold| hold.id == id && open.contains(&hold.state))
    }

    /// Writes a decision without units: confirmed, extended, or any decision in a home that has none.
    pub(super) fn note(&mut self, shard: u32, id: [u8; 16], kind: ChangeKind, operation: Option<[u8; 16]>) {
        self.note_until(START_MS + TTL_MS, shard, id, kind, operation);
    }

    pub(super) fn note_until(
        &mut self,
        expires_at_ms: u64,
        shard: u32,
        id: [u8; 16],
        kind: ChangeKind,
        operation: Option<[u8; 16]>,
    ) {
        let hold = self.hold(shard, id);
        let world = &mut self.worlds[shard as usize];
        let state = match kind {
            ChangeKind::Committed => ReservationState::Committed,
            ChangeKind::Expired => ReservationState::Expired,
            ChangeKind::Released | ChangeKind::Aborted => ReservationState::Released,
            _ => ReservationState::Held,
        };
        if let Some(at) = hold {
            let hold = &mut world.holds[at];
            (hold.state, hold.expires_at_ms) = (state, expires_at_ms);
        }
        world.write(kind, ("", "", "web"), &[], operation).reservation = Some(v1::ReservationEffect {
            reservation_id: id.to_vec().into(),
            state: state.into(),
            expires_at_ms,
            ..v1::ReservationEffect::default()
        });
        world.end_entry();
    }

    pub(super) fn confirm(&mut self, shard: u32, id: [u8; 16]) {
        self.note(shard, id, ChangeKind::Confirmed, Some(id));
    }

    /// Ends the hold with all its units.
    pub(super) fn settle(&mut self, shard: u32, id: [u8; 16], kind: ChangeKind, operation: Option<[u8; 16]>) {
        let at = self.hold(shard, id).unwrap();
        let world = &mut self.worlds[shard as usize];
        world.end_hold_by(at, kind, operation);
        world.end_entry();
    }

    /// Makes an order of three shirts in each of these shards, and holds it. The first shard is its home.
    pub(super) fn held(&mut self, shards: &[u32]) -> [u8; 16] {
        let id = self.order(shards[0]);
        for shard in shards {
            self.prepare(*shard, id, 3);
        }
        for shard in shards {
            self.confirm(*shard, id);
        }
        id
    }

    pub(super) fn history(&self, shard: u32) -> Vec<Change> {
        let mut history = self.worlds[shard as usize].history.clone();
        for effect in history
            .iter_mut()
            .filter_map(|change| change.reservation.as_mut())
            .filter(|effect| !self.alone.contains(&(shard, effect.reservation_id.to_vec())))
        {
            effect.home = self.homes.get(effect.reservation_id.as_ref()).copied();
            // Each line of an order has its units in one shard.
            effect.line += self.lines_as_in.get(&shard).unwrap_or(&shard) * LINES_OF_A_SHARD;
        }
        history
    }

    /// Returns the orders that left a trace.
    pub(super) fn told(&self) -> BTreeSet<Vec<u8>> {
        let shards = 0..self.worlds.len() as u32;
        let effects = shards
            .flat_map(|shard| self.history(shard))
            .filter_map(|change| change.reservation);
        effects.map(|effect| effect.reservation_id.to_vec()).collect()
    }

    /// Verifies up to one change of each shard.
    pub(super) fn verifier(&self, through: impl Fn(u32) -> u64) -> Verifier {
        let mut verifier = Verifier::new();
        for shard in 0..self.worlds.len() as u32 {
            let history = self.history(shard);
            let mut replay = verifier.shard(shard);
            for change in history.iter().filter(|change| change.seq <= through(shard)) {
                replay.observe(change).unwrap();
            }
            if through(shard) >= last_seq(&history) {
                replay.compare_live(last_seq(&history), &self.worlds[shard as usize].live());
                replay.end_live();
            }
            replay.end().unwrap();
        }
        verifier
    }

    pub(super) fn verify(&self) -> Report {
        self.verifier(|_| u64::MAX).finish().unwrap()
    }

    #[track_caller]
    pub(super) fn assert_only(&self, check: Check) -> Report {
        let report = self.verify();
        assert_eq!(
            report.counts.keys().copied().collect::<Vec<_>>(),
            [check],
            "{report}"
        );
        report
    }

    pub(super) fn commit_everywhere(&mut self, shards: &[u32], id: [u8; 16]) {
        let paid = self.operation();
        for shard in shards {
            self.settle(*shard, id, ChangeKind::Committed, Some(paid));
        }
    }
}
