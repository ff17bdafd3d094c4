#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ovlctl_fuzz::recipe::run(data));
