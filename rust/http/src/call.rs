//! A request that is being answered: its head goes through a oneshot, its body through a bounded channel.
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use tokio::sync::{mpsc, oneshot, Notify};

use crate::Handler;

/// Ends the connection of a client that is too slow.
pub type Kill = Arc<Notify>;

/// The other side's handle.
pub struct Call {
    id: u64,
    head: Option<oneshot::Sender<Response<Answer>>>,
    body: Option<mpsc::Sender<Bytes>>,
    answer: Option<Answer>,
    ended: Arc<AtomicBool>,
    kill: Kill,
}

/// What the connection holds until the head is there; dropped before that, the client has gone.
pub struct Waiting {
    pub head: oneshot::Receiver<Response<Answer>>,
    pub watch: Watch,
}

/// Tells the handler once that the client of an unfinished call has gone.
pub struct Watch {
    id: u64,
    ended: Arc<AtomicBool>,
    handler: Handler,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.ended.swap(true, Ordering::SeqCst) {
            (self.handler.gone)(self.handler.context, self.id);
        }
    }
}

/// The body of an answer as hyper reads it.
pub struct Answer {
    chunks: mpsc::Receiver<Bytes>,
    /// The whole body's bytes, where they are known.
    size: Option<u64>,
    pub watch: Option<Watch>,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.chunks.poll_recv(cx).map(|chunk| chunk.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn size_hint(&self) -> SizeHint {
        self.size.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Call {
    pub fn new(id: u64, queued_chunks: usize, handler: Handler, kill: Kill) -> (Call, Waiting) {
        let (head, head_waits) = oneshot::channel();
        let (body, chunks) = mpsc::channel(queued_chunks.max(1));
        let ended = Arc::new(AtomicBool::new(false));
        let watch = Watch { id, ended: ended.clone(), handler };
        let answer = Some(Answer { chunks, size: None, watch: None });
        (Call { id, head: Some(head), body: Some(body), answer, ended, kill }, Waiting { head: head_waits, watch })
    }

    pub fn id(&self) -> u64 {
        self.id
    }

    /// `headers`: lines of "name: value". A "content-length" says how long the body will be.
    pub fn begin(&mut self, status: u16, headers: &[u8]) -> bool {
        let (Some(head), Some(mut answer)) = (self.head.take(), self.answer.take()) else { return false };
        let mut fields = hyper::HeaderMap::new();
        for line in headers.split(|&b| b == b'\n') {
            let Some(colon) = line.iter().position(|&b| b == b':') else { continue };
            let name = HeaderName::from_bytes(&line[..colon]);
            let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
            if let (Ok(name), Ok(value)) = (name, value) {
                if name == hyper::header::CONTENT_LENGTH {
                    answer.size = value.to_str().ok().and_then(|text| text.parse().ok());
                } else {
                    fields.append(name, value);
                }
            }
        }
        let mut response = Response::new(answer);
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        *response.headers_mut() = fields;
        head.send(response).is_ok()
    }

    /// False: the client has gone, or reads so slowly that the queue is full; then its connection is closed.
    pub fn send(&mut self, data: &[u8]) -> bool {
        let Some(body) = &self.body else { return false };
        match body.try_send(Bytes::copy_from_slice(data)) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Closed(_)) => false,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.body = None;
                self.kill.notify_one();
                false
            }
        }
    }

    pub fn end(self) {
        self.ended.store(true, Ordering::SeqCst);
    }
}
