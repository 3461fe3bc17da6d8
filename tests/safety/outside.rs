//! Files from outside, through the program: pictures, arrays by name, and files that are too much for it.
use crate::archive;
use crate::program::{Outcome, folder, run};
use std::fs;
use std::path::Path;

/// `count` pictures of 5 × 6 pixels with `channels` colours.
fn write_pictures(folder: &Path, count: u32, channels: u32) {
    fs::create_dir_all(folder).unwrap();
    for i in 0..count {
        let line = |y: u32| (0..6 * channels).map(move |x| (40 * (x % channels) + 20 * y + 13 * i) as u8);
        let rows: Vec<u8> = (0..5).flat_map(|y| std::iter::once(0).chain(line(y))).collect();
        let colour = if channels == 3 { 2 } else { 0 };
        fs::write(folder.join(format!("{i:03}.png")), archive::png(6, 5, 8, colour, &[], &rows)).unwrap();
    }
}

fn shape_in(config: &Path) -> serde_json::Value {
    let config: serde_json::Value = serde_json::from_slice(&fs::read(config).unwrap()).unwrap();
    config["data"]["shape"].clone()
}

/// Colour and depth of a PNG, as its header has them.
fn kind(path: &Path) -> (u8, u8) {
    let bytes = fs::read(path).unwrap();
    (bytes[25], bytes[24])
}

#[test]
fn a_model_of_coloured_pictures_draws_in_colour() {
    let home = folder("outside-colour");
    write_pictures(&home.join("faces"), 20, 3);
    run(&home, "train --data faces --epochs 2 --hidden 8 --latent 2 --out run --device cpu --quiet").succeeded();
    assert_eq!(shape_in(&home.join("run/config.json")), serde_json::json!([5, 6, 3]));
    assert_eq!((kind(&home.join("run/samples.png")), kind(&home.join("run/reconstructions.png"))), ((2, 8), (2, 8)));
    // One of the pictures is data as well.
    run(&home, "reconstruct run --data faces/007.png --to one.npy --device cpu").succeeded();
    let one = vae_gpu::data::Dataset::read(&home.join("one.npy")).unwrap();
    assert_eq!((one.rows(), one.cols), (1, 90));
}

#[test]
fn the_shape_of_grey_pictures_stays_two_numbers() {
    let home = folder("outside-grey");
    write_pictures(&home.join("faces"), 20, 1);
    run(&home, "train --data faces --epochs 1 --hidden 8 --latent 2 --out run --device cpu --quiet").succeeded();
    assert_eq!(shape_in(&home.join("run/config.json")), serde_json::json!([5, 6]));
    run(&home, "sample run --count 3 --to s.png --device cpu").succeeded();
    assert_eq!(kind(&home.join("s.png")), (0, 8));
    run(&home, "eval run --data faces --device cpu --json").succeeded();
}

#[test]
fn one_of_several_arrays_is_asked_for_by_name() {
    let home = folder("outside-arrays");
    let array = |rows: usize| {
        let mut file = Vec::new();
        vae_gpu::data::npy::write(&mut file, rows, 3, &vec![0.5; rows * 3]).unwrap();
        file
    };
    let (train, test) = (array(9), array(2));
    let entries = [archive::deflated("train.npy", &train), archive::stored("test.npy", &test)];
    fs::write(home.join("a.npz"), archive::zip(&entries)).unwrap();
    let train = |rest: &str| run(&home, &format!("train {rest} --epochs 1 --hidden 4 --latent 1 --device cpu --quiet"));
    train("--data a.npz").refused(2, "a.npz holds 2 arrays, train, test: name one, as --data a.npz:train");
    train("--data a.npz:x").refused(2, "a.npz has no array x: it has train, test; name one, as --data a.npz:train");
    train("--data a.npz:train --valid a.npz:test --out run").succeeded();
    let config: serde_json::Value = serde_json::from_slice(&fs::read(home.join("run/config.json")).unwrap()).unwrap();
    assert_eq!((&config["data"]["train"], &config["data"]["rows"]), (&"a.npz:train".into(), &9.into()));
    run(&home, "eval run --data a.npz:test --device cpu --json").succeeded();
}

/// A header that the length of the file covers is believed; if there is no memory for it, that is a sentence.
#[test]
fn too_little_memory_is_no_abort() {
    let home = folder("outside-memory");
    let sparse = fs::File::create(home.join("sparse.idx")).unwrap();
    let header = [0, 0, 8, 2, 0, 0, 0x10, 0, 0, 0x20, 0, 0]; // 4096 x 2097152
    std::io::Write::write_all(&mut &sparse, &header).unwrap();
    if let Err(e) = sparse.set_len(header.len() as u64 + (8 << 30)) {
        println!("skipped: no file of 8 GiB can be made here, though it takes no room: {e}");
        return;
    }
    let program = env!("CARGO_BIN_EXE_vae-gpu");
    // 4 GiB of addresses.
    let line = format!("ulimit -v 4194304 && exec {program} train --data sparse.idx --device cpu");
    let output = std::process::Command::new("bash").args(["-c", &line]).current_dir(&home).output().unwrap();
    Outcome::of(output)
        .refused(1, "sparse.idx takes 8589934592 bytes of memory, more than there are: give fewer examples");
}
