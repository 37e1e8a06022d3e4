//! The C functions of grammars; the rules of the border stand in lib.rs.

use crate::grammar::{Encode, GrammarLimits, GrammarMatcher, Vocabulary};
use crate::{guarded, input, store, Bytes};

/// # Safety
/// See the header: `table` points to `size` bytes; `context` outlives the handle and everything made from it.
#[no_mangle]
pub unsafe extern "C" fn mlc_vocabulary_new(
    table: *const u8,
    size: usize,
    context: *const std::ffi::c_void,
    encode: Encode,
    error: *mut Bytes,
) -> *mut Vocabulary {
    guarded(error, || Vocabulary::new(input(table, size), context, encode))
        .map_or(std::ptr::null_mut(), |v| Box::into_raw(Box::new(v)))
}

/// # Safety
/// `vocabulary` comes from `mlc_vocabulary_new` and is freed once.
#[no_mangle]
pub unsafe extern "C" fn mlc_vocabulary_free(vocabulary: *mut Vocabulary) {
    if !vocabulary.is_null() {
        drop(Box::from_raw(vocabulary));
    }
}

/// # Safety
/// Live vocabulary, readable `text` and `limits`, writable `error`.
#[no_mangle]
pub unsafe extern "C" fn mlc_matcher_new(
    vocabulary: *const Vocabulary,
    kind: u8,
    text: *const u8,
    size: usize,
    limits: *const GrammarLimits,
    error: *mut Bytes,
) -> *mut GrammarMatcher {
    guarded(error, || GrammarMatcher::new(&*vocabulary, kind, input(text, size), &*limits))
        .map_or(std::ptr::null_mut(), |m| Box::into_raw(Box::new(m)))
}

/// # Safety
/// Live handle that no other thread changes, writable `error`.
#[no_mangle]
pub unsafe extern "C" fn mlc_matcher_fork(matcher: *const GrammarMatcher, error: *mut Bytes) -> *mut GrammarMatcher {
    guarded(error, || Ok((*matcher).fork())).map_or(std::ptr::null_mut(), |m| Box::into_raw(Box::new(m)))
}

/// # Safety
/// `matcher` comes from `mlc_matcher_new` or `mlc_matcher_fork` and is freed once.
#[no_mangle]
pub unsafe extern "C" fn mlc_matcher_free(matcher: *mut GrammarMatcher) {
    if !matcher.is_null() {
        drop(Box::from_raw(matcher));
    }
}

/// # Safety
/// Live handle that no other thread uses, `words` writable words, writable `error`.
#[no_mangle]
pub unsafe extern "C" fn mlc_matcher_mask(
    matcher: *mut GrammarMatcher,
    mask: *mut u32,
    words: usize,
    error: *mut Bytes,
) -> bool {
    guarded(error, || (*matcher).mask(std::slice::from_raw_parts_mut(mask, words))).is_some()
}

/// # Safety
/// Live handle that no other thread uses, `count` readable ids, writable `error`.
#[no_mangle]
pub unsafe extern "C" fn mlc_matcher_accept(
    matcher: *mut GrammarMatcher,
    ids: *const u32,
    count: usize,
    error: *mut Bytes,
) -> bool {
    let ids = if count == 0 { &[][..] } else { std::slice::from_raw_parts(ids, count) };
    guarded(error, || (*matcher).accept(ids)).is_some()
}

/// # Safety
/// Live handle that no other thread uses, `count` readable ids, writable `valid` and `error`.
#[no_mangle]
pub unsafe extern "C" fn mlc_matcher_valid(
    matcher: *mut GrammarMatcher,
    ids: *const u32,
    count: usize,
    valid: *mut usize,
    error: *mut Bytes,
) -> bool {
    let ids = if count == 0 { &[][..] } else { std::slice::from_raw_parts(ids, count) };
    match guarded(error, || (*matcher).valid(ids)) {
        Some(n) => {
            *valid = n;
            true
        }
        None => false,
    }
}

/// # Safety
/// Live handle that no other thread uses, writable `ids` and `error`.
#[no_mangle]
pub unsafe extern "C" fn mlc_matcher_forced(matcher: *mut GrammarMatcher, ids: *mut Bytes, error: *mut Bytes) -> bool {
    store(ids, guarded(error, || (*matcher).forced().map(|v| Bytes::from_ids(&v))))
}

/// # Safety
/// Live handle.
#[no_mangle]
pub unsafe extern "C" fn mlc_matcher_stopped(matcher: *const GrammarMatcher) -> bool {
    guarded(std::ptr::null_mut(), || Ok((*matcher).stopped())).unwrap_or(true)
}
