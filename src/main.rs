//! The program: hands arguments, environment and standard output to the command line.

use std::io::BufWriter;
use std::process::ExitCode;

/// One allocator for Rust, RocksDB and librdkafka: memory that one gives back the others can use.
#[cfg(feature = "rocks")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    #[cfg(feature = "failpoints")]
    let _kill_points = fail::FailScenario::setup();
    // Lossy: a variable that is not UTF-8 is not one of ours.
    let environment: Vec<(String, String)> = std::env::vars_os()
        .map(|(name, value)| {
            (
                name.to_string_lossy().into_owned(),
                value.to_string_lossy().into_owned(),
            )
        })
        .collect();
    let mut output = BufWriter::new(std::io::stdout().lock());
    tidegate::cli::run(std::env::args_os(), &environment, &mut output)
}
