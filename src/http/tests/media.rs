//! What viewers ask for, answered by ours.

use super::*;

/// What a request for media is answered by ours and, for the one header more by which it is not ours, by hyper.
async fn by_both(serving: &Serving, line: &str) -> [String; 2] {
    let said = async |more: &str| {
        let request = format!("{line} HTTP/1.1\r\nHost: weir\r\n{more}Connection: close\r\n\r\n");
        let answer = all_bytes_of(serving.connect(&request).await).await;
        let head = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        let mut lines: Vec<_> = std::str::from_utf8(&answer[..head]).unwrap().lines().collect();
        lines.retain(|line| !line.starts_with("date: "));
        lines.sort_unstable();
        format!("{} and {} bytes", lines.join(", "), answer.len() - head)
    };
    [said("").await, said("Content-Length: 0\r\n").await]
}

#[tokio::test]
async fn media_is_answered_as_hyper_would() {
    let serving = Serving::start(limits()).await;
    serving.bell.send_replace(true);
    for path in ["part", "large", "grows", "known", "nothing", "as-it-is", "a/source/index.m3u8"] {
        for method in ["GET", "HEAD"] {
            let [ours, mut hypers] = by_both(&serving, &format!("{method} /live/{path}")).await;
            if matches!((method, path), ("HEAD", "known" | "nothing")) {
                // Which is wrong of both (RFC 9110 section 8.6).
                hypers = hypers.replace("content-length: 0, ", "");
            }
            assert_eq!(ours, hypers, "{method} {path}");
        }
    }
}

/// A server's socket and its client's, of which the first takes little at once.
async fn narrow_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (client, accepted) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    let (server, _) = accepted.unwrap();
    SockRef::from(&server).set_send_buffer_size(1).unwrap();
    (server, client.unwrap())
}

/// A site that answers each request for media by `body`.
fn site_of(body: &'static [u8]) -> Site {
    let live = LiveService::new(move |_| std::future::ready(Response::new(Body::from(body))).boxed());
    Site { live, rest: Router::new(), answered: |_, _| {} }
}

#[tokio::test]
async fn small_answers_come_whole_through_a_socket_that_takes_a_piece_of_them() {
    const COUNT: usize = 100;
    let small: &'static [u8] = PART.slice(..3_000).to_vec().leak();
    let (server, client) = narrow_pair().await;
    let (mut reading, mut writing) = client.into_split();
    let asking = tokio::spawn(async move {
        let asked = "GET /live/x HTTP/1.1\r\n\r\n".repeat(COUNT);
        writing.write_all(asked.as_bytes()).await.unwrap();
        writing
    });
    let serving = tokio::spawn(async move {
        let activity = Watch::new(limits()).begin();
        let mut socket = Watched::new(server, Arc::clone(&activity), Traffic::get(), LONG);
        http1::serve(&mut socket, &site_of(small), Traffic::get(), &activity).await.map(|left| left.is_none())
    });
    // Slower than they are sent, in pieces that are not theirs.
    let mut come = Vec::new();
    let mut piece = [0; 1_111];
    for index in 0.. {
        let count = timeout(LONG, reading.read(&mut piece)).await.unwrap().unwrap();
        come.extend_from_slice(&piece[..count]);
        let head = come.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |end| end + 4);
        if head > 0 && come.len() == COUNT * (head + small.len()) {
            break;
        }
        if index % 50 == 0 {
            sleep(Duration::from_millis(1)).await;
        }
    }
    let head = come.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    for answer in come.chunks(head + small.len()) {
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
        assert!(&answer[head..] == small, "its body is whole");
    }
    drop((reading, asking.await.unwrap()));
    assert!(serving.await.unwrap().unwrap(), "the client was done");
}

