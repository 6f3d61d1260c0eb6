//! Following a source over the network: it is asked, then listened to, and asked again when it says
//! something, when it has said nothing for a while, and when it is back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use super::mirror::{BESIDE, Confirmed, Seat, Version, is_name};
use super::place::{Kind, Place};
use super::status::{Failure, Reason, Status};
use super::{etcd, redis};

/// Most bytes of all texts of a source: what a configuration may have.
pub(super) const MOST_BYTES: usize = 16 << 20;
/// Most keys of a source.
pub(super) const MOST_KEYS: usize = 16_384;
/// The longest that one question may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// Changes that follow each other closely are fetched together.
const TOGETHER: Duration = Duration::from_millis(10);
/// The first pause after a source has gone, and the longest.
const SOON: Duration = Duration::from_millis(100);
const LATER: Duration = Duration::from_secs(5);

/// What was fetched at one moment.
pub(super) struct Fetched {
    /// What stands before a text's name in messages.
    pub(super) prefix: String,
    /// The source's own word for the state, if it has one.
    pub(super) revision: Option<String>,
    /// Names without the prefix, and texts.
    pub(super) texts: Vec<(Vec<u8>, Bytes)>,
}

/// A connection to one server of a source.
enum Session {
    Etcd(etcd::Session),
    Redis(redis::Session),
}

impl Session {
    async fn open(place: &Place, server: usize) -> Result<Self, Failure> {
        Ok(match place.kind {
            Kind::Etcd => Self::Etcd(etcd::Session::open(place, server).await?),
            Kind::Redis => Self::Redis(redis::Session::open(place).await?),
        })
    }

    async fn fetch(&mut self) -> Result<Fetched, Failure> {
        match self {
            Self::Etcd(session) => session.fetch().await,
            Self::Redis(session) => session.fetch().await,
        }
    }

    /// Waits until the source says that something has changed since the last fetch.
    async fn noticed(&mut self) -> Result<(), Failure> {
        match self {
            Self::Etcd(session) => session.noticed().await,
            Self::Redis(session) => session.noticed().await,
        }
    }
}

/// The first version of a source, for as long as is waited for one.
///
/// # Errors
/// Why there is none.
pub(super) async fn first(place: &Place, patience: Duration) -> Result<Version, Failure> {
    let deadline = Instant::now() + patience;
    let mut last = Failure::away("does not answer in time");
    for server in 0.. {
        let asked = async { version(place, Session::open(place, server).await?.fetch().await?) };
        match timeout_at(deadline, asked).await {
            Ok(Err(failure)) if failure.reason == Reason::Away => last = failure,
            Ok(done) => return done,
            Err(_) => break,
        }
        if (server + 1) % place.servers.len() == 0
            && timeout_at(deadline, sleep(SOON)).await.is_err()
        {
            break;
        }
    }
    Err(last)
}

/// Follows a source until nobody wants to know any more.
pub(super) async fn follow(
    place: Arc<Place>,
    news: watch::Sender<Option<Arc<Version>>>,
    status: Arc<Status>,
    mut copy: Confirmed,
) {
    let mut pause = SOON;
    let mut server = 0;
    loop {
        let mut answered = false;
        let ended = tokio::select! {
            () = news.closed() => return,
            ended = listen(&place, server, &news, &status, &mut copy, &mut answered) => ended,
        };
        status.failed(&ended);
        if answered {
            pause = SOON;
        } else {
            server += 1;
        }
        if answered || server % place.servers.len() == 0 {
            // Not all gateways at once.
            sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
            pause = (pause * 2).min(LATER);
        }
    }
}

