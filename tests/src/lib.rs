//! What the tests against real kernels share.
