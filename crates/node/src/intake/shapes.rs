//! The shapes of the messages that methods take: which fields hold messages, and which hold lists of numbers.
//! Built once from the compiled contract.

use std::collections::BTreeMap;

use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FileDescriptorSet};

/// The content of a field, in the detail that counting needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    /// A message, as its index in [`Shapes`].
    Message(usize),
    /// A list of numbers, which may be packed into one piece. Each number has at least one byte.
    Numbers,
}

/// A method of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Method {
    /// The message that the method takes, as its index in [`Shapes`].
    pub(super) takes: Option<usize>,
    /// Whether the caller may send several messages, and be silent between them.
    pub(super) streams: bool,
}

/// The messages and the methods of the contract.
#[derive(Debug, Default)]
pub(crate) struct Shapes {
    /// The content of each message's fields, by their numbers.
    messages: Vec<Vec<Option<Holds>>>,
    methods: BTreeMap<String, Method>,
}

impl Shapes {
    /// Returns the shapes of the public contract.
    ///
    /// # Errors
    /// The compiled contract is not readable, which is a defect of the build.
    pub(crate) fn of_the_contract() -> Result<Self, prost::DecodeError> {
        Ok(Self::new(&FileDescriptorSet::decode(holdfast_api::DESCRIPTORS)?))
    }

    pub(super) fn new(contract: &FileDescriptorSet) -> Self {
        let mut named = BTreeMap::new();
        for file in &contract.file {
            for message in &file.message_type {
                name(&format!(".{}", file.package()), message, &mut named);
            }
        }
        let places: BTreeMap<&str, usize> = named
            .keys()
            .enumerate()
            .map(|(place, name)| (name.as_str(), place))
            .collect();
        let messages = named.values().map(|message| fields(message, &places)).collect();
        let mut methods = BTreeMap::new();
        for file in &contract.file {
            for service in &file.service {
                for method in &service.method {
                    let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                    let method = Method {
                        takes: places.get(method.input_type()).copied(),
                        streams: method.client_streaming(),
                    };
                    methods.insert(path, method);
                }
            }
        }
        Self { messages, methods }
    }

    /// Returns the method with this path. For a method outside the contract (health, reflection), only
    /// whether it streams is known.
    pub(crate) fn method(&self, path: &str) -> Method {
        self.methods.get(path).copied().unwrap_or_else(|| Method {
            takes: None,
            streams: path.starts_with("/grpc.reflection."),
        })
    }

    /// Returns the content of a field of a message, or None when the field is a single value.
    pub(super) fn field(&self, message: usize, number: u32) -> Option<Holds> {
        *self.messages.get(message)?.get(number as usize)?
    }
}

/// Adds a message, and the messages defined inside it, under their full names.
fn name<'a>(scope: &str, message: &'a DescriptorProto, named: &mut BTreeMap<String, &'a DescriptorProto>) {
    let full = format!("{scope}.{}", message.name());
    for inner in &message.nested_type {
        name(&full, inner, named);
    }
    named.insert(full, message);
}

fn fields(message: &DescriptorProto, places: &BTreeMap<&str, usize>) -> Vec<Option<Holds>> {
    let mut fields = Vec::new();
    for field in &message.field {
        let holds = match field.r#type() {
            Type::Message => places.get(field.type_name()).copied().map(Holds::Message),
            Type::String | Type::Bytes | Type::Group => None,
            _ if field.label() == Label::Repeated => Some(Holds::Numbers),
            _ => None,
        };
        if let (Some(holds), Ok(number)) = (holds, usize::try_from(field.number())) {
            // The contract numbers its fields from 1, with few gaps.
            fields.resize(fields.len().max(number + 1), None);
            if let Some(place) = fields.get_mut(number) {
                *place = Some(holds);
            }
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_of_the_contract_is_known_with_what_it_takes() {
        let shapes = Shapes::of_the_contract().unwrap();
        assert!(shapes.methods.values().all(|method| method.takes.is_some()));
        let streams: Vec<&str> = shapes
            .methods
            .iter()
            .filter(|(path, method)| method.streams && !path.contains(".peer."))
            .map(|(path, _)| path.as_str())
            .collect();
        assert_eq!(
            streams,
            ["/holdfast.v1.Backup/Take", "/holdfast.v1.Reservations/Batch"]
        );
        assert_eq!(
            shapes.method("/nowhere/None"),
            Method {
                takes: None,
                streams: false
            }
        );
    }
}
