//! A configuration from a real Redis: a string, a hash or the strings of a prefix; told of by the
//! server, by whoever changed it, or by nobody; and a Redis that is killed or emptied.

use lockgate_testkit::redis::RedisServer;
use lockgate_testkit::{Launch, run, until};

use super::{is, saying, says, source};
use crate::support::launch;

/// A gateway about to read this key; it asks by itself only every hour unless told.
fn launch_from(redis: &RedisServer, key: &str) -> Launch {
    let poll = if key.contains('?') { "" } else { "?poll=1h" };
    launch().from(&format!("redis://{}/{key}{poll}", redis.address()), &[])
}

#[tokio::test]
async fn a_string_is_a_whole_configuration_and_the_server_tells_of_it() {
    let redis = RedisServer::start_with(&["--notify-keyspace-events", "K$g"]).await;
    let launch = launch_from(&redis, "3/conf/lockgate.yaml");
    let text = |word: &str| launch.text(&saying("/", word));
    let (first, second) = (text("first"), text("second"));
    redis.ask(&["SET", "elsewhere", "x"]).await;
    assert_eq!(put(&redis, "3", &["SET", "conf/lockgate.yaml", &first]).await, "OK");
    let gateway = launch.start("").await;
    says(&gateway, "/", "first").await;
    put(&redis, "3", &["SET", "conf/lockgate.yaml", &second]).await;
    says(&gateway, "/", "second").await;
    put(&redis, "3", &["SET", "conf/lockgate.yaml", "routes: ["]).await;
    until("the refusal", async || source(&gateway).await["refused"].is_string()).await;
    let told = source(&gateway).await;
    assert!(told["refused"].as_str().unwrap().contains("/3/conf/lockgate.yaml:2:"), "{told}");
    put(&redis, "3", &["DEL", "conf/lockgate.yaml"]).await;
    is(&gateway, "empty").await;
    assert_eq!(gateway.get("/").await.text(), "second");
    put(&redis, "3", &["SET", "conf/lockgate.yaml", &first]).await;
    says(&gateway, "/", "first").await;
}

/// A command in another database than the first, by a script: a connection has one command.
async fn put(redis: &RedisServer, database: &str, words: &[&str]) -> String {
    let script = "redis.call('SELECT', ARGV[1]) \
                  return redis.call(unpack(ARGV, 2))";
    let all = ["EVAL", script, "0", database];
    redis.ask(&[&all, words].concat()).await.text()
}

#[tokio::test]
async fn the_fields_of_a_hash_are_files_and_whoever_changes_them_says_so() {
    let redis = RedisServer::start().await;
    let launch = launch_from(&redis, "lockgate");
    let main = launch.text(&saying("/", "first"));
    redis.ask(&["HSET", "lockgate", "main.yaml", &main, "more.yaml", &saying("/more", "m1")]).await;
    let gateway = launch.start("").await;
    says(&gateway, "/more", "m1").await;
    is(&gateway, "well").await;
    redis.ask(&["HSET", "lockgate", "more.yaml", &saying("/more", "m2")]).await;
    redis.ask(&["PUBLISH", "lockgate:changed", ""]).await;
    says(&gateway, "/more", "m2").await;
    redis.ask(&["HSET", "lockgate", "more.yaml", "routes:\n  /more: { to: nobody }\n"]).await;
    redis.ask(&["PUBLISH", "lockgate:changed", ""]).await;
    until("the refusal", async || source(&gateway).await["refused"].is_string()).await;
    let told = source(&gateway).await;
    assert!(told["refused"].as_str().unwrap().contains("/lockgate/more.yaml:2:"), "{told}");
    redis.ask(&["HDEL", "lockgate", "more.yaml"]).await;
    redis.ask(&["PUBLISH", "lockgate:changed", ""]).await;
    until("the field to be missed", async || gateway.get("/more").await.status == 404).await;
    let listens = gateway.text("telemetry: { access_log: off }\n");
    redis.ask(&["HSET", "lockgate", "main.yaml", &listens]).await;
    redis.ask(&["PUBLISH", "lockgate:changed", ""]).await;
    is(&gateway, "refused").await;
    assert!(source(&gateway).await["refused"].to_string().contains("no routes any more"));
    assert_eq!(gateway.get("/").await.text(), "first");
    redis.ask(&["HSET", "lockgate", "main.yaml", &main]).await;
    redis.ask(&["PUBLISH", "lockgate:changed", ""]).await;
    is(&gateway, "well").await;
    redis.ask(&["DEL", "lockgate"]).await;
    redis.ask(&["RPUSH", "lockgate", "a list"]).await;
    redis.ask(&["PUBLISH", "lockgate:changed", ""]).await;
    is(&gateway, "unusable").await;
    assert_eq!(gateway.get("/").await.text(), "first");
}

