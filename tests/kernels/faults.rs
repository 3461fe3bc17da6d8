//! What the emulator is for: each fault that a kernel can have is named, in both orders of threads, and in every thread of
//! the host; and the same kernel without it passes.
use std::collections::BTreeMap;
use std::ffi::{CStr, c_char};

unsafe extern "C" {
    safe fn emu_faults() -> usize;
    fn emu_fault_name(fault: usize) -> *const c_char;
    fn emu_fault(fault: usize, planted: i32, reverse: bool) -> *const c_char;
}

/// The kernels of kernels/host/faults.cpp, and a part of what must be said of each.
const FAULTS: [(&str, &str); 12] = [
    ("two_threads_store_to_one_word", "data race on shared memory"),
    ("a_barrier_is_missing", "data race on shared memory"),
    ("nobody_wrote_it", "load of shared memory that nobody wrote"),
    ("the_block_before_wrote_it", "block 1, thread 0: load of shared memory that nobody wrote"),
    ("a_warp_misses_the_barrier", "divergent barrier: thread 0 waits at line"),
    ("a_lane_misses_the_shuffle", "divergent barrier: thread 0 waits at line"),
    ("a_mask_leaves_a_lane_out", "a shuffle by or from a lane that its mask leaves out"),
    ("four_numbers_are_not_aligned", "misaligned access"),
    ("what_may_only_be_read_is_stored_to", "store to read-only view 1"),
    ("a_store_misses_every_view", "store outside every view of the launch"),
    ("two_blocks_store_to_one_word", "data race on view 0"),
    ("a_block_reads_what_another_writes", "data race on view 0"),
];

fn all_are_named() {
    let text = |text: *const c_char| match text.is_null() {
        true => None,
        // SAFETY: a name, or a message that stands until the next launch of this thread.
        false => Some(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()),
    };
    let mut expected = BTreeMap::from(FAULTS);
    for i in 0..emu_faults() {
        // SAFETY: there are so many.
        let name = text(unsafe { emu_fault_name(i) }).unwrap();
        let of_fault = expected.remove(name.as_str()).unwrap_or_else(|| panic!("{name}: what is it about?"));
        for reverse in [false, true] {
            // SAFETY: as above; the kernels touch what is theirs, or are stopped before they touch what is not.
            let [without, with] = [0, 1].map(|planted| text(unsafe { emu_fault(i, planted, reverse) }));
            assert_eq!(without, None, "{name}, not planted");
            let said = with.unwrap_or_else(|| panic!("{name}, reverse {reverse}: nothing was said"));
            let of_fault = if reverse { of_fault.replace("thread 0:", "thread 63:") } else { of_fault.into() };
            assert!(said.starts_with(&name) && said.contains(&of_fault), "{said}\nand not: {of_fault}");
        }
    }
    assert!(expected.is_empty(), "{expected:?}");
}

#[test]
fn every_fault_of_a_kernel_is_named_on_every_thread() {
    std::thread::scope(|s| {
        (0..4).map(|_| s.spawn(all_are_named)).collect::<Vec<_>>().into_iter().for_each(|t| t.join().unwrap())
    });
}
