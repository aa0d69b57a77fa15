//! What can be said of settings before anybody is connected to.

use std::path::PathBuf;

use tailwater_model::Trouble;

use crate::connect::{check_ca_file, check_url};
use crate::database_url::parse;
use crate::mirror_table::{schema_name, table_name};
use crate::settings::PostgresSettings;

/// A setting that a fault can lie in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// The URL, or what else says where to connect to.
    Url,
    /// The schema's name.
    Schema,
    /// The table's name.
    Table,
    /// The file of certificate authorities.
    CaFile,
}

/// Everything that [`claim`](crate::claim()) would refuse in these settings without contacting anybody; it reads `ca_file`.
/// Nothing when they are fine. No message holds anything of what the settings say, for it may be a secret gone astray.
pub fn faults(settings: &PostgresSettings) -> Vec<(Setting, Trouble)> {
    let checks = [
        (Setting::Url, check_url(settings).err()),
        (Setting::Schema, schema_name(&settings.schema).err()),
        (Setting::Table, table_name(&settings.table).err()),
        (Setting::CaFile, check_ca_file(&settings.tls).err()),
    ];
    checks.into_iter().filter_map(|(setting, trouble)| Some((setting, trouble?))).collect()
}

/// The file of the client's private key, where the URL names one (`sslkey`).
pub fn key_file(settings: &PostgresSettings) -> Option<PathBuf> {
    parse(settings.url.expose()).ok()?.key_file.map(PathBuf::from)
}
