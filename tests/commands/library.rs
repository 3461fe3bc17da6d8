//! The library as a user calls it: the same bytes as the program, nothing printed, errors as values.
use crate::program::{folder, run};
use crate::runs;
use std::sync::Arc;
use vae_gpu::checkpoint::Saved;
use vae_gpu::config::{self, Binarize, Likelihood};
use vae_gpu::data::scale::Rule;
use vae_gpu::data::{Asked, Bytes, Columns, Dataset, Missing, Scale, Told, Values, digits};
use vae_gpu::device::Device;
use vae_gpu::impute::{Given, Imputer, Settings};
use vae_gpu::schedule::Schedule;
use vae_gpu::tensors::Tensors;
use vae_gpu::trainer::{Ending, Progress, Watch};
use vae_gpu::{Error, Vae};

/// Points near a line in 3 dimensions: x = z (1, 2, −1) + a little of something regular.
fn line(rows: usize) -> Arc<Dataset> {
    let point = |i: usize| {
        let z = (i as f32 * 0.7).sin() * 2.0;
        [z, 2.0 * z + (i as f32).cos() * 0.05, -z]
    };
    Arc::new(Dataset::from_rows("a line", 3, (0..rows).flat_map(point).collect()).unwrap())
}

#[test]
fn it_gives_the_bytes_of_the_program() {
    let home = folder("library");
    run(&home, "train --hidden 12 --latent 3 --steps 40 --seed 7 --device cpu --quiet --out run").succeeded();
    let (data, valid) = (Arc::new(digits::train()), Arc::new(digits::test()));
    let builder = || Vae::builder().hidden(&[12]).latent(3).steps(40).seed(7).device("cpu").valid(&valid);
    let vae = builder().fit(&data).unwrap();
    vae.save(home.join("mine.safetensors")).unwrap();
    let kept = builder().folder(home.join("kept")).fit(&data).unwrap();

    let tensors = |path: &str| Tensors::read(&home.join(path)).unwrap().tensors;
    assert_eq!(tensors("run/model.safetensors"), tensors("mine.safetensors"));
    assert_eq!(tensors("run/model.safetensors"), tensors("kept/model.safetensors"));
    let saved = |path: &str| Saved::read(&home.join(path)).unwrap();
    let (program, mine) = (saved("run"), saved("mine.safetensors"));
    assert_eq!(program.run.training, mine.run.training);
    assert_eq!(program.run.model, mine.run.model);
    assert_eq!(vae.history.len(), kept.history.len());
    assert_eq!(vae.history.last().unwrap().elbo, kept.history.last().unwrap().elbo);
    // What the program says of the model is what the library says, and what was said while it was trained.
    let said = run(&home, "eval mine.safetensors --data digits --seed 7 --json --device cpu").succeeded();
    let said: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    let elbo = vae.elbo(&valid).unwrap();
    assert_eq!(said["elbo"].as_f64().unwrap(), elbo.mean, "{said}");
}

#[test]
fn what_it_gives_has_the_shapes_and_the_meaning_that_it_says() {
    let data = line(300);
    let mut vae = Vae::builder()
        .hidden(&[])
        .latent(1)
        .likelihood(Likelihood::Gaussian)
        .sigma(0.2)
        .optimizer(config::Rule::Adam)
        .lr(0.02)
        .epochs(60)
        .batch(30)
        .device("cpu")
        .fit(&data)
        .unwrap();
    let z = vae.encode(&data).unwrap();
    assert_eq!((z.mean.len(), z.logvar.len()), (300, 300));
    let back = vae.decode(&z.mean).unwrap();
    assert_eq!(back, vae.reconstruct(&data).unwrap());
    let error: f32 = back.iter().zip(data.to_rows()).map(|(a, b)| (a - b).powi(2)).sum::<f32>() / 900.0;
    assert!(error < 0.05, "mean square error {error} of data with variance 4");
    assert_eq!(vae.sample(7, 1).unwrap().len(), 21);
    assert_eq!(vae.sample(7, 1).unwrap(), vae.sample(7, 1).unwrap());
    assert_ne!(vae.sample(7, 1).unwrap(), vae.sample(7, 2).unwrap());
    let e = vae.evaluate(&data, 50).unwrap();
    assert_eq!(e.elbo, vae.evaluate(&data, 50).unwrap().elbo);
    assert!(e.iwae.bound.mean >= e.elbo.mean, "{e:?}");

    let path = folder("library-saved").join("line.safetensors");
    vae.save(&path).unwrap();
    let mut again = Vae::open_on(&path, vae.device().clone()).unwrap();
    assert_eq!(again.encode(&data).unwrap(), z);
    assert_eq!(again.elbo(&data).unwrap(), vae.elbo(&data).unwrap());
}

