//! Multipart bodies, read piece by piece: whatever their size, little more than one network read is in memory.
//!
//! Lenient where clients are sloppy: any boundary that can be in a header, parts without a type, text before the first
//! and after the last boundary, spaces after a boundary.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use memchr::memmem;

use crate::body::Patience;
use crate::error::ApiError;

/// Most bytes of the headers of one part.
const MAX_HEAD: usize = 16 * 1024;
/// Most parts of a body.
const MAX_PARTS: usize = 100;

/// The boundary that a content type names.
pub fn boundary(content_type: &str) -> Option<String> {
    let mut params = content_type.split(';').skip(1).filter_map(|param| param.split_once('='));
    let (_, value) = params.find(|(name, _)| name.trim().eq_ignore_ascii_case("boundary"))?;
    let value = value.trim();
    let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
    (!value.is_empty() && value.len() <= 200).then(|| value.to_owned())
}

/// Reads the parts of a body in order.
#[derive(Debug)]
pub struct Multipart {
    body: Body,
    patience: Patience,
    buffer: BytesMut,
    delimiter: memmem::Finder<'static>,
    parts: usize,
    file_name: String,
    /// Within the data of a part, or the text before the first.
    is_in_data: bool,
}

impl Multipart {
    /// Reads `body` with this boundary.
    pub fn new(body: Body, boundary: &str, patience: Patience) -> Self {
        let delimiter = memmem::Finder::new(&format!("\r\n--{boundary}")).into_owned();
        // The first boundary needs no line break before it: one is put there.
        let buffer = BytesMut::from(&b"\r\n"[..]);
        Self { body, patience, buffer, delimiter, parts: 0, file_name: String::new(), is_in_data: true }
    }

    /// The `filename` of the part; empty if it has none.
    pub fn file_name(&self) -> &str {
        &self.file_name
    }

    /// What was not read.
    pub fn into_body(self) -> Body {
        self.body
    }

    /// Goes to the next part and returns its name, an empty one if it has none; `None` after the last.
    pub async fn next_part(&mut self) -> Result<Option<String>, ApiError> {
        while self.is_in_data {
            self.chunk().await?;
        }
        self.parts += 1;
        if self.parts > MAX_PARTS {
            return Err(ApiError::bad_request(format!("the upload has more than {MAX_PARTS} parts")));
        }
        // After a boundary: `--` ends the body, a line break begins the headers.
        loop {
            if self.buffer.starts_with(b"--") {
                return Ok(None);
            }
            let padding = self.buffer.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
            if let Some(head) = memmem::find(&self.buffer, b"\r\n\r\n") {
                if head > MAX_HEAD || !self.buffer[padding..].starts_with(b"\r\n") {
                    return Err(broken());
                }
                let head = self.buffer.split_to(head + 4);
                self.is_in_data = true;
                self.file_name = param_of(&head, "filename");
                return Ok(Some(param_of(&head, "name")));
            }
            if self.buffer.len() > MAX_HEAD {
                return Err(broken());
            }
            self.fill().await?;
        }
    }

    /// The next piece of the part's data; `None` at its end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ApiError> {
        if !self.is_in_data {
            return Ok(None);
        }
        let delimiter = self.delimiter.needle().len();
        loop {
            match self.delimiter.find(&self.buffer) {
                Some(0) => {
                    let _ = self.buffer.split_to(delimiter);
                    self.is_in_data = false;
                    return Ok(None);
                }
                Some(at) => return Ok(Some(self.buffer.split_to(at).freeze())),
                // What could be the beginning of the delimiter stays.
                None if self.buffer.len() >= delimiter => {
                    let sure = self.buffer.len() - (delimiter - 1);
                    return Ok(Some(self.buffer.split_to(sure).freeze()));
                }
                None => self.fill().await?,
            }
        }
    }

    async fn fill(&mut self) -> Result<(), ApiError> {
        match self.patience.next(&mut self.body).await? {
            Some(piece) => {
                self.buffer.extend_from_slice(&piece);
                Ok(())
            }
            None => Err(ApiError::bad_request("the upload ended early: its closing boundary is missing")),
        }
    }
}

fn broken() -> ApiError {
    ApiError::bad_request("the multipart body is broken: a part has no proper headers")
}

