#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| medley_laws::check("signal", bytes));