#[test]
fn a_conditional_model_is_told_the_last_columns() {
    // x is one of two points; which, the condition says.
    let rows = (0..200).flat_map(|i| if i % 2 == 0 { [1.0, -1.0, 1.0, 0.0] } else { [-1.0, 1.0, 0.0, 1.0] });
    let data = Arc::new(Dataset::from_rows("two points", 4, rows.collect()).unwrap());
    let builder = Vae::builder().hidden(&[8]).latent(1).likelihood(Likelihood::Gaussian).sigma(0.1).lr(0.01);
    let mut vae = builder.condition(2).epochs(60).batch(20).device("cpu").fit(&data).unwrap();
    let drawn = vae.sample_given(&[1.0, 0.0, 0.0, 1.0], 3).unwrap();
    assert!(drawn.iter().zip([1.0, -1.0, -1.0, 1.0]).all(|(a, b)| (a - b).abs() < 0.3), "{drawn:?}");
    let e = vae.sample(2, 0).unwrap_err();
    assert_eq!(e.to_string(), "condition: 0 numbers; must be 2 rows of 2, one for each z");
    let e = vae.decode_given(&[0.0, 0.0], &[1.0, 0.0]).unwrap_err();
    assert_eq!(e.to_string(), "condition: 2 numbers; must be 2 rows of 2, one for each z");
    // The program takes the model too.
    let home = folder("library-conditional");
    vae.save(home.join("two.safetensors")).unwrap();
    std::fs::write(home.join("given.csv"), "1,0\n0,1\n").unwrap();
    run(&home, "sample two.safetensors --condition given.csv --count 2 --to drawn.npy --device cpu").succeeded();
}

#[test]
fn what_is_scaled_comes_back_in_its_units() {
    // Columns of a million and of a thousandth, a condition of thousands.
    let row = |i: usize| {
        let z = (i as f32 * 0.7).sin();
        [3e6 + 1e6 * z, 0.002 - 0.001 * z, if i.is_multiple_of(2) { 4000.0 } else { 6000.0 }]
    };
    let data = Arc::new(Dataset::from_rows("two units", 3, (0..300).flat_map(row).collect()).unwrap());
    let gaussian = || Vae::builder().hidden(&[]).latent(1).likelihood(Likelihood::Gaussian).sigma(0.1).lr(0.02);
    let builder = || gaussian().condition(1).epochs(60).batch(30).device("cpu").valid_fraction(0.1);
    let mut vae = builder().scale(Rule::Standard).fit(&data).unwrap();
    let back = vae.reconstruct(&data).unwrap();
    for (back, x) in back.chunks(2).zip(data.to_rows().chunks(3)) {
        assert!((back[0] - x[0]).abs() < 2e5 && (back[1] - x[1]).abs() < 2e-4, "{back:?} of {x:?}");
    }
    let (z, given) = (vae.encode(&data).unwrap().mean, data.columns(2..3));
    assert_eq!(vae.decode_given(&z, &given).unwrap(), back);

    // The same by hand: split, scaled, and then trained on without a scale.
    let (rest, held_out) = (*data).clone().split(0.1).unwrap();
    let scale = Scale::find(Rule::Standard, &rest, 3).unwrap();
    let [rest, held_out] = [rest, held_out].map(|part| Arc::new(scale.apply(part).unwrap()));
    let mut by_hand = gaussian().condition(1).epochs(60).batch(30).device("cpu").valid(&held_out).fit(&rest).unwrap();
    let seen = Arc::new(scale.apply((*data).clone()).unwrap());
    assert_eq!(by_hand.encode(&seen).unwrap().mean, z);
    assert_eq!(by_hand.elbo(&seen).unwrap(), vae.elbo(&data).unwrap());
}

