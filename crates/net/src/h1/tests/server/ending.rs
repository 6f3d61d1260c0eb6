//! How connections end: clients that are slow or go away, drains, limits.

use super::*;

#[tokio::test(start_paused = true)]
async fn slow_heads_are_refused_and_idle_connections_closed_in_silence() {
    let start = Instant::now();
    let answer = ask(&App::echo(), limits(), b"GET / HTTP/1.1\r\nHo").await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_eq!(start.elapsed().as_secs(), 10);
    let start = Instant::now();
    assert_eq!(ask(&App::echo(), limits(), b"").await, "");
    assert_eq!(start.elapsed().as_secs(), 60);
    let start = Instant::now();
    let answer = ask(&App::echo(), limits(), GET).await;
    assert!(answer.ends_with("GET /a|"));
    assert_eq!(start.elapsed().as_secs(), 60);
    // A byte now and then does not help.
    let start = Instant::now();
    let answer = client(&App::echo(), async |mut client| {
        for byte in b"GET / HTTP/1.1\r\n".iter().cycle() {
            if client.write_all(&[*byte]).await.is_err() || start.elapsed().as_secs() > 20 {
                break;
            }
            sleep(Duration::from_secs(1)).await;
        }
        rest(&mut client).await
    })
    .await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(start.elapsed().as_secs() <= 16, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn slow_bodies_are_cut() {
    let post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n";
    let start = Instant::now();
    let answer = ask(&App::echo(), limits(), post).await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.ends_with("request_timeout"), "{answer}");
    assert_eq!(start.elapsed().as_secs(), 30);
    // One byte a second never runs into the longest wait, but into the minimum rate.
    let limits = lockgate_config::model::Http { min_rate: Size(100), ..limits() };
    let start = Instant::now();
    let app = App::echo();
    with_client(&app, limits, &Drain::default(), async |client| {
        let (mut read, mut write) = tokio::io::split(client);
        let drip = async {
            write.write_all(post).await.unwrap();
            while write.write_all(b"x").await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            () = drip => panic!("it was not answered"),
            answer = until(&mut read, "request_timeout") => {
                assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
            }
        }
    })
    .await;
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn slow_readers_are_cut() {
    let app =
        App::new(async |_| Response::new(Body::from(Bytes::from(vec![b'x'; 1 << 20]))).into());
    let start = Instant::now();
    client(&app, async |mut client| {
        client.write_all(GET).await.unwrap();
        while app.seen().outcomes.borrow().is_empty() {
            sleep(Duration::from_secs(1)).await;
            assert!(start.elapsed().as_secs() < 60);
        }
        let got = rest(&mut client).await;
        assert!(got.len() < 1 << 20);
    })
    .await;
    let outcome = app.seen().outcomes.borrow()[0];
    assert_eq!(outcome.broken, Some(&crate::h1::CLIENT_TOO_SLOW));
    assert_eq!(outcome.took.as_secs(), 30);
    assert!((60_000..70_000).contains(&outcome.sent), "{}", outcome.sent);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_ends_the_work_for_it() {
    // While the request is served.
    let app = App::new(async |_| pending::<Reply>().await);
    client(&app, async |mut client| {
        client.write_all(GET).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        assert_eq!((app.seen().served.get(), app.seen().dropped.get()), (1, 0));
        client.shutdown().await.unwrap();
        sleep(Duration::from_millis(1)).await;
        assert_eq!(app.seen().dropped.get(), 1, "half-closing counts as going away");
    })
    .await;
    // While its answer waits for more.
    let (app, mut feeds) = feeding();
    client(&app, async |mut client| {
        client.write_all(GET).await.unwrap();
        let feed = feeds.recv().await.unwrap();
        until(&mut client, "\r\n\r\n").await;
        drop(client);
        feed.closed().await;
    })
    .await;
    assert_eq!(app.seen().outcomes.borrow()[0].broken, Some(&reasons::CLIENT_CLOSED));
    // Inside its body: whoever reads that hears it.
    let app = App::new(async |incoming: Incoming| {
        failed(&incoming.body.collect(1000).await.unwrap_err())
    });
    let answer = client(&app, async |mut client| {
        client
            .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab")
            .await
            .unwrap();
        client.shutdown().await.unwrap();
        rest(&mut client).await
    })
    .await;
    assert!(answer.ends_with("client_closed"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_drain_closes_what_is_idle_and_tells_what_is_busy() {
    let drain = Drain::default();
    let start = Instant::now();
    with_client(&App::echo(), limits(), &drain, async |mut client| {
        client.write_all(GET).await.unwrap();
        until(&mut client, "GET /a|").await;
        drain.close_idle();
        assert_eq!(rest(&mut client).await, "");
    })
    .await;
    assert!(start.elapsed().is_zero());
    assert_eq!(drain.open(), 0);

    let drain = Drain::default();
    let (app, mut feeds) = feeding();
    let answer = with_client(&app, limits(), &drain, async |mut client| {
        client.write_all(GET).await.unwrap();
        let feed = feeds.recv().await.unwrap();
        until(&mut client, "\r\n\r\n").await;
        drain.start();
        feed.send(data("abc")).await.unwrap();
        drop(feed);
        rest(&mut client).await
    })
    .await;
    assert_eq!(answer, "3\r\nabc\r\n0\r\n\r\n", "what is under way is finished, then it closes");

    let drain = Drain::default();
    let app = App::new(async |_| {
        sleep(Duration::from_secs(1)).await;
        text("late")
    });
    let answer = with_client(&app, limits(), &drain, async |mut client| {
        client.write_all(GET).await.unwrap();
        tokio::task::yield_now().await;
        drain.start();
        rest(&mut client).await
    })
    .await;
    assert!(answer.contains("connection: close\r\n") && answer.ends_with("late"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_drain_lets_the_next_request_come_and_closes_after_it() {
    let drain = Drain::default();
    let answer = with_client(&App::echo(), limits(), &drain, async |mut client| {
        client.write_all(GET).await.unwrap();
        until(&mut client, "GET /a|").await;
        drain.start();
        sleep(Duration::from_secs(5)).await;
        client.write_all(GET).await.unwrap();
        rest(&mut client).await
    })
    .await;
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    assert_eq!(drain.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_has_come_is_answered_though_idle_connections_are_closed() {
    let drain = Drain::default();
    let answer = with_client(&App::echo(), limits(), &drain, async |mut client| {
        client.write_all(GET).await.unwrap();
        until(&mut client, "GET /a|").await;
        client.write_all(GET).await.unwrap();
        drain.close_idle();
        rest(&mut client).await
    })
    .await;
    assert!(answer.contains("connection: close\r\n"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_serves_no_more_than_it_may() {
    let limits = lockgate_config::model::Http { max_requests_per_connection: 2, ..limits() };
    let app = App::echo();
    let answer = ask(&app, limits, &GET.repeat(3)).await;
    assert_eq!(app.seen().served.get(), 2);
    assert_eq!(answer.matches("connection: close\r\n").count(), 1, "{answer}");
}

#[tokio::test(start_paused = true)]
async fn the_gateway_may_ask_for_a_close() {
    let app = App::new(async |_| {
        let mut response = Response::new(Body::from("bye"));
        response.headers_mut().insert("connection", HeaderValue::from_static("x, Close"));
        response.into()
    });
    let answer = ask(&app, limits(), &GET.repeat(2)).await;
    assert_eq!(answer, "HTTP/1.1 200 OK\r\ncontent-length: 3\r\nconnection: close\r\n\r\nbye");
}