#[tokio::test]
async fn what_was_asked_before_the_end_is_answered() {
    let (server, mut client) = narrow_pair().await;
    let mut watch = Watch::new(limits());
    let activity = watch.begin();
    client.write_all(b"GET /live/x HTTP/1.1\r\n\r\n").await.unwrap();
    server.readable().await.unwrap();
    watch.end();
    let mut socket = Watched::new(server, Arc::clone(&activity), Traffic::get(), LONG);
    let site = site_of(b"as it is");
    let served = http1::serve(&mut socket, &site, Traffic::get(), &activity);
    assert!(timeout(LONG, served).await.unwrap().unwrap().is_none());
    drop(socket);
    let answer = all_of(client).await;
    assert!(answer.contains("connection: close") && answer.ends_with("as it is"), "{answer}");
}

#[tokio::test]
async fn what_is_ours_and_what_is_not_are_answered_in_their_order() {
    let serving = Serving::start(limits()).await;
    let said = |body: &str| {
        let length = body.len();
        format!(
            "GET /live/1 HTTP/1.1\r\n\r\nHEAD /live/2 HTTP/1.1\r\n\r\nGET /live/3 HTTP/1.1\r\n\r\n\
             POST /live/4 HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{body}\
             GET /livestream HTTP/1.1\r\n\r\nGET /live/5 HTTP/1.1\r\nConnection: close\r\n\r\n"
        )
    };
    // At once, and a byte at a time: then without a body, which nobody waits for here.
    let at_once = all_of(serving.connect(&said("GET /live/x HTTP/1.1\r\n\r\n")).await).await;
    let mut socket = serving.connect("").await;
    socket.set_nodelay(true).unwrap();
    for byte in said("").as_bytes() {
        socket.write_all(&[*byte]).await.unwrap();
        sleep(Duration::from_millis(1)).await;
    }
    for answer in [at_once, all_of(socket).await] {
        let bodies: Vec<_> = answer
            .split("HTTP/1.1 200 OK\r\n")
            .skip(1)
            .map(|answer| answer.split_once("\r\n\r\n").unwrap().1)
            .collect();
        let expected =
            ["GET /1 nothing 0", "", "GET /3 nothing 0", "POST /4 nothing 1", "not media", "GET /5 nothing 1"];
        assert_eq!(bodies, expected, "{answer}");
    }
}

#[tokio::test]
async fn what_comes_ahead_of_an_answer_or_behind_a_request_harms_neither() {
    const AHEAD: usize = 4_000;
    let serving = Serving::start(limits()).await;
    let one = "GET /live/1 HTTP/1.1\r\n\r\n";
    let held = serving.connect("GET /live/a/source/index.m3u8?_HLS_msn=1 HTTP/1.1\r\n\r\n").await;
    serving.held(1).await;
    let (mut answers, mut asking) = held.into_split();
    let asked = tokio::spawn(async move {
        asking.write_all(one.repeat(AHEAD).as_bytes()).await.unwrap();
        asking.write_all(b"GET /live/1 HTTP/1.1\r\n\0\r\n\r\n").await.unwrap();
        // Its side is shut down, and what it has asked for before that is answered.
        asking.shutdown().await.unwrap();
    });
    sleep(Duration::from_millis(200)).await;
    serving.bell.send_replace(true);
    let mut whole = String::new();
    let _ = timeout(LONG, answers.read_to_string(&mut whole)).await.unwrap();
    asked.await.unwrap();
    assert_eq!(whole.matches("GET /1 nothing 0").count(), AHEAD);
    assert!(whole.contains("#EXTM3UHTTP/1.1 200 OK\r\n"), "in their order");
    assert_eq!(whole.matches("HTTP/1.1 400 Bad Request\r\n").count(), 1, "hyper says what is wrong with the last");
}

