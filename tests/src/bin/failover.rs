//! Measures how long buyers wait when a leader is killed or paused.

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum};
use holdfast_tests::failover::{Blow, Plan, run};

/// Kills or pauses the leader of three nodes again and again, and prints how long nobody was served
#[derive(Parser)]
#[command(
    after_help = "Examples:\n  cargo xtask failover\n  cargo xtask failover --load 8 --json\n  cargo xtask failover --kind killed --times 10"
)]
struct Args {
    /// How often a leader is killed or paused, for each kind
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    times: u16,
    /// Only this kind (may be given again); killed and paused when left out
    #[arg(long = "kind")]
    kinds: Vec<Kind>,
    /// Threads that keep the processors busy meanwhile
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=1024))]
    load: u16,
    /// Threads that each node serves with; by default as many as there are processors. `holdfast dev` gives
    /// each node its share
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=64))]
    threads: Option<u32>,
    /// Fail if more terms began than leaders were killed or paused
    #[arg(long)]
    strict: bool,
    /// Print one JSON object for each kind
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// SIGKILL of the leader
    Killed,
    /// SIGSTOP of the leader
    Paused,
    /// SIGKILL of all nodes, which are started again at once
    AllKilled,
}

/// Keeps a thread of the machine busy as long as this process lives.
fn burn() {
    std::thread::spawn(|| {
        loop {
            std::hint::spin_loop();
        }
    });
}

#[tokio::main]
#[allow(clippy::print_stdout, reason = "this is what the program is for")]
async fn main() -> Result<()> {
    let args = Args::parse();
    let kinds = match args.kinds.is_empty() {
        true => vec![Kind::Killed, Kind::Paused],
        false => args.kinds.clone(),
    };
    (0..args.load).for_each(|_| burn());
    for kind in kinds {
        let blow = match kind {
            Kind::Killed => Blow::Killed,
            Kind::Paused => Blow::Paused,
            Kind::AllKilled => Blow::AllKilled,
        };
        let shown = run(Plan {
            blow,
            times: usize::from(args.times),
            threads: args.threads,
        })
        .await?;
        if args.json {
            let mut line = shown.gaps.json();
            line["kind"] = format!("{kind:?}").to_lowercase().into();
            line["busy_threads"] = args.load.into();
            line["needless_terms"] = shown.needless_terms.into();
            println!("{line}");
        } else {
            println!(
                "{kind:?} {} times beside {} busy threads: {}; {} needless terms",
                shown.gaps.count(),
                args.load,
                shown.gaps,
                shown.needless_terms,
            );
        }
        ensure!(
            !args.strict || shown.needless_terms == 0,
            "{} terms began that nobody asked for",
            shown.needless_terms
        );
    }
    Ok(())
}
