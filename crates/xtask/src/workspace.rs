//! Where things are in the checkout.

use std::path::{Path, PathBuf};

/// The root of the checkout: the folder of the workspace's `Cargo.toml`.
///
/// Taken from cargo's variable when it is set (a moved checkout keeps its built `xtask`), else from the build.
pub fn root() -> PathBuf {
    let manifest_dir =
        std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest_dir.ancestors().nth(2).map_or_else(|| manifest_dir.clone(), Path::to_path_buf)
}

/// Where cargo builds: `target`, or what its variable says.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |set| root().join(set))
}

/// Where the servers keep jars, data, logs and pid files: `target/servers`, which git ignores and `cargo clean` removes.
pub fn servers_dir() -> PathBuf {
    root().join("target").join("servers")
}
