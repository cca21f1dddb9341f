//! Ports for the nodes that tests start: [`take`] gives each port out once, to one process of the machine.
//!
//! It is not enough for nodes to bind port 0, to see which port it was, and to let go of it. The kernel takes
//! such a port from the range that outgoing connections use too (`net.ipv4.ip_local_port_range`, from 32768
//! on). Whenever the node does not listen there, any connection of the machine may get the port for its own
//! end. A peer that asks again and again for a node that is down may even get connected to itself that way,
//! and the node cannot come back.
//!
//! So ports are taken from below that range, in blocks. A process owns a block while it listens on the
//! block's first port. The system closes that port when the process ends, however it ends.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Mutex, PoisonError};

/// First port: above the ports of services, below those that Linux gives to outgoing connections.
const FIRST: u16 = 10_000;
const BLOCKS: u16 = 340;

/// Ports of a block. The process that listens on the first one owns the block.
const BLOCK: u16 = 64;

/// The blocks of this process, and the next port of the last of them.
static OWNED: Mutex<Owned> = Mutex::new(Owned {
    guards: Vec::new(),
    next: 0,
    end: 0,
});

struct Owned {
    guards: Vec<TcpListener>,
    next: u16,
    end: u16,
}

/// Returns this many ports in a row, at most 63. Nothing listens on them, and nobody else gets them while
/// this process lives.
///
/// # Panics
/// When more ports are asked for, or all are taken: no test can go on without them.
#[must_use]
pub fn take(count: u16) -> Vec<u16> {
    assert!(count < BLOCK, "{count} ports do not fit into a block");
    let mut owned = OWNED.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if owned.end - owned.next < count {
            owned.claim();
        }
        let ports: Vec<u16> = (owned.next..).take(usize::from(count)).collect();
        match ports.iter().rposition(|port| is_listened_on(*port)) {
            None => {
                owned.next += count;
                return ports;
            }
            Some(taken) => owned.next = ports[taken] + 1,
        }
    }
}

impl Owned {
    /// Takes a block that nobody owns. The search begins at a place that depends on the process, so that most
    /// processes find one at once.
    fn claim(&mut self) {
        let begin = std::process::id() % u32::from(BLOCKS);
        let first_ports = (0..BLOCKS).map(|turn| {
            let block = (begin + u32::from(turn)) % u32::from(BLOCKS);
            FIRST + BLOCK * u16::try_from(block).unwrap_or_default()
        });
        let (first, guard) = first_ports
            .filter_map(|first| Some((first, TcpListener::bind((Ipv4Addr::LOCALHOST, first)).ok()?)))
            .next()
            .expect("some block of ports is free");
        self.guards.push(guard);
        self.next = first + 1;
        self.end = first + BLOCK;
    }
}

fn is_listened_on(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_port_is_given_out_once_and_is_free() {
        let ports: Vec<u16> = (0..40).flat_map(|_| take(5)).collect();
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), 200);
        assert!(ports.iter().all(|port| !is_listened_on(*port)));
    }

    #[test]
    fn ports_come_in_a_row() {
        let ports = take(63);
        assert!(ports.windows(2).all(|pair| pair[0] + 1 == pair[1]));
    }

    #[test]
    fn no_outgoing_connection_gets_one() {
        let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
        let lowest: u16 = range.split_whitespace().next().unwrap().parse().unwrap();
        assert!(
            FIRST + BLOCKS * BLOCK <= lowest,
            "connections get ports from {lowest} on"
        );
    }
}
