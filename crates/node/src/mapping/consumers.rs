//! Requests about registered consumers, checked and turned into commands.

use holdfast_api::v1;
use holdfast_ledger::{
    Action, CallerReason, Command, ConsumerLocation, ConsumerName, Details, OperationId, Principal, Reference,
};

use super::inbound::Taken;
use crate::validation::{self, Invalid};

/// Checks and converts a registration.
///
/// # Errors
/// [`Invalid`] names the field and the rule.
pub fn register(request: v1::RegisterConsumerRequest) -> Result<Taken, Invalid> {
    let operation = validation::operation(request.operation)?;
    let action = Action::RegisterConsumer {
        name: name(request.name)?,
        required: request.required,
        location: location(request.location)?,
    };
    Ok(Taken::new(operation, action))
}

/// Checks and converts a removal.
///
/// # Errors
/// [`Invalid`] names the field and the rule.
pub fn remove(request: v1::RemoveConsumerRequest) -> Result<Taken, Invalid> {
    let operation = validation::operation(request.operation)?;
    let action = Action::RemoveConsumer {
        name: name(request.name)?,
    };
    Ok(Taken::new(operation, action))
}

/// Builds the command of one position. Its id is not remembered, because an advance never goes back.
///
/// # Errors
/// [`Invalid`] names the field and the rule.
pub fn advance(
    consumer: &str,
    place: &str,
    through_seq: u64,
    principal: &Principal,
) -> Result<Command, Invalid> {
    let id = uuid::Uuid::now_v7();
    Ok(Command {
        operation_id: OperationId::from_slice(id.as_bytes())
            .map_err(|error| Invalid::new("operation_id", error.to_string()))?,
        principal: principal.clone(),
        reference: Reference::default(),
        reason: CallerReason::default(),
        details: Details::default(),
        action: Action::AdvanceConsumer {
            name: name(consumer.to_owned())?,
            location: location(place.to_owned())?,
            through_seq,
        },
    })
}

fn name(text: String) -> Result<ConsumerName, Invalid> {
    ConsumerName::new(text).map_err(|error| Invalid::new("name", error.to_string()))
}

fn location(text: String) -> Result<ConsumerLocation, Invalid> {
    ConsumerLocation::new(text).map_err(|error| Invalid::new("location", error.to_string()))
}
