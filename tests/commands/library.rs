//! The library as a user calls it: the same bytes as the program, nothing printed, errors as values.
use crate::program::{folder, run};
use std::sync::Arc;
use vae_gpu::checkpoint::Saved;
use vae_gpu::config::{self, Binarize, Likelihood};
use vae_gpu::data::scale::Rule;
use vae_gpu::data::{Dataset, Scale, digits};
use vae_gpu::tensors::Tensors;
use vae_gpu::trainer::{Progress, Watch};
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