/// Stops after so many stretches.
struct Stop(u32, u32);

impl Watch for Stop {
    fn progress(&mut self, _: &Progress) {
        self.1 += 1;
    }
    fn stop(&mut self) -> bool {
        self.1 >= self.0
    }
}

#[test]
fn who_watches_can_end_it_and_has_a_model() {
    let data = line(100);
    let mut stop = Stop(2, 0);
    let builder = Vae::builder().hidden(&[4]).latent(1).likelihood(Likelihood::Gaussian).batch(10).device("cpu");
    let vae = builder.steps(1_000_000).fit_watched(&data, &mut stop).unwrap();
    let steps = vae.outcome.as_ref().unwrap().steps;
    assert!(steps > 0 && steps < 1_000_000, "{steps} steps");
    vae.elbo(&data).unwrap();
}

/// As the program finds them, also those that a model is told, and to validate on.
#[test]
fn columns_are_found_by_their_names() {
    let home = folder("library-names");
    let row = |i: usize| [(i as f64).sin(), (i as f64).cos(), (i % 3) as f64];
    let file = |name: &str, titles: &str, order: [usize; 3]| {
        let line = |i: usize| order.map(|j| row(i)[j].to_string()).join(",") + "\n";
        let text = format!("{titles}\n") + &(0..60).map(line).collect::<String>();
        std::fs::write(home.join(name), text).unwrap();
        Arc::new(Dataset::read(&home.join(name)).unwrap())
    };
    let data = file("x.csv", "a,b,c", [0, 1, 2]);
    let turned = file("turned.csv", "c,b,a", [2, 1, 0]);
    let foreign = file("foreign.csv", "u,v,w", [0, 1, 2]);
    let small = || {
        let small = Vae::builder().hidden(&[5]).latent(2).likelihood(Likelihood::Gaussian);
        small.steps(30).batch(10).device("cpu")
    };
    let elbo = |valid: &Arc<Dataset>| small().valid(valid).fit(&data).unwrap().outcome.unwrap().valid.unwrap().elbo;
    assert_eq!(elbo(&turned), elbo(&data));
    let e = small().valid(&foreign).fit(&data).unwrap_err().to_string();
    assert!(e.contains("foreign.csv has no column of this name"), "{e}");

    let line = "--likelihood gaussian --hidden 5 --latent 2 --steps 30 --device cpu --quiet";
    for (told, out) in
        [("--condition b", "by-name"), ("--past 0..2 --future 2..3", "past"), ("--condition 0..1", "place")]
    {
        run(&home, &format!("train --data x.csv {told} {line} --out {out}")).succeeded();
        let vae = Vae::open_on(home.join(out), Device::find("cpu", config::Numbers::Fp32).unwrap().0).unwrap();
        let said = run(&home, &format!("eval {out} --data turned.csv --json --device cpu")).succeeded();
        let said: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
        for data in [&data, &turned] {
            assert_eq!(vae.elbo(data).unwrap().mean, said["elbo"].as_f64().unwrap(), "{told}: {}", data.name);
        }
        let e = vae.elbo(&foreign).unwrap_err().to_string();
        assert!(e.contains("foreign.csv has no column of this name"), "{told}: {e}");
    }
    // What is asked for as the last, by name or by place.
    let asked = |last: &str| {
        let columns = Columns::asked(Asked { told: Some(Told::Condition(last.parse().unwrap())), ..Asked::default() });
        Dataset::read_columns(&home.join("x.csv"), columns.as_ref(), Missing::Refuse).unwrap()
    };
    assert_eq!(asked("a").to_rows(), asked("0").to_rows());
    assert_eq!(asked("0").columns.names, ["b", "c", "a"]);
}

