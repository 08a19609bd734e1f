//! The tests, by theme.

mod account;
mod counts;
mod demo;
mod environment;
mod latency;
mod lifetime;
mod look;
mod namespace;
mod options;
mod recording;
mod refusals;
mod stress;
mod support;
mod truth;

use crate::harness::Test;

/// All of them, the cheap and telling ones first.
pub(crate) fn all() -> Vec<Test> {
    [
        environment::TESTS,
        demo::TESTS,
        truth::TESTS,
        latency::TESTS,
        support::TESTS,
        look::TESTS,
        refusals::TESTS,
        counts::TESTS,
        options::TESTS,
        account::TESTS,
        recording::TESTS,
        lifetime::TESTS,
        namespace::TESTS,
        stress::TESTS,
    ]
    .into_iter()
    .flat_map(|tests| tests.iter().map(|test| Test { name: test.name, run: test.run }))
    .collect()
}
