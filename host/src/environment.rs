//! The container's variables where the kernel has put them, without a copy: among them are secrets, and a copy that was
//! freed is still in memory.

use std::{
    ffi::{CStr, c_char},
    iter::from_fn,
    ptr::{null_mut, write_bytes},
};

#[allow(unsafe_code, reason = "the C library's list")]
unsafe extern "C" {
    static mut environ: *mut *mut c_char;
}

/// All variables, each as `NAME=value`. std's would copy them, names and values.
#[allow(unsafe_code)]
pub fn variables() -> impl Iterator<Item = &'static [u8]> {
    // SAFETY: a null pointer ends the list (environ(7)), which nobody changes: there is one thread, no variable is ever
    // set, and who wipes them looks at none afterwards.
    let mut next = unsafe { environ };
    from_fn(move || {
        // SAFETY: the same, and each is a string that ends with a zero.
        unsafe {
            let variable = next.as_ref().filter(|variable| !variable.is_null())?;
            next = next.add(1);
            Some(CStr::from_ptr(*variable).to_bytes())
        }
    })
}

/// Overwrites all variables with zeros and empties the list of them. What is needed has been copied before.
#[allow(unsafe_code)]
pub fn wipe() {
    // SAFETY: as above; the list and the strings are on the stack, where they can be written to (execve(2)).
    unsafe {
        let mut next = environ;
        while let Some(variable) = next.as_mut().filter(|variable| !variable.is_null()) {
            write_bytes(*variable, 0, CStr::from_ptr(*variable).count_bytes());
            *variable = null_mut();
            next = next.add(1);
        }
    }
}
