//! Every file from outside is refused or read right, and memory stays within a small multiple of it: what fuzzing kept and
//! found (`fuzz/`) and changes of it at random, again on stable; and by name the files that were made to harm.
#![allow(unsafe_code)] // an allocator can be had in no other way
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;
use std::time::{Duration, Instant};

use vae_gpu::data::Dataset;

#[path = "support/archive.rs"]
mod archive;
#[path = "support/fuzzed.rs"]
mod fuzzed;
#[path = "support/numbers.rs"]
mod numbers;
use numbers::Numbers;

/// The system's allocator, which knows for each thread alone how many bytes it holds, and the most that it held.
struct Measuring;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // A thread that is ending has none to count with.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        let _ = MOST.try_with(|most| most.set(most.get().max(held.get())));
    });
}

// SAFETY: every call goes to the system's allocator as it came; counting neither allocates nor panics.
unsafe impl GlobalAlloc for Measuring {
    unsafe fn alloc(&self, memory: Layout) -> *mut u8 {
        count(memory.size() as isize);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(memory) }
    }
    unsafe fn alloc_zeroed(&self, memory: Layout) -> *mut u8 {
        count(memory.size() as isize);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc_zeroed(memory) }
    }
    unsafe fn dealloc(&self, at: *mut u8, memory: Layout) {
        count(-(memory.size() as isize));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(at, memory) }
    }
    unsafe fn realloc(&self, at: *mut u8, memory: Layout, size: usize) -> *mut u8 {
        // Both are there while the one is copied into the other.
        count(size as isize);
        count(-(memory.size() as isize));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(at, memory, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Measuring = Measuring;

/// The most bytes that this thread held at once during `work`, beyond those before.
fn most(work: impl FnOnce()) -> usize {
    let before = HELD.get();
    MOST.set(before);
    work();
    (MOST.get() - before) as usize
}

/// Buffers of readers: 64 KiB of look-ahead twice, as much of csv, 128 KiB of lines of PNG, 40 KiB of an inflater, a first
/// step of 256 KiB for what a header claims and nobody has counted. The test's own deflater has 300 KiB.
const BUFFERS: usize = 1 << 20;
/// JSON is worst: a number of 2 bytes is 32 in a list that doubles, and then the old and the new are there (measured:
/// 30 times). A cell of text is 1 byte with its comma at the least, and 8 bytes of its place in the row, once as read and
/// once trimmed (18 times). Numbers are 4 bytes, also those of i8.
const TIMES: usize = 40;

#[track_caller]
fn within_bounds(name: &str, bytes: &[u8], f: fuzzed::Target) {
    let got = most(|| f(bytes));
    let bound = BUFFERS + TIMES * bytes.len();
    assert!(got <= bound, "{name}: {} bytes took {got} bytes of memory, more than {bound}", bytes.len());
}

/// The files kept for a target, by name.
fn kept(folder: &str, target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(folder).join(target);
    let Ok(files) = std::fs::read_dir(&folder) else { return vec![] };
    let path = files.map(|file| file.unwrap().path());
    let mut files: Vec<_> = path.map(|p| (p.display().to_string(), std::fs::read(p).unwrap())).collect();
    files.sort();
    files
}

#[test]
fn what_was_found_and_kept_is_refused_or_read() {
    if !Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").is_dir() {
        println!("skipped: a package has no fuzz/");
        return;
    }
    for (target, f) in fuzzed::TARGETS {
        let files: Vec<_> = ["corpus", "finds"].iter().flat_map(|folder| kept(folder, target)).collect();
        assert!(!files.is_empty(), "{target} has no corpus");
        files.iter().for_each(|(name, bytes)| within_bounds(name, bytes, f));
    }
}

/// One to four changes: a byte set, flipped or of interest, a run removed, doubled, or taken from another file.
fn change(numbers: &mut Numbers, bytes: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..1 + numbers.below(4) {
        let at = numbers.below(bytes.len());
        let run = at..at + numbers.below((bytes.len() - at).min(32));
        match numbers.below(6) {
            0 if !bytes.is_empty() => bytes[at] = numbers.below(256) as u8,
            1 if !bytes.is_empty() => bytes[at] ^= 1 << numbers.below(8),
            2 if !bytes.is_empty() => bytes[at] = [0, 0x7f, 0x80, 0xff, b',', b'\n', b'"', b'9'][numbers.below(8)],
            3 => drop(bytes.drain(run)),
            4 => bytes.splice(at..at, bytes[run].to_vec()).for_each(drop),
            _ => {
                let from = numbers.below(other.len());
                let to = from + numbers.below((other.len() - from).min(32));
                bytes.splice(run, other[from..to].iter().copied()).for_each(drop);
            }
        }
    }
}

#[test]
fn changes_at_random_are_refused_or_read() {
    // A bound on time beside the count, for slow machines: a second a target; the seed says which files came.
    const CHANGES: usize = 4000;
    for (target, f) in fuzzed::TARGETS {
        let files: Vec<_> = ["corpus", "finds"].iter().flat_map(|folder| kept(folder, target)).collect();
        let (mut numbers, begin) = (Numbers::new(target.len() as u64), Instant::now());
        for i in 0..if files.is_empty() { 0 } else { CHANGES } {
            if begin.elapsed() > Duration::from_secs(1) {
                break;
            }
            let mut bytes = files[numbers.below(files.len())].1.clone();
            let other = &files[numbers.below(files.len())].1;
            change(&mut numbers, &mut bytes, other);
            within_bounds(&format!("{target}, change {i}"), &bytes, f);
        }
    }
}

/// What it is refused with, and the memory that took.
#[track_caller]
fn refused(name: &str, bytes: &[u8], want: &str) -> usize {
    let mut sentence = None;
    let most = most(|| sentence = Dataset::from_bytes(name, bytes).err().map(|e| e.to_string()));
    let sentence = sentence.unwrap_or_else(|| panic!("{name} was read"));
    assert!(sentence.contains(want), "{name}:\n got: {sentence}\nwant: {want}");
    most
}

/// `count` zeros, packed as tightly as deflate can.
fn bomb(head: &[u8], count: usize, gzip: bool) -> Vec<u8> {
    use flate2::{Compression, write::DeflateEncoder, write::GzEncoder};
    use std::io::Write;
    fn fill<W: Write>(mut out: W, head: &[u8], count: usize) -> W {
        out.write_all(head).unwrap();
        let zeros = vec![0; 1 << 20];
        (0..count.div_ceil(zeros.len())).for_each(|_| out.write_all(&zeros).unwrap());
        out
    }
    match gzip {
        true => fill(GzEncoder::new(Vec::new(), Compression::best()), head, count).finish().unwrap(),
        false => fill(DeflateEncoder::new(Vec::new(), Compression::best()), head, count).finish().unwrap(),
    }
}

/// The most for a bomb of so many packed bytes: what it may unpack to, three times, for it grows by doubling and then the
/// old and the new are there, and the buffers.
fn allowed(packed: usize) -> usize {
    ((64 << 20) + 100 * packed) * 3 + BUFFERS
}

const NPY: &str = "{'descr': '|u1', 'fortran_order': False, 'shape': ";

fn npy(shape: &str) -> Vec<u8> {
    let text = format!("{NPY}{shape}, }}\n");
    [b"\x93NUMPY\x02\0", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
}

#[test]
fn a_claim_without_bytes_costs_nothing() {
    let idx = |dims: &[u32]| {
        let dims: Vec<u8> = dims.iter().flat_map(|d| d.to_be_bytes()).collect();
        [&[0, 0, 8, (dims.len() / 4) as u8], &dims[..], &[1, 2, 3]].concat()
    };
    let huge = u32::MAX;
    let picture = |side: u32| archive::png(side, side, 8, 0, &[], &[0, 1]);
    let dimensions = npy(&format!("({})", "1,".repeat(20_000)));
    for (name, bytes, want) in [
        ("idx of 2^32 x 2^32", idx(&[huge, huge]), "claims the shape (4294967295 x 4294967295), more than memory"),
        ("idx of 4 GB", idx(&[huge, 1]), "takes 4294967295 bytes, but 3 are left"),
        ("idx of 255 dimensions", idx(&[huge; 255]), "more than memory can address"),
        ("npy of 10^9 x 10^9", npy("(1000000000, 1000000000)"), "takes 1000000000000000000 bytes, but 0 are left"),
        ("npy of many dimensions", dimensions, "takes 1 bytes, but 0 are left"),
        (
            "npy of 10^9 dimensions",
            b"\x93NUMPY\x02\0\xff\xff\xff\x7f(1,1,".to_vec(),
            "claims a header of 2147483647 bytes",
        ),
        ("npy of as many in gzip", gz_of(&npy("(1000000000, 1000)")), "takes 1000000000000 bytes, but 0 are left"),
        ("png of 2^31 x 2^31", picture(i32::MAX as u32), "claims 2147483647 x 2147483647 pixels of grey in 8 bits"),
        ("png of 100 MB", picture(10_000), "claims 10000 x 10000 pixels of grey in 8 bits, more than the 671"),
    ] {
        let got = refused(name, &bytes, want);
        assert!(got < BUFFERS + TIMES * bytes.len(), "{name} took {got} bytes");
    }
}

fn gz_of(bytes: &[u8]) -> Vec<u8> {
    bomb(bytes, 0, true)
}

#[test]
fn a_bomb_is_refused_within_its_allowance() {
    const SIZE: usize = 256 << 20;
    // As npy, so that all of it would have to be kept; its header is not in the way of the zeros.
    let head = npy(&format!("({SIZE}, 1)"));
    let gzip = bomb(&head, SIZE, true);
    assert!(SIZE / gzip.len() > 1000, "as tight as deflate can: {} bytes", gzip.len());
    let got = refused("bomb.npy.gz", &gzip, "unpacks to more than 9");
    assert!(got <= allowed(gzip.len()), "bomb.npy.gz took {got} bytes");
    let text = bomb(b"1\n", SIZE, true);
    let got = refused("bomb.csv.gz", &text, "is none of the formats that are read, nor text");
    assert!(got <= BUFFERS, "bomb.csv.gz took {got} bytes");

    let packed = bomb(&head, SIZE, false);
    let entry =
        archive::Entry { name: "x.npy".into(), flags: 0, method: 8, crc: 0, size: (head.len() + SIZE) as u32, packed };
    let zip = archive::zip(&[entry]);
    let got = refused("bomb.npz", &zip, "bomb.npz:x unpacks to more than 9");
    assert!(got <= allowed(zip.len()), "bomb.npz took {got} bytes");

    // A picture within the allowance, 60 MB from 60 kB, is read; a wider one of the same length is not.
    let rows = vec![0; 7746 * 7747];
    let picture = archive::png(7746, 7746, 8, 0, &[], &rows);
    let mut read = None;
    let got = most(|| read = Dataset::from_bytes("white.png", &picture).ok().map(|data| data.cols));
    assert_eq!(read, Some(7746 * 7746));
    assert!(got <= allowed(picture.len()), "white.png took {got} bytes");
    let wider = archive::png(9000, 9000, 8, 0, &[], &vec![0; 9000 * 9001]);
    let got = refused("bomb.png", &wider, "claims 9000 x 9000 pixels");
    assert!(got <= BUFFERS, "bomb.png took {got} bytes");
}

/// Files of the shapes that take most memory for each byte, as far as is known, and large, so that buffers do not count.
#[test]
fn the_costliest_files_stay_within_the_bounds() {
    let list = |n: usize| format!("[1{}]", ",1".repeat(n));
    let header = |shape: &str| format!("{{\"x\":{{\"dtype\":\"U8\",\"shape\":{shape},\"data_offsets\":[0,1]}}}}");
    let tensor = archive::safetensors(&header(&list(500_000)), &[7]);
    let many: Vec<String> = (0..15_000)
        .map(|i| format!("\"{i}\":{{\"dtype\":\"U8\",\"shape\":[1,1],\"data_offsets\":[{i},{}]}}", i + 1))
        .collect();
    let many = archive::safetensors(&format!("{{{}}}", many.join(",")), &[7; 15_000]);
    let run = format!("{{\"hidden\":[],\"input\":{}", list(500_000));
    let entries: Vec<_> = (0..60_000).map(|i| archive::stored(&i.to_string(), b"")).collect();
    let signed = String::from_utf8_lossy(&npy("(3000000, 1)")[12..]).replace("|u1", "|i1");
    let signed = [&npy("(3000000, 1)")[..12], signed.as_bytes(), &[1; 3_000_000]].concat();
    for (name, bytes, f) in [
        ("a long column", b"1\n".repeat(1 << 20), fuzzed::data as fuzzed::Target),
        ("a long row", b"1,".repeat((1 << 20) - 1), fuzzed::data),
        (
            "a long row and another",
            [&b"1,".repeat(999_999)[..], b"1\n", &b"1,".repeat(999_999), b"1\n"].concat(),
            fuzzed::data,
        ),
        ("a tensor of many dimensions", tensor, fuzzed::safetensors),
        ("many tensors", many, fuzzed::safetensors),
        ("a configuration of many numbers", run.into_bytes(), fuzzed::config),
        ("an archive of many files", archive::zip(&entries), fuzzed::data),
        ("bytes with a sign", signed, fuzzed::data),
    ] {
        println!("{name}: {:.1} times", most(|| f(&bytes)) as f64 / bytes.len() as f64);
        within_bounds(name, &bytes, f);
    }
}

#[test]
fn a_row_that_does_not_end_is_refused_early() {
    // Many rows have as many bytes and cells, and are read.
    let rows = b"1,2\n".repeat(5 << 20);
    assert_eq!(Dataset::from_bytes("rows", &rows).map(|data| data.rows()), Ok(5 << 20));
    let digits = b"1".repeat(40 << 20);
    let cells = b"1,".repeat(20 << 20);
    let quoted = [b"1,2\n3,\"", &b"4\n5,"[..].repeat(8 << 20)[..]].concat();
    for (name, bytes) in [("one cell", digits), ("one row", cells), ("an open quote", quoted)] {
        let got =
            refused(name, &bytes, "has a row of more than 16777216 bytes or 1048576 cells: end each row by a new line");
        // The row, of 16 MiB at the most, doubling; or 2^20 cells of 8 bytes each.
        assert!(got < 64 << 20, "{name} took {got} bytes");
    }
}
