//! Reservations as they are kept in memory: 20 to 40 bytes instead of 230, because most of their numbers are
//! 0 or small, and there are millions.
//!
//! The layout is private to this process: a snapshot holds whole reservations. A record is a head (the state,
//! and which fields follow), the storefront, the times, the reference and the order's link if there are any,
//! then the lines. All numbers are LEB128.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::{SmallVec, smallvec};

use crate::{Reference, SourcingReason};

use super::{
    operations::STATES,
    order_link::OrderLink,
    reservation::{Line, LineAllocation, Reservation},
    varint::{Record, read, write},
};

/// The size of a reservation of one line from one warehouse, with a reference of about 15 bytes.
const USUAL_BYTES: usize = 40;

/// A reservation in packed form.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PackedReservation(SmallVec<[u8; USUAL_BYTES]>);

/// The bits of the head. `STATE` masks the lowest four, and the others are flags.
const STATE: u8 = 0x0f;
const CLOSED: u8 = 0x10;
const WITH_REFERENCE: u8 = 0x20;
const WITH_ORDER: u8 = 0x40;
/// The bit for one line with number 0 and one allocation.
const PLAIN: u8 = 0x80;

/// The place of the reason in an allocation's mask, above the bits of its nine numbers.
const REASON_SHIFT: u32 = 9;
const REASONS: [SourcingReason; 7] = [
    SourcingReason::OnlySource,
    SourcingReason::FirstFillingAll,
    SourcingReason::Preferred,
    SourcingReason::MostAvailable,
    SourcingReason::FewestShipments,
    SourcingReason::SpillOver,
    SourcingReason::Backordered,
];

impl PackedReservation {
    pub(crate) fn pack(reservation: &Reservation) -> Self {
        let Reservation {
            storefront,
            state,
            created_at_ms,
            expires_at_ms,
            closed_at_ms,
            reference,
            order,
            lines,
        } = reservation;
        let plain = match lines.as_slice() {
            [line] if line.number == 0 => match line.allocations.as_slice() {
                [allocation] => Some((line, allocation)),
                _ => None,
            },
            _ => None,
        };
        let reference = reference.as_str().as_bytes();
        let mut head = place_in(&STATES, *state) as u8;
        head |= if *closed_at_ms > 0 { CLOSED } else { 0 };
        head |= if reference.is_empty() { 0 } else { WITH_REFERENCE };
        head |= if order.is_some() { WITH_ORDER } else { 0 };
        head |= if plain.is_some() { PLAIN } else { 0 };
        let mut record: Record = smallvec![head];
        write(&mut record, u64::from(*storefront));
        write(&mut record, *created_at_ms);
        // The difference is mostly small. Wrapping restores it exactly, whatever it is.
        write(&mut record, expires_at_ms.wrapping_sub(*created_at_ms));
        if *closed_at_ms > 0 {
            write(&mut record, closed_at_ms.wrapping_sub(*created_at_ms));
        }
        if !reference.is_empty() {
            record.push(reference.len() as u8);
            record.extend_from_slice(reference);
        }
        if let Some(link) = order {
            for number in [u64::from(link.home), u64::from(link.attempt), link.incarnation] {
                write(&mut record, number);
            }
            write(&mut record, u64::from(link.version));
            record.extend_from_slice(&link.fingerprint.to_le_bytes());
        }
        match plain {
            Some((line, allocation)) => {
                write(&mut record, u64::from(line.sku));
                write(&mut record, line.requested as u64);
                pack_allocation(&mut record, allocation);
            }
            None => {
                write(&mut record, lines.len() as u64);
                for line in lines {
                    for number in [line.number, line.sku] {
                        write(&mut record, u64::from(number));
                    }
                    write(&mut record, line.requested as u64);
                    write(&mut record, line.allocations.len() as u64);
                    line.allocations
                        .iter()
                        .for_each(|allocation| pack_allocation(&mut record, allocation));
                }
            }
        }
        Self(SmallVec::from_slice(&record))
    }

