//! What bytes stand for: found on the data that a model is trained on, and the same for every later file of it.
use crate::program::{folder, run};
use std::path::Path;
use std::sync::Arc;
use vae_gpu::Vae;
use vae_gpu::config::Likelihood;
use vae_gpu::data::{Bytes, Dataset};

const SMALL: &str = "--likelihood gaussian --hidden 5 --latent 2 --batch 8 --steps 9 --device cpu";

/// idx of bytes in rows of three.
fn write(path: &Path, bytes: &[u8]) {
    let mut file = vec![0, 0, 8, 2];
    [bytes.len() as u32 / 3, 3].iter().for_each(|n| file.extend(n.to_be_bytes()));
    file.extend(bytes);
    std::fs::write(path, file).unwrap();
}

/// Counts from 0 to 7. The first four rows have none above 1.
fn counts() -> Vec<u8> {
    let low = [0, 1, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0];
    low.into_iter().chain((0..108).map(|i| (i * 5 % 8) as u8)).collect()
}

fn read(path: &Path) -> Vec<f32> {
    Dataset::read(path).unwrap().to_rows()
}

#[test]
fn the_same_bytes_are_the_same_numbers_in_every_file_of_a_model() {
    let home = folder("bytes-same");
    let all = counts();
    write(&home.join("all.idx"), &all);
    write(&home.join("low.idx"), &all[..12]);
    let said = run(&home, &format!("train --data all.idx --valid low.idx {SMALL} --out run")).succeeded().stderr;
    let note = "low.idx: no byte exceeds 1; each is divided by 255, as those of the model's data\n";
    assert!(said.contains("all.idx: 40 examples of bytes / 255; model 3-5-2-5-3"), "{said}");
    assert_eq!(said.matches(note).count(), 1, "{said}");
    for command in ["encode run --data", "reconstruct run --data", "impute run --mask mask.csv --data"] {
        std::fs::write(home.join("mask.csv"), "1,1,1\n").unwrap();
        let rows = |file: &str| {
            let done = run(&home, &format!("{command} {file} --to {file}.npy --force --device cpu")).succeeded();
            (read(&home.join(format!("{file}.npy"))), done.stderr)
        };
        let ((all, quiet), (low, said)) = (rows("all.idx"), rows("low.idx"));
        assert_eq!(low, all[..low.len()], "{command}");
        assert!(said.contains(note) && !quiet.contains("bytes"), "{command}: {said}{quiet}");
    }
    let json = run(&home, "eval run --data low.idx --json --device cpu").succeeded();
    assert!(!json.stderr.contains(note), "{}", json.stderr);
    // The validation while it trained saw what eval sees.
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["examples"], 4);

    // Latents are no pixels.
    std::fs::write(home.join("z.idx"), [&[0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 2][..], &[2, 3]].concat()).unwrap();
    std::fs::write(home.join("z.csv"), "2,3\n").unwrap();
    let [bytes, text] = ["z.idx", "z.csv"].map(|file| {
        run(&home, &format!("decode run --data {file} --to {file}.npy --device cpu")).succeeded();
        read(&home.join(format!("{file}.npy")))
    });
    assert_eq!(bytes, text);

    // The library, with the files that the program had.
    let mut vae = Vae::open(home.join("run")).unwrap();
    let of = |file: &str| Arc::new(Dataset::read(&home.join(file)).unwrap());
    let low = vae.encode(&of("low.idx")).unwrap().mean;
    assert_eq!(low, vae.encode(&of("all.idx")).unwrap().mean[..8]);
    let builder = Vae::builder().hidden(&[5]).latent(2).likelihood(Likelihood::Gaussian).steps(3).device("cpu");
    let mut own = builder.valid(&of("low.idx")).fit(&of("all.idx")).unwrap();
    assert_eq!(own.run().data.bytes, Some(Bytes::Grey));
    assert_eq!(own.encode(&of("low.idx")).unwrap().mean, own.encode(&of("all.idx")).unwrap().mean[..8]);
}

