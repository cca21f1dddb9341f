//! The commands. Each is a module with its arguments and an `async fn run(args, context) ->
//! anyhow::Result<()>`.

mod archive;
mod as_of;
mod availability;
mod backup;
mod bench;
mod changes;
mod cluster;
mod config;
mod debug;
mod dev;
mod doctor;
mod explain;
mod import;
mod mutation;
mod promise;
mod reservation;
mod serve;
mod sinks;
mod stock;
mod transfer;
mod verify;

use clap::Subcommand;

use crate::context::Context;
use reservation::{get, reserve, returns, transition};

/// All commands of the command line.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run one node
    Serve(serve::Args),
    /// Run three nodes on this machine, to try things out
    Dev(dev::Args),
    /// Move stock in and out, and look at it
    Stock(stock::Args),
    /// Send goods from one warehouse to another
    Transfer(transfer::Args),
    /// Take stock for a buyer
    Reserve(reserve::Args),
    /// Show one reservation as it stands
    Get(get::Args),
    /// Make a hold final, because the buyer has paid
    Commit(transition::CommitArgs),
    /// Give a hold back
    Release(transition::ReleaseArgs),
    /// Prolong a hold
    Extend(transition::ExtendArgs),
    /// Ship committed units, all or some
    Ship(transition::ShipArgs),
    /// Cancel committed units, all or some
    Cancel(transition::CancelArgs),
    /// Take goods back
    Return(returns::Args),
    /// Show what a storefront could sell now
    Availability(availability::Args),
    /// Show what a storefront could sell by which date
    Promise(promise::Args),
    /// Replay a shop's orders
    Import(import::Args),
    /// Read the change stream: tail it or export it
    Changes(changes::Args),
    /// Deliver changes to Redis, Kafka, Snowflake and an archive
    Sinks(sinks::Args),
    /// Prove an archive of changes, and practise rebuilding the stock from it
    Archive(archive::Args),
    /// Show every decision about one reservation
    Explain(explain::Args),
    /// Replay the change streams and prove that nothing was oversold, lost or doubled
    Verify(verify::Args),
    /// Show who leads, and hand leadership over
    Cluster(cluster::Args),
    /// Copy the whole cluster to an object store, and begin a new cluster from a copy
    Backup(backup::Args),
    /// Check or explain a node's configuration
    Config(config::Args),
    /// Say what is wrong with a node's disk, ports, clock or peers
    Doctor(doctor::Args),
    /// Collect what helps to find a fault
    Debug(debug::Args),
    /// Put load on a cluster and measure it
    Bench(bench::Args),
}

impl Command {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::Serve(args) => serve::run(args, context).await,
            Self::Dev(args) => dev::run(args, context).await,
            Self::Stock(args) => stock::run(args, context).await,
            Self::Transfer(args) => transfer::run(args, context).await,
            Self::Reserve(args) => reserve::run(args, context).await,
            Self::Get(args) => get::run(args, context).await,
            Self::Commit(args) => transition::commit(args, context).await,
            Self::Release(args) => transition::release(args, context).await,
            Self::Extend(args) => transition::extend(args, context).await,
            Self::Ship(args) => transition::ship(args, context).await,
            Self::Cancel(args) => transition::cancel(args, context).await,
            Self::Return(args) => returns::run(args, context).await,
            Self::Availability(args) => availability::run(args, context).await,
            Self::Promise(args) => promise::run(args, context).await,
            Self::Import(args) => import::run(args, context).await,
            Self::Changes(args) => changes::run(args, context).await,
            Self::Sinks(args) => sinks::run(args, context).await,
            Self::Archive(args) => archive::run(args, context).await,
            Self::Explain(args) => explain::run(args, context).await,
            Self::Verify(args) => verify::run(args, context).await,
            Self::Cluster(args) => cluster::run(args, context).await,
            Self::Backup(args) => backup::run(args, context).await,
            Self::Config(args) => config::run(args, context).await,
            Self::Doctor(args) => doctor::run(args, context).await,
            Self::Debug(args) => debug::run(args, context).await,
            Self::Bench(args) => bench::run(args, context).await,
        }
    }

    /// Returns whether the command talks to a cluster that runs already.
    pub(crate) fn is_client(&self) -> bool {
        !matches!(
            self,
            Self::Serve(_) | Self::Dev(_) | Self::Config(_) | Self::Doctor(_)
        )
    }

    /// Returns whether the command takes its logging from a node's configuration.
    pub(crate) fn logs_by_configuration(&self) -> bool {
        matches!(self, Self::Serve(_))
    }
}