    /// Returns the number of allocations of all its lines.
    pub(crate) fn cells(&self) -> usize {
        match self.0.first() {
            Some(head) if head & PLAIN != 0 => 1,
            _ => self.unpack().allocations().count(),
        }
    }

    pub(crate) fn unpack(&self) -> Reservation {
        let mut rest = self.0.as_slice();
        let head = byte(&mut rest);
        let storefront = read(&mut rest) as u16;
        let created_at_ms = read(&mut rest);
        let expires_at_ms = read(&mut rest).wrapping_add(created_at_ms);
        let closed_at_ms = if head & CLOSED == 0 {
            0
        } else {
            read(&mut rest).wrapping_add(created_at_ms)
        };
        let mut reference = Reference::default();
        if head & WITH_REFERENCE != 0 {
            let bytes = usize::from(byte(&mut rest));
            let (text, behind) = rest.split_at(bytes);
            reference = Reference::from_checked(text);
            rest = behind;
        }
        let order = (head & WITH_ORDER != 0).then(|| OrderLink {
            home: read(&mut rest) as u32,
            attempt: read(&mut rest) as u32,
            incarnation: read(&mut rest),
            version: read(&mut rest) as u32,
            fingerprint: u64::from_le_bytes(std::array::from_fn(|_| byte(&mut rest))),
        });
        let lines = if head & PLAIN == 0 {
            let count = read(&mut rest);
            let line = |_| Line {
                number: read(&mut rest) as u32,
                sku: read(&mut rest) as u32,
                requested: read(&mut rest) as i64,
                allocations: {
                    let count = read(&mut rest);
                    (0..count).map(|_| unpack_allocation(&mut rest)).collect()
                },
            };
            (0..count).map(line).collect()
        } else {
            smallvec![Line {
                number: 0,
                sku: read(&mut rest) as u32,
                requested: read(&mut rest) as i64,
                allocations: smallvec![unpack_allocation(&mut rest)],
            }]
        };
        Reservation {
            storefront,
            state: STATES[usize::from(head & STATE)],
            created_at_ms,
            expires_at_ms,
            closed_at_ms,
            reference,
            order,
            lines,
        }
    }
}

fn pack_allocation(record: &mut Record, allocation: &LineAllocation) {
    let numbers = [
        allocation.from_pool,
        allocation.from_free,
        allocation.from_backorder,
        allocation.open,
        allocation.open_from_pool,
        allocation.shipped,
        allocation.released,
        allocation.cancelled,
        allocation.returned,
    ];
    let mut mask = (place_in(&REASONS, allocation.reason) as u16) << REASON_SHIFT;
    for (bit, number) in numbers.iter().enumerate() {
        mask |= u16::from(*number != 0) << bit;
    }
    record.extend_from_slice(&mask.to_le_bytes());
    write(record, u64::from(allocation.warehouse));
    for number in numbers {
        if number != 0 {
            write(record, number as u64);
        }
    }
}

fn unpack_allocation(rest: &mut &[u8]) -> LineAllocation {
    let mask = u16::from_le_bytes([byte(rest), byte(rest)]);
    let warehouse = read(rest) as u16;
    let mut number = |bit: u32| {
        if mask & 1 << bit == 0 {
            0
        } else {
            read(rest) as i64
        }
    };
    LineAllocation {
        warehouse,
        from_pool: number(0),
        from_free: number(1),
        from_backorder: number(2),
        open: number(3),
        open_from_pool: number(4),
        shipped: number(5),
        released: number(6),
        cancelled: number(7),
        returned: number(8),
        reason: REASONS[usize::from(mask >> REASON_SHIFT)],
    }
}

fn byte(rest: &mut &[u8]) -> u8 {
    match rest.split_first() {
        Some((byte, behind)) => {
            *rest = behind;
            *byte
        }
        None => 0,
    }
}