/// Classes are what a model of the program is told, and the other way round.
#[test]
fn a_model_of_classes_is_that_of_the_program() {
    let home = folder("library-classes");
    let with = |data: Dataset| Arc::new(data.with_classes(10).unwrap());
    let (data, valid) = (with(digits::train()), with(digits::test()));
    for (i, (options, rule)) in
        [("", Rule::None), ("--likelihood gaussian --scale minmax", Rule::Minmax)].into_iter().enumerate()
    {
        let line = format!("train --condition labels --hidden 9 --latent 2 --steps 30 --seed 3 --device cpu {options}");
        run(&home, &format!("{line} --quiet --out run{i}")).succeeded();
        let builder = Vae::builder().hidden(&[9]).latent(2).steps(30).seed(3).device("cpu").condition(10).scale(rule);
        let likelihood = if rule == Rule::None { Likelihood::Bernoulli } else { Likelihood::Gaussian };
        let vae = builder.likelihood(likelihood).valid(&valid).fit(&data).unwrap();
        vae.save(home.join("mine.safetensors")).unwrap();
        let tensors = |path: &str| Tensors::read(&home.join(path)).unwrap().tensors;
        assert!(tensors(&format!("run{i}/model.safetensors")) == tensors("mine.safetensors"), "{options}");
        // Labels are enough.
        assert_eq!(vae.elbo(&Arc::new(digits::test())).unwrap(), vae.elbo(&valid).unwrap());
        run(&home, "sample mine.safetensors --condition 7 --count 3 --to drawn.npy --force --device cpu").succeeded();
        run(&home, "eval mine.safetensors --data digits --device cpu").succeeded();
    }
}

/// What a training leaves in a folder, the program goes on with: to the bytes of one that nobody stopped.
#[test]
fn a_run_in_a_folder_is_resumed_by_the_program() {
    let home = folder("library-resumed");
    let cells = |i: usize| format!("{},{}\n", (i as f64).sin(), (i as f64 * 0.3).cos());
    let gaps = |i: usize| if i % 7 == 3 { format!("{},\n", (i as f64).sin()) } else { cells(i) };
    let file = |name: &str, cells: &dyn Fn(usize) -> String| {
        let path = home.join(name);
        std::fs::write(&path, "a,b\n".to_string() + &(0..200).map(cells).collect::<String>()).unwrap();
        Arc::new(Dataset::read_columns(&path, None, Missing::Allow).unwrap())
    };
    let (data, valid) = (file("x.csv", &gaps), file("valid.csv", &cells));
    let small = || {
        let small = Vae::builder().hidden(&[5]).latent(2).likelihood(Likelihood::Gaussian).missing(Missing::Allow);
        small.scale(Rule::Standard).epochs(400).batch(10).device("cpu")
    };
    for (i, builder) in [small(), small().valid_fraction(0.2), small().valid(&valid)].into_iter().enumerate() {
        let fit = |out: &str, watch: &mut dyn Watch| {
            builder.clone().folder(home.join(format!("{out}{i}"))).fit_watched(&data, watch).unwrap()
        };
        let whole = fit("whole", &mut ());
        assert!(fit("cut", &mut Stop(2, 0)).outcome.unwrap().steps < whole.outcome.as_ref().unwrap().steps);
        run(&home, &format!("train --resume cut{i} --device cpu --quiet")).succeeded();
        let [cut, want] = ["cut", "whole"].map(|out| runs::tensors(&home.join(format!("{out}{i}"))));
        assert!(cut == want, "{i}");
        assert!(whole.run().data.log_volume.is_some());
    }
}

#[test]
fn patience_is_for_data_to_validate_on_too() {
    let data = line(100);
    let mut builder = Vae::builder().hidden(&[4]).latent(1).likelihood(Likelihood::Gaussian).valid(&data).device("cpu");
    builder.training.patience = 3;
    let outcome = builder.lr(1e-20).epochs(50).batch(50).fit(&data).unwrap().outcome.unwrap();
    assert_eq!((outcome.ending, outcome.steps), (Ending::Patience, 8));
}

