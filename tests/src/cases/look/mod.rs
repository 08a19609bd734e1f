//! Looking without tracing: what the four commands say, against states that the
//! tests made themselves and against the kernel's own sums.

mod maps;
mod oom;
mod page;
mod reserve;
mod user;
mod walk;

use crate::harness::Test;

pub(super) const TESTS: &[Test] = &[
    Test { name: "look::walk", run: walk::by_both },
    Test { name: "look::maps-totals", run: maps::totals },
    Test { name: "look::maps-many", run: maps::many },
    Test { name: "look::ordinary-user", run: user::useful },
    Test { name: "look::oom-scores", run: oom::scores },
    Test { name: "look::oom-cgroup", run: oom::in_a_group },
    Test { name: "look::oom-machine", run: oom::of_the_machine },
];