#[tokio::test]
async fn a_body_is_as_long_as_was_said_or_the_connection_ends() {
    let serving = Serving::start(limits()).await;
    for (path, sent) in [("shorter-than-said", "short"), ("longer-than-said", "")] {
        let said = format!("GET /live/{path} HTTP/1.1\r\n\r\nGET /live/1 HTTP/1.1\r\n\r\n");
        let answer = all_of(serving.connect(&said).await).await;
        assert!(!answer.contains("GET /1"), "{answer}");
        assert_eq!(answer.split_once("\r\n\r\n").map_or("", |(_, body)| body), sent, "{answer}");
    }
}

#[tokio::test]
async fn http2_is_begun_by_the_first_words_of_a_connection_alone() {
    let serving = Serving::start(limits()).await;
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let answer = all_of(serving.connect(&format!("GET /live/1 HTTP/1.1\r\n\r\n{preface}")).await).await;
    assert!(answer.ends_with("GET /1 nothing 0"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_body_in_demand_arrives_whole_at_who_takes_it_slowly() {
    let serving = Serving::start(limits()).await;
    let fetch = async |path: &str| {
        let mut socket =
            serving.connect(&format!("GET {path} HTTP/1.1\r\nHost: weir\r\nConnection: close\r\n\r\n")).await;
        let (mut whole, mut piece) = (Vec::new(), vec![0; 400_000]);
        loop {
            let read = timeout(LONG, socket.read(&mut piece)).await.unwrap().unwrap();
            if read == 0 {
                break;
            }
            whole.extend_from_slice(&piece[..read]);
            sleep(Duration::from_millis(2)).await;
        }
        let head = whole.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        whole.split_off(head)
    };
    let chunk = [format!("{:x}\r\n", LONG_PART.len()).as_bytes(), &LONG_PART, b"\r\n0\r\n\r\n"].concat();
    let mut is_in_pages = false;
    while !is_in_pages {
        assert!(fetch("/live/long-part").await == *LONG_PART, "the body is what it was");
        assert!(fetch("/live/long-part-in-chunks").await == chunk, "the body is what it was");
        assert!(fetch("/live/long-part").await == *LONG_PART, "the body is what it was");
        is_in_pages = Pages::get().find(&LONG_PART).is_some();
    }
    for path in ["/long-part", "/live/long-part", "/live/long-part"] {
        assert!(fetch(path).await == *LONG_PART, "{path}: the body is what it was");
    }
    assert!(fetch("/live/long-part-in-chunks").await == chunk, "the body is what it was");
}

#[tokio::test]
async fn a_body_that_grows_is_sent_as_it_does_and_one_that_breaks_breaks_off() {
    let serving = Serving::start(limits()).await;
    let asked = "GET /live/grows HTTP/1.1\r\n\r\nGET /live/1 HTTP/1.1\r\nConnection: close\r\n\r\n";
    let mut socket = serving.connect(asked).await;
    let mut begun = Vec::new();
    while !begun.ends_with(b"\r\n\r\n5\r\nbegun\r\n") {
        begun.push(timeout(LONG, socket.read_u8()).await.unwrap().unwrap());
    }
    serving.bell.send_replace(true);
    let rest = all_bytes_of(socket).await;
    let grown = [format!("{:x}\r\n", PART.len()).as_bytes(), &PART, b"\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n"].concat();
    assert!(rest.starts_with(&grown) && rest.ends_with(b"GET /1 nothing 1"));
    let broken = all_of(serving.connect("GET /live/breaks HTTP/1.1\r\n\r\n").await).await;
    assert!(broken.ends_with("\r\n\r\n5\r\nbegun\r\n"), "{broken}");
}

#[tokio::test]
async fn who_hangs_up_on_a_body_that_grows_waits_no_more() {
    let serving = Serving::start(limits()).await;
    let mut socket = serving.connect("GET /live/grows HTTP/1.1\r\n\r\n").await;
    socket.read_u8().await.unwrap();
    serving.held(1).await;
    drop(socket);
    let gone = timeout(LONG, async {
        while serving.bell.receiver_count() > 0 {
            sleep(Duration::from_millis(20)).await;
        }
    });
    gone.await.expect("nobody waits for the rest");
}
