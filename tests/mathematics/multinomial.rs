//! `--likelihood multinomial`: what is learned of the shares of counts is as likely as what they were drawn from, every estimate
//! is that of an integral over z, with gaps too; what is drawn has its total, and the frequencies of its shares.
use crate::exact::{estimates_are, every_command, mean, over_z, points, write_csv};
use crate::models::of_every_likelihood;
use crate::numbers::Numbers;
use crate::program::{folder, run};
use std::path::Path;
use std::sync::Arc;
use vae_gpu::Vae;
use vae_gpu::arena::Layout;
use vae_gpu::config::{Likelihood, Model};
use vae_gpu::data::{Dataset, Missing, npy};
use vae_gpu::device::{Backend, Cpu, MISSING, Real};
use vae_gpu::step::Step;
use vae_gpu::tensors::Tensors;

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
const COLS: usize = NAMES.len();

/// Shares ∝ exp(b_j + w_j z), with one z ~ N(0, 1).
struct Truth {
    w: Vec<f64>,
    b: Vec<f64>,
}

impl Truth {
    fn new() -> Truth {
        Truth { w: vec![1.0, -0.7, 0.4, 0.0, -1.2, 0.2], b: vec![0.0, 1.0, -1.0, 0.5, -0.5, -3.0] }
    }

    /// What a run has learned, with a linear decoder and one latent.
    fn learned(run: &Path) -> Truth {
        let file = Tensors::read(&run.join("model.safetensors")).unwrap();
        let get = |name: &str| file.tensors[name].values.clone();
        Truth { w: get("decoder.out.weight"), b: get("decoder.out.bias") }
    }

    /// Of these columns alone.
    fn shares(&self, z: f64, columns: &[usize]) -> Vec<f64> {
        let rates: Vec<f64> = columns.iter().map(|&j| (self.b[j] + self.w[j] * z).exp()).collect();
        let sum: f64 = rates.iter().sum();
        rates.iter().map(|rate| rate / sum).collect()
    }

    /// log p of every row, of what is there of it, given its total: n! / Π x_j! Π p_j^x_j, product by product.
    fn exactly(&self, x: &[f64]) -> Vec<f64> {
        let points = points(50);
        let of_row = |row: &[f64]| {
            let known: Vec<usize> = (0..COLS).filter(|&j| !row[j].is_nan()).collect();
            // A count at a time, and each beside the factor of n! that it goes with: nothing overflows.
            let p = |i: usize| {
                let (shares, mut place, mut p) = (self.shares(points[i], &known), 0.0, 1.0);
                for (&j, share) in known.iter().zip(shares) {
                    for x in 1..=row[j] as usize {
                        place += 1.0;
                        p *= place / x as f64 * share;
                    }
                }
                p
            };
            over_z(&points, p).0
        };
        x.chunks(COLS).map(of_row).collect()
    }

    /// Rows of totals from 0 to 39.
    fn draw(&self, rows: usize, numbers: &mut Numbers) -> Vec<f64> {
        let mut x = vec![0.0; rows * COLS];
        for row in x.chunks_mut(COLS) {
            let shares = self.shares(numbers.normal(), &[0, 1, 2, 3, 4, 5]);
            for _ in 0..numbers.below(40) {
                let mut u = numbers.unit();
                let j = shares
                    .iter()
                    .position(|share| {
                        u -= share;
                        u < 0.0
                    })
                    .unwrap_or(COLS - 1);
                row[j] += 1.0;
            }
        }
        x
    }
}

const LINEAR: &str = "--likelihood multinomial --hidden none --latent 1 --objective iwae --samples 10 --batch 50 --epochs 150 \
                      --lr 0.01 --lr-schedule cosine --device cpu --quiet";

