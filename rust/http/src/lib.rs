//! The transport of `mlc_llm serve` behind a small C ABI (apps/http/http_ffi.h): sockets, HTTP/1.1, limits and
//! timeouts. What paths, keys and bodies mean is decided on the other side.
//!
//! Rules of the border: no panic crosses it; inputs are borrowed for the call only; a call's handle is given to the
//! handler once and comes back through `mlc_http_end` once.

mod call;
mod server;

use std::ffi::c_void;
use std::panic::{catch_unwind, AssertUnwindSafe};

pub use call::Call;
pub use server::Server;

/// Limits, as the header describes them.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Options {
    pub max_body_bytes: usize,
    pub max_header_bytes: usize,
    pub max_connections: usize,
    pub head_timeout_ms: u64,
    pub body_timeout_ms: u64,
    pub queued_chunks: usize,
}

/// The head of a request; pointers live as long as the callback.
#[repr(C)]
pub struct Head {
    pub method: *const u8,
    pub method_size: usize,
    pub path: *const u8,
    pub path_size: usize,
    pub headers: *const u8,
    pub headers_size: usize,
}

/// Functions of the other side; any thread calls them.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Handler {
    pub context: *mut c_void,
    pub admit: extern "C" fn(*mut c_void, *mut Call, *const Head) -> bool,
    pub handle: extern "C" fn(*mut c_void, *mut Call, *const Head, *const u8, usize),
    pub gone: extern "C" fn(*mut c_void, u64),
}
// The header demands functions that any thread may call.
unsafe impl Send for Handler {}
unsafe impl Sync for Handler {}

/// Bytes for the other side until `mlc_http_free`.
#[repr(C)]
pub struct Text {
    pub data: *mut u8,
    pub size: usize,
}

fn guarded<T>(otherwise: T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(otherwise)
}

unsafe fn input<'a>(data: *const u8, size: usize) -> &'a [u8] {
    if size == 0 || data.is_null() {
        &[]
    } else {
        std::slice::from_raw_parts(data, size)
    }
}

/// # Safety
/// Readable `host`, writable `port` and `error`.
#[no_mangle]
pub unsafe extern "C" fn mlc_http_start(
    host: *const u8,
    host_size: usize,
    port: *mut u16,
    options: *const Options,
    handler: *const Handler,
    error: *mut Text,
) -> *mut Server {
    let host = String::from_utf8_lossy(input(host, host_size)).into_owned();
    let (options, handler, wanted) = (*options, *handler, *port);
    let started = guarded(Err("internal error in the HTTP library".to_string()), || Server::start(&host, wanted, options, handler));
    match started {
        Ok(server) => {
            *port = server.port();
            Box::into_raw(Box::new(server))
        }
        Err(message) => {
            let boxed = message.into_bytes().into_boxed_slice();
            let size = boxed.len();
            *error = Text { data: Box::into_raw(boxed) as *mut u8, size };
            std::ptr::null_mut()
        }
    }
}

/// # Safety
/// `text` comes from this library and is freed once.
#[no_mangle]
pub unsafe extern "C" fn mlc_http_free(text: Text) {
    if !text.data.is_null() {
        drop(Box::from_raw(std::ptr::slice_from_raw_parts_mut(text.data, text.size)));
    }
}

/// # Safety
/// Live handle.
#[no_mangle]
pub unsafe extern "C" fn mlc_http_close(server: *mut Server) {
    guarded((), || (*server).close())
}

/// # Safety
/// Live handle, freed by this.
#[no_mangle]
pub unsafe extern "C" fn mlc_http_stop(server: *mut Server, patience_ms: u64) {
    guarded((), || Box::from_raw(server).stop(patience_ms))
}

/// # Safety
/// Live handle.
#[no_mangle]
pub unsafe extern "C" fn mlc_http_id(call: *const Call) -> u64 {
    (*call).id()
}

/// # Safety
/// Live handle, readable `headers`.
#[no_mangle]
pub unsafe extern "C" fn mlc_http_begin(call: *mut Call, status: u16, headers: *const u8, size: usize) -> bool {
    guarded(false, || (*call).begin(status, input(headers, size)))
}

/// # Safety
/// Live handle, readable `data`.
#[no_mangle]
pub unsafe extern "C" fn mlc_http_send(call: *mut Call, data: *const u8, size: usize) -> bool {
    guarded(false, || (*call).send(input(data, size)))
}

/// # Safety
/// Live handle, freed by this.
#[no_mangle]
pub unsafe extern "C" fn mlc_http_end(call: *mut Call) {
    guarded((), || Box::from_raw(call).end())
}
