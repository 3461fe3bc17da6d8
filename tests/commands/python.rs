//! Models at the other end: opened by numpy and safetensors, and by torch where it is installed.
use crate::program::{folder, run, write_idx};
use std::path::Path;
use std::process::Command;
use vae_gpu::config::Likelihood;
use vae_gpu::data::{Asked, Columns, Dataset, Missing, npy};

/// What a script prints; None, with a word, where Python lacks these packages.
fn python(packages: &str, script: &str) -> Option<String> {
    let interpreter = std::env::var("PYTHON").unwrap_or("python3".into());
    let has = Command::new(&interpreter).args(["-c", &format!("import {packages}")]).output();
    if !has.is_ok_and(|output| output.status.success()) {
        println!("skipped: Python has no {packages}");
        return None;
    }
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools");
    let paths = std::env::var("PYTHONPATH").unwrap_or_default();
    let paths = format!("{}:{paths}", tools.display());
    let output = Command::new(&interpreter).args(["-c", script]).env("PYTHONPATH", paths).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

/// x as .npy, what the program makes of it, and how far vae_numpy.py is from that.
#[test]
fn numpy_rebuilds_encoder_and_decoder() {
    let home = folder("numpy");
    write_idx(&home.join("x.idx"), 60, 6);
    let x = Dataset::read(&home.join("x.idx")).unwrap();
    // As a model takes it: of grey values the bytes / 255, of columns that are scaled the bytes.
    let bytes: Vec<f32> = x.to_rows().iter().map(|x| (x * 255.0).round()).collect();
    for (name, values) in [("grey.npy", &x.to_rows()), ("bytes.npy", &bytes)] {
        npy::write(&mut std::fs::File::create(home.join(name)).unwrap(), 60, 36, values).unwrap();
    }
    let gaps: Vec<f32> = bytes.iter().enumerate().map(|(i, &x)| if i % 5 == 0 { f32::NAN } else { x }).collect();
    npy::write(&mut std::fs::File::create(home.join("gaps.npy")).unwrap(), 60, 36, &gaps).unwrap();
    let models = [
        "--hidden 17,9 --activation tanh",
        "--hidden 20 --activation gelu --likelihood gaussian --variance network",
        "--hidden 12 --activation softplus --likelihood gaussian --mean sigmoid",
        "--hidden 11,10,9 --activation sigmoid",
        "--hidden none --likelihood gaussian --variance shared",
        "--hidden 12 --likelihood gaussian --scale standard",
        "--hidden 12 --scale minmax",
        "--hidden 12 --likelihood gaussian --scale standard --missing allow --data gaps.npy",
        "--hidden 12 --likelihood poisson --lr 1e-4",
        "--hidden 12 --likelihood negative-binomial --dispersion network --missing allow --data gaps.npy",
        "--hidden 12 --likelihood gaussian --mean sigmoid --scale standard --poisson 3..7,30 --negative-binomial 8",
        "--hidden 12 --likelihood poisson --gaussian 0..5 --variance shared --init normal:0.001 --lr 1e-4",
        "--hidden 12 --likelihood gaussian --scale standard --categorical 3,7,35 --poisson 4",
        "--hidden 12 --likelihood multinomial --lr 1e-4",
        "--hidden 12 --likelihood negative-binomial --size-factor total --dispersion network --lr 1e-4",
    ];
    // As it is after it was read: a column for each word.
    let words = Asked { likelihoods: vec![(Likelihood::Categorical, "3,7,35".parse().unwrap())], ..Asked::default() };
    let words =
        Dataset::read_columns(&home.join("bytes.npy"), Columns::asked(words).as_ref(), Missing::Refuse).unwrap();
    let wide = &mut std::fs::File::create(home.join("words.npy")).unwrap();
    npy::write(wide, 60, words.cols, &words.to_rows()).unwrap();
    for (i, model) in models.iter().enumerate() {
        let train =
            format!("train --data x.idx --epochs 5 --latent 3 --batch 16 --device cpu --quiet --out run{i} {model}");
        run(&home, &train).succeeded();
        let x = match model {
            _ if model.contains("--missing") => "gaps.npy",
            _ if model.contains("--categorical") => "words.npy",
            _ if ["--scale", "poisson", "multinomial", "--size-factor"].iter().any(|of| model.contains(of)) => {
                "bytes.npy"
            }
            _ => "grey.npy",
        };
        let given = x.replace("words", "bytes");
        run(&home, &format!("encode run{i} --data {given} --to both{i}.npy --logvar --device cpu --quiet")).succeeded();
        run(&home, &format!("encode run{i} --data {given} --to mu{i}.npy --device cpu --quiet")).succeeded();
        run(&home, &format!("decode run{i} --data mu{i}.npy --to mean{i}.npy --device cpu --quiet")).succeeded();
        let deviations =
            format!("decode run{i} --data mu{i}.npy --deviations --to deviation{i}.npy --device cpu --quiet");
        run(&home, &deviations).succeeded();
        let at = |name: &str| home.join(name).display().to_string();
        let both = [format!("both{i}.npy"), format!("mean{i}.npy"), format!("deviation{i}.npy")];
        let files = [vec![at(&format!("run{i}")), at(x)], both.iter().map(|file| at(file)).collect()].concat();
        let script = format!("import vae_numpy; print(*vae_numpy.check(*{files:?}))");
        let Some(said) = python("numpy, safetensors", &script) else { return };
        for difference in said.split_whitespace() {
            let difference: f64 = difference.parse().unwrap();
            // f32 on one side, f64 on the other.
            assert!(difference < 1e-5, "{model}: {said}");
        }
    }
}

#[test]
fn torch_takes_the_layers() {
    let home = folder("torch");
    write_idx(&home.join("x.idx"), 60, 6);
    run(&home, "train --data x.idx --epochs 3 --hidden 9 --latent 3 --batch 16 --device cpu --quiet --out run")
        .succeeded();
    run(&home, "encode run --data x.idx --to mu.npy --device cpu --quiet").succeeded();
    let x = Dataset::read(&home.join("x.idx")).unwrap();
    npy::write(&mut std::fs::File::create(home.join("x.npy")).unwrap(), 60, 36, &x.to_rows()).unwrap();
    let script = format!(
        "import numpy, torch, vae_numpy
layers = vae_numpy.torch_layers({run:?})
with torch.no_grad():
    hidden = torch.relu(layers['encoder.0'](torch.from_numpy(numpy.load({x:?}))))
    print(float((layers['encoder.mu'](hidden) - torch.from_numpy(numpy.load({mu:?}))).abs().max()))",
        run = home.join("run"),
        x = home.join("x.npy"),
        mu = home.join("mu.npy"),
    );
    let Some(said) = python("torch, safetensors", &script) else { return };
    assert!(said.trim().parse::<f64>().unwrap() < 1e-5, "{said}"); // both in f32
}
