//! Counts the fields of a message before it is decoded, while its bytes arrive. Reads the bytes in place, and
//! allocates nothing.
//!
//! The memory and time of a decoded message depend on its fields more than on its bytes: two bytes can stand
//! for a message of a hundred bytes in memory.

use super::shapes::{Holds, Shapes};

/// The maximum depth of messages inside messages. The messages of the contract stay far below it.
pub(crate) const MAX_DEPTH: usize = 16;

/// The reason why a message is not decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Uncounted {
    /// The message has more fields than this limit.
    #[error("it has more than {0} fields")]
    TooMany(usize),
    /// The message has too many levels of messages inside messages.
    #[error("its messages are nested more than {MAX_DEPTH} deep")]
    TooDeep,
    /// The bytes are not a message of protobuf's third version.
    #[error("it is not a protobuf message: {0}")]
    Malformed(&'static str),
}

/// Counts the fields of one message while it arrives. Counts each value of a list, each number of a packed
/// list, and each field that the message's type does not know. The fields of the messages inside count too.
#[derive(Debug)]
pub(super) struct Count {
    /// The type and the end of each message that is being read, the innermost last.
    open: [(Option<usize>, usize); MAX_DEPTH],
    depth: usize,
    /// The position of the first byte that was not read.
    at: usize,
    fields: usize,
    limit: usize,
}

impl Count {
    /// Begins to count a message of this type that will have `length` bytes.
    pub(super) fn new(message: Option<usize>, length: usize, limit: usize) -> Self {
        Self {
            open: [(message, length); MAX_DEPTH],
            depth: 1,
            at: 0,
            fields: 0,
            limit,
        }
    }

