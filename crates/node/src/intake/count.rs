//! Counts what is in a message before it is decoded. Works on the bytes as they are, and allocates nothing.
//!
//! A decoded message takes memory and time by its fields more than by its bytes: two bytes can stand for a message of a hundred.

use super::shapes::{Holds, Shapes};

/// How deep messages may lie in each other. Those of the contract stay far below.
pub(crate) const MAX_DEPTH: usize = 16;

/// Why a message is not decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Uncounted {
    /// It has more fields than the limit.
    #[error("it has more than {0} fields")]
    TooMany(usize),
    /// Its messages lie too deep in each other.
    #[error("its messages lie more than {MAX_DEPTH} deep in each other")]
    TooDeep,
    /// It is not a message of protobuf's third version.
    #[error("it is not a protobuf message: {0}")]
    Malformed(&'static str),
}

/// Returns how many fields a message has, with those of the messages in it. Each value of a list counts,
/// each number of a packed list, and each field that the message's type does not know.
pub(super) fn fields(
    shapes: &Shapes,
    message: Option<usize>,
    bytes: &[u8],
    limit: usize,
) -> Result<usize, Uncounted> {
    // Where each message ends that is being read, the innermost last.
    let mut open = [(message, bytes.len()); MAX_DEPTH];
    let mut depth = 1;
    let mut reader = Reader { bytes, at: 0 };
    let mut count = 0_usize;
    while depth > 0 {
        let (message, end) = open[depth - 1];
        if reader.at >= end {
            depth -= 1;
            continue;
        }
        count += 1;
        let key = reader.varint(end)?;
        let number =
            u32::try_from(key >> 3).map_err(|_| Uncounted::Malformed("a field number is too high"))?;
        if number == 0 {
            return Err(Uncounted::Malformed("a field has the number 0"));
        }
        match key & 7 {
            0 => {
                reader.varint(end)?;
            }
            1 => reader.skip(8, end)?,
            5 => reader.skip(4, end)?,
            2 => {
                let length = usize::try_from(reader.varint(end)?);
                let length = length.map_err(|_| Uncounted::Malformed("a length is too high"))?;
                let start = reader.at;
                reader.skip(length, end)?;
                match message.and_then(|message| shapes.field(message, number)) {
                    Some(Holds::Message(inner)) => {
                        let Some(place) = open.get_mut(depth) else {
                            return Err(Uncounted::TooDeep);
                        };
                        *place = (Some(inner), reader.at);
                        reader.at = start;
                        depth += 1;
                    }
                    Some(Holds::Numbers) => count = count.saturating_add(length),
                    None => {}
                }
            }
            _ => return Err(Uncounted::Malformed("a field is of a kind that is not in use")),
        }
        if count > limit {
            return Err(Uncounted::TooMany(limit));
        }
    }
    Ok(count)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn varint(&mut self, end: usize) -> Result<u64, Uncounted> {
        // Nearly all have one byte.
        if let Some(&byte) = self.bytes.get(self.at)
            && byte < 0x80
            && self.at < end
        {
            self.at += 1;
            return Ok(u64::from(byte));
        }
        let mut value = 0_u64;
        for place in 0..10_u32 {
            let byte = self.bytes.get(self.at).filter(|_| self.at < end);
            let byte = *byte.ok_or(Uncounted::Malformed("it ends inside a number"))?;
            self.at += 1;
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Uncounted::Malformed("a number has more than 10 bytes"))
    }

    fn skip(&mut self, length: usize, end: usize) -> Result<(), Uncounted> {
        let after = self.at.checked_add(length).filter(|after| *after <= end);
        self.at = after.ok_or(Uncounted::Malformed("a field is longer than what holds it"))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use holdfast_proto::v1;
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    static SHAPES: LazyLock<Shapes> = LazyLock::new(|| Shapes::of_the_contract().unwrap());

    const RESERVE: &str = "/holdfast.v1.Reservations/Reserve";
    const BATCH: &str = "/holdfast.v1.Reservations/Batch";

    fn counted(path: &str, bytes: &[u8], limit: usize) -> Result<usize, Uncounted> {
        fields(&SHAPES, SHAPES.method(path).takes, bytes, limit)
    }

    /// An order, and the fields that it has as sent.
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
                // The item, its tag where that is not 0, and the request in it.
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
                // Groups and the like are refused though the decoder skips them.
                prop_assert!(counted.is_err() || counted.is_ok_and(|count| count >= lists), "{counted:?}");
            }
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
    }

    #[test]
    fn messages_in_messages_are_followed_no_deeper_than_the_limit() {
        // A type that holds itself.
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
        assert_eq!(
            fields(&shapes, Some(0), &nested(MAX_DEPTH), 100),
            Ok(MAX_DEPTH - 1)
        );
        assert_eq!(
            fields(&shapes, Some(0), &nested(MAX_DEPTH + 1), 100),
            Err(Uncounted::TooDeep)
        );
    }
}
