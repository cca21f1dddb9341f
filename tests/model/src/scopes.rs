//! Scopes of the model's runs.

use holdfast_ledger::Rules;

use crate::scope::{OrderScope, Scope, Wish};

/// Returns everything that may happen to one order over two shards with one coordinator, all of it together.
/// Most seeded faults show in it.
pub fn one_coordinator() -> Scope {
    Scope {
        name: "one order, one coordinator, 2 shards, everything at once",
        rules: Rules::Second,
        units: vec![2, 2],
        orders: vec![OrderScope::of(&[0, 1], 1)],
        held: Vec::new(),
        is_settled: true,
        coordinators: vec![0],
        attempts: 2,
        coordinators_end: false,
        wishes: vec![
            Wish::Commit { order: 0 },
            Wish::Release { order: 0 },
            Wish::ReleasePart { order: 0, shard: 1 },
            Wish::Cancel { order: 0, shard: 1 },
        ],
        timeouts: 1,
        redeliveries: 1,
        leaps: vec![1, 1],
    }
}

/// Returns one order that two nodes coordinate, over two shards, when nothing goes wrong.
fn untroubled() -> Scope {
    Scope {
        name: "one order, two coordinators, 2 shards",
        coordinators: vec![0, 0],
        wishes: Vec::new(),
        timeouts: 0,
        redeliveries: 0,
        leaps: vec![0, 0],
        ..one_coordinator()
    }
}

/// Returns scopes of one order that two nodes coordinate, over two shards, each with one thing that may go
/// wrong.
pub fn two_coordinators() -> Vec<Scope> {
    let plain = untroubled();
    vec![
        Scope {
            name: "one order, two coordinators, 2 shards, a timeout",
            timeouts: 1,
            ..plain.clone()
        },
        Scope {
            name: "one order, two coordinators, 2 shards, the home's time moves",
            leaps: vec![1, 0],
            ..plain.clone()
        },
        Scope {
            name: "one order, two coordinators, 2 shards, a step comes twice",
            redeliveries: 1,
            ..plain.clone()
        },
        Scope {
            name: "one order, two coordinators, 2 shards, paid",
            wishes: vec![Wish::Commit { order: 0 }],
            ..plain.clone()
        },
        Scope {
            coordinators_end: true,
            ..plain
        },
    ]
}

/// Returns one best-effort order that two nodes coordinate, with enough for everybody.
pub fn best_effort() -> Scope {
    Scope {
        name: "one best-effort order, two coordinators, 2 shards",
        orders: vec![OrderScope::of(&[0, 1], 1).best_effort()],
        ..untroubled()
    }
}

/// Returns scopes of one best-effort order that two nodes coordinate, each with one thing that may go wrong.
/// They take minutes.
pub fn best_effort_troubled() -> Vec<Scope> {
    let plain = best_effort();
    vec![
        Scope {
            name: "one best-effort order, two coordinators, 2 shards, a timeout",
            timeouts: 1,
            ..plain.clone()
        },
        Scope {
            name: "one best-effort order, two coordinators, 2 shards, the home's time moves",
            leaps: vec![1, 0],
            ..plain.clone()
        },
        Scope {
            name: "one best-effort order, two coordinators, 2 shards, a step comes twice",
            redeliveries: 1,
            ..plain
        },
    ]
}

/// Returns two orders for the same last units, each with a coordinator of its own. They reserve the shards in
/// opposite order.
pub fn competing() -> Scope {
    Scope {
        name: "two orders for the last units, 2 shards",
        units: vec![1, 1],
        orders: vec![OrderScope::of(&[0, 1], 1), OrderScope::of(&[1, 0], 1)],
        coordinators: vec![0, 1],
        coordinators_end: true,
        wishes: Vec::new(),
        timeouts: 0,
        redeliveries: 0,
        leaps: vec![0, 0],
        ..one_coordinator()
    }
}

/// Returns one id with several requests: the same lines in another order, which makes another shard the home.
pub fn one_id_in_another_order() -> Scope {
    Scope {
        name: "one id, its lines in another order too, 2 shards, a timeout",
        units: vec![2, 2],
        orders: vec![
            OrderScope::of(&[0, 1], 1),
            OrderScope::of(&[1, 0], 1).with_id_of(0),
        ],
        coordinators: vec![0, 1],
        wishes: Vec::new(),
        timeouts: 1,
        redeliveries: 0,
        leaps: vec![0, 0],
        ..one_coordinator()
    }
}

