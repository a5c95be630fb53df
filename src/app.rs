//! The composition root: makes the parts out of the configuration and puts them together. Nobody else knows all of them.

#[cfg(feature = "kafka")]
pub mod dlq;
#[cfg(all(feature = "kafka", feature = "rocks"))]
pub mod doctor;
pub mod exit;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod load;
#[cfg(all(feature = "kafka", feature = "rocks"))]
mod memory;
#[cfg(feature = "kafka")]
pub mod registry;
#[cfg(all(feature = "kafka", feature = "rocks"))]
pub mod reload;
#[cfg(all(feature = "kafka", feature = "rocks"))]
pub mod reset;
#[cfg(feature = "kafka")]
pub mod rights;
#[cfg(all(feature = "kafka", feature = "rocks"))]
pub mod run;

/// One line per native library in the binary, for `--version`.
#[must_use]
pub fn native_versions() -> Vec<String> {
    let mut versions = Vec::new();
    #[cfg(feature = "kafka")]
    versions.push(format!(
        "librdkafka {}",
        crate::bus::kafka::client_version()
    ));
    if cfg!(feature = "rocks")
        && let Some(version) = locked_version("librocksdb-sys")
    {
        // 0.19.0+11.8.1: the crate's version, and that of RocksDB inside it.
        let version = version
            .split_once('+')
            .map_or(version, |(_, inside)| inside);
        versions.push(format!("RocksDB {version}"));
    }
    versions
}

/// The version of a crate that this build is locked to.
fn locked_version(name: &str) -> Option<&'static str> {
    let lock = include_str!("../Cargo.lock");
    let (_, rest) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
    rest.split_once('"').map(|(version, _)| version)
}
