//! The outcome of a check, and whether a wish was fulfilled.

use crate::{
    scope::{Scope, Wish},
    world::{Broken, World},
};

/// The verdict on a state. An error is the broken claim, and how it is broken.
pub(crate) type Judgement = Result<(), (Broken, String)>;

/// Returns whether a wish for this order was fulfilled.
pub(crate) fn fulfilled(scope: &Scope, world: &World, order: usize, is_meant: impl Fn(Wish) -> bool) -> bool {
    let wishes = scope.wishes.iter().zip(&world.witness.fulfilled);
    wishes
        .into_iter()
        .any(|(wish, done)| *done && wish.order() == order && is_meant(*wish))
}
