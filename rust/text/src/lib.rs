//! The text library behind a small C ABI (src/chat/text_ffi.h): tokenizers, chat templates and grammars.
//!
//! Rules of the border: every function catches panics; an error is a UTF-8 sentence in `error`; bytes handed out are
//! owned by the caller and go back through `mlc_text_free`; inputs are borrowed for the call only.

#[cfg(not(target_family = "wasm"))]
extern crate mlc_http; // its C functions become part of this library

#[cfg(feature = "grammar")]
mod grammar;
#[cfg(feature = "grammar")]
mod grammar_border;
mod jinja;
mod tokenizer;

use std::panic::{catch_unwind, AssertUnwindSafe};

use jinja::ChatTemplate;
use tokenizer::TextTokenizer;

/// Bytes owned by this library until `mlc_text_free`; ids are 4 bytes each, native order.
#[repr(C)]
pub struct Bytes {
    data: *mut u8,
    size: usize,
}

impl Bytes {
    fn from_vec(bytes: Vec<u8>) -> Bytes {
        let boxed = bytes.into_boxed_slice();
        let size = boxed.len();
        Bytes { data: Box::into_raw(boxed) as *mut u8, size }
    }

    fn from_ids(ids: &[u32]) -> Bytes {
        Bytes::from_vec(ids.iter().flat_map(|id| id.to_ne_bytes()).collect())
    }
}

/// The borrowed input bytes; a null pointer is an empty input.
///
/// # Safety
/// `data` must point to `size` readable bytes unless `size` is 0.
unsafe fn input<'a>(data: *const u8, size: usize) -> &'a [u8] {
    if size == 0 || data.is_null() {
        &[]
    } else {
        std::slice::from_raw_parts(data, size)
    }
}

/// Runs `body`; a panic becomes an error sentence. On failure the sentence is stored in `error`.
fn guarded<T>(error: *mut Bytes, body: impl FnOnce() -> Result<T, String>) -> Option<T> {
    static QUIET: std::sync::Once = std::sync::Once::new();
    QUIET.call_once(|| std::panic::set_hook(Box::new(|_| {})));
    let outcome = catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        Err(format!("internal error in the text library: {text}"))
    });
    match outcome {
        Ok(value) => Some(value),
        Err(message) => {
            if !error.is_null() {
                unsafe { *error = Bytes::from_vec(message.into_bytes()) };
            }
            None
        }
    }
}

fn store(out: *mut Bytes, result: Option<Bytes>) -> bool {
    match result {
        Some(bytes) => {
            unsafe { *out = bytes };
            true
        }
        None => false,
    }
}

/// # Safety
/// `bytes` must come from this library and be freed once.
#[no_mangle]
pub unsafe extern "C" fn mlc_text_free(bytes: Bytes) {
    if !bytes.data.is_null() {
        drop(Box::from_raw(std::ptr::slice_from_raw_parts_mut(bytes.data, bytes.size)));
    }
}

/// # Safety
/// See the header: `json` points to `size` bytes.
#[no_mangle]
pub unsafe extern "C" fn mlc_tokenizer_new(json: *const u8, size: usize, error: *mut Bytes) -> *mut TextTokenizer {
    guarded(error, || TextTokenizer::from_json(input(json, size)))
        .map_or(std::ptr::null_mut(), |t| Box::into_raw(Box::new(t)))
}

/// # Safety
/// `tokenizer` comes from `mlc_tokenizer_new` and is freed once.
#[no_mangle]
pub unsafe extern "C" fn mlc_tokenizer_free(tokenizer: *mut TextTokenizer) {
    if !tokenizer.is_null() {
        drop(Box::from_raw(tokenizer));
    }
}

/// # Safety
/// Live handle that no other thread uses, readable `tokens`, writable `error`.
#[no_mangle]
pub unsafe extern "C" fn mlc_tokenizer_add(
    tokenizer: *mut TextTokenizer,
    tokens: *const u8,
    size: usize,
    error: *mut Bytes,
) -> bool {
    guarded(error, || (*tokenizer).add(input(tokens, size))).is_some()
}

/// # Safety
/// Live handle, writable `added` and `error`.
#[no_mangle]
pub unsafe extern "C" fn mlc_tokenizer_added(
    tokenizer: *const TextTokenizer,
    added: *mut Bytes,
    error: *mut Bytes,
) -> bool {
    store(added, guarded(error, || (*tokenizer).added().map(Bytes::from_vec)))
}

/// # Safety
/// Live handle, readable `text`, writable `ids` and `error`.
#[no_mangle]
pub unsafe extern "C" fn mlc_tokenizer_encode(
    tokenizer: *const TextTokenizer,
    text: *const u8,
    size: usize,
    special: bool,
    ids: *mut Bytes,
    error: *mut Bytes,
) -> bool {
    let run = || (*tokenizer).encode(input(text, size), special).map(|v| Bytes::from_ids(&v));
    store(ids, guarded(error, run))
}

/// # Safety
/// Live handle, `count` readable ids, writable `text` and `error`.
#[no_mangle]
pub unsafe extern "C" fn mlc_tokenizer_decode(
    tokenizer: *const TextTokenizer,
    ids: *const u32,
    count: usize,
    skip_special: bool,
    text: *mut Bytes,
    error: *mut Bytes,
) -> bool {
    let run = || {
        let ids = if count == 0 { &[][..] } else { std::slice::from_raw_parts(ids, count) };
        (*tokenizer).decode(ids, skip_special).map(|s| Bytes::from_vec(s.into_bytes()))
    };
    store(text, guarded(error, run))
}

/// All tokens in id order, laid out as `TextTokenizer::tokens` says.
///
/// # Safety
/// Live handle, writable `table` and `error`.
#[no_mangle]
pub unsafe extern "C" fn mlc_tokenizer_tokens(
    tokenizer: *const TextTokenizer,
    table: *mut Bytes,
    error: *mut Bytes,
) -> bool {
    store(table, guarded(error, || Ok(Bytes::from_vec((*tokenizer).tokens()))))
}

/// # Safety
/// See the header: `source` points to `size` bytes.
#[no_mangle]
pub unsafe extern "C" fn mlc_template_new(source: *const u8, size: usize, error: *mut Bytes) -> *mut ChatTemplate {
    guarded(error, || ChatTemplate::new(input(source, size)))
        .map_or(std::ptr::null_mut(), |t| Box::into_raw(Box::new(t)))
}

/// # Safety
/// `template` comes from `mlc_template_new` and is freed once.
#[no_mangle]
pub unsafe extern "C" fn mlc_template_free(template: *mut ChatTemplate) {
    if !template.is_null() {
        drop(Box::from_raw(template));
    }
}

/// # Safety
/// Live handle, readable `context`, `clock` of 7 fields, writable `text` and `error`.
#[no_mangle]
pub unsafe extern "C" fn mlc_template_render(
    template: *const ChatTemplate,
    context: *const u8,
    size: usize,
    clock: *const i32,
    text: *mut Bytes,
    error: *mut Bytes,
) -> bool {
    let run = || {
        let clock: [i32; 7] = std::slice::from_raw_parts(clock, 7).try_into().unwrap_or_default();
        (*template).render(input(context, size), clock).map(|s| Bytes::from_vec(s.into_bytes()))
    };
    store(text, guarded(error, run))
}
