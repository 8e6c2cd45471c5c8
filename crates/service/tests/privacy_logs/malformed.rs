//! Malformed requests over HTTP, each with a secret in the part that is wrong.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::raw::{frame, header_block, http2_preface};
use crate::{HTTP1, HTTP2, Known, Secrets, Site, request};

/// What a client sends by mistake or on purpose, with a secret in the part that is wrong.
pub(crate) async fn malformed_in_http1(site: &Site, known: &Known, secrets: &mut Secrets) {
    let Known { push, set, credentials, .. } = known;
    let uris = [push, &known.restricted, &known.subscription, set, &known.receipts, &known.message];
    let mut requests = Vec::new();
    for uri in uris {
        for after in [">", "\"", " x", "%zz", "\u{1}", "\u{e9}", "#x", "?x", "/", "A"] {
            requests.push(format!("POST {uri}{after} HTTP/1.1\r\nHost: x\r\nTTL: 5\r\nContent-Length: 0\r\n\r\n"));
        }
        requests.push(format!("POST {uri}\r\n\r\n"));
        requests.push(format!("{uri} {uri} {uri}\r\n\r\n"));
        requests.push(format!("POST http://x{uri}> HTTP/1.1\r\nHost: x\r\n\r\n"));
        for field in [
            "TTL",
            "Urgency",
            "Topic",
            "Content-Length",
            "Transfer-Encoding",
            "Expect",
            "Host",
            "Link",
            "Prefer",
            "Authorization",
            "Connection",
            "Upgrade",
            "Last-Event-ID",
            "Accept",
            "Content-Encoding",
            "Crypto-Key",
        ] {
            requests.push(format!("POST {push} HTTP/1.1\r\nHost: x\r\n{field}: {uri}\r\n\r\n"));
        }
        requests.push(format!("POST {push} HTTP/1.1\r\nHost: x\r\n{uri}: x\r\n\r\n"));
        requests.push(format!("POST {push} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;{uri}\u{1}\r\n"));
        requests.push(format!("POST {push} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{uri}\r\n"));
    }
    for credentials in
        [format!("{credentials}\u{1}"), format!("{credentials}A"), credentials.replace("vapid", "Bearer")]
    {
        let head = format!("POST {} HTTP/1.1\r\nHost: x\r\nTTL: 5\r\n", known.restricted);
        requests.push(format!("{head}Authorization: {credentials}\r\nContent-Length: 0\r\n\r\n"));
    }
    let body = "Bq-payload-that-is-too-long-or-ends-too-soon-Bq".repeat(200);
    secrets.keep("a payload", &body[..47]);
    for length in [body.len(), body.len() + 1, 4000] {
        let head = format!("POST {push} HTTP/1.1\r\nHost: x\r\nTTL: 5\r\nContent-Length: {length}\r\n\r\n");
        requests.push(head + &body);
    }
    let sent = requests.iter().map(|request| site.send(HTTP1, request.as_bytes()));
    futures_util::future::join_all(sent).await;
    // Without TLS where it is expected.
    let mut socket = TcpStream::connect(site.service.address()).await.unwrap();
    let _ = socket.write_all(format!("POST {push} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await;
}

/// The same in frames.
pub(crate) async fn malformed_in_http2(site: &Site, known: &Known) {
    const HEADERS: u8 = 1;
    const WHOLE: u8 = 5;
    let uris = [&known.push, &known.subscription, &known.set, &known.receipts, &known.message];
    let mut connections = Vec::new();
    for uri in uris {
        for after in [">", "\"", " ", "%zz", "\u{1}", "\u{e9}", "#x", "A"] {
            connections.push(frame(HEADERS, WHOLE, 1, &header_block(&request("POST", &format!("{uri}{after}")))));
        }
        let secret = format!("{uri}>");
        for place in 0..4 {
            let mut fields = request("POST", uri);
            fields[place].1 = &secret;
            connections.push(frame(HEADERS, WHOLE, 1, &header_block(&fields)));
        }
        for (name, value) in [
            (&secret[..], "x"),
            ("Upper-Case", &secret),
            (":path", &secret),
            (":unknown", &secret),
            ("content-length", &secret),
            ("connection", &secret),
            ("te", &secret),
            ("authorization", &format!("{}\u{1}", known.credentials)),
            ("link", &format!("<{secret}; rel=\"urn:ietf:params:push:receipt\"")),
        ] {
            let fields = [&request("POST", &known.push)[..], &[(name, value)]].concat();
            connections.push(frame(HEADERS, WHOLE, 1, &header_block(&fields)));
        }
        // A reference to nothing after the path, so that the list is not decoded whole (RFC 7541 s2.3.3).
        let broken = [header_block(&request("POST", uri)), vec![0xff, 0xff, 0xff, 0xff, 0x0f]].concat();
        connections.push(frame(HEADERS, WHOLE, 1, &broken));
        // GOAWAY with debug data, a frame of an unknown kind, and DATA on a stream that is not open.
        for code in [0, 1] {
            let goaway = [&[0; 7][..], &[code], uri.as_bytes()].concat();
            connections.push(frame(7, 0, 0, &goaway));
        }
        connections.push(frame(99, 0, 1, uri.as_bytes()));
        connections.push(frame(0, 0, 1, uri.as_bytes()));
        // More and less of a body than announced.
        for length in ["1", "5000"] {
            let fields = [&request("POST", &known.push)[..], &[("ttl", "5"), ("content-length", length)]].concat();
            let mut bytes = frame(HEADERS, 4, 1, &header_block(&fields));
            bytes.extend(frame(0, 1, 1, uri.as_bytes()));
            connections.push(bytes);
        }
    }
    let sent = connections.into_iter().map(async |bytes| site.send(HTTP2, &[http2_preface(), bytes].concat()).await);
    futures_util::future::join_all(sent).await;
}
