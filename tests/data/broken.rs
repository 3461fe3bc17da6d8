//! Whatever a file holds, the answer is a data set or one sentence, never a panic.
use vae_gpu::Error;
use vae_gpu::data::Dataset;

use super::archive::{Entry, deflated, png, safetensors, stored, zip};
use super::{File, all_rows, gz, idx, np, np1, read};

#[test]
fn every_malformed_file_becomes_a_sentence() {
    let grey = idx(8, &[2, 2], &[9, 8, 7, 6]);
    let nan = [1f32, f32::NAN, 3.0, 4.0].map(f32::to_le_bytes).concat();
    let infinite = [1f64, 1e300, 3.0, 4.0].map(f64::to_be_bytes).concat();
    let mut bad_sum = gz(b"1,2\n3,4\n");
    let at = bad_sum.len() - 8;
    bad_sum[at] ^= 1;
    let long_word = format!("1,{}\n", "w".repeat(100));
    let real = np1("<f4", "False", "(2, 2)", &[0; 16]);
    let array = deflated("x.npy", &real);
    let of = |entry: Entry| zip(&[entry]);
    let packed = of(array.clone());
    let spoiled = |at: usize, byte: u8| {
        let mut bytes = packed.clone();
        bytes[at] = byte;
        bytes
    };
    let counts = |n: u8| {
        let mut bytes = packed.clone();
        let end = bytes.len() - 22;
        (bytes[end + 8], bytes[end + 10]) = (n, n);
        bytes
    };
    let tail = [&array.packed[..], &[0]].concat();
    let mut spoiled_picture = png(1, 1, 8, 0, &[], &[0, 7]);
    let at = spoiled_picture.len() - 17;
    spoiled_picture[at] ^= 1;
    let tensors_of = |dtype: &str, shape: &str, end: usize| {
        let header = format!("{{\"x\":{{\"dtype\":\"{dtype}\",\"shape\":{shape},\"data_offsets\":[0,{end}]}}}}");
        safetensors(&header, &vec![0; end])
    };
    let tensors = |shape: &str, end: usize| tensors_of("F32", shape, end);
    let header_of_two = String::from_utf8(tensors("[1,2]", 8)[8..].to_vec()).unwrap().replace('\0', "");
    let missing = tensors("[1,2]", 8);
    let missing = missing[..missing.len() - 1].to_vec();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", vec![], "is empty: give a file of"),
        ("nothing.gz", gz(b""), "unpacks to nothing"),
        ("twice.gz", gz(&gz(b"1,2\n")), "packed by gzip twice: unpack it once with gunzip"),
        ("short.gz", gz(&grey)[..20].to_vec(), "cannot be unpacked"),
        ("sum.gz", bad_sum, "cannot be unpacked"),
        ("garbage.gz", b"\x1f\x8b garbage".to_vec(), "cannot be unpacked"),
        ("magic", vec![0, 0, 8], "is cut short: the header of idx takes 4 bytes, but 3 are left"),
        ("type", idx(0x0a, &[1, 1], &[0]), "unknown type 0x0a: must be 0x08"),
        ("dims", idx(8, &[], &[]), "is idx with 0 dimensions: must have at least 2"),
        ("labels", idx(8, &[3], &[1, 2, 3]), "is a list of 3 labels (idx with one dimension), not data"),
        ("header", grey[..9].to_vec(), "the header of idx takes 8 bytes, but 5 are left"),
        ("cut", grey[..15].to_vec(), "the shape (2 x 2) takes 4 bytes, but 3 are left; fetch it again"),
        ("cut.gz", gz(&grey[..15]), "the shape (2 x 2) takes 4 bytes, but 3 are left; fetch it again"),
        ("long", [&grey[..], &[1]].concat(), "holds more bytes than the shape in its header says, by 1: the header"),
        ("long.gz", gz(&[&grey[..], &[1]].concat()), "holds more bytes than the shape in its header says: the header"),
        ("none", idx(8, &[0, 28, 28], &[]), "holds no numbers: its shape is (0 x 28 x 28)"),
        ("huge", idx(8, &[u32::MAX, u32::MAX], &[1]), "claims the shape (4294967295 x 4294967295), more than memory"),
        ("huge3", idx(14, &[u32::MAX; 9], &[1]), "more than memory can address"),
        ("claim", idx(8, &[60000, 28, 28], &[1]), "takes 47040000 bytes, but 1 are left"),
        ("claim.gz", gz(&idx(8, &[4000000000, 500], &[1])), "takes 2000000000000 bytes, but 1 are left"),
        ("real-claim.gz", gz(&idx(13, &[4000000000, 50], &[1])), "is cut short"),
        ("npy-magic", b"\x93NUMPY\x01".to_vec(), "the header of .npy takes 8 bytes, but 7 are left"),
        ("npy-version", np(9, "{}", &[]), "is .npy of version 9: must be 1, 2 or 3"),
        (
            "npy-length",
            b"\x93NUMPY\x02\x00\xff\xff\xff\xff".to_vec(),
            "claims a header of 4294967295 bytes: must be at most",
        ),
        ("npy-cut", np1("<f4", "False", "(2, 2)", &nan)[..40].to_vec(), "the header of .npy takes"),
        ("npy-dict", np(1, "{'descr': '<f4'}", &[]), "has no readable \"fortran_order\""),
        ("npy-order", np1("<f4", "Maybe", "(2, 2)", &nan), "has no readable \"fortran_order\""),
        ("npy-shape", np1("<f4", "False", "(2, -2)", &nan), "has no readable \"shape\""),
        ("npy-scalar", np1("<f4", "False", "()", &nan[..4]), "holds no numbers: its shape is ()"),
        ("npy-none", np1("<f4", "False", "(0, 784)", &[]), "holds no numbers: its shape is (0 x 784)"),
        ("npy-complex", np1("<c8", "False", "(2, 2)", &nan), "of the type \"<c8\": must be real numbers"),
        (
            "npy-long",
            np1(&"c".repeat(9000), "False", "(2, 2)", &nan),
            "of the type \"cccccccccccccccccccccccccccccccccccccccc...\"",
        ),
        ("npy-object", np1("|O", "False", "(2, 2)", &nan), "holds objects of Python: must be one array of real"),
        (
            "npy-words",
            np1("<U3", "False", "(2, 2)", &nan),
            "holds words: must be real numbers; write what has words as csv",
        ),
        (
            "torch.npz",
            zip(&[stored("x/data.pkl", b"1")]),
            "is what torch.save wrote: give np.save(\"x.npy\", x.numpy())",
        ),
        ("npy-record", np(1, "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,)}", &[]), "holds records"),
        ("npy-huge", np1("<f8", "False", "(9999999999, 9999999999)", &[]), "more than memory can address"),
        ("npy-claim", np1("<f8", "False", "(1000000, 1000000)", &[]), "takes 8000000000000 bytes, but 0 are left"),
        ("npy-nan", np1("<f4", "False", "(2, 2)", &nan), "row 0, column 1 (counted from 0) of"),
        ("npy-nan-fortran", np1("<f4", "True", "(2, 2)", &nan), "row 1, column 0 (counted from 0) of"),
        ("npy-infinite", np1(">f8", "False", "(2, 2)", &infinite), "is inf: must be a finite number below 3.4e38"),
        ("idx-infinite", idx(0x0e, &[2, 2], &infinite), "row 0, column 1 (counted from 0) of"),
        ("picture.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec(), "is a PNG that is cut short or damaged"),
        (
            "archive.npz",
            b"PK\x03\x04\x14\0".to_vec(),
            "is a zip archive that is cut short or damaged (its end is not there)",
        ),
        ("empty.npz", zip(&[]), "is a zip archive without an .npy in it: write one with np.savez"),
        ("text.npz", zip(&[stored("a.txt", b"1")]), "is a zip archive without an .npy in it"),
        ("wrong.npz", zip(&[stored("a.npy", b"1,2")]), "wrong.npz:a is not .npy as its name says"),
        ("twice.npz", zip(&[stored("a.npy", &real), stored("a.npy", &real)]), "holds two files a.npy"),
        ("short.npz", packed[..packed.len() - 1].to_vec(), "is cut short or damaged (its end is not there)"),
        ("front.npz", [b"PK\x03\x04", &packed[..]].concat(), "(its directory is not where its end says)"),
        ("fewer.npz", counts(2), "is cut short or damaged (it ends too early)"),
        ("more.npz", counts(0), "its directory has more than the 0 files that its end says"),
        ("parts.npz", spoiled(packed.len() - 18, 1), "(its end is not there)"),
        (
            "secret.npz",
            of(Entry { flags: 1, ..array.clone() }),
            "secret.npz:x is encrypted: write it again with np.savez",
        ),
        ("bzip2.npz", of(Entry { method: 12, ..array.clone() }), "is packed by method 12: must be stored or deflated"),
        ("sum.npz", of(Entry { crc: 7, ..array.clone() }), "sum.npz:x cannot be unpacked: its checksum is another"),
        ("more.npz", of(Entry { size: 9, ..array.clone() }), "it does not have the 9 bytes that the directory says"),
        (
            "less.npz",
            of(Entry { size: 9999, ..array.clone() }),
            "it does not have the 9999 bytes that the directory says",
        ),
        ("tail.npz", of(Entry { packed: tail, ..array.clone() }), "it ends before its packed bytes do"),
        ("garbage.npz", of(Entry { packed: vec![0xff; 9], ..array.clone() }), "garbage.npz:x cannot be unpacked"),
        ("sizes.npz", of(Entry { size: 9, ..stored("x.npy", &real) }), "is damaged (it is stored, with two sizes)"),
        ("place.npz", spoiled(0, b'?'), "is none of the formats that are read, nor text"),
        ("name.npz", spoiled(30, b'?'), "name.npz:x is damaged (it is not where the directory says)"),
        (
            "inside.npz",
            of(deflated("x.npy", &real[..70])),
            "inside.npz:x is cut short: what the header claims takes 16 bytes",
        ),
        ("nan.npz", of(deflated("x.npy", &np1("<f4", "False", "(2, 2)", &nan))), "row 0, column 1 (counted from 0) of"),
        (
            "alpha.png",
            png(1, 1, 8, 6, &[], &[0, 1, 2, 3, 4]),
            "is transparent in places: must be opaque, for what stands behind it is not known",
        ),
        ("key.png", png(1, 1, 8, 0, &[(b"tRNS", &[0, 7])], &[0, 7]), "is transparent in places"),
        (
            "moves.png",
            png(1, 1, 8, 0, &[(b"acTL", &[0, 0, 0, 1, 0, 0, 0, 0])], &[0, 7]),
            "is animated: give its pictures",
        ),
        ("rows.png", png(1, 2, 8, 0, &[], &[0, 7]), "is a PNG that is cut short or damaged"),
        ("bits.png", png(1, 1, 3, 0, &[], &[0, 7]), "is a PNG that is cut short or damaged"),
        ("none.png", png(0, 1, 8, 0, &[], &[0, 7]), "is a PNG that is cut short or damaged"),
        ("sum.png", spoiled_picture, "is a PNG that is cut short or damaged"),
        (
            "huge.png",
            png(i32::MAX as u32, i32::MAX as u32, 16, 2, &[], &[0]),
            "claims 2147483647 x 2147483647 pixels of RGB",
        ),
        ("cut.safetensors", tensors("[1,2]", 8)[..30].to_vec(), "the header of .safetensors takes"),
        ("long.safetensors", [&(1u64 << 30).to_le_bytes()[..], b"{"].concat(), "claims a header of 1073741824 bytes"),
        ("json.safetensors", safetensors("{\"x\":", &[]), "has a damaged header of .safetensors"),
        ("kinds.safetensors", tensors_of(&"\u{1b}".repeat(9000), "[1,2]", 8), "has a damaged header of .safetensors"),
        ("size.safetensors", tensors("[1,2]", 9), "has a damaged header of .safetensors"),
        ("count.safetensors", tensors("[4294967296,4294967296]", 8), "has a damaged header of .safetensors"),
        ("none.safetensors", tensors("[0,3]", 0), "holds no numbers: its shape is (0)"),
        ("scalar.safetensors", tensors("[]", 4), "holds no numbers: its shape is ()"),
        ("missing.safetensors", missing.clone(), "is cut short: the shape (8) takes 8 bytes, but 7 are left"),
        ("missing.safetensors.gz", gz(&missing), "is cut short: what the header claims takes 8 bytes"),
        (
            "more.safetensors",
            [tensors("[1,2]", 8), vec![0]].concat(),
            "holds more bytes than the shape in its header says",
        ),
        ("more.safetensors.gz", gz(&[tensors("[1,2]", 8), vec![0]].concat()), "holds more bytes than the shape"),
        ("kind.safetensors", tensors_of("C64", "[1,1]", 8), "holds numbers of the type C64: must be real"),
        ("nan.safetensors", safetensors(&header_of_two, &[0xff; 8]), "row 0, column 0 (counted from 0) of"),
        ("mixed.csv", b"1,red,3\n4,5,6\n".to_vec(), "line 1 of"),
        (
            "mixed2.csv",
            b"1,red,3\n4,5,6\n".to_vec(),
            "has the word \"red\" and the number \"1\" in it: a header must be",
        ),
        ("mixed3.csv", b"a,7\n1,2.5\n-3,4e2\n".to_vec(), "repair the line, or pass --header yes if it is a header"),
        ("mixed4.csv", b"x1,7,5\n1,2,5\n".to_vec(), "has the word \"x1\" and the number \"7\" in it"),
        ("mixed5.csv", b"name,a,7\nx,1,2\ny,3,4\n".to_vec(), "has the word \"name\" and the number \"7\" in it"),
        ("mixed6.csv", b"1,2,red\n4,5,6\n".to_vec(), "has the word \"red\" and the number \"1\" in it"),
        ("blank.csv", b"\n  \n\n".to_vec(), "holds blank lines and no examples"),
        ("header.csv", b"a,b,c\n".to_vec(), "holds a header row and no examples: add a row"),
        ("ragged.csv", b"1,2\n\n3,4,5\n".to_vec(), "line 3 of"),
        ("ragged2.csv", b"1,2\r\n3,4,5\r\n".to_vec(), "has 3 cells, but line 1 has 2: every row must have as many"),
        ("ragged-header.csv", b"a,b,c\n1,2\n".to_vec(), "has 2 cells, but line 1 has 3"),
        ("word.csv", b"1,2\n3,red\n".to_vec(), "line 2, column 2 of"),
        ("word2.csv", b"a,b\n\n1,2\n3,red\n".to_vec(), "is \"red\", not a number: separate numbers by"),
        ("long-word.csv", [b"1,2\n", long_word.as_bytes()].concat(), "wwwww\"..., not a number"),
        ("missing.csv", b"1,2\n3,\n".to_vec(), "line 2, column 2 of"),
        ("missing2.csv", b"1,2\n3,\n".to_vec(), "is empty: fill the cell"),
        ("missing-first.csv", b"1,,3\n4,5,6\n".to_vec(), "line 1, column 2 of"),
        (
            "nan.csv",
            b"1,2\n3,NaN\n".to_vec(),
            "is \"NaN\": fill the cell, leave the example out, or train with --missing allow",
        ),
        ("na-first.csv", b"1,NA\n3,4\n".to_vec(), "line 1, column 2 of"),
        ("inf.csv", b"1,2\n3,inf\n".to_vec(), "is \"inf\": must be a finite number below 3.4e38"),
        ("large.csv", b"1,2\n3,1e39\n".to_vec(), "is \"1e39\": must be a finite number below 3.4e38"),
        ("decimal.csv", b"1.0;2.0\n1,5;2,5\n".to_vec(), "is \"1,5\", but line 1 has \"1.0\": one of the marks"),
        ("names.csv", b"h,i,j\na,1,2\n5,3,4\n".to_vec(), "is the word \"a\", but line 3 has the number \"5\" there"),
        ("spaces.csv", b"1 2\n3 4\n".to_vec(), "separate numbers by comma, semicolon or tab"),
        (
            "quote.csv",
            b"1,2\n3,4\n\"5,6\n7,8\n9,0\n".to_vec(),
            "has a quotation mark that is not closed before line 5, so that the row has 1 cell and not 2: close it, or write it twice",
        ),
        ("quote-line.csv", b"1,2\n\"3,4\n5,6\n".to_vec(), "line 2 of"),
        (
            "h5.csv",
            b"\x89HDF\r\n\x1a\n\0\0".to_vec(),
            "is HDF5, as .h5 and .h5ad are, which is not read: write its matrix",
        ),
        ("table.parquet", b"PAR1\x15\0\x15".to_vec(), "is Parquet, which is not read: write it as csv"),
        (
            "x.mtx",
            b"%%MatrixMarket matrix coordinate integer general\n3 2 1\n1 1 5\n".to_vec(),
            "is a MatrixMarket file, which is not read: write it in Python, by scipy.sparse.save_npz",
        ),
        ("latin.csv", b"1,2\n3,\xe9t\xe9\n".to_vec(), "line 2, column 2 of"),
        (
            "utf16.csv",
            b"\xff\xfe1\0,\x002\0\n\0".to_vec(),
            "is UTF-16, as a spreadsheet's Unicode text: save it as UTF-8",
        ),
        ("cut.csv.gz", gz("1,2\n".repeat(9999).as_bytes())[..40].to_vec(), "cannot be unpacked"),
    ];
    let mut wrong = String::new();
    for (name, bytes, want) in cases {
        let Err(error) = read(name, &bytes) else {
            wrong += &format!("{name}: read without an error\n");
            continue;
        };
        let sentence = error.to_string();
        if !sentence.contains(want) {
            wrong += &format!("{name}:\n got: {sentence}\nwant: {want}\n");
        }
        assert!(sentence.contains(name), "{name}: does not name the file: {sentence}");
        assert!(sentence.len() < 1000, "{name}: {sentence}");
        assert_eq!(sentence.lines().count(), 1, "{name}: {sentence}");
        assert_eq!(error.exit_code(), 1, "{name}");
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn what_is_not_a_file_or_not_labels_becomes_a_sentence() {
    let sentence = |e: Error| e.to_string();
    let directory = std::env::temp_dir();
    assert!(sentence(Dataset::read_labels(&directory).unwrap_err()).contains("is a directory: give one file"));
    let absent = directory.join("no-such-file.npy");
    assert!(sentence(Dataset::read(&absent).unwrap_err()).contains("no-such-file.npy cannot be read: No such file"));
    for (name, bytes, want) in [
        ("pictures", idx(8, &[2, 1, 1], &[1, 2]), "holds 2 x 1 x 1 bytes, not labels"),
        ("reals", idx(13, &[1], &[0; 4]), "holds 1 numbers, not labels"),
        ("words", b"a\nb\nc\n".to_vec(), "row 0 is of class b; a label is a whole number from 0 to 255"),
        ("large", b"7\n256\n".to_vec(), "row 1 is of class 256; a label is a whole number from 0 to 255"),
        ("wide", b"7,1\n5,2\n".to_vec(), "has 2 columns, and which is of classes is not known"),
        ("cut", idx(8, &[3], &[1, 2]), "the shape (3) takes 3 bytes, but 2 are left"),
    ] {
        let got = sentence(Dataset::read_labels(&File::new(name, &bytes).0).unwrap_err());
        assert!(got.contains(want), "{name}:\n got: {got}\nwant: {want}");
    }
}

#[test]
fn no_cut_and_no_flipped_byte_makes_the_reader_panic() {
    let nan = [1f32, 2.0, 3.0, 4.0].map(f32::to_le_bytes).concat();
    let files = [
        idx(8, &[2, 1, 2], &[9, 8, 7, 6]),
        idx(13, &[2, 2], &nan),
        np1("<f4", "True", "(2, 2)", &nan),
        np1("|u1", "False", "(2, 2)", &[1, 2, 3, 4]),
        np(2, "{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }", &nan),
        b"name,\"a\",b\r\nx,1,2.5\r\n\ny,-3,4e2\n".to_vec(),
        gz(&idx(8, &[2, 2], &[9, 8, 7, 6])),
        gz(b"1;2\n3;4\n"),
        zip(&[stored("x.npy", &np1("|u1", "False", "(1, 2)", &[1, 2])), deflated("y.npy", &[0, 1])]),
        png(2, 1, 8, 0, &[], &[0, 1, 2]),
        png(1, 1, 16, 2, &[], &[0, 1, 2, 3, 4, 5, 6]),
        safetensors("{\"x\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]}}", &nan),
    ];
    for (f, file) in files.iter().enumerate() {
        for at in 0..file.len() {
            // An error or a data set, either is right: what must not happen is a panic or a data set out of shape.
            let try_it = |bytes: &[u8]| {
                if let Ok(data) = read(&format!("broken-{f}"), bytes) {
                    assert!(data.rows() > 0 && data.cols > 0);
                    all_rows(&data).iter().for_each(|v| assert!(v.is_finite()));
                }
            };
            try_it(&file[..at]);
            for flip in [0x01, 0x10, 0x80, 0xff] {
                let mut bytes = file.clone();
                bytes[at] ^= flip;
                try_it(&bytes);
            }
        }
    }
}

#[test]
fn numbers_outside_the_unit_interval_are_named() {
    let data = read("scaled.csv", b"0,1\n0.5,1.5\n").unwrap();
    let error = data.check_unit_interval(0..2, "pass --scale minmax").unwrap_err();
    let sentence = error.to_string();
    assert!(sentence.starts_with("row 1, column 1 (counted from 0) of "), "{sentence}");
    assert!(
        sentence.ends_with("is 1.5: must be in [0, 1] for the Bernoulli likelihood; pass --scale minmax"),
        "{sentence}"
    );
    assert_eq!(error.exit_code(), 1);
    assert!(read("unit.csv", b"0,1\n0.5,-0\n").unwrap().check_unit_interval(0..2, "").is_ok());
}

#[test]
fn sparse_matrices_that_are_not_are_named_errors() {
    let list = |kind: &str, numbers: &[i64]| {
        let data: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        np1(kind, "False", &format!("({},)", numbers.len()), &data)
    };
    let whole = |numbers: &[i64]| list("<i8", numbers);
    let reals = |numbers: &[f64]| list("<f8", &numbers.iter().map(|x| x.to_bits() as i64).collect::<Vec<_>>());
    let word = |word: &str| np1(&format!("|S{}", word.len()), "False", "()", word.as_bytes());
    // 3 x 4, with the entries (0, 1), (0, 3) and (2, 0)
    let of = |format: &str| {
        vec![
            ("format", word(format)),
            ("shape", whole(&[3, 4])),
            ("data", reals(&[1.0, 2.0, 3.0])),
            ("indptr", whole(if format == "csr" { &[0, 2, 2, 3] } else { &[0, 1, 2, 2, 3] })),
            ("indices", whole(if format == "csr" { &[1, 3, 0] } else { &[2, 0, 0] })),
            ("row", whole(&[2, 0, 0])),
            ("col", whole(&[0, 3, 1])),
        ]
    };
    let packed = |arrays: Vec<(&str, Vec<u8>)>| {
        zip(&arrays.iter().map(|(name, bytes)| stored(&format!("{name}.npy"), bytes)).collect::<Vec<_>>())
    };
    let with = |format: &str, name: &str, bytes: Vec<u8>| {
        packed(of(format).into_iter().map(|(n, b)| (n, if n == name { bytes.clone() } else { b })).collect())
    };
    for format in ["csr", "csc", "coo"] {
        let data = Dataset::from_bytes("x", &packed(of(format))).unwrap();
        let sum: f32 = data.to_rows().iter().sum();
        assert_eq!((data.rows(), data.cols, sum), (3, 4, 6.0), "{format}");
    }
    let short = |format: &str, name: &str| packed(of(format).into_iter().filter(|(n, _)| *n != name).collect());
    for (bytes, want) in [
        (
            packed(of("bsr")),
            "is a sparse matrix of the format bsr: must be csr, csc or coo; write it again with save_npz",
        ),
        (short("csr", "indptr"), "x has no array indptr: write it again with scipy.sparse.save_npz(file, x.tocsr())"),
        (
            with("csr", "format", np1("", "False", "()", b"csr")),
            "x:format is of the type \"\" and the shape (): must be a word",
        ),
        (with("csr", "format", np1("\u{e9}", "False", "()", b"csr")), "must be a word"),
        (
            with("csr", "shape", np1("", "False", "(2,)", &[0; 16])),
            "x:shape is of the type \"\" and the shape (2): must be whole",
        ),
        (with("csr", "shape", np1("<i\u{e9}", "False", "(2,)", &[0; 16])), "must be whole numbers of 4 or 8 bytes"),
        (with("csr", "indices", np1("<i2", "False", "(3,)", &[0; 6])), "must be whole numbers of 4 or 8 bytes"),
        (with("csr", "format", whole(&[7])), "x:format is of the type \"<i8\" and the shape (1): must be a word"),
        (with("csr", "shape", whole(&[3])), "x has the shape (3): must be (examples, columns)"),
        (
            with("csr", "shape", reals(&[3.0, 4.0])),
            "x:shape is of the type \"<f8\" and the shape (2): must be whole numbers",
        ),
        (
            with("csr", "shape", whole(&[0, 4])),
            "x holds no numbers: its shape is (0 x 4), give a file with at least one example",
        ),
        (with("csr", "shape", whole(&[3, 0])), "x holds no numbers: its shape is (3 x 0)"),
        (
            with("csr", "shape", whole(&[3, -4])),
            "columns, and has 3 entries: must be at most 1048576, and 16 for each entry; leave out those without any",
        ),
        (
            with("coo", "shape", whole(&[1 << 40, 4])),
            "x claims 1099511627776 examples, and has 3 entries: must be at most 65536, and 16 for each entry",
        ),
        (with("csr", "shape", whole(&[4, 4])), "x has 4 beginnings of 4 rows: must have one more"),
        (with("csc", "indptr", whole(&[0, 3])), "x has 2 beginnings of 4 columns: must have one more"),
        (with("csr", "indptr", whole(&[0, 3, 2, 3])), "x: the beginnings of rows must rise from 0 to 3, the number of"),
        (with("csr", "indptr", whole(&[1, 2, 2, 3])), "must rise from 0 to 3"),
        (with("csr", "indptr", whole(&[0, 2, 2, 4])), "must rise from 0 to 3"),
        (with("csr", "indptr", whole(&[0, -1, 2, 3])), "must rise from 0 to 3"),
        (with("csr", "indices", whole(&[1, 4, 0])), "x: an entry is in column 4, of 4; they count from 0"),
        (with("csr", "indices", whole(&[1, -1, 0])), "x: an entry is in a column below 0, or beyond 32 bits, of 4"),
        (with("csr", "indices", whole(&[1, 3])), "x: 2 columns of 3 entries: must be as many"),
        (with("coo", "row", whole(&[0, 3, 1])), "x: an entry is in row 3, of 3; they count from 0"),
        (with("coo", "row", whole(&[0])), "x: 1 rows of 3 entries: must be as many"),
        (with("coo", "col", whole(&[0, 1])), "x: 2 columns of 3 entries: must be as many"),
        (with("csc", "indices", whole(&[0, 1, 3])), "of 3; they count from 0"),
        (with("csr", "data", word("csr")), "x:data is of the type \"|S3\" and the shape (): must be real numbers"),
        (
            with("csr", "data", reals(&[1.0, f64::NAN, 2.0])),
            "row 0, column 3 (counted from 0) of x is NaN: must be a number",
        ),
        (
            with("csr", "data", reals(&[1.0, 1e300, 2.0])),
            "row 0, column 3 (counted from 0) of x is inf: must be a finite",
        ),
    ] {
        let e = Dataset::from_bytes("x", &bytes).err().unwrap_or_else(|| panic!("was read; want {want}")).to_string();
        assert!(e.contains(want), "\n got: {e}\nwant: {want}");
    }
}
