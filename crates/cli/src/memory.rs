//! What the allocator keeps. A put or a get takes and gives back buffers of a megabyte all the time, and glibc's malloc
//! gives such memory back to the kernel at once, who zeroes it before handing it out again: a tenth of the processor's time
//! of a transfer. So it may keep what one transfer needs.

#![allow(unsafe_code)]

/// Blocks from this size on are mapped for themselves and go back at once. Without a number of ours the limit creeps up
/// with what is freed, and how much a process keeps would depend on its history.
const MAPPED_FROM: i32 = 8 << 20;
/// What each arena may keep at its end.
const KEPT_MAX: i32 = 16 << 20;

/// To be called first, while there is one thread.
pub(crate) fn keep_buffers() {
    for (parameter, value) in [(libc::M_MMAP_THRESHOLD, MAPPED_FROM), (libc::M_TRIM_THRESHOLD, KEPT_MAX)] {
        // SAFETY: mallopt(3) takes two numbers and sets one of malloc's parameters; it touches no memory of ours. A
        // refused value (0) leaves the parameter as it was, which costs speed and nothing else.
        unsafe { libc::mallopt(parameter, value) };
    }
}