/// One session, to its end.
async fn listen(
    place: &Place,
    server: usize,
    news: &watch::Sender<Option<Arc<Version>>>,
    status: &Status,
    copy: &mut Confirmed,
    answered: &mut bool,
) -> Failure {
    let mut session = match Session::open(place, server).await {
        Ok(session) => session,
        Err(failure) => return failure,
    };
    loop {
        let fetched = match session.fetch().await {
            Ok(fetched) => fetched,
            Err(failure) => return failure,
        };
        *answered = true;
        match version(place, fetched) {
            Ok(version) => {
                let version = Arc::new(version);
                if status.answered(&version) {
                    copy.confirm();
                }
                news.send_if_modified(|known| {
                    let is_new = known.as_ref().is_none_or(|known| known.files != version.files);
                    if is_new {
                        *known = Some(version);
                    }
                    is_new
                });
            }
            Err(failure) => status.failed(&failure),
        }
        tokio::select! {
            noticed = session.noticed() => if let Err(failure) = noticed {
                return failure;
            },
            () = sleep(place.poll.mul_f64(0.9 + 0.2 * fastrand::f64())) => {}
        }
        sleep(TOGETHER).await;
    }
}

/// What was fetched, if it can be a configuration.
fn version(place: &Place, fetched: Fetched) -> Result<Version, Failure> {
    let unusable = |what: String| Failure::new(Reason::Unusable, what);
    let Fetched { prefix, revision, texts } = fetched;
    let is_part = |name: &[u8]| !name.starts_with(BESIDE.as_bytes());
    if !texts.iter().any(|(name, text)| is_part(name) && !text.trim_ascii().is_empty()) {
        let key = &place.key;
        let what = if place.is_prefix() {
            format!("has no text under a key that begins with `{key}`")
        } else {
            format!("has no text at the key `{key}`")
        };
        return Err(Failure::new(Reason::Empty, what));
    }
    let bytes: usize = texts.iter().map(|(_, text)| text.len()).sum();
    if texts.len() > MOST_KEYS || bytes > MOST_BYTES {
        return Err(unusable(format!("has more than {MOST_KEYS} keys or 16MiB")));
    }
    let mut files = BTreeMap::new();
    for (name, text) in texts {
        let name = String::from_utf8(name).ok().filter(|name| is_name(name));
        let name = name.ok_or_else(|| {
            unusable("has a key that cannot be a file's name: empty, `..`, too long".to_owned())
        })?;
        files.insert(name, text);
    }
    if let Some(file) = files.keys().find_map(|name| over(&files, name)) {
        let file = file.escape_debug();
        let what = format!("has a key `{file}` and others under `{file}/`: rename one of them");
        return Err(unusable(what));
    }
    let revision = revision.unwrap_or_else(|| digest(&files));
    let seat = Seat::default();
    Ok(Version { prefix, revision, files, seat, at: SystemTime::now() })
}

/// The file that would have to be a directory for this name to be in it.
fn over<'n>(files: &BTreeMap<String, Bytes>, name: &'n str) -> Option<&'n str> {
    let mut above = name.match_indices('/').filter_map(|(slash, _)| name.get(..slash));
    above.find(|above| files.contains_key(*above))
}

/// Stands for the content of a source that does not count its changes.
pub(super) fn digest(files: &BTreeMap<String, Bytes>) -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    files.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(texts: &[(&str, &str)]) -> Result<Version, Failure> {
        let place = Place::read("etcd://127.0.0.1:1/k/").unwrap().unwrap();
        let texts = texts.iter().map(|(name, text)| (name.as_bytes().to_vec(), text.to_string()));
        let texts = texts.map(|(name, text)| (name, Bytes::from(text))).collect();
        version(&place, Fetched { prefix: String::new(), revision: None, texts })
    }

    #[test]
    fn a_key_under_which_there_are_others_is_no_file() {
        for names in [["a", "a/b"], ["routes/a", "routes/a/b/c"], ["files", "files/x"]] {
            let failure = of(&names.map(|name| (name, "x: 1"))).unwrap_err();
            assert_eq!(failure.reason, Reason::Unusable);
            let told = format!("`{}` and others under", names[0]);
            assert!(failure.what.contains(&told), "{failure:?}");
        }
        of(&[("a", "x: 1"), ("a.yaml", "y: 1"), ("ab/c", "z: 1"), ("b/a", "a: 1")]).unwrap();
    }

    #[test]
    fn what_only_settings_name_is_no_configuration() {
        for texts in [&[][..], &[("main", " \n")], &[("main", ""), ("files/order.json", "{}")]] {
            assert_eq!(of(texts).unwrap_err().reason, Reason::Empty);
        }
        of(&[("main", "x: 1"), ("files/empty", "")]).unwrap();
    }
}