/// What the headers of a part say of it.
fn param_of(head: &[u8], param: &str) -> String {
    let head = String::from_utf8_lossy(head);
    let disposition = head.lines().find(|line| {
        line.split_once(':').is_some_and(|(name, _)| name.trim().eq_ignore_ascii_case("content-disposition"))
    });
    let params = disposition.unwrap_or_default().split(';').filter_map(|param| param.split_once('='));
    let name = params.into_iter().find(|(name, _)| name.trim().eq_ignore_ascii_case(param));
    name.map(|(_, value)| value.trim().trim_matches('"').to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    async fn parts(body: Vec<u8>, boundary: &str, step: usize) -> Result<Vec<(String, Vec<u8>)>, ApiError> {
        let pieces: Vec<_> =
            body.chunks(step).map(|c| Ok::<_, std::io::Error>(Bytes::copy_from_slice(c))).collect();
        let body = Body::from_stream(futures::stream::iter(pieces));
        let minute = Duration::from_secs(60);
        let mut multipart = Multipart::new(body, boundary, Patience::new(minute, minute));
        let mut found = Vec::new();
        while let Some(name) = multipart.next_part().await? {
            let mut data = Vec::new();
            while let Some(piece) = multipart.chunk().await? {
                data.extend_from_slice(&piece);
            }
            found.push((name, data));
        }
        Ok(found)
    }

    #[test]
    fn every_clients_boundary_is_found() {
        for (content_type, expected) in [
            (
                "multipart/form-data; boundary=----------ThIs_Is_tHe_bouNdaRY_$",
                "----------ThIs_Is_tHe_bouNdaRY_$",
            ),
            ("multipart/form-data; boundary=194931", "194931"),
            ("multipart/form-data; boundary=AbC_1; charset=US-ASCII", "AbC_1"),
            ("Multipart/Form-Data;Boundary=\"a b:c\"", "a b:c"),
        ] {
            assert_eq!(boundary(content_type).as_deref(), Some(expected));
        }
        assert_eq!(boundary("multipart/form-data"), None);
        assert_eq!(boundary("multipart/form-data; boundary="), None);
    }

    #[tokio::test]
    async fn parts_are_the_same_however_they_arrive() {
        let zip: Vec<u8> = b"PK\r\n--\r\n--XY\r\n\0\xff--X\r\n-".to_vec();
        let mut body = b"preamble\r\n--X \t\r\nContent-Disposition: form-data; name=\"data\"\r\nContent-Type: text/plain; charset=UTF-8\r\n\r\n{\"name\":\"w\"}\n\r\n--X\r\ncontent-disposition: form-data; filename=\"a=b\"; name=file\r\nContent-Transfer-Encoding: binary\r\n\r\n".to_vec();
        // `--XY` is not the boundary `--X` in name, but begins like it: RFC 2046 forbids it in data.
        let zip: Vec<u8> = zip.iter().copied().filter(|b| *b != b'X').collect();
        body.extend(&zip);
        body.extend(b"\r\n--X--\r\nepilogue");
        for step in 1..body.len() {
            let found = parts(body.clone(), "X", step).await.unwrap();
            let expected =
                [("data".to_owned(), b"{\"name\":\"w\"}\n".to_vec()), ("file".to_owned(), zip.clone())];
            assert_eq!(found, expected, "in pieces of {step}");
        }
    }

    #[tokio::test]
    async fn an_empty_part_is_empty() {
        let body = b"--X\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n\r\n--X--".to_vec();
        assert_eq!(parts(body, "X", 7).await.unwrap(), [("file".to_owned(), Vec::new())]);
    }

    #[tokio::test]
    async fn what_ends_early_or_is_garbage_is_refused() {
        let whole = b"--X\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nPK\r\n--X--".to_vec();
        for end in 0..whole.len() - 1 {
            let error = parts(whole[..end].to_vec(), "X", 5).await.unwrap_err();
            assert_eq!(error.status, http::StatusCode::BAD_REQUEST, "cut at {end}");
        }
        let endless = [b"--X\r\nA: ".as_slice(), &vec![b'a'; 2 * MAX_HEAD]].concat();
        assert!(parts(endless, "X", 1000).await.unwrap_err().msg.contains("headers"));
    }
}
