//! The three calls that return a `wasi:http` error code, in the layout of the canonical ABI.
//!
//! The generated bindings convert all 39 cases with their payloads, which is half the size of a small hook. A hook
//! needs the number of the case, and the text of `internal-error`.
#![allow(unsafe_code)]

use super::{ErrorKind, Failure, error_code};
use crate::bindings::wasi::{
    http::types::{FutureIncomingResponse, IncomingResponse, OutgoingBody, OutgoingRequest},
    io::poll::Pollable,
};
use alloc::string::String;
use core::mem::MaybeUninit;

/// `result<T, error-code>` of the canonical ABI, where `T` is a handle or nothing. Its layout is C's, with cases as
/// numbers in the order of their declaration.
#[repr(C, align(8))]
struct HandleResult {
    failed: u8,
    value: Value,
}

#[repr(C, align(8))]
union Value {
    handle: u32,
    error: ErrorCode,
}

#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct ErrorCode {
    case: u8,
    payload: Payload,
}

/// The payload of `internal-error`, an optional string, padded to the size of the largest payload.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Payload {
    is_some: u8,
    text: *const u8,
    length: usize,
    rest: [u32; 3],
}

/// `option<result<result<incoming-response, error-code>>>` of the canonical ABI.
#[repr(C, align(8))]
struct OptionNestedResult {
    is_some: u8,
    result: NestedResult,
}

#[repr(C, align(8))]
struct NestedResult {
    failed: u8,
    response: HandleResult,
}

#[link(wasm_import_module = "wasi:http/outgoing-handler@0.2.12")]
unsafe extern "C" {
    #[link_name = "handle"]
    fn handle_request(request: u32, has_options: u32, options: u32, result: *mut HandleResult);
}

#[link(wasm_import_module = "wasi:http/types@0.2.12")]
unsafe extern "C" {
    #[link_name = "[method]future-incoming-response.get"]
    fn get_response(future: u32, result: *mut OptionNestedResult);
    #[link_name = "[static]outgoing-body.finish"]
    fn finish_body(body: u32, has_trailers: u32, trailers: u32, result: *mut HandleResult);
}

/// A request that was sent.
#[derive(Debug)]
pub struct Sent(FutureIncomingResponse);

/// Sends the request.
pub fn handle(request: OutgoingRequest) -> Result<Sent, Failure> {
    let mut result = MaybeUninit::zeroed();
    // SAFETY: the call takes ownership of the handle. The host fills in one case; the rest stays zero, which is valid
    // for every field.
    unsafe {
        handle_request(request.take_handle(), 0, 0, result.as_mut_ptr());
        let future = result.assume_init().handle()?;
        Ok(Sent(FutureIncomingResponse::from_handle(future)))
    }
}

/// Marks the body as complete.
pub fn finish(body: OutgoingBody) -> Result<(), Failure> {
    let mut result = MaybeUninit::zeroed();
    // SAFETY: as above.
    unsafe {
        finish_body(body.take_handle(), 0, 0, result.as_mut_ptr());
        result.assume_init().handle().map(drop)
    }
}

impl Sent {
    /// The event that a response or an error has arrived.
    pub fn subscribe(&self) -> Pollable {
        self.0.subscribe()
    }

    /// The response, after the event.
    pub fn response(self) -> Result<IncomingResponse, Failure> {
        let mut result = MaybeUninit::zeroed();
        // SAFETY: as above; the call borrows the handle.
        unsafe {
            get_response(self.0.handle(), result.as_mut_ptr());
            match result.assume_init() {
                OptionNestedResult { is_some: 1, result: NestedResult { failed: 0, response } } => {
                    Ok(IncomingResponse::from_handle(response.handle()?))
                }
                _ => Err(Failure::from("the response was taken twice")),
            }
        }
    }
}

impl HandleResult {
    /// # Safety
    ///
    /// The host has filled this in as a result whose value is a handle or nothing.
    unsafe fn handle(self) -> Result<u32, Failure> {
        // SAFETY: `failed` tells which field of the union is set.
        unsafe {
            match self.failed {
                0 => Ok(self.value.handle),
                _ => Err(self.value.error.failure()),
            }
        }
    }
}

impl ErrorCode {
    /// # Safety
    ///
    /// The host has filled this in.
    unsafe fn failure(self) -> Failure {
        let Payload { is_some, text, length, .. } = self.payload;
        if self.case == error_code::INTERNAL_ERROR && is_some == 1 {
            // SAFETY: the host allocated the string with cabi_realloc, and the hook owns it.
            let reason = unsafe { String::from_raw_parts(text.cast_mut(), length, length) };
            return Failure { kind: ErrorKind::Other, reason: reason.into() };
        }
        error_code::failure(self.case)
    }
}