#[tokio::test]
async fn strings_of_a_prefix_are_files_and_are_asked_for_when_nobody_says_anything() {
    let redis = RedisServer::start().await;
    let launch = launch_from(&redis, "gate[1]:?poll=200ms");
    let main = launch.text(&saying("/", "first"));
    redis.ask(&["MSET", "gate[1]:main", &main, "gate1:other", "routes: ["]).await;
    let gateway = launch.start("").await;
    says(&gateway, "/", "first").await;
    for n in 0..3 {
        let word = format!("m{n}");
        redis.ask(&["SET", "gate[1]:more", &saying("/more", &word)]).await;
        says(&gateway, "/more", &word).await;
    }
    redis.ask(&["DEL", "gate[1]:more"]).await;
    until("the key to be missed", async || gateway.get("/more").await.status == 404).await;
}

#[tokio::test]
async fn a_killed_or_flushed_redis_takes_nothing_with_it() {
    let mut redis = RedisServer::start_with_password("hunter2-of-the-store").await;
    let url = format!("redis://:${{env:SECRET}}@{}/lockgate?poll=200ms", redis.address());
    let launch = launch().from(&url, &[]).env("SECRET", "hunter2-of-the-store");
    let text = launch.text(&saying("/", "first"));
    redis.ask(&["SET", "lockgate", &text]).await;
    let mut gateway = launch.start("").await;
    says(&gateway, "/", "first").await;
    redis.ask(&["FLUSHALL"]).await;
    is(&gateway, "empty").await;
    redis.kill();
    is(&gateway, "away").await;
    assert_eq!(gateway.get("/").await.text(), "first");
    gateway.restart().await;
    assert_eq!(gateway.get("/").await.text(), "first");
    assert_eq!(source(&gateway).await["fromCopy"], true);
    redis.restart().await;
    is(&gateway, "empty").await;
    assert_eq!(gateway.get("/").await.text(), "first");
    redis.ask(&["SET", "lockgate", &gateway.text(&saying("/", "second"))]).await;
    says(&gateway, "/", "second").await;
    redis.pause();
    is(&gateway, "away").await;
    redis.resume();
    is(&gateway, "well").await;
    assert!(!gateway.said().contains("hunter2"), "{}", gateway.said());
}

#[tokio::test]
async fn a_redis_is_asked_under_tls_by_a_user_who_may_only_read() {
    let tls = RedisServer::start_with_tls(&[
        "--user",
        "gate",
        "on",
        ">its-own",
        "%R~lockgate",
        "resetchannels",
        "+@read",
        "+@connection",
        "+psubscribe",
    ])
    .await;
    let query = "?ca=ca.pem&cert=cert.pem&key=key.pem&poll=200ms";
    let at = tls.server.address();
    let launch = launch()
        .from(&format!("rediss://gate:its-own@{at}/lockgate{query}"), &[])
        .file("ca.pem", &tls.authority.pem)
        .file("cert.pem", &tls.client.cert)
        .file("key.pem", &tls.client.key);
    let dir = launch.path().to_owned();
    let port = at.port().to_string();
    let set = async |text: String| {
        let mut words = vec!["--tls", "-h", "127.0.0.1", "-p", &port, "--cacert", "ca.pem"];
        words.extend(["--cert", "cert.pem", "--key", "key.pem", "SET", "lockgate", &text]);
        let ran = run("redis-cli", &dir, &words).await;
        assert_eq!(ran.stdout.trim(), "OK", "{ran:?}");
    };
    set(launch.text(&saying("/", "first"))).await;
    let gateway = launch.start("").await;
    says(&gateway, "/", "first").await;
    set(gateway.text(&saying("/", "second"))).await;
    says(&gateway, "/", "second").await;
}
