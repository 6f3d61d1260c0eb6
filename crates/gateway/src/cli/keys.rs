//! `lockgate keys`: fresh API keys, and what is stored of keys and passwords in their place.

use std::io::Read;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Subcommand;
use lockgate_plugins::api_key::{KeyHasher, fresh, is_damaged};

use super::{complain, say};

/// Longest key or password that is read, in bytes.
const MAX_INPUT: u64 = 4096;

/// Make API keys, and hash keys and passwords for the configuration
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lockgate keys new --consumer alice       a fresh key for her, and its hash
  lockgate keys hash < key.txt             the hash of a key that there is
  lockgate keys password < password.txt    the hash of a password, for `basic`

The key goes to the client, the hash into `consumers.NAME.api_keys`. A pepper, if
the identity has one, is told by LOCKGATE_PEPPER.
Exit codes: 0 done, 1 the input cannot be hashed.")]
pub(crate) struct Keys {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Print a fresh key and its hash
    New {
        /// Whose key it will be
        #[arg(long, value_name = "NAME")]
        consumer: Option<String>,
        #[command(flatten)]
        out: Out,
    },
    /// Read a key from stdin and print its hash
    Hash {
        #[command(flatten)]
        out: Out,
    },
    /// Read a password from stdin and print its argon2id hash
    Password {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Out {
    /// The identity's pepper
    #[arg(long, value_name = "PEPPER", env = "LOCKGATE_PEPPER", hide_env_values = true)]
    #[arg(default_value = "", hide_default_value = true)]
    pepper: String,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Keys {
    pub(crate) fn main(self) -> anyhow::Result<ExitCode> {
        match self.verb {
            Verb::New { consumer, out } => new(consumer.as_deref(), &out),
            Verb::Hash { out } => hash(&out),
            Verb::Password { json } => password(json),
        }
    }
}

fn new(consumer: Option<&str>, out: &Out) -> anyhow::Result<ExitCode> {
    let key = fresh().context("the system has no randomness")?;
    let hash = KeyHasher::new(&out.pepper).stored(&key);
    if out.json {
        say(&serde_json::json!({ "consumer": consumer, "key": key, "hash": hash }).to_string());
        return Ok(ExitCode::SUCCESS);
    }
    let name = consumer.unwrap_or("NAME");
    say(&format!("key:   {key}"));
    say(&format!("hash:  {hash}"));
    say("");
    say("The key is shown this once: give it to the client. The configuration gets the hash:");
    say("");
    // A name may be anything; in quotes it is a key of YAML, as JSON is YAML.
    let name = serde_json::Value::from(name);
    say(&format!("consumers:\n  {name}:\n    api_keys:\n      - {hash}"));
    Ok(ExitCode::SUCCESS)
}

fn hash(out: &Out) -> anyhow::Result<ExitCode> {
    let key = input("key")?;
    if is_damaged(&key) {
        bail!("this key is mistyped or cut: its checksum is wrong");
    }
    if !key.starts_with("lgk_") {
        complain("lockgate: this is no key of `keys new`: only a random one is safe by its hash");
    }
    let hash = KeyHasher::new(&out.pepper).stored(&key);
    tell(out.json, &hash);
    Ok(ExitCode::SUCCESS)
}

fn password(json: bool) -> anyhow::Result<ExitCode> {
    let password = input("password")?;
    let hash = lockgate_plugins::basic::hash(password.as_bytes());
    tell(json, &hash.map_err(anyhow::Error::msg)?);
    Ok(ExitCode::SUCCESS)
}

fn tell(json: bool, hash: &str) {
    if json {
        say(&serde_json::json!({ "hash": hash }).to_string());
    } else {
        say(hash);
    }
}

/// What stands on stdin, without the line's end.
fn input(what: &str) -> anyhow::Result<String> {
    let mut text = String::new();
    let mut stdin = std::io::stdin().lock().take(MAX_INPUT + 1);
    stdin.read_to_string(&mut text).with_context(|| format!("reading the {what} from stdin"))?;
    if text.len() as u64 > MAX_INPUT {
        bail!("the {what} has more than {MAX_INPUT} bytes");
    }
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        bail!("there is no {what} on stdin");
    }
    Ok(text.to_owned())
}
