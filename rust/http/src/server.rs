//! Accepts connections and turns requests into calls.
use std::future::{poll_fn, Future};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{watch, Notify, Semaphore};

use crate::call::{Answer, Call, Kill};
use crate::{Handler, Head, Options};

const ERROR: &str = concat!(
    r#"{"error":{"message":"MESSAGE","type":"KIND","param":null,"code":null},"#,
    r#""object":"error","message":"MESSAGE","code":STATUS}"#
);

/// HTTP threads; the model needs the cores.
const WORKERS: usize = 2;
/// Threads that parse bodies and tokenize.
const HANDLERS: usize = 8;

enum First<A, B> {
    One(A),
    Other(B),
}

/// What ends first; the other is dropped.
async fn first<A, B>(one: impl Future<Output = A>, other: impl Future<Output = B>) -> First<A, B> {
    let (mut one, mut other) = (pin!(one), pin!(other));
    poll_fn(|cx| {
        if let Poll::Ready(a) = one.as_mut().poll(cx) {
            return Poll::Ready(First::One(a));
        }
        other.as_mut().poll(cx).map(First::Other)
    })
    .await
}

pub struct Server {
    runtime: Runtime,
    port: u16,
    closing: watch::Sender<bool>,
    connections: Arc<Semaphore>,
    limit: usize,
}

struct Shared {
    options: Options,
    handler: Handler,
    next: AtomicU64,
}

impl Server {
    pub fn start(host: &str, port: u16, options: Options, handler: Handler) -> Result<Server, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .max_blocking_threads(HANDLERS)
            .thread_name("http")
            .enable_all()
            .build()
            .map_err(|e| e.to_string())?;
        let listener = runtime.block_on(TcpListener::bind((host, port))).map_err(|e| e.to_string())?;
        let port = listener.local_addr().map_err(|e| e.to_string())?.port();
        let (closing, closes) = watch::channel(false);
        let limit = options.max_connections.clamp(1, Semaphore::MAX_PERMITS);
        let connections = Arc::new(Semaphore::new(limit));
        let shared = Arc::new(Shared { options, handler, next: AtomicU64::new(1) });
        runtime.spawn(accept(listener, shared, connections.clone(), closes));
        Ok(Server { runtime, port, closing, connections, limit })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Takes no more connections, and ends those that wait for a request.
    pub fn close(&self) {
        let _ = self.closing.send(true);
    }

    pub fn stop(self, patience_ms: u64) {
        self.close();
        let all = self.connections.acquire_many(self.limit as u32);
        let patience = Duration::from_millis(patience_ms);
        let _ = self.runtime.block_on(async { tokio::time::timeout(patience, all).await.is_ok() });
        self.runtime.shutdown_timeout(Duration::from_secs(1));
    }
}

async fn accept(
    listener: TcpListener,
    shared: Arc<Shared>,
    connections: Arc<Semaphore>,
    mut closes: watch::Receiver<bool>,
) {
    loop {
        let First::One(accepted) = first(listener.accept(), closes.wait_for(|closing| *closing)).await else { return };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(50)).await; // out of file descriptors
            continue;
        };
        let _ = stream.set_nodelay(true);
        match connections.clone().try_acquire_owned() {
            Ok(permit) => {
                let (shared, closes) = (shared.clone(), closes.clone());
                tokio::spawn(async move {
                    serve(stream, shared, closes).await;
                    drop(permit);
                });
            }
            Err(_) => {
                tokio::spawn(refuse(stream));
            }
        }
    }
}

/// OpenAI's form, as ApiError::json() writes it. Messages are ours and need no escapes.
fn error_body(status: u16, message: &str) -> String {
    let kind = if status < 500 { "invalid_request_error" } else { "server_error" };
    ERROR.replace("MESSAGE", message).replace("KIND", kind).replace("STATUS", &status.to_string())
}

async fn refuse(mut stream: TcpStream) {
    let body = error_body(503, "the server has as many connections as it takes; try again later");
    let text = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    );
    let write = async {
        let _ = stream.write_all(text.as_bytes()).await;
        let _ = stream.shutdown().await;
    };
    let _ = tokio::time::timeout(Duration::from_secs(5), write).await;
}