/// Returns one id with several requests: another order over some of the same shards.
pub fn one_id_overlapping() -> Scope {
    Scope {
        name: "one id, another order over some of the same shards too, 3 shards",
        units: vec![2, 2, 2],
        orders: vec![
            OrderScope::of(&[0, 1], 1),
            OrderScope::of(&[2, 1], 1).with_id_of(0),
        ],
        timeouts: 0,
        leaps: vec![0, 0, 0],
        ..one_id_in_another_order()
    }
}

/// Returns one id with several requests, each further kind by itself.
pub fn one_id() -> Vec<Scope> {
    let turned = one_id_in_another_order();
    let alone = Scope {
        orders: vec![OrderScope::of(&[0, 1], 1)],
        coordinators: vec![0],
        leaps: vec![1, 0],
        ..turned.clone()
    };
    vec![
        one_id_overlapping(),
        Scope {
            name: "one id, its lines in another order too, 2 shards, paid",
            wishes: vec![Wish::Commit { order: 0 }],
            timeouts: 0,
            ..turned.clone()
        },
        Scope {
            name: "one id, an order and a hold of its home alone, 2 shards, a timeout",
            wishes: vec![Wish::Alone { order: 0, shard: 0 }],
            ..alone.clone()
        },
        Scope {
            name: "one id, an order and a hold of its other shard alone, 2 shards, a timeout, paid",
            wishes: vec![Wish::Alone { order: 0, shard: 1 }, Wish::Commit { order: 0 }],
            ..alone
        },
        Scope {
            name: "one id, another order over other shards, 4 shards",
            units: vec![1; 4],
            orders: vec![
                OrderScope::of(&[0, 1], 1),
                OrderScope::of(&[2, 3], 1).with_id_of(0),
            ],
            attempts: 1,
            timeouts: 0,
            leaps: vec![0; 4],
            ..turned.clone()
        },
        turned,
    ]
}

/// Returns a hold over two shards and an order that replaces it. The order leaves the home, keeps a last unit
/// and takes a unit of another shard.
pub fn replaced() -> Scope {
    Scope {
        name: "a hold and its replacement over another shard, 3 shards",
        units: vec![1, 1, 1],
        orders: vec![
            OrderScope::of(&[0, 1], 1),
            OrderScope::of(&[1, 2], 1).at(0).replacing(0),
        ],
        held: vec![0],
        coordinators: vec![1],
        wishes: Vec::new(),
        timeouts: 0,
        redeliveries: 0,
        leaps: vec![0, 0, 0],
        ..one_coordinator()
    }
}

/// Returns a hold that its other shard has not heard of, and an order that replaces it. The order keeps a
/// unit in both shards and takes another one beside it, which somebody else wants too.
pub fn replaced_unheard() -> Scope {
    Scope {
        name: "a hold that one shard has not heard of and its replacement by more, 2 shards, a competitor",
        units: vec![2, 2],
        orders: vec![
            OrderScope::of(&[0, 1], 1),
            OrderScope::of(&[0, 1], 2).replacing(0),
            OrderScope::of(&[1], 1),
        ],
        is_settled: false,
        coordinators_end: true,
        wishes: vec![Wish::Reserve { order: 2 }],
        leaps: vec![0, 0],
        ..replaced()
    }
}

/// Returns a hold of one shard and an order over two that replaces it. The hold may be paid, and another
/// order competes for the last unit.
pub fn growing() -> Scope {
    Scope {
        name: "a hold of one shard and its replacement over two, paid, a competitor, a timeout, the home's time moves",
        units: vec![1, 1],
        orders: vec![
            OrderScope::of(&[0], 1),
            OrderScope::of(&[0, 1], 1).replacing(0),
            OrderScope::of(&[0], 1),
        ],
        wishes: vec![Wish::Commit { order: 0 }, Wish::Reserve { order: 2 }],
        timeouts: 1,
        leaps: vec![1, 0],
        ..replaced()
    }
}

