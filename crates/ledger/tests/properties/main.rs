//! Claims that hold for any log of commands.

#[cfg(test)]
mod against_model;
#[cfg(test)]
mod bytes;
#[cfg(test)]
mod forgetting;
#[cfg(test)]
mod generate;
#[cfg(test)]
mod ids;
#[cfg(test)]
mod late;
#[cfg(test)]
mod logs;
#[cfg(test)]
mod model;
#[cfg(test)]
mod replacing;
#[cfg(test)]
mod story;