async fn serve(stream: TcpStream, shared: Arc<Shared>, mut closes: watch::Receiver<bool>) {
    let kill: Kill = Arc::new(Notify::new());
    let (for_requests, requests_kill) = (shared.clone(), kill.clone());
    let service = service_fn(move |request| respond(request, for_requests.clone(), requests_kill.clone()));
    let mut builder = hyper::server::conn::http1::Builder::new();
    // One buffer a write: std's vectored writes raise SIGPIPE where a client has gone, which ends a program that
    // Rust did not start; its plain ones do not.
    builder
        .writev(false)
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(shared.options.head_timeout_ms))
        .max_buf_size(shared.options.max_header_bytes.max(8192));
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let mut closing = false;
    loop {
        let ends = first(connection.as_mut(), kill.notified());
        if closing {
            ends.await;
            return;
        }
        match first(ends, closes.wait_for(|closing| *closing)).await {
            First::One(_) => return,
            First::Other(_) => closing = true,
        }
        connection.as_mut().graceful_shutdown();
    }
}

/// A head in the form of the C border, and what its pointers point to.
struct HeadText {
    method: String,
    path: String,
    headers: Vec<u8>,
}

impl HeadText {
    fn of(request: &Request<Incoming>) -> HeadText {
        let mut headers = Vec::new();
        for (name, value) in request.headers() {
            headers.extend_from_slice(name.as_str().as_bytes());
            headers.extend_from_slice(b": ");
            headers.extend_from_slice(value.as_bytes());
            headers.push(b'\n');
        }
        HeadText { method: request.method().to_string(), path: request.uri().path().to_string(), headers }
    }

    fn view(&self) -> Head {
        Head {
            method: self.method.as_ptr(),
            method_size: self.method.len(),
            path: self.path.as_ptr(),
            path_size: self.path.len(),
            headers: self.headers.as_ptr(),
            headers_size: self.headers.len(),
        }
    }
}

fn plain_error(status: StatusCode, message: &str, handler: Handler, kill: Kill) -> Response<Answer> {
    let body = error_body(status.as_u16(), message);
    let (mut call, mut waiting) = Call::new(0, 1, handler, kill);
    let headers = format!("content-type: application/json\nconnection: close\ncontent-length: {}", body.len());
    call.begin(status.as_u16(), headers.as_bytes());
    call.send(body.as_bytes());
    call.end();
    waiting.head.try_recv().unwrap_or_else(|_| unreachable!("begin() has sent the head"))
}

async fn respond(
    request: Request<Incoming>,
    shared: Arc<Shared>,
    kill: Kill,
) -> Result<Response<Answer>, std::convert::Infallible> {
    let (handler, options) = (shared.handler, shared.options);
    let head = HeadText::of(&request);
    let id = shared.next.fetch_add(1, Ordering::Relaxed);
    let (call, waiting) = Call::new(id, options.queued_chunks, handler, kill.clone());
    let call = CallPointer(Box::into_raw(Box::new(call)));
    let admitted = {
        let pointer = &call;
        (handler.admit)(handler.context, pointer.0, &head.view())
    };
    if admitted {
        let pending = Pending(Some(call));
        match read_body(request, &options).await {
            Ok(body) => {
                let call = pending.take();
                tokio::task::spawn_blocking(move || {
                    let (call, handler) = (call, handler); // whole, not their pointers alone
                    (handler.handle)(handler.context, call.0, &head.view(), body.as_ptr(), body.len());
                });
            }
            Err((status, message)) => return Ok(plain_error(status, &message, handler, kill)),
        }
    }
    let crate::call::Waiting { head, watch } = waiting;
    match head.await {
        Ok(mut response) => {
            response.body_mut().watch = Some(watch);
            Ok(response)
        }
        Err(_) => Ok(plain_error(StatusCode::INTERNAL_SERVER_ERROR, "the request got no answer", handler, kill)),
    }
}

async fn read_body(request: Request<Incoming>, options: &Options) -> Result<Bytes, (StatusCode, String)> {
    let limited = Limited::new(request.into_body(), options.max_body_bytes);
    let timeout = Duration::from_millis(options.body_timeout_ms);
    match tokio::time::timeout(timeout, limited.collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(e)) if e.is::<LengthLimitError>() => Err((
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("body: more than {} bytes, the limit of --max-body-bytes", options.max_body_bytes),
        )),
        Ok(Err(_)) => Err((StatusCode::BAD_REQUEST, "body: it ended before its end".to_string())),
        Err(_) => Err((StatusCode::REQUEST_TIMEOUT, "body: it did not come in time".to_string())),
    }
}

/// A call on its way to the handler.
struct CallPointer(*mut Call);
unsafe impl Send for CallPointer {}

/// A call that nobody has been given yet: ended where its client goes before its body is there.
struct Pending(Option<CallPointer>);

impl Pending {
    fn take(mut self) -> CallPointer {
        self.0.take().expect("taken once")
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(call) = self.0.take() {
            unsafe { Box::from_raw(call.0) }.end();
        }
    }
}