fn place_in<T: PartialEq>(all: &[T], one: T) -> usize {
    all.iter().position(|other| *other == one).unwrap_or_default()
}

impl std::fmt::Debug for PackedReservation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.unpack().fmt(f)
    }
}

impl Serialize for PackedReservation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.unpack().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for PackedReservation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::pack(&Reservation::deserialize(deserializer)?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ReservationState;

    fn number() -> impl Strategy<Value = i64> {
        prop_oneof![
            4 => Just(0),
            4 => 0..300_i64,
            1 => any::<i64>(),
        ]
    }

    fn time_ms() -> impl Strategy<Value = u64> {
        prop_oneof![1 => Just(0), 4 => 1_800_000_000_000..1_900_000_000_000_u64, 1 => any::<u64>()]
    }

    prop_compose! {
        fn allocation()(
            warehouse in any::<u16>(),
            units in proptest::array::uniform9(number()),
            reason in proptest::sample::select(REASONS.as_slice()),
        ) -> LineAllocation {
            let [from_pool, from_free, from_backorder, open, open_from_pool, shipped, released, cancelled, returned] = units;
            LineAllocation {
                warehouse, from_pool, from_free, from_backorder, reason, open, open_from_pool, shipped, released, cancelled,
                returned,
            }
        }
    }

    prop_compose! {
        fn line()(
            number in prop_oneof![Just(0), any::<u32>()],
            sku in any::<u32>(),
            requested in number(),
            allocations in proptest::collection::vec(allocation(), 0..3),
        ) -> Line {
            Line { number, sku, requested, allocations: allocations.into() }
        }
    }

    prop_compose! {
        fn link()(home in any::<u32>(), attempt in any::<u32>(), incarnation in any::<u64>(), version in any::<u32>(), fingerprint in any::<u64>()) -> OrderLink {
            OrderLink { home, attempt, incarnation, version, fingerprint }
        }
    }

    prop_compose! {
        fn reservation()(
            storefront in any::<u16>(),
            state in proptest::sample::select(STATES.as_slice()),
            times in proptest::array::uniform3(time_ms()),
            reference in "[a-z]{0,64}",
            order in proptest::option::of(link()),
            lines in proptest::collection::vec(line(), 0..3),
        ) -> Reservation {
            let [created_at_ms, expires_at_ms, closed_at_ms] = times;
            Reservation {
                storefront, state, created_at_ms, expires_at_ms, closed_at_ms, order,
                reference: Reference::new(reference).unwrap(),
                lines: lines.into(),
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_back(reservation in reservation()) {
            let packed = PackedReservation::pack(&reservation);
            prop_assert_eq!(packed.cells(), reservation.allocations().count());
            prop_assert_eq!(packed.unpack(), reservation);
        }
    }

    #[test]
    fn a_usual_reservation_needs_no_memory_of_its_own() {
        let allocation = LineAllocation {
            warehouse: 3,
            from_pool: 0,
            from_free: 2,
            from_backorder: 0,
            reason: SourcingReason::FirstFillingAll,
            open: 2,
            open_from_pool: 0,
            shipped: 0,
            released: 0,
            cancelled: 0,
            returned: 0,
        };
        let line = Line {
            number: 0,
            sku: 1_500_000,
            requested: 2,
            allocations: smallvec![allocation],
        };
        let reservation = Reservation {
            storefront: 7,
            state: ReservationState::Held,
            created_at_ms: 1_800_000_000_000,
            expires_at_ms: 1_800_000_600_000,
            closed_at_ms: 0,
            reference: Reference::new("order-100200300").unwrap(),
            order: None,
            lines: smallvec![line],
        };
        let packed = PackedReservation::pack(&reservation);
        assert!(!packed.0.spilled(), "{} bytes", packed.0.len());
        assert!(size_of::<PackedReservation>() <= 48);
    }
}