#[test]
fn a_model_of_shares_is_as_likely_as_the_one_it_was_drawn_from() {
    let home = folder("multinomial-learns");
    let (truth, mut numbers) = (Truth::new(), Numbers::new(5));
    let x = truth.draw(1000, &mut numbers);
    assert!(x.chunks(COLS).any(|row| row.iter().sum::<f64>() == 0.0), "a row without any count is data too");
    write_csv(&home.join("x.csv"), &NAMES, &x);
    run(&home, &format!("train --data x.csv --out run {LINEAR}")).succeeded();
    let learned = Truth::learned(&home.join("run"));
    let (drawn_from, exact) = (mean(&truth.exactly(&x)), mean(&learned.exactly(&x)));
    println!("log p {exact:.4}, of the truth {drawn_from:.4}");
    // Half a nat for each of 11 parameters over 1,000 rows is 0.006.
    assert!(exact > drawn_from - 0.005 && exact < drawn_from + 0.02, "{exact}, the truth has {drawn_from}");
    estimates_are(&home, mean(&learned.exactly(&x[..40 * COLS])));

    // A fifth of the values missing: of each row what is there, given its own total.
    let gaps: Vec<f64> = x.iter().map(|&x| if numbers.unit() < 0.2 { f64::NAN } else { x }).collect();
    write_csv(&home.join("x.csv"), &NAMES, &gaps);
    run(&home, &format!("train --data x.csv --missing allow --out gaps {LINEAR}")).succeeded();
    let learned = Truth::learned(&home.join("gaps"));
    let (drawn_from, exact) = (mean(&truth.exactly(&gaps)), mean(&learned.exactly(&gaps)));
    println!("with gaps: log p {exact:.4}, of the truth {drawn_from:.4}");
    assert!(exact > drawn_from - 0.005 && exact < drawn_from + 0.02, "{exact}, the truth has {drawn_from}");
    std::fs::rename(home.join("run"), home.join("whole")).unwrap();
    std::fs::rename(home.join("gaps"), home.join("run")).unwrap();
    estimates_are(&home, mean(&learned.exactly(&gaps[..40 * COLS])));
}

#[test]
fn what_is_decoded_are_shares_and_draws_have_their_total() {
    let home = folder("multinomial-draws");
    let x = Truth::new().draw(200, &mut Numbers::new(6));
    write_csv(&home.join("x.csv"), &NAMES, &x);
    run(&home, &format!("train --data x.csv --out run {LINEAR} --epochs 5")).succeeded();
    let (learned, on) = (Truth::learned(&home.join("run")), "--device cpu --quiet");
    let zs = [-1.5f32, 0.0, 0.7, 2.0];
    npy::write(&mut std::fs::File::create(home.join("z.npy")).unwrap(), 4, 1, &zs).unwrap();
    run(&home, &format!("decode run --data z.npy --to means.npy {on}")).succeeded();
    let means = Dataset::read(&home.join("means.npy")).unwrap().to_rows();
    for (z, means) in zs.iter().zip(means.chunks(COLS)) {
        let want = learned.shares(*z as f64, &[0, 1, 2, 3, 4, 5]);
        assert!(means.iter().zip(&want).all(|(m, w)| (*m as f64 - w).abs() < 1e-6), "{means:?}, want {want:?}");
    }
    // Of as many as the example has.
    run(&home, &format!("reconstruct run --data x.csv --to back.npy {on}")).succeeded();
    let back = Dataset::read(&home.join("back.npy")).unwrap().to_rows();
    for (back, x) in back.chunks(COLS).zip(x.chunks(COLS)) {
        let [got, want] = [back.iter().map(|&x| x as f64).sum::<f64>(), x.iter().sum()];
        assert!((got - want).abs() < 1e-4, "{got}, of {want}");
    }
    // With gaps: what is observed adds up to what it does.
    let gaps: Vec<f64> = x.iter().enumerate().map(|(i, &x)| if i % 5 == 2 { f64::NAN } else { x }).collect();
    write_csv(&home.join("gaps.csv"), &NAMES, &gaps);
    run(&home, &format!("train --data gaps.csv --missing allow --out gaps {LINEAR} --epochs 5")).succeeded();
    run(&home, &format!("reconstruct gaps --data gaps.csv --to back-gaps.npy {on}")).succeeded();
    let back = Dataset::read(&home.join("back-gaps.npy")).unwrap().to_rows();
    for (back, x) in back.chunks(COLS).zip(gaps.chunks(COLS)) {
        let there = || (0..COLS).filter(|&j| !x[j].is_nan());
        let [got, want] = [there().map(|j| back[j] as f64).sum::<f64>(), there().map(|j| x[j]).sum()];
        assert!((got - want).abs() < 1e-4, "{got}, of {want}");
    }
    // Training begins at the shares of the data.
    run(&home, &format!("train --data x.csv --out begun {LINEAR} --epochs 1 --lr 1e-12")).succeeded();
    let (begun, all) = (Truth::learned(&home.join("begun")), x.iter().sum::<f64>());
    for (j, share) in begun.shares(0.0, &[0, 1, 2, 3, 4, 5]).iter().enumerate() {
        let want = x.iter().skip(j).step_by(COLS).sum::<f64>() / all;
        assert!((share - want).abs() < 1e-5, "{j}: {share}, want {want}");
    }
    // At one z, 4,000 draws of 30 each: means n p, variances n p (1 − p).
    let (count, total) = (4000, 30.0);
    run(&home, &format!("sample run --count {count} --temperature 0 --total 30 --draw --to drawn.npy {on}"))
        .succeeded();
    let drawn = Dataset::read(&home.join("drawn.npy")).unwrap().to_rows();
    assert!(drawn.chunks(COLS).all(|row| row.iter().sum::<f32>() == 30.0 && row.iter().all(|x| x.fract() == 0.0)));
    let shares = learned.shares(0.0, &[0, 1, 2, 3, 4, 5]);
    for (j, p) in shares.iter().enumerate() {
        let of: Vec<f64> = drawn.iter().skip(j).step_by(COLS).map(|&x| x as f64).collect();
        let (want, variance) = (total * p, total * p * (1.0 - p));
        let got = mean(&of);
        assert!((got - want).abs() < 4.0 * (variance / count as f64).sqrt(), "{j}: {got}, want {want}");
        let spread = mean(&of.iter().map(|x| (x - want).powi(2)).collect::<Vec<_>>());
        // Four standard errors of a variance, of which a rare count's is as large as the variance itself.
        let error = variance * ((2.0 + 1.0 / variance) / count as f64).sqrt();
        assert!((spread - variance).abs() < 4.0 * error, "{j}: {spread}, want {variance}");
    }
    run(&home, &format!("sample run --count 3 --temperature 0 --total 30 --to means-of-30.npy {on}")).succeeded();
    let means = Dataset::read(&home.join("means-of-30.npy")).unwrap().to_rows();
    assert!(means.iter().zip(shares.iter().cycle()).all(|(m, p)| (*m as f64 - 30.0 * p).abs() < 1e-4));
}