/// Returns holds that are replaced in one step, each with one thing that may happen meanwhile.
pub fn replacing() -> Vec<Scope> {
    let plain = replaced();
    let pay = |order| Wish::Commit { order };
    vec![
        Scope {
            name: "a hold and its replacement over another shard, 3 shards, a competitor",
            orders: with(&plain.orders, OrderScope::of(&[1], 1)),
            wishes: vec![Wish::Reserve { order: 2 }],
            ..plain.clone()
        },
        Scope {
            name: "a hold and two replacements, one attempt each, 2 shards",
            units: vec![1, 1],
            orders: vec![
                OrderScope::of(&[0, 1], 1),
                OrderScope::of(&[1], 1).at(0).replacing(0),
                OrderScope::of(&[1, 0], 1).at(0).replacing(0),
            ],
            coordinators: vec![1, 2],
            attempts: 1,
            leaps: vec![0, 0],
            ..plain.clone()
        },
        replaced_unheard(),
        Scope {
            name: "a hold whose replacement one shard has not heard of and that one's replacement, 2 shards, a competitor",
            units: vec![1, 1],
            orders: vec![
                OrderScope::of(&[0, 1], 1),
                OrderScope::of(&[1], 1).at(0).replacing(0),
                OrderScope::of(&[0, 1], 1).replacing(1),
                OrderScope::of(&[1], 1),
            ],
            held: vec![0, 1],
            is_settled: false,
            coordinators: vec![2],
            wishes: vec![Wish::Reserve { order: 3 }, pay(1)],
            leaps: vec![0, 0],
            ..plain.clone()
        },
        Scope {
            name: "a hold and its replacement by more, 2 shards, a step comes twice",
            is_settled: true,
            coordinators_end: false,
            wishes: Vec::new(),
            redeliveries: 1,
            ..replaced_unheard()
        },
        Scope {
            name: "a hold and its replacements in either shard alone, 2 shards, paid, a competitor, a timeout",
            units: vec![1, 1],
            orders: vec![
                OrderScope::of(&[0, 1], 1),
                OrderScope::of(&[1], 1).at(0).replacing(0),
                OrderScope::of(&[0], 1).replacing(0),
                OrderScope::of(&[1], 1),
            ],
            wishes: vec![pay(0), Wish::Reserve { order: 2 }, Wish::Reserve { order: 3 }],
            timeouts: 1,
            leaps: vec![0, 0],
            ..plain
        },
        growing(),
    ]
}

/// Returns holds that are replaced in one step, with more of these things together. They take minutes.
pub fn replacing_troubled() -> Vec<Scope> {
    let plain = replaced();
    let pay = |order| Wish::Commit { order };
    vec![
        Scope {
            name: "a hold and its replacement over another shard, 3 shards, paid, a timeout",
            wishes: vec![pay(0)],
            timeouts: 1,
            ..plain.clone()
        },
        Scope {
            name: "a hold and its replacement over another shard, 3 shards, both paid",
            wishes: vec![pay(0), pay(1)],
            ..plain.clone()
        },
        Scope {
            name: "a hold and its replacement over another shard, 3 shards, a competitor, the home's time moves",
            orders: with(&plain.orders, OrderScope::of(&[1], 1)),
            wishes: vec![Wish::Reserve { order: 2 }],
            leaps: vec![1, 0, 0],
            ..plain
        },
    ]
}

/// Returns two orders with one reference that each wants to itself. A shard that has none of their lines
/// decides about it.
pub fn one_reference() -> Scope {
    Scope {
        name: "two orders with one reference, decided in a third shard",
        units: vec![1, 1, 1],
        orders: vec![
            OrderScope::of(&[0], 1).at(2).unique(),
            OrderScope::of(&[1], 1).at(2).unique(),
        ],
        held: Vec::new(),
        coordinators: vec![0, 1],
        coordinators_end: true,
        ..replaced()
    }
}