    /// Reads on. `bytes` is all that has arrived of the message. Returns the number of fields so far, which
    /// is the total once the message is whole.
    pub(super) fn read(&mut self, shapes: &Shapes, bytes: &[u8]) -> Result<usize, Uncounted> {
        while self.depth > 0 {
            let (message, end) = self.open[self.depth - 1];
            if self.at >= end {
                self.depth -= 1;
                continue;
            }
            let mut reader = Reader {
                bytes,
                at: self.at,
                end,
            };
            let Some(key) = reader.varint()? else { break };
            let number =
                u32::try_from(key >> 3).map_err(|_| Uncounted::Malformed("a field number is too high"))?;
            if number == 0 {
                return Err(Uncounted::Malformed("a field has the number 0"));
            }
            let mut inside = None;
            let mut numbers = 0;
            match key & 7 {
                0 => {
                    let Some(_) = reader.varint()? else { break };
                }
                1 => reader.skip(8)?,
                5 => reader.skip(4)?,
                2 => {
                    let Some(length) = reader.varint()? else { break };
                    let length =
                        usize::try_from(length).map_err(|_| Uncounted::Malformed("a length is too high"))?;
                    let start = reader.at;
                    reader.skip(length)?;
                    match message.and_then(|message| shapes.field(message, number)) {
                        Some(Holds::Message(inner)) => {
                            inside = Some((Some(inner), reader.at));
                            reader.at = start;
                        }
                        Some(Holds::Numbers) => numbers = length,
                        None => {}
                    }
                }
                _ => return Err(Uncounted::Malformed("a field has a wire type that is not in use")),
            }
            self.at = reader.at;
            if let Some(inside) = inside {
                let place = self.open.get_mut(self.depth).ok_or(Uncounted::TooDeep)?;
                *place = inside;
                self.depth += 1;
            }
            self.fields = self.fields.saturating_add(1 + numbers);
            if self.fields > self.limit {
                return Err(Uncounted::TooMany(self.limit));
            }
        }
        Ok(self.fields)
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The end of the message that is being read. Its last bytes may not have arrived.
    end: usize,
}

impl Reader<'_> {
    /// Returns the next number, or None when not all of it has arrived.
    fn varint(&mut self) -> Result<Option<u64>, Uncounted> {
        // Nearly all numbers have one byte.
        if let Some(&byte) = self.bytes.get(self.at)
            && byte < 0x80
            && self.at < self.end
        {
            self.at += 1;
            return Ok(Some(u64::from(byte)));
        }
        let mut value = 0_u64;
        for place in 0..10_u32 {
            if self.at >= self.end {
                return Err(Uncounted::Malformed("it ends inside a number"));
            }
            let Some(&byte) = self.bytes.get(self.at) else {
                return Ok(None);
            };
            self.at += 1;
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                return Ok(Some(value));
            }
        }
        Err(Uncounted::Malformed("a number has more than 10 bytes"))
    }

    fn skip(&mut self, length: usize) -> Result<(), Uncounted> {
        let after = self.at.checked_add(length).filter(|after| *after <= self.end);
        self.at = after.ok_or(Uncounted::Malformed("a field is longer than what holds it"))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use holdfast_api::v1;
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    static SHAPES: LazyLock<Shapes> = LazyLock::new(|| Shapes::of_the_contract().unwrap());

    const RESERVE: &str = "/holdfast.v1.Reservations/Reserve";
    const BATCH: &str = "/holdfast.v1.Reservations/Batch";

    fn counted(path: &str, bytes: &[u8], limit: usize) -> Result<usize, Uncounted> {
        Count::new(SHAPES.method(path).takes, bytes.len(), limit).read(&SHAPES, bytes)
    }

    /// Counts like [`counted`], but the message arrives in parts that end at `cuts`. Returns also how many
    /// bytes had arrived at the end or at the refusal.
    fn counted_as_it_comes(
        path: &str,
        bytes: &[u8],
        limit: usize,
        cuts: &[usize],
    ) -> (Result<usize, Uncounted>, usize) {
        let mut count = Count::new(SHAPES.method(path).takes, bytes.len(), limit);
        for cut in cuts {
            if let Err(error) = count.read(&SHAPES, &bytes[..*cut]) {
                return (Err(error), *cut);
            }
        }
        (count.read(&SHAPES, bytes), bytes.len())
    }

    /// Generates an order, with the number of its fields when it is encoded.
    fn order() -> impl Strategy<Value = (v1::ReserveRequest, usize)> {
        let preferences = proptest::collection::vec("[a-z]{1,8}", 1..20);
        let line = ("[A-Z]{1,8}", 1..1_000_i64, proptest::option::of(preferences));
        let lines = proptest::collection::vec(line, 0..20);
        (lines, 1..u64::MAX, proptest::collection::vec(any::<u8>(), 1..40)).prop_map(|(lines, ttl_ms, id)| {
            // The operation and its id, and the time to live.
            let mut count = 3;
            let lines = lines
                .into_iter()
                .map(|(sku, quantity, preferences)| {
                    count += 3;
                    let source = preferences.map(|warehouses| {
                        // The list is a message in the source, which is one in the line.
                        count += 2 + warehouses.len();
                        let kind = v1::source::Kind::Preference(v1::WarehouseList { warehouses });
                        v1::Source { kind: Some(kind) }
                    });
                    v1::ReserveLine {
                        sku,
                        quantity,
                        source,
                    }
                })
                .collect();
            let request = v1::ReserveRequest {
                operation: Some(v1::Operation {
                    operation_id: id.into(),
                    ..Default::default()
                }),
                lines,
                ttl_ms,
                ..Default::default()
            };
            (request, count)
        })
    }

    proptest! {
        #[test]
        fn the_count_of_an_order_and_of_a_batch_is_that_of_their_fields(
            orders in proptest::collection::vec(order(), 1..8)
        ) {
            let mut expected = 0;
            let mut items = Vec::new();
            for (place, (order, count)) in orders.into_iter().enumerate() {
                prop_assert_eq!(counted(RESERVE, &order.encode_to_vec(), usize::MAX), Ok(count));
                // The item, its tag when it is not 0, and the request in it.
                expected += count + 2 + usize::from(place > 0);
                items.push(v1::BatchItem {
                    tag: place as u64,
                    request: Some(v1::batch_item::Request::Reserve(order)),
                });
            }
            let bytes = v1::BatchRequest { items }.encode_to_vec();
            prop_assert_eq!(counted(BATCH, &bytes, usize::MAX), Ok(expected));
            prop_assert_eq!(counted(BATCH, &bytes, expected), Ok(expected));
            prop_assert_eq!(counted(BATCH, &bytes, expected - 1), Err(Uncounted::TooMany(expected - 1)));
        }

        #[test]
        fn whatever_is_decoded_was_counted_and_garbage_is_refused_or_counted(
            order in order(), flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8)
        ) {
            let mut bytes = order.0.encode_to_vec();
            for (place, byte) in flips {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            let counted = counted(RESERVE, &bytes, usize::MAX);
            if let Ok(decoded) = v1::ReserveRequest::decode(bytes.as_slice()) {
                let kinds = decoded.lines.iter().map(|line| line.source.as_ref().and_then(|source| source.kind.as_ref()));
                let lists: usize = kinds.map(|kind| match kind {
                    Some(v1::source::Kind::Preference(list)) => 1 + list.warehouses.len(),
                    _ => 1,
                }).sum();
                // Groups and the like are refused, although the decoder skips them.
                prop_assert!(counted.is_err() || counted.is_ok_and(|count| count >= lists), "{counted:?}");
            }
        }

        #[test]
        fn a_message_that_comes_in_parts_is_counted_and_refused_as_one_that_is_whole(
            order in order(),
            flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
            limit in prop_oneof![Just(usize::MAX), 0..40_usize],
        ) {
            let mut bytes = order.0.encode_to_vec();
            for (place, byte) in flips {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.sort_unstable();
            prop_assert_eq!(counted_as_it_comes(RESERVE, &bytes, limit, &cuts).0, counted(RESERVE, &bytes, limit));
        }

        #[test]
        fn garbage_is_refused_or_counted(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            for path in [RESERVE, BATCH, "/unknown/Method"] {
                let counted = counted(path, &bytes, 1_000);
                prop_assert!(counted.is_err() || counted.is_ok_and(|count| count <= bytes.len()));
            }
        }
    }

    #[test]
    fn empty_elements_are_counted_one_by_one() {
        let bytes = [0x0a, 0x00].repeat(1_000);
        assert_eq!(counted(BATCH, &bytes, 1_000), Ok(1_000));
        assert_eq!(counted(BATCH, &bytes, 999), Err(Uncounted::TooMany(999)));
        let parts = [100, 1_001, 1_003, 1_500];
        assert_eq!(
            counted_as_it_comes(BATCH, &bytes, 500, &parts),
            (Err(Uncounted::TooMany(500)), 1_003)
        );
    }

    #[test]
    fn messages_in_messages_are_followed_no_deeper_than_the_limit() {
        // A message type that contains itself.
        let contract = prost_types::FileDescriptorSet {
            file: vec![prost_types::FileDescriptorProto {
                package: Some("p".to_owned()),
                message_type: vec![prost_types::DescriptorProto {
                    name: Some("M".to_owned()),
                    field: vec![prost_types::FieldDescriptorProto {
                        number: Some(1),
                        r#type: Some(prost_types::field_descriptor_proto::Type::Message as i32),
                        type_name: Some(".p.M".to_owned()),
                        ..Default::default()
                    }],
                    ..Default::default()
                }],
                ..Default::default()
            }],
        };
        let shapes = Shapes::new(&contract);
        let nested = |depth: usize| {
            (1..depth).fold(Vec::new(), |inner: Vec<u8>, _| {
                let mut outer = vec![0x0a, inner.len() as u8];
                outer.extend(inner);
                outer
            })
        };
        let counted = |depth| {
            let bytes = nested(depth);
            Count::new(Some(0), bytes.len(), 100).read(&shapes, &bytes)
        };
        assert_eq!(counted(MAX_DEPTH), Ok(MAX_DEPTH - 1));
        assert_eq!(counted(MAX_DEPTH + 1), Err(Uncounted::TooDeep));
    }
}
