//! A `multipart/form-data` body of known length, sent piece by piece so that its progress can be seen.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;

use crate::codes::Uploads;
use crate::transport::{Body, BoxError};

/// Told how many bytes of the whole were handed to the connection so far.
pub type OnProgress = Box<dyn FnMut(u64) + Send>;

/// Small enough for a progress bar to move, large enough not to matter.
const PIECE: usize = 64 * 1024;

/// The upload's form: `data` as JSON text, and the files that there are. Returns content type and body.
pub(crate) fn form(data: &str, files: Uploads, on_progress: Option<OnProgress>) -> (String, Body) {
    let named = [
        ("file", "package.zip", "application/zip", files.zip),
        ("image_archive", "image.tar", "application/x-tar", files.image_archive),
    ];
    let files: Vec<_> = named.into_iter().filter_map(|(a, b, c, file)| Some((a, b, c, file?))).collect();
    let boundary = boundary(data, &files.iter().map(|(.., file)| &**file).collect::<Vec<_>>());
    let mut parts = Vec::new();
    let mut head = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"data\"\r\n\
         Content-Type: application/json\r\n\r\n{data}\r\n"
    );
    for (name, file_name, content_type, file) in files {
        head.push_str(&format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{file_name}\"\r\n\
             Content-Type: {content_type}\r\n\r\n"
        ));
        parts.push(Bytes::from(std::mem::replace(&mut head, "\r\n".to_owned())));
        parts.push(file);
    }
    head.push_str(&format!("--{boundary}--\r\n"));
    parts.push(Bytes::from(head));
    let left = parts.iter().map(|p| p.len() as u64).sum();
    parts.reverse();
    let body = Pieces { parts, left, sent: 0, on_progress };
    (format!("multipart/form-data; boundary={boundary}"), body.boxed_unsync())
}

/// A boundary that no part contains.
fn boundary(data: &str, files: &[&[u8]]) -> String {
    let held = |text: &str, bytes: &[u8]| memchr::memmem::find(bytes, text.as_bytes()).is_some();
    (0u32..)
        .map(|n| format!("windlass-part-{n:08x}"))
        .find(|b| !held(b, data.as_bytes()) && !files.iter().any(|file| held(b, file)))
        .expect("a finite body cannot contain every boundary")
}

struct Pieces {
    /// What is to come, last first.
    parts: Vec<Bytes>,
    left: u64,
    sent: u64,
    on_progress: Option<OnProgress>,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let Some(mut part) = this.parts.pop() else { return Poll::Ready(None) };
        let piece = part.split_to(part.len().min(PIECE));
        if !part.is_empty() {
            this.parts.push(part);
        }
        this.left -= piece.len() as u64;
        this.sent += piece.len() as u64;
        if let Some(tell) = &mut this.on_progress {
            tell(this.sent);
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body::Body as _;
    use std::sync::{Arc, Mutex};

    #[tokio::test]
    async fn the_body_has_its_length_and_tells_its_progress() {
        let zip = Bytes::from(vec![7u8; 3 * PIECE + 1]);
        let told = Arc::new(Mutex::new(Vec::new()));
        let teller = {
            let told = told.clone();
            Box::new(move |n| told.lock().unwrap().push(n))
        };
        let (content_type, body) =
            form("{}", Uploads { zip: Some(zip.clone()), image_archive: None }, Some(teller));
        let length = body.size_hint().exact().unwrap();
        let bytes = body.collect().await.unwrap().to_bytes();
        assert_eq!(bytes.len() as u64, length);
        assert_eq!(told.lock().unwrap().last(), Some(&length));
        assert!(told.lock().unwrap().len() > 4);
        let boundary = content_type.split("boundary=").nth(1).unwrap();
        assert!(bytes.starts_with(format!("--{boundary}\r\n").as_bytes()));
        assert!(bytes.ends_with(format!("\r\n--{boundary}--\r\n").as_bytes()));
        assert!(bytes.windows(zip.len()).any(|w| w == zip));
    }

    #[test]
    fn the_boundary_is_in_no_part() {
        let first = boundary("", &[]);
        assert_ne!(boundary("", &[b"x", first.as_bytes()]), first);
        assert_ne!(boundary(&first, &[]), first);
    }
}
