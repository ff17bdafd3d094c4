//! The memory that a target may use: more is a finding.

use std::alloc::System;

use cap::Cap;

/// What the project promises (64 MiB, and something for each thread), and a reserve for what the target itself keeps.
const MOST: usize = 128 << 20;

#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, MOST);
