//! Kafka's frames: four bytes of length, then a header that begins alike in every version.
//! Source: Kafka protocol guide, "Protocol Primitive Types" and "Request Header v0" to "v2".

use std::io;

use kafka_protocol::messages::ApiKey;
use tokio::io::{AsyncRead, AsyncReadExt};

/// As `socket.request.max.bytes` of a broker, bytes.
const LIMIT: usize = 100 << 20;

/// The beginning of a request.
pub struct Head {
    /// `None` for one that the protocol crate does not know.
    pub api: Option<ApiKey>,
    pub version: i16,
    pub correlation_id: i32,
}

/// One whole frame, its length in front. An error also at the connection's end.
pub async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let length = from.read_u32().await? as usize;
    if length > LIMIT {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {length} bytes")));
    }
    let mut frame = vec![0; 4 + length];
    frame[..4].copy_from_slice(&(length as u32).to_be_bytes());
    from.read_exact(&mut frame[4..]).await?;
    Ok(frame)
}

/// Who asks what; `None` for a frame too short to be a request.
pub fn request_head(frame: &[u8]) -> Option<Head> {
    let head = frame.get(4..12)?;
    let number = |at: usize| i16::from_be_bytes([head[at], head[at + 1]]);
    Some(Head {
        api: ApiKey::try_from(number(0)).ok(),
        version: number(2),
        correlation_id: i32::from_be_bytes([head[4], head[5], head[6], head[7]]),
    })
}

/// Which question an answer belongs to.
pub fn correlation_id(frame: &[u8]) -> Option<i32> {
    frame.get(4..8)?.try_into().ok().map(i32::from_be_bytes)
}