#[test]
fn every_command_takes_shares() {
    let home = folder("multinomial-commands");
    let x = Truth::new().draw(150, &mut Numbers::new(5));
    write_csv(&home.join("x.csv"), &NAMES, &x);
    std::fs::write(home.join("told.csv"), "e,f\n3,1\n0,7\n").unwrap();
    std::fs::write(home.join("gaps.csv"), "a,b,c,d,e,f\n1,,3,4,5,6\n").unwrap();
    let small = "--hidden 5 --latent 2 --epochs 2";
    run(
        &home,
        &format!("train --data x.csv --likelihood multinomial {small} --valid-fraction 0.2 --out run --device cpu"),
    )
    .succeeded();
    every_command(
        &home,
        20,
        &[
            &format!("train --data x.csv --likelihood multinomial --condition 4..6 {small} --out told"),
            &format!("train --data x.csv --likelihood multinomial --past 4..6 --future 0..4 {small} --out past"),
            "forecast past --data x.csv --to futures.png",
            "sample told --count 2 --condition told.csv --total 9 --draw --to told-drawn.csv",
            "sweep --data x.csv --valid-fraction 0.2 --likelihood multinomial --grid latent=1,2 --hidden 5 --epochs 1 --out sweep",
        ],
    );
    let text = std::fs::read_to_string(home.join("drawn.csv")).unwrap();
    let ones = text.lines().skip(1).filter(|line| line.matches('1').count() == 1 && line.matches('0').count() == 5);
    assert_eq!(ones.count(), 20, "one of each row, where nobody says how many: {text}");

    let said =
        run(&home, "forecast past --data x.csv --draws 3 --draw --total 7 --to futures.npy --device cpu --quiet");
    said.succeeded();
    let futures = Dataset::read(&home.join("futures.npy")).unwrap().to_rows();
    assert!(futures.chunks(4).all(|future| future.iter().sum::<f32>() == 7.0));
    // Bounds that take the total as given are no bounds of the same.
    let line = "sweep --data x.csv --valid-fraction 0.2 --grid likelihood=poisson,multinomial --hidden 5 --latent 1 --epochs 1 --device \
                cpu --out both";
    let said = run(&home, line).succeeded().stderr;
    assert!(said.contains("rows that differ in likelihood are not comparable"), "{said}");
    // Shares of hundreds of columns are small, and are drawn all the same.
    let wide: String =
        (0..40).map(|i| (0..400).map(|j| ((i * j) % 7 / 6).to_string()).collect::<Vec<_>>().join(",") + "\n").collect();
    std::fs::write(home.join("wide.csv"), wide).unwrap();
    run(&home, &format!("train --data wide.csv --likelihood multinomial {small} --out wide --device cpu --quiet"))
        .succeeded();
    run(&home, "sample wide --count 4 --to wide.png --device cpu --quiet").succeeded();
    let picture = Dataset::read(&home.join("wide.png")).unwrap().to_rows();
    assert!(picture.iter().any(|&x| x > 0.9), "all of it is dark");

    let refused = |line: &str, sentence: &str| run(&home, &format!("{line} --device cpu --quiet")).refused(2, sentence);
    refused(
        "impute run --data gaps.csv --to filled.csv",
        "multinomial: the model takes the total of what is observed as given, and says nothing of what is hidden; train with \
         --likelihood poisson or negative-binomial to fill in counts",
    );
    refused("sample run --total 0 --to x.npy", "total 0: must be from 1 to 16777216; pass --total 100");
    refused("forecast past --data x.csv --total 0 --to x.npy", "total 0: must be from 1 to 16777216; pass --total 100");
    refused(
        "train --data x.csv --likelihood multinomial --bernoulli a --out none",
        "multinomial: must be of all columns, for their counts are shares of one total; leave out the options that give columns \
         a likelihood of their own",
    );
    run(&home, &format!("train --data x.csv --likelihood poisson {small} --out poisson --device cpu --quiet"))
        .succeeded();
    refused(
        "sample poisson --total 9 --to x.npy",
        "total 9: the model is not of shares of a total, as a multinomial or one of --size-factor total is; leave it out",
    );
    refused(
        "train --data x.csv --columns a --likelihood multinomial --out none",
        "multinomial: x has one column, whose share is always 1; give data with more, or pass --likelihood poisson",
    );
    std::fs::write(home.join("half.csv"), "a,b\n1,2\n3,0.5\n").unwrap();
    run(&home, &format!("train --data half.csv --likelihood multinomial {small} --out none --device cpu --quiet")).refused(
        1,
        "row 1, column 1 (\"b\", counted from 0) of half.csv is 0.5: must be a whole number, 0 or more, for a likelihood of \
         counts; pass --likelihood gaussian",
    );
}

