//! Files that NumPy, SciPy, Pillow and safetensors wrote, and what they read from them: see `written/write.py`. And which of
//! several arrays is read.
use std::path::{Path, PathBuf};

use vae_gpu::data::{Dataset, Shape, Values};

use super::archive::{deflated, png, safetensors, stored, zip};
use super::{File, all_rows, gz, np1, read};

fn written(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/written").join(name)
}

/// A folder of files that lives as long as the test needs it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, files: &[(&str, &[u8])]) -> Self {
        let path = std::env::temp_dir().join(format!("vae-gpu-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        files.iter().for_each(|(file, bytes)| std::fs::write(path.join(file), bytes).unwrap());
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

#[test]
fn what_others_wrote_is_read_as_they_read_it() {
    let grey = |height, width| Some(Shape { height, width, channels: 1 });
    let colour = |height, width| Some(Shape { height, width, channels: 3 });
    let mut cases = vec![
        ("stored.npz", "stored", None),
        ("stored.npz:x", "stored", None),
        ("deflated.npz", "deflated", None),
        ("several.npz:train", "several", grey(2, 3)),
        ("several.npz:test", "several-test", None),
        ("streamed.npz", "streamed", grey(4, 2)),
        ("wide.npz", "wide", None),
        ("grey", "grey", grey(4, 2)),
        ("colour", "colour", colour(4, 3)),
        ("deep", "deep", grey(3, 5)),
        ("deep-colour", "deep-colour", colour(2, 2)),
        ("interlaced.png", "interlaced", grey(2, 2)),
    ];
    let sparse = ["csr", "csc", "coo", "csr-i64", "csc-u8", "coo-bool"];
    let files = sparse.map(|name| format!("{name}.npz"));
    cases.extend(sparse.iter().zip(&files).map(|(&name, file)| (&file[..], name, None)));
    let kinds = ["f32", "f64", "f16", "bf16", "i8", "u8", "i32", "i64", "bool"];
    let names = kinds.map(|kind| format!("{kind}.safetensors"));
    cases.extend(kinds.iter().zip(&names).map(|(&kind, name)| (&name[..], kind, None)));
    for (file, want, shape) in cases {
        let got = Dataset::read(&written(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        let want = Dataset::read(&written(&format!("{want}.npy"))).unwrap();
        assert_eq!((got.rows(), got.cols, got.shape), (want.rows(), want.cols, shape), "{file}");
        assert_eq!(all_rows(&got), all_rows(&want), "{file}");
    }
    for file in files {
        assert!(matches!(Dataset::read(&written(&file)).unwrap().values, Values::Sparse(_)), "{file}");
    }
    // Pictures and bytes stay bytes.
    for file in ["streamed.npz", "grey", "colour", "u8.safetensors"] {
        assert!(matches!(Dataset::read(&written(file)).unwrap().values, Values::Bytes(_)), "{file}");
    }
}

#[test]
fn packed_by_gzip_is_read_where_it_can_be() {
    let tensors = std::fs::read(written("f32.safetensors")).unwrap();
    let (plain, packed) = (read("f.safetensors", &tensors).unwrap(), read("f.safetensors.gz", &gz(&tensors)).unwrap());
    assert_eq!(plain.values, packed.values);
    for file in ["stored.npz", "interlaced.png"] {
        let bytes = std::fs::read(written(file)).unwrap();
        let sentence = read(file, &gz(&bytes)).unwrap_err().to_string();
        assert!(sentence.ends_with("packed by gzip or through a pipe: give the file itself"), "{sentence}");
    }
}

#[test]
fn the_order_of_pictures_is_that_of_their_names() {
    let one = |grey: u8| png(1, 1, 8, 0, &[], &[0, grey]);
    let files: [(&str, &[u8]); 4] =
        [("b.png", &one(2)), ("a", &one(1)), (".hidden", b"no picture"), ("c.PNG", &one(3))];
    let folder = Folder::new("order", &files);
    let data = Dataset::read(&folder.0).unwrap();
    assert_eq!((data.values, data.shape), (Values::Bytes(vec![1, 2, 3]), Some((1, 1).into())));
}

/// An alpha channel says nothing where all of it is opaque.
#[test]
fn a_picture_with_an_opaque_alpha_channel_is_that_without() {
    let bytes = |values: &[u8]| Values::Bytes(values.to_vec());
    let reals = |values: &[u16]| Values::Reals(values.iter().map(|&x| f32::from(x) / 65535.0).collect());
    for (name, with, want) in [
        ("rgb", png(1, 2, 8, 6, &[], &[0, 1, 2, 3, 255, 0, 4, 5, 6, 255]), bytes(&[1, 2, 3, 4, 5, 6])),
        ("grey", png(2, 1, 8, 4, &[], &[0, 1, 255, 2, 255]), bytes(&[1, 2])),
        ("deep", png(2, 1, 16, 4, &[], &[0, 1, 2, 255, 255, 3, 4, 255, 255]), reals(&[0x102, 0x304])),
        ("key", png(2, 1, 8, 0, &[(b"tRNS", &[0, 9])], &[0, 7, 8]), bytes(&[7, 8])),
    ] {
        let folder = Folder::new(&format!("opaque-{name}"), &[("a", &with)]);
        assert_eq!(Dataset::read(&folder.0).unwrap().values, want, "{name}");
    }
    let plain = png(1, 1, 8, 2, &[], &[0, 1, 2, 3]);
    let folder = Folder::new("opaque-beside", &[("a", &plain), ("b", &png(1, 1, 8, 6, &[], &[0, 4, 5, 6, 255]))]);
    assert_eq!(Dataset::read(&folder.0).unwrap().values, bytes(&[1, 2, 3, 4, 5, 6]));
    let sentence = read("some.png", &png(1, 1, 16, 4, &[], &[0, 1, 2, 255, 254])).unwrap_err().to_string();
    assert!(sentence.contains("some.png is transparent in places"), "{sentence}");
}

#[test]
fn a_folder_that_is_not_of_pictures_alike_becomes_a_sentence() {
    let grey = png(2, 1, 8, 0, &[], &[0, 1, 2]);
    let wide = png(3, 1, 8, 0, &[], &[0, 1, 2, 3]);
    let coloured = png(2, 1, 8, 2, &[], &[0, 1, 2, 3, 4, 5, 6]);
    let deep = png(2, 1, 16, 0, &[], &[0, 1, 2, 3, 4]);
    let broken = &grey[..grey.len() - 20];
    for (name, other, want) in [
        ("text", &b"hello"[..], "b is not a PNG: move what is no picture out of the folder"),
        ("nothing", b"", "b is not a PNG"),
        ("wide", &wide, "b is 3 x 1 pixels of grey in 8 bits, but "),
        ("coloured", &coloured, "b is 2 x 1 pixels of RGB in 8 bits, but "),
        ("deep", &deep, "a is 2 x 1 pixels of grey in 8 bits: all pictures of a folder must be of one size and kind"),
        ("cut", broken, "b is a PNG that is cut short or damaged"),
    ] {
        let folder = Folder::new(name, &[("a", &grey), ("b", other)]);
        let error = Dataset::read(&folder.0).unwrap_err();
        assert!(error.to_string().contains(want), "{name}:\n got: {error}\nwant: {want}");
        assert_eq!(error.exit_code(), 1);
    }
    let white = png(7000, 7000, 8, 0, &[], &vec![0; 7000 * 7001]);
    let folder = Folder::new("white", &[("a", &white), ("b", &white)]);
    let sentence = Dataset::read(&folder.0).unwrap_err().to_string();
    assert!(
        sentence.contains(" claims 2 pictures of 7000 x 7000 pixels of grey in 8 bits, more than the 7"),
        "{sentence}"
    );
    let empty = Folder::new("empty", &[(".hidden", &grey)]);
    let sentence = Dataset::read(&empty.0).unwrap_err().to_string();
    assert!(sentence.contains("is a folder without pictures: put PNG files of one size into it"), "{sentence}");
    std::fs::create_dir(empty.0.join("inside")).unwrap();
    let sentence = Dataset::read(&empty.0).unwrap_err().to_string();
    assert!(sentence.contains("inside is not a PNG: move what is no picture out"), "{sentence}");
}

#[test]
fn an_array_by_its_name_or_the_only_one() {
    let f4 = |rows: usize, from: f32| -> Vec<u8> {
        let bytes: Vec<u8> = (0..2 * rows).flat_map(|i| (from + i as f32).to_le_bytes()).collect();
        np1("<f4", "False", &format!("({rows}, 2)"), &bytes)
    };
    let classes = np1("|u1", "False", "(2,)", &[3, 4]);
    let half = np1("<f8", "False", "(2,)", &[0; 16]);
    let file = |entries: &[(&str, &[u8])]| {
        let entries: Vec<_> = entries.iter().map(|(name, bytes)| deflated(name, bytes)).collect();
        File::new("arrays.npz", &zip(&entries))
    };
    let path = |file: &File, array: &str| PathBuf::from(format!("{}:{array}", file.0.display()));
    let first = |path: &Path| all_rows(&Dataset::read(path).unwrap())[0];

    let two = file(&[("train.npy", &f4(3, 1.0)), ("test.npy", &f4(1, 9.0)), ("y.npy", &classes)]);
    assert_eq!((first(&path(&two, "train")), first(&path(&two, "test"))), (1.0, 9.0));
    assert_eq!(all_rows(&Dataset::read(&path(&two, "y")).unwrap()), [3.0 / 255.0, 4.0 / 255.0]);
    assert!(Dataset::read(&path(&two, "train")).unwrap().name.ends_with("arrays.npz:train"));
    // Its labels are passed over; what is named so and is none is not.
    assert_eq!(first(&file(&[("x.npy", &f4(3, 7.0)), ("labels.npy", &classes)]).0), 7.0);
    // A file of the whole name goes first.
    let literal = path(&two, "train");
    std::fs::write(&literal, b"5,6\n").unwrap();
    let got = first(&literal);
    std::fs::remove_file(&literal).unwrap();
    assert_eq!(got, 5.0);

    let of_halves = file(&[("x.npy", &f4(3, 7.0)), ("y.npy", &half)]);
    let tensors = |header: &str| File::new("t.safetensors", &safetensors(header, &[0; 16]));
    let entry = |name: &str, shape: &str, from: usize| {
        format!("\"{name}\":{{\"dtype\":\"F32\",\"shape\":{shape},\"data_offsets\":[{from},{}]}}", from + 8)
    };
    let both = tensors(&format!("{{{},{}}}", entry("a", "[2,1]", 0), entry("b", "[1,2]", 8)));
    let csv = File::new("table.csv", b"1,2\n");
    for (path, want) in [
        (two.0.clone(), "arrays.npz holds 3 arrays, train, test, y: name one, as --data "),
        (two.0.clone(), "arrays.npz:train"),
        (of_halves.0.clone(), "arrays.npz holds 2 arrays, x, y: name one"),
        (path(&two, "x"), "arrays.npz has no array x: it has train, test, y; name one, as --data "),
        (both.0.clone(), "t.safetensors holds 2 arrays, a, b: name one, as --data "),
        (path(&both, "c"), "t.safetensors has no array c: it has a, b; name one"),
        (path(&csv, "a"), "table.csv:a: only .npz and .safetensors hold arrays by name; pass "),
        (written("interlaced.png:a"), "interlaced.png:a: only .npz and .safetensors hold arrays by name"),
    ] {
        let error = Dataset::read(&path).unwrap_err();
        assert!(error.to_string().contains(want), "{}:\n got: {error}\nwant: {want}", path.display());
        assert_eq!(error.exit_code(), 2, "{error}");
    }
    let vector = tensors(&format!("{{{},{}}}", entry("mean", "[2]", 0), entry("x", "[1,2]", 8)));
    assert_eq!(Dataset::read(&vector.0).unwrap().cols, 2, "the one tensor with examples and their numbers");
    let absent = std::env::temp_dir().join("no-such-file.npz:x");
    assert!(
        Dataset::read(&absent).unwrap_err().to_string().contains("no-such-file.npz:x cannot be read: No such file")
    );
    // An archive may hold other files, and names that are no names.
    let notes = zip(&[stored("notes.txt", b"hello"), stored("\u{1b}[2J\n.npy", &f4(3, 2.0))]);
    assert_eq!(all_rows(&read("notes.npz", &notes).unwrap())[0], 2.0);
}
