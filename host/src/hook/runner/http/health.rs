//! Runner: gRPC's health checking protocol, with as much of HTTP/2 (RFC 9113) as one call without TLS takes.
//!
//! The status of the call itself is in headers, whose compression would have to be undone to read it; the health is in
//! the data. A server that sends no data has not reported that it is serving, whatever the reason.

use super::Failure;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The reason where a connection ends too soon.
pub const CLOSED: &str = "the connection was closed before a response arrived";

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes of a frame, unless a peer permits more (SETTINGS_MAX_FRAME_SIZE).
const FRAME: usize = 16_384;

/// Types of frames.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

/// Flags of frames; what the first one means depends on the type.
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

/// The only call is the first stream of a client.
const CALL: u32 = 1;

/// `HealthCheckResponse.ServingStatus`.
const SERVING: u8 = 1;
const STATUS: [&str; 4] = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];

/// Succeeds if the server reports that the service is serving.
pub async fn check(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    authority: &str,
    service: &str,
) -> Result<(), Failure> {
    let status = call(stream, authority, service).await.map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => Failure::Other(error.to_string()),
        _ => Failure::Other(CLOSED.into()),
    })?;
    match STATUS.get(usize::from(status)) {
        _ if status == SERVING => Ok(()),
        Some(name) => Err(Failure::Answered(format!("answered {name}"))),
        // Not its number: what a server sends is not for the hook to read.
        None => Err(Failure::Answered("answered an unknown status".into())),
    }
}

async fn call(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), authority: &str, service: &str) -> io::Result<u8> {
    let mut request = PREFACE.to_vec();
    request.extend(frame(SETTINGS, 0, 0, &[]));
    request.extend(frame(HEADERS, END_HEADERS, CALL, &headers(authority)));
    request.extend(frame(DATA, END_STREAM, CALL, &message(service)));
    stream.write_all(&request).await?;

    let mut response = Vec::new();
    let mut is_first = true;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let [high, middle, low, kind, flags, id @ ..] = head;
        let length = u32::from_be_bytes([0, high, middle, low]) as usize;
        if std::mem::take(&mut is_first) && kind != SETTINGS || length > FRAME {
            return Err(invalid("the response is not HTTP/2; grpc:// is gRPC without TLS"));
        }
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await?;
        let is_of_call = u32::from_be_bytes(id) == CALL;
        match kind {
            SETTINGS if flags & ACK == 0 => stream.write_all(&frame(SETTINGS, ACK, 0, &[])).await?,
            PING if flags & ACK == 0 => stream.write_all(&frame(PING, ACK, 0, &payload)).await?,
            DATA if is_of_call => {
                response.extend_from_slice(without_padding(&payload, flags).unwrap_or_default());
                if let Some(status) = status(&response) {
                    return Ok(status);
                }
            }
            RST_STREAM if is_of_call => return Err(invalid("the server ended the call")),
            GOAWAY => return Err(invalid("the server is shutting down")),
            _ => {}
        }
        let has_ended = matches!(kind, DATA | HEADERS) && is_of_call && flags & END_STREAM != 0;
        if has_ended || response.len() > FRAME {
            return Err(invalid("no health status: the server has no grpc.health.v1.Health, or not this service"));
        }
    }
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    // What is sent here has far less than 16 MiB.
    let [_, high, middle, low] = (payload.len() as u32).to_be_bytes();
    let mut frame = vec![high, middle, low, kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The request's headers in HPACK (RFC 7541), with numbers of its static table and nothing compressed.
fn headers(authority: &str) -> Vec<u8> {
    /// `:method: POST`, `:scheme: http`.
    const INDEXED: [u8; 2] = [0x83, 0x86];
    /// Names whose values follow: `:path`, `:authority`, `content-type` (31, more than four bits hold), and a new one.
    const PATH: &[u8] = &[4];
    const AUTHORITY: &[u8] = &[1];
    const CONTENT_TYPE: &[u8] = &[15, 31 - 15];
    const NEW: &[u8] = &[0];

    let mut block = INDEXED.to_vec();
    for (name, value) in [
        (PATH, "/grpc.health.v1.Health/Check"),
        (AUTHORITY, authority),
        (CONTENT_TYPE, "application/grpc"),
        (NEW, "te"),
    ] {
        block.extend(name);
        string(&mut block, value);
    }
    string(&mut block, "trailers");
    block
}

/// A string literal: its length in seven bits, and what does not fit into them in further bytes.
fn string(block: &mut Vec<u8>, text: &str) {
    const MOST: usize = 127;
    block.push(text.len().min(MOST) as u8);
    if text.len() >= MOST {
        varint(block, text.len() - MOST);
    }
    block.extend(text.as_bytes());
}

/// A number in groups of seven bits, the lowest first, as both HPACK and protocol buffers have it.
fn varint(bytes: &mut Vec<u8>, mut number: usize) {
    while number >= 128 {
        bytes.push((number % 128 + 128) as u8);
        number /= 128;
    }
    bytes.push(number as u8);
}

/// gRPC's frame of an uncompressed `HealthCheckRequest`, whose first field is the service.
fn message(service: &str) -> Vec<u8> {
    const SERVICE: u8 = 1 << 3 | 2;
    let mut request = Vec::new();
    if !service.is_empty() {
        request.push(SERVICE);
        varint(&mut request, service.len());
        request.extend(service.as_bytes());
    }
    let mut message = vec![0];
    message.extend((request.len() as u32).to_be_bytes());
    message.extend(request);
    message
}

fn without_padding(payload: &[u8], flags: u8) -> Option<&[u8]> {
    match payload {
        [padding, rest @ ..] if flags & PADDED != 0 => rest.get(..rest.len().checked_sub(usize::from(*padding))?),
        _ => Some(payload),
    }
}

/// The status in a `HealthCheckResponse`, once all of it has arrived. A field with its default value is left out.
fn status(response: &[u8]) -> Option<u8> {
    const STATUS: u8 = 1 << 3;
    let [_, a, b, c, d, message @ ..] = response else { return None };
    match message.get(..u32::from_be_bytes([*a, *b, *c, *d]) as usize)? {
        [STATUS, status, ..] => Some(*status),
        _ => Some(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_written_as_hpack_has_them() {
        for (length, written) in [(0, &[0][..]), (126, &[126]), (127, &[127, 0]), (255, &[127, 128, 1])] {
            let mut block = Vec::new();
            string(&mut block, &"x".repeat(length));
            assert_eq!(&block[..block.len() - length], written, "{length}");
        }
    }

    #[test]
    fn a_status_is_read_once_it_is_complete() {
        for (response, found) in [
            (&[][..], None),
            (&[0, 0, 0, 0], None),
            (&[0, 0, 0, 0, 2, 8], None),
            (&[0, 0, 0, 0, 2, 8, 1], Some(1)),
            (&[0, 0, 0, 0, 2, 8, 2], Some(2)),
            (&[0, 0, 0, 0, 0], Some(0)),
            (&[0, 255, 255, 255, 255, 8, 1], None),
        ] {
            assert_eq!(status(response), found, "{response:?}");
        }
    }

    #[test]
    fn padding_is_no_data() {
        assert_eq!(without_padding(&[1, 7, 0], PADDED), Some(&[7][..]));
        assert_eq!(without_padding(&[3, 7, 0], PADDED), None);
        assert_eq!(without_padding(&[1, 7, 0], 0), Some(&[1, 7, 0][..]));
    }
}