/// Returns a hold that has a reference, and an order with the same reference that replaces it, while another
/// order asks for the reference. It takes minutes.
pub fn one_reference_replaced() -> Scope {
    Scope {
        name: "a hold that has a reference, its replacement and another order with it",
        units: vec![2, 2, 1],
        orders: vec![
            OrderScope::of(&[0, 1], 1).at(2).unique(),
            OrderScope::of(&[1], 2).at(2).unique().replacing(0),
            OrderScope::of(&[0], 1).at(2).unique(),
        ],
        held: vec![0],
        coordinators: vec![1, 2],
        coordinators_end: false,
        ..one_reference()
    }
}

fn with(orders: &[OrderScope], another: OrderScope) -> Vec<OrderScope> {
    let mut orders = orders.to_vec();
    orders.push(another);
    orders
}

/// Returns every scope that has an end.
pub fn complete() -> Vec<Scope> {
    let mut scopes = vec![competing(), one_coordinator()];
    scopes.extend(two_coordinators());
    scopes.push(best_effort());
    scopes.extend(best_effort_troubled());
    scopes.extend(one_id());
    scopes.push(replaced());
    scopes.extend(replacing());
    scopes.extend(replacing_troubled());
    scopes.push(one_reference());
    scopes.push(one_reference_replaced());
    scopes
}

/// Returns the scopes that never end within any time; a run goes as deep as it gets.
pub fn deep() -> Vec<Scope> {
    let pay = |order| Wish::Commit { order };
    let release = |order| Wish::Release { order };
    vec![
        Scope {
            name: "one order, two coordinators, 2 shards, everything at once",
            coordinators: vec![0, 0],
            attempts: 3,
            redeliveries: 1,
            leaps: vec![2, 1],
            wishes: vec![
                pay(0),
                release(0),
                Wish::Extend { order: 0 },
                Wish::Cancel { order: 0, shard: 0 },
                Wish::Cancel { order: 0, shard: 1 },
            ],
            ..one_coordinator()
        },
        Scope {
            name: "one id, the same order twice and in another order, 2 shards",
            coordinators: vec![0, 0, 1],
            redeliveries: 1,
            wishes: vec![pay(0)],
            leaps: vec![1, 1],
            ..one_id_in_another_order()
        },
        Scope {
            name: "two orders for the last units, one with two coordinators, 2 shards",
            coordinators: vec![0, 0, 1],
            coordinators_end: false,
            timeouts: 1,
            leaps: vec![1, 1],
            wishes: vec![pay(0), release(1)],
            ..competing()
        },
        Scope {
            name: "two orders for the last units, 3 shards",
            units: vec![1, 1, 1],
            orders: vec![OrderScope::of(&[0, 1, 2], 1), OrderScope::of(&[2, 1, 0], 1)],
            coordinators_end: false,
            timeouts: 1,
            leaps: vec![1, 0, 1],
            wishes: vec![pay(0), pay(1)],
            ..competing()
        },
        Scope {
            name: "a hold and two replacements, 2 shards, paid, a competitor",
            units: vec![1, 1],
            orders: vec![
                OrderScope::of(&[0, 1], 1),
                OrderScope::of(&[1], 1).at(0).replacing(0),
                OrderScope::of(&[1, 0], 1).at(0).replacing(0),
                OrderScope::of(&[1], 1),
            ],
            coordinators: vec![1, 2],
            wishes: vec![pay(0), Wish::Reserve { order: 3 }],
            leaps: vec![0, 0],
            ..replaced()
        },
        Scope {
            name: "two orders with one reference, one over two shards, decided in a third, paid, released, a timeout",
            units: vec![1, 2, 1],
            orders: vec![
                OrderScope::of(&[0, 1], 1).at(2).unique(),
                OrderScope::of(&[1], 1).at(2).unique(),
            ],
            coordinators_end: false,
            wishes: vec![pay(0), release(1)],
            timeouts: 1,
            ..one_reference()
        },
        Scope {
            name: "a hold and two replacements, 3 shards, everything at once",
            orders: with(
                &with(&replaced().orders, OrderScope::of(&[0, 2], 1).replacing(0)),
                OrderScope::of(&[1], 1),
            ),
            coordinators: vec![1, 2],
            is_settled: false,
            timeouts: 1,
            redeliveries: 1,
            leaps: vec![1, 1, 0],
            wishes: vec![pay(0), pay(1), release(2), Wish::Reserve { order: 3 }],
            ..replaced()
        },
    ]
}