#[test]
fn bytes_from_memory_may_be_zeros_and_ones() {
    let bytes = || Dataset::new("m", 2, Values::Bytes(vec![0, 1, 1, 0]));
    let ones = bytes().with_bytes(Some(Bytes::Binary)).unwrap().to_rows();
    assert_eq!(ones, Dataset::from_byte_rows("m", 2, vec![0, 1, 1, 0]).unwrap().to_rows());
    assert_eq!(Dataset::from_byte_rows("m", 2, vec![0, 1, 255, 0]).unwrap().to_rows()[1..3], [1.0 / 255.0, 1.0]);
    assert!(
        Dataset::from_byte_rows("m", 2, vec![0, 1, 255]).is_err() && Dataset::from_byte_rows("m", 0, vec![]).is_err()
    );
}

/// Put together by hand, or with settings that no option can spell: a sentence, and no panic.
#[test]
fn what_no_file_and_no_option_could_say_is_refused() {
    let data = line(50);
    let builder = || Vae::builder().hidden(&[4]).latent(2).batch(10).steps(20).device("cpu");
    let gaussian = || builder().likelihood(Likelihood::Gaussian);
    let with = |change: fn(&mut vae_gpu::Builder)| {
        let mut builder = gaussian();
        change(&mut builder);
        builder.fit(&line(50))
    };
    let made = |values: Values, cols: usize, labels: Option<Vec<u8>>| {
        Arc::new(Dataset { labels, ..Dataset::new("made", cols, values) })
    };
    let fit = |data: Arc<Dataset>| gaussian().fit(&data);
    let empty = || made(Values::Reals(vec![]), 3, None);
    let wide = Dataset::from_sparse_rows("wide", 1 << 30, vec![0, 1, 1], vec![5], vec![1.0]).unwrap();
    for (result, want) in [
        (
            with(|b| b.training.lr_schedule = Schedule::Step { epochs: 0, factor: 0.5 }),
            "lr-schedule step:0:0.5: must be",
        ),
        (
            with(|b| b.training.lr_schedule = Schedule::Step { epochs: 1, factor: -1.0 }),
            "lr-schedule step:1:-1: must be",
        ),
        (with(|b| b.training.init = config::Init::Normal(-1.0)), "init normal:-1: must be"),
        (with(|b| b.training.init = config::Init::Normal(f64::NAN)), "init normal:NaN: must be"),
        (gaussian().scale(Rule::Standard).columns(Likelihood::Bernoulli, 5..6).fit(&data), "of the 3 of x"),
        (fit(made(Values::Reals(vec![0.0; 10]), 3, None)), "10 numbers; must be whole rows of 3"),
        (fit(made(Values::Bytes(vec![0; 10]), 3, None)), "10 numbers; must be whole rows of 3"),
        (fit(made(Values::Reals(vec![]), 0, None)), "0 numbers; must be whole rows of 0"),
        (fit(empty()), "0 numbers; must be whole rows of 3, at least one"),
        (gaussian().valid(&empty()).fit(&data), "0 numbers; must be whole rows of 3, at least one"),
        (fit(made(Values::Reals(vec![0.0; 9]), 3, Some(vec![0; 2]))), "has 3 examples, but there are 2 labels"),
        (fit(Arc::new(wide)), "columns 1073741824: must be at most 67108864"),
        (gaussian().folder("").fit(&data), "folder: its name is empty"),
        (builder().scale(Rule::Standard).fit(&data), "take Likelihood::Gaussian, or scale::Rule::Minmax in place"),
        (builder().likelihood(Likelihood::Poisson).fit(&data), "take Likelihood::Gaussian, or leave the example out"),
    ] {
        let sentence = result.unwrap_err().to_string();
        assert!(sentence.contains(want), "{sentence}");
    }
    assert!(Dataset::from_sparse_rows("wide", usize::MAX, vec![0, 1, 1], vec![5], vec![1.0]).is_err());
    for classes in [0, 257, usize::MAX] {
        let e = digits::test().with_classes(classes).unwrap_err().to_string();
        assert!(e.ends_with("classes; must be from 1 to 256"), "{e}");
    }
    let mut vae = gaussian().fit(&data).unwrap();
    assert!(vae.elbo(&empty()).is_err() && vae.encode(&made(Values::Reals(vec![0.0; 10]), 3, None)).is_err());
    for count in [100_000_000_000, 1 << 63, usize::MAX] {
        let e = vae.sample(count, 0).unwrap_err().to_string();
        assert!(e.starts_with(&format!("{count} draws take ")), "{e}");
    }
    let given = |cols: usize| {
        Given::beside(&Dataset::from_rows_with_missing("g", cols, vec![f32::NAN; cols]).unwrap(), cols, None)
    };
    let mut imputer = Imputer::open(vae.saved(), vae.device()).unwrap();
    let settings = Settings { samples: 2, sweeps: 1, draws: 1, noise: None, seed: 0 };
    assert!(imputer.mean(&given(3).unwrap(), &settings).is_ok());
    assert!(imputer.mean(&given(4).unwrap(), &settings).is_err());
    assert!(imputer.mean(&given(3).unwrap(), &Settings { draws: 0, ..settings }).is_err());
}

