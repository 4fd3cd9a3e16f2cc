//! The smallest HTTP client: one GET or POST on a plain address. The verifier shares no client with the engine either.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    time::Duration,
};

/// Answers larger than this are refused, bytes.
const LIMIT: u64 = 16 << 20;

/// The body of a 200, or what went wrong. Plain `http://` only.
pub fn get(url: &str) -> Result<String, String> {
    let (status, body) = request("GET", url, "")?;
    if status == 200 { Ok(body) } else { Err(format!("GET {url}: {status} {body}")) }
}

/// Sends `body` as JSON; status and body of the answer.
pub fn post_json(url: &str, body: &str) -> Result<(u16, String), String> {
    request("POST", url, body)
}

fn request(method: &str, url: &str, body: &str) -> Result<(u16, String), String> {
    let rest = url.strip_prefix("http://").ok_or_else(|| format!("{url} does not begin with http://"))?;
    let (address, path) = rest.split_once('/').unwrap_or((rest, ""));
    let answer =
        exchange(address, &head(method, address, path, body)).map_err(|error| format!("{method} {url}: {error}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| format!("{method} {url}: no HTTP answer"))?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok((status.ok_or_else(|| format!("{method} {url}: no status in {head:?}"))?, body.to_owned()))
}

/// HTTP/1.0, so that the answer is neither chunked nor kept open: it ends where the connection ends.
fn head(method: &str, address: &str, path: &str, body: &str) -> String {
    format!(
        "{method} /{path} HTTP/1.0\r\nHost: {address}\r\nAccept: application/json\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn exchange(address: &str, request: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.take(LIMIT).read_to_string(&mut answer)?;
    Ok(answer)
}
