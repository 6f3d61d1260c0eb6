//! A Redis as a source: the words of `state`, which alone speaks to one, in those of a source.

use lockgate_state::redis::{Address, Login, NoTexts, Servers, Settings, Texts, Wanted};

use super::follow::{Fetched, MOST_BYTES, MOST_KEYS, PATIENCE};
use super::place::Place;
use super::status::{Failure, Reason};
use crate::stores::secured_by;

/// A server, as long as it answers.
pub(super) struct Session {
    texts: Texts,
    place: Place,
}

impl Session {
    /// Connects, and listens.
    ///
    /// # Errors
    /// No server, or one that does not let the gateway in.
    pub(super) async fn open(place: &Place) -> Result<Self, Failure> {
        let tls = place.tls.as_ref().map(secured_by).transpose();
        let tls =
            tls.map_err(|error| Failure::new(Reason::Denied, format!("needs TLS: {error}")))?;
        let server = place.servers.first().ok_or_else(|| Failure::away("has no server"))?;
        let login = Login { username: place.username.clone(), password: place.password.clone() };
        let settings = Settings {
            servers: Servers::One(Address::new(&server.0, server.1)),
            login,
            tls,
            database: place.database,
            prefix: String::new(),
            timeout: None,
        };
        let wanted = Wanted {
            key: place.key.clone(),
            is_prefix: place.is_prefix(),
            most: MOST_KEYS,
            most_bytes: MOST_BYTES,
            patience: PATIENCE,
        };
        let texts = Texts::open(&settings, wanted).await.map_err(failure)?;
        Ok(Self { texts, place: place.clone() })
    }

    /// All texts.
    ///
    /// # Errors
    /// No whole answer.
    pub(super) async fn fetch(&mut self) -> Result<Fetched, Failure> {
        let mut texts = self.texts.fetch().await.map_err(failure)?;
        let mut prefix = self.place.prefix().to_owned();
        match texts.as_mut_slice() {
            // A string has no name of its own but that of its key.
            [(name, _)] if name.is_empty() => *name = self.place.own_name().as_bytes().to_vec(),
            _ if !self.place.is_prefix() => prefix = format!("{}/", self.place.name()),
            _ => {}
        }
        Ok(Fetched { prefix, revision: None, texts })
    }

    /// Waits until something is said of them.
    ///
    /// # Errors
    /// The end of the connection.
    pub(super) async fn noticed(&mut self) -> Result<(), Failure> {
        self.texts.noticed().await.map_err(failure)
    }
}

fn failure(why: NoTexts) -> Failure {
    match why {
        NoTexts::Away(what) => Failure::away(what),
        NoTexts::Denied(what) => Failure::new(Reason::Denied, what),
        NoTexts::Unusable(what) => Failure::new(Reason::Unusable, what),
    }
}