#[test]
fn what_cannot_be_is_an_error_that_says_so() {
    let data = line(100);
    let refused = |result: Result<Vae, Error>| match result {
        Ok(_) => panic!("was accepted"),
        Err(e) => e.to_string(),
    };
    let plain = || Vae::builder().hidden(&[4]).latent(2).device("cpu");
    let gaussian = || plain().likelihood(Likelihood::Gaussian);
    for (result, want) in [
        (plain().fit(&data), "must be in [0, 1] for the Bernoulli likelihood"),
        (gaussian().latent(0).fit(&data), "latent 0: must be at least 1"),
        (gaussian().epochs(0).fit(&data), "epochs 0: must be at least 1"),
        (gaussian().batch(0).fit(&data), "batch 0: must be at least 1"),
        (gaussian().sigma(0.0).fit(&data), "sigma 0: must be a positive number"),
        (gaussian().lr(f64::NAN).fit(&data), "lr NaN: must be a positive number"),
        (gaussian().condition(3).fit(&data), "at least one must be left"),
        (gaussian().valid_fraction(1.5).fit(&data), "valid-fraction 1.5: must be more than 0 and less than 1"),
        (gaussian().device("gpu").fit(&data), "device gpu: must be auto, cpu, cuda or cuda:N"),
        (gaussian().lr(1e30).epochs(3).fit(&data), "nothing is kept"),
        (gaussian().valid(&Arc::new(digits::test().first(9))).fit(&data), "must have 3"),
        (Vae::open("nowhere"), "there is no such file"),
    ] {
        let sentence = refused(result);
        assert!(sentence.contains(want), "{sentence}");
    }
    let mut vae = gaussian().steps(3).binarize(Binarize::None).fit(&data).unwrap();
    assert_eq!(vae.decode(&[0.0; 3]).unwrap_err().to_string(), "z: 3 numbers; must be whole rows of 2");
    assert!(vae.elbo(&Arc::new(digits::test().first(2))).unwrap_err().to_string().contains("must have 3"));
    assert!(vae.evaluate(&data, 0).is_err() && vae.sample_given(&[1.0], 0).is_err());
    for (cols, values, want) in [
        (0, vec![1.0], "1 numbers; must be whole rows of 0"),
        (2, vec![], "0 numbers; must be whole rows of 2"),
        (2, vec![1.0; 3], "3 numbers; must be whole rows of 2"),
        (1, vec![0.0, f32::NAN], "row 1, column 0 (counted from 0) of x is NaN: must be finite"),
    ] {
        let sentence = Dataset::from_rows("x", cols, values).unwrap_err().to_string();
        assert!(sentence.contains(want), "{sentence}");
    }
}