fn log_means_is_its_formula_in<T: Real>(tolerance: f64)
where
    Cpu<T>: Backend,
{
    let mut numbers = Numbers::new(3);
    for (rows, samples, cols, size) in [(3, 1, 2, 1.0), (5, 2, 17, 30.0), (2, 3, 600, 1e4)] {
        let mut layout = Layout::training();
        let (y, x) = (layout.activation(rows * samples, cols), layout.activation(rows, cols));
        let mut cpu = Cpu::<T>::new(&layout, rows);
        let out: Vec<f64> = numbers.uniforms(y.elements(), size).iter().map(|&v| T::of(v).to_f64()).collect();
        let mut counts = numbers.counts(x.elements());
        counts.iter_mut().step_by(5).for_each(|x| *x = MISSING);
        counts[cols..2 * cols].fill(0.0); // a row of nothing
        cpu.set_step(&Step::batch(0, rows)).unwrap();
        cpu.write(y, &out).unwrap();
        cpu.write(x, &counts).unwrap();
        for _ in 0..2 {
            cpu.log_means(y, x).unwrap(); // what it is done to twice stays as it is
        }
        for (i, (got, out)) in cpu.read(y).unwrap().chunks(cols).zip(out.chunks(cols)).enumerate() {
            let x = &counts[i / samples * cols..][..cols];
            let there = |j: &usize| x[*j].to_bits() != MISSING.to_bits();
            let total: f64 = (0..cols).filter(there).map(|j| x[j]).sum();
            let top = (0..cols).filter(there).map(|j| out[j]).fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = (0..cols).filter(there).map(|j| (out[j] - top).exp()).sum();
            for j in (0..cols).filter(there) {
                let log_total = if total > 0.0 { total.ln() } else { -1e4 };
                let want = out[j] - top - sum.ln() + log_total;
                // Of logits to 10,000, of which one is taken from the other, the rounding of the larger one.
                let same = (got[j] - want).abs() <= tolerance * want.abs().max(top.abs()).max(1.0);
                assert!(same, "row {i}, column {j}: {}, want {want}", got[j]);
            }
        }
    }
}

#[test]
fn log_means_is_its_formula() {
    log_means_is_its_formula_in::<f64>(1e-14);
    log_means_is_its_formula_in::<f32>(1e-6); // a few roundings of f32
}

#[test]
fn models_with_a_multinomial_are_among_those_that_every_test_takes() {
    for missing in [Missing::Refuse, Missing::Allow] {
        let all = of_every_likelihood(&Model { missing, ..Model::new(9, &[4], 2) });
        assert!(all.iter().any(|m| m.likelihood == Likelihood::Multinomial) && all.iter().all(|m| m.check().is_ok()));
    }
}

#[test]
fn the_library_takes_shares() {
    let x = Truth::new().draw(200, &mut Numbers::new(5));
    let data = Arc::new(Dataset::from_rows("x", COLS, x.iter().map(|&x| x as f32).collect()).unwrap());
    let builder = Vae::builder().hidden(&[9]).latent(2).epochs(3).device("cpu").likelihood(Likelihood::Multinomial);
    let mut vae = builder.fit(&data).unwrap();
    assert!(vae.elbo(&data).unwrap().mean.is_finite());
    let shares = vae.sample(10, 0).unwrap();
    assert!(shares.chunks(COLS).all(|row| (row.iter().sum::<f32>() - 1.0).abs() < 1e-5), "{shares:?}");
}
