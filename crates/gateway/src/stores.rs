//! The stores of a configuration, as `state` takes them.

use lockgate_config::model::{Document, RedisUrl};
use lockgate_state::StoreSettings;
use lockgate_state::redis::{Address, Login, Servers, Settings};

/// What every key begins with, unless said.
const PREFIX: &str = "lockgate";

/// The settings of every store by name.
pub(crate) fn settings(document: &Document) -> Vec<(String, StoreSettings)> {
    let stores = document.stores.iter().filter_map(|(name, written)| {
        if name == "memory" || document.in_memory(name) {
            return Some((name.clone(), StoreSettings::Memory));
        }
        let url = RedisUrl::read(written.as_str()?).ok()?;
        let settings = Settings {
            servers: Servers::One(Address::new(&url.host, url.port)),
            login: Login { username: url.username, password: url.password },
            database: url.database.unwrap_or_default(),
            prefix: PREFIX.to_owned(),
            timeout: None,
        };
        Some((name.clone(), StoreSettings::Redis(settings)))
    });
    stores.collect()
}
