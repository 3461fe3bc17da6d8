//! Files as their owners write them; `written` has those that other programs wrote, `broken` what the world breaks,
//! `digits` and `moving` the built-in ones.
#[path = "../support/archive.rs"]
mod archive;
mod broken;
mod digits;
mod moving;
mod tables;
mod written;

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use flate2::{Compression, write::GzEncoder};
use vae_gpu::Error;
use vae_gpu::data::{Dataset, Shape, Values, npy};

/// A file that lives as long as the test needs it.
struct File(PathBuf);

impl File {
    fn new(name: &str, bytes: &[u8]) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("vae-gpu-{}-{n}-{name}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        File(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}

fn read(name: &str, bytes: &[u8]) -> Result<Dataset, Error> {
    Dataset::read(&File::new(name, bytes).0)
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

fn idx(kind: u8, dims: &[u32], data: &[u8]) -> Vec<u8> {
    let mut out = vec![0, 0, kind, dims.len() as u8];
    dims.iter().for_each(|d| out.extend(d.to_be_bytes()));
    out.extend(data);
    out
}

/// The bytes that NumPy writes.
fn np(version: u8, dict: &str, data: &[u8]) -> Vec<u8> {
    let mut out = b"\x93NUMPY".to_vec();
    out.extend([version, 0]);
    let length = dict.len() + 1;
    if version == 1 {
        out.extend((length as u16).to_le_bytes())
    } else {
        out.extend((length as u32).to_le_bytes())
    }
    out.extend(dict.as_bytes());
    out.push(b'\n');
    out.extend(data);
    out
}

fn np1(descr: &str, fortran: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    np(1, &format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}"), data)
}

fn all_rows(data: &Dataset) -> Vec<f32> {
    let mut out = vec![0.0; data.rows() * data.cols];
    out.chunks_mut(data.cols).enumerate().for_each(|(i, row)| data.row(i, row));
    out
}

#[track_caller]
fn holds(name: &str, bytes: &[u8], rows: usize, cols: usize, want: &[f32]) {
    let data = read(name, bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!((data.rows(), data.cols), (rows, cols), "{name}: (rows, cols)");
    assert_eq!(all_rows(&data), want, "{name}");
}

#[test]
fn idx_bytes_stand_for_255ths() {
    let data = read("grey", &idx(8, &[2, 1, 3], &[0, 1, 51, 102, 255, 3])).unwrap();
    assert_eq!(data.shape, Some((1, 3).into()));
    assert_eq!(data.values, Values::Bytes(vec![0, 1, 51, 102, 255, 3]));
    assert_eq!(all_rows(&data), [0.0, 1.0 / 255.0, 0.2, 0.4, 1.0, 3.0 / 255.0]);
    assert!(data.check_unit_interval(0..data.cols, "").is_ok());
}

#[test]
fn bytes_of_only_0_and_1_are_binary_pictures() {
    holds("binary.idx", &idx(8, &[2, 2], &[0, 1, 1, 0]), 2, 2, &[0.0, 1.0, 1.0, 0.0]);
    holds("binary.npy", &np1("|u1", "False", "(2, 2)", &[0, 1, 1, 0]), 2, 2, &[0.0, 1.0, 1.0, 0.0]);
}

#[test]
fn idx_of_every_type_is_read() {
    let bytes = |f: fn(i8) -> Vec<u8>| [-1i8, 0, 2, 100].map(f).concat();
    let want = [-1.0, 0.0, 2.0, 100.0];
    for (kind, data) in [
        (0x09, bytes(|v| v.to_be_bytes().to_vec())),
        (0x0b, bytes(|v| (v as i16).to_be_bytes().to_vec())),
        (0x0c, bytes(|v| (v as i32).to_be_bytes().to_vec())),
        (0x0d, bytes(|v| (v as f32).to_be_bytes().to_vec())),
        (0x0e, bytes(|v| (v as f64).to_be_bytes().to_vec())),
    ] {
        holds(&format!("idx-{kind}"), &idx(kind, &[2, 2], &data), 2, 2, &want);
        holds(&format!("idx-{kind}-gz"), &gz(&idx(kind, &[2, 1, 1, 2], &data)), 2, 2, &want);
    }
}

#[test]
fn labels_are_read_plain_and_packed() {
    let bytes = idx(8, &[3], &[7, 0, 9]);
    assert_eq!(Dataset::read_labels(&File::new("labels", &bytes).0).unwrap(), [7, 0, 9]);
    assert_eq!(Dataset::read_labels(&File::new("labels.gz", &gz(&bytes)).0).unwrap(), [7, 0, 9]);
    for text in ["7\n0\n9\n", "label\n7\n0\n9\n", "7.0\n0\n9\n"] {
        assert_eq!(Dataset::read_labels(&File::new("labels.csv", text.as_bytes()).0).unwrap(), [7, 0, 9], "{text}");
    }
    let array = np1("<i8", "False", "(3,)", &[7i64, 0, 9].map(i64::to_le_bytes).concat());
    assert_eq!(Dataset::read_labels(&File::new("labels.npy", &array).0).unwrap(), [7, 0, 9]);
}

#[test]
fn npy_of_every_type_order_and_version_is_read() {
    macro_rules! case {
        ($t:ty, $name:literal) => {
            let le: Vec<u8> = [1, 2, 3, 4, 5, 100].iter().flat_map(|&v| (v as $t).to_le_bytes()).collect();
            let be: Vec<u8> = [1, 2, 3, 4, 5, 100].iter().flat_map(|&v| (v as $t).to_be_bytes()).collect();
            let want = [1.0, 2.0, 3.0, 4.0, 5.0, 100.0];
            holds($name, &np1(concat!("<", $name), "False", "(2, 3)", &le), 2, 3, &want);
            holds($name, &np1(concat!(">", $name), "False", "(2, 3)", &be), 2, 3, &want);
            let across = [1.0, 3.0, 5.0, 2.0, 4.0, 100.0];
            holds($name, &np1(concat!("<", $name), "True", "(2, 3)", &le), 2, 3, &across);
        };
    }
    case!(i8, "i1");
    case!(u16, "u2");
    case!(i16, "i2");
    case!(u32, "u4");
    case!(i32, "i4");
    case!(u64, "u8");
    case!(i64, "i8");
    case!(f32, "f4");
    case!(f64, "f8");
    holds("b1", &np1("|b1", "False", "(3, 1)", &[0, 1, 1]), 3, 1, &[0.0, 1.0, 1.0]);
    holds("u1", &np1("|u1", "True", "(2, 2)", &[0, 51, 255, 102]), 2, 2, &[0.0, 1.0, 0.2, 0.4]);
    // 1.0 and -2.0 in half precision.
    holds("f2", &np1("<f2", "False", "(2,)", &[0x00, 0x3c, 0x00, 0xc0]), 2, 1, &[1.0, -2.0]);
    holds("f2", &np1(">f2", "False", "(2,)", &[0x3c, 0x00, 0xc0, 0x00]), 2, 1, &[1.0, -2.0]);
    let f4: Vec<u8> = (0..4).flat_map(|v| (v as f32).to_le_bytes()).collect();
    for version in [1, 2, 3] {
        let dict = "{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 2L), }      ";
        holds("version", &np(version, dict, &f4), 2, 2, &[0.0, 1.0, 2.0, 3.0]);
        holds("version.gz", &gz(&np(version, dict, &f4)), 2, 2, &[0.0, 1.0, 2.0, 3.0]);
    }
}

#[test]
fn npy_of_more_dimensions_is_flattened_in_c_order() {
    // x[i, j, k] = 100 i + 10 j + k, written with the first index fastest.
    let mut data = Vec::new();
    let (mut want, mut bytes) = (Vec::new(), Vec::new());
    (0..4).for_each(|k| (0..3).for_each(|j| (0..2).for_each(|i| data.push((100 * i + 10 * j + k) as f32))));
    (0..2).for_each(|i| (0..3).for_each(|j| (0..4).for_each(|k| want.push((100 * i + 10 * j + k) as f32))));
    data.iter().for_each(|v| bytes.extend(v.to_le_bytes()));
    let file = np1("<f4", "True", "(2, 3, 4)", &bytes);
    holds("fortran3", &file, 2, 12, &want);
    assert_eq!(read("fortran3", &file).unwrap().shape, Some((3, 4).into()));
}

#[test]
fn arrays_of_pictures_have_their_shape() {
    let shape = |height, width, channels| Some(Shape { height, width, channels });
    for (dims, want) in [
        (&[2, 3, 5][..], shape(3, 5, 1)),
        (&[2, 3, 5, 1], shape(3, 5, 1)),
        (&[2, 3, 5, 3], shape(3, 5, 3)),
        (&[2, 3, 5, 2], None),
        (&[2, 15], None),
        (&[2, 1, 3, 5, 1], None),
    ] {
        let bytes = vec![7; dims.iter().product::<u32>() as usize];
        let text = dims.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
        assert_eq!(read("dims.idx", &idx(8, dims, &bytes)).unwrap().shape, want, "idx {text}");
        let file = np1("|u1", "False", &format!("({text})"), &bytes);
        assert_eq!(read("dims.npy", &file).unwrap().shape, want, "npy {text}");
    }
}

#[test]
fn npy_written_is_npy_read() {
    for (rows, cols) in [(1, 1), (1, 33), (17, 3), (300, 17)] {
        let values: Vec<f32> = (0..rows * cols).map(|i| (i as f32).sin()).collect();
        let mut file = Vec::new();
        npy::write(&mut file, rows, cols, &values).unwrap();
        assert_eq!((file.len() - 4 * values.len()) % 64, 0, "the numbers begin at a multiple of 64 bytes");
        holds("written.npy", &file, rows, cols, &values);
    }
}

#[test]
fn csv_is_read_as_people_write_it() {
    let want = [1.0, 2.5, -3.0, 4e2];
    for (case, text) in [
        ("comma", "1,2.5\n-3,4e2\n"),
        ("semicolon", "1;2.5\n-3;4e2\n"),
        ("tab", "1\t2.5\n-3\t4e2\n"),
        ("no last newline", "1,2.5\n-3,4e2"),
        ("carriage returns", "1,2.5\r\n-3,4e2\r\n"),
        ("old Macintosh", "1,2.5\r-3,4e2\r"),
        ("blank lines", "\n1,2.5\n   \n\r\n-3,4e2\n\n"),
        ("spaces", " 1 , 2.5\n-3 ,4e2 \n"),
        ("byte order mark", "\u{feff}1,2.5\n-3,4e2\n"),
        ("quotes", "\"1\",\"2.5\"\n\"-3\",\"4e2\"\n"),
        ("header", "a,b\n1,2.5\n-3,4e2\n"),
        ("header with a word that reads as a number", "inf,b\n1,2.5\n-3,4e2\n"),
        ("header with a newline", "\"a\nb\",c\n1,2.5\n-3,4e2\n"),
        ("header and names", "name,a,b\nx,1,2.5\ny,-3,4e2\n"),
        ("names", "x,1,2.5\ny,-3,4e2\n"),
        ("header that counts, and names", "name,0,1\nx,1,2.5\ny,-3,4e2\n"),
        ("pandas", ",0,1\n0,1,2.5\n1,-3,4e2\n"),
        ("pandas with columns", ",a,b\n0,1,2.5\n1,-3,4e2\n"),
        ("R", "\"a\",\"b\"\n\"1\",1,2.5\n\"2\",-3,4e2\n"),
    ] {
        holds(&format!("{case}.csv"), text.as_bytes(), 2, 2, &want);
        holds(&format!("{case}.csv.gz"), &gz(text.as_bytes()), 2, 2, &want);
    }
    holds("words, then columns that count", b"i,j,1,2\n5,6,7,8\n", 1, 4, &[5.0, 6.0, 7.0, 8.0]);
    holds("one column", b"x\n1\n2\n", 2, 1, &[1.0, 2.0]);
    holds("one number", b"3", 1, 1, &[3.0]);
    let two_members = [gz(b"1,2\n"), gz(b"3,4\n")].concat();
    holds("two members.gz", &two_members, 2, 2, &[1.0, 2.0, 3.0, 4.0]);
}

fn counted(rows: usize) -> Dataset {
    Dataset {
        labels: Some((0..rows).map(|i| (i % 256) as u8).collect()),
        ..Dataset::new("counted", 2, Values::Reals((0..2 * rows).map(|i| i as f32).collect()))
    }
}

#[test]
fn a_split_shares_out_every_row_once() {
    for (rows, fraction, held) in [(2, 0.5, 1), (17, 0.1, 2), (1000, 0.25, 250)] {
        let (train, valid) = counted(rows).split(fraction).unwrap();
        assert_eq!((train.rows(), valid.rows()), (rows - held, held));
        let mut seen = vec![0; rows];
        for part in [&train, &valid] {
            let values = all_rows(part);
            let mut last = -1.0;
            for (row, &label) in values.chunks(2).zip(part.labels.as_ref().unwrap()) {
                assert_eq!((row[1], label), (row[0] + 1.0, (row[0] as usize / 2 % 256) as u8));
                assert!(row[0] > last, "the order of the file is kept");
                last = row[0];
                seen[row[0] as usize / 2] += 1;
            }
        }
        assert!(seen.iter().all(|&n| n == 1));
    }
}

#[test]
fn a_split_holds_out_rows_from_everywhere() {
    let (_, valid) = counted(10_000).split(0.1).unwrap();
    let mut tenths = [0; 10];
    all_rows(&valid).chunks(2).for_each(|row| tenths[row[0] as usize / 2000] += 1);
    // 100 on average, standard deviation 9.
    assert!(tenths.iter().all(|&n| (60..140).contains(&n)), "{tenths:?}");
}

#[test]
fn a_wrong_fraction_is_a_wrong_request() {
    for (fraction, want) in [
        (0.0, "valid-fraction 0: must be more than 0"),
        (1.0, "valid-fraction 1: must be more than 0 and less than 1"),
        (-0.5, "valid-fraction -0.5: must be"),
        (f64::NAN, "valid-fraction NaN: must be"),
        (0.01, "holds out 0 of the 17 examples of counted"),
        (0.99, "holds out 17 of the 17 examples of counted"),
    ] {
        let error = counted(17).split(fraction).unwrap_err();
        assert!(error.to_string().contains(want), "{error}");
        assert_eq!(error.exit_code(), 2);
    }
}

#[test]
fn the_files_that_people_have_are_read() {
    let shared = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    if !shared.join("mnist").is_dir() {
        println!("skipped: no data in {}", shared.display());
        return;
    }
    let read = |name: &str| Dataset::read(&shared.join(name)).unwrap();
    let mnist = read("mnist/t10k-images-idx3-ubyte.gz");
    assert_eq!((mnist.rows(), mnist.cols, mnist.shape), (10_000, 784, Some((28, 28).into())));
    let labels = Dataset::read_labels(&shared.join("mnist/t10k-labels-idx1-ubyte.gz")).unwrap();
    assert_eq!((labels.len(), &labels[..5]), (10_000, &[7, 2, 1, 0, 4][..]));
    let binary = read("binarized_mnist/binarized_mnist_test-idx3-ubyte.gz");
    assert_eq!((binary.rows(), binary.cols), (10_000, 784));
    assert!(all_rows(&binary).iter().all(|&v| v == 0.0 || v == 1.0));
    let mean = all_rows(&binary).iter().map(|&v| v as f64).sum::<f64>() / 7.84e6;
    assert!((mean - 0.1325).abs() < 0.01, "as bright as MNIST's test set: {mean}");
    let frey = read("freyfaces/freyfaces-1965x28x20-idx3-ubyte.gz");
    assert_eq!((frey.rows(), frey.cols, frey.shape), (1965, 560, Some((28, 20).into())));
    let error = Dataset::read(&shared.join("mnist/t10k-labels-idx1-ubyte.gz")).unwrap_err();
    assert!(error.to_string().contains("is a list of 10000 labels"));
}