#[test]
fn a_model_of_zeros_and_ones_knows_no_others() {
    let home = folder("bytes-binary");
    let all = counts();
    write(&home.join("low.idx"), &all.iter().map(|b| b % 2).collect::<Vec<_>>());
    write(&home.join("all.idx"), &all);
    write(&home.join("white.idx"), &all.iter().map(|b| b % 2 * 255).collect::<Vec<_>>());
    let said = run(&home, &format!("train --data low.idx {SMALL} --out run")).succeeded().stderr;
    assert!(said.contains("low.idx: 40 examples of bytes 0 and 1; model"), "{said}");
    run(&home, "eval run --data all.idx --device cpu --quiet").refused(
        1,
        "row 4, column 1 (counted from 0) of all.idx is the byte 5: must be 0 or 1, as all bytes of the model's data, which \
         stand for themselves; for grey values write byte / 255 as f4",
    );
    let eval = |file: &str| run(&home, &format!("eval run --data {file} --device cpu --json")).succeeded().stdout;
    assert_eq!(eval("white.idx"), eval("low.idx"), "black and white are 0 and 1");
}

/// A scaled model has the units of the file: that of bytes is that of the same numbers in a text.
#[test]
fn scaled_bytes_are_the_numbers_that_they_are() {
    let home = folder("bytes-scaled");
    let all = counts();
    let text = |rows: &[u8]| rows.chunks(3).map(|r| format!("{},{},{}\n", r[0], r[1], r[2])).collect::<String>();
    for (name, rows) in [("all", &all[..]), ("low", &all[..12])] {
        write(&home.join(format!("{name}.idx")), rows);
        std::fs::write(home.join(format!("{name}.csv")), text(rows)).unwrap();
    }
    for kind in ["idx", "csv"] {
        let line = format!("train --data all.{kind} --valid low.{kind} --scale standard {SMALL} --quiet --out {kind}");
        run(&home, &line).succeeded();
    }
    let tensors =
        |run: &str| vae_gpu::tensors::Tensors::read(&home.join(run).join("model.safetensors")).unwrap().tensors;
    assert_eq!(tensors("idx"), tensors("csv"));
    let said = |model: &str, kind: &str| {
        run(&home, &format!("reconstruct {model} --data low.{kind} --to back.npy --force --device cpu --quiet"))
            .succeeded();
        run(
            &home,
            &format!("impute {model} --data low.{kind} --mask low.csv --to filled.npy --force --device cpu --quiet"),
        )
        .succeeded();
        let eval = run(&home, &format!("eval {model} --data low.{kind} --json --device cpu")).succeeded().stdout;
        (read(&home.join("back.npy")), read(&home.join("filled.npy")), eval)
    };
    let want = said("csv", "csv");
    assert!(want.0.iter().any(|x| x.abs() > 0.1), "units of the file: {:?}", want.0);
    assert!([("csv", "idx"), ("idx", "csv"), ("idx", "idx")].iter().all(|(model, kind)| said(model, kind) == want));
    let of = |file: &str| Arc::new(Dataset::read(&home.join(file)).unwrap());
    let builder =
        Vae::builder().hidden(&[5]).latent(2).likelihood(Likelihood::Gaussian).steps(9).batch(8).device("cpu");
    let mut own =
        builder.scale(vae_gpu::data::scale::Rule::Standard).valid(&of("low.idx")).fit(&of("all.idx")).unwrap();
    assert_eq!(own.reconstruct(&of("low.idx")).unwrap(), want.0);
}

#[test]
fn a_run_from_before_bytes_were_kept_reads_each_file_by_itself() {
    let home = folder("bytes-before");
    let all = counts();
    write(&home.join("all.idx"), &all);
    write(&home.join("low.idx"), &all[..12]);
    run(&home, &format!("train --data all.idx --valid low.idx {SMALL} --quiet --out run")).succeeded();
    let config = std::fs::read_to_string(home.join("run/config.json")).unwrap();
    assert_eq!(config.matches("\"bytes\": \"grey\"").count(), 1, "{config}");
    let before: String =
        config.lines().filter(|line| !line.contains("\"bytes\"")).map(|l| l.to_string() + "\n").collect();
    let run: vae_gpu::config::Run = serde_json::from_str(&config).unwrap();
    let old: vae_gpu::config::Run = serde_json::from_str(&before).unwrap();
    assert_eq!(old.data.bytes, None);
    assert!(run.is(&old) && run.is(&run) && !old.is(&run), "a sweep goes on with it");
    let low = Dataset::read(&home.join("low.idx")).unwrap();
    assert_eq!(low.clone().with_bytes(old.data.bytes).unwrap().to_rows(), low.to_rows());
}
