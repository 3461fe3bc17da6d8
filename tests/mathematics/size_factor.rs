//! `--size-factor total`: counts of examples of which some were counted a hundred times as deeply as others. What is learned of their
//! shares is as likely as what they were drawn from, the latent says nothing of the depth, every estimate is that of an integral over
//! z, and what is drawn has the mean and the variance of its total.
use crate::exact::{estimates_are, mean, over_z, points, write_csv};
use crate::numbers::Numbers;
use crate::program::{folder, run};
use std::path::Path;
use vae_gpu::arena::Layout;
use vae_gpu::data::{Dataset, npy};
use vae_gpu::device::{Backend, Cpu, MISSING, Real};
use vae_gpu::step::Step;
use vae_gpu::tensors::Tensors;

/// So many that none of them is most of the total, which is taken as given: of one that is the dispersion is found too small.
const COLS: usize = 30;

fn write(path: &Path, x: &[f64]) {
    let names: Vec<String> = (0..COLS).map(|j| format!("c{j}")).collect();
    write_csv(path, &names.iter().map(String::as_str).collect::<Vec<_>>(), x);
}

/// Negative binomials of the means total · s_j and the dispersions α_j, with shares s_j ∝ exp(b_j + w_j z) and one z ~ N(0, 1).
struct Truth {
    w: Vec<f64>,
    b: Vec<f64>,
    alpha: Vec<f64>,
}

impl Truth {
    fn new() -> Truth {
        let mut numbers = Numbers::new(1);
        let w = numbers.normals(COLS);
        Truth { w, b: numbers.normals(COLS), alpha: numbers.units(COLS).iter().map(|u| 0.05 + 0.5 * u).collect() }
    }

    /// What a run has learned, with a linear decoder and one latent.
    fn learned(run: &Path) -> Truth {
        let file = Tensors::read(&run.join("model.safetensors")).unwrap();
        let get = |name: &str| file.tensors[name].values.clone();
        let alpha = get("decoder.logdispersion").into_iter().map(f64::exp).collect();
        Truth { w: get("decoder.out.weight"), b: get("decoder.out.bias"), alpha }
    }

    fn shares(&self, z: f64) -> Vec<f64> {
        let rates: Vec<f64> = (0..COLS).map(|j| (self.b[j] + self.w[j] * z).exp()).collect();
        let sum: f64 = rates.iter().sum();
        rates.iter().map(|rate| rate / sum).collect()
    }

    /// log p of every row given what it adds up to, count by count from that of 0.
    fn exactly(&self, x: &[f64]) -> Vec<f64> {
        let points = points(20);
        let shares: Vec<Vec<f64>> = points.iter().map(|&z| self.shares(z)).collect();
        let of_row = |row: &[f64]| {
            let total: f64 = row.iter().sum();
            let apart: f64 = (0..COLS).map(|j| without_mean(row[j], self.alpha[j])).sum();
            let of = |j: usize, i: usize| of_mean(row[j], total * shares[i][j], self.alpha[j]);
            let all: Vec<f64> = (0..points.len()).map(|i| (0..COLS).map(|j| of(j, i)).sum()).collect();
            let top = all.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
            apart + top + over_z(&points, |i| (all[i] - top).exp()).0
        };
        x.chunks(COLS).map(of_row).collect()
    }

    /// Counts of examples of which each was looked at to a depth from 100 to 10,000; and the depths.
    fn draw(&self, rows: usize, numbers: &mut Numbers) -> (Vec<f64>, Vec<f64>) {
        let (mut x, mut depths) = (vec![], vec![]);
        for _ in 0..rows {
            let (shares, depth) = (self.shares(numbers.normal()), 100.0 * 100f64.powf(numbers.unit()));
            for (share, &alpha) in shares.iter().zip(&self.alpha) {
                // By inversion, each probability from the one before.
                let (r, m) = (1.0 / alpha, depth * share);
                let (mut u, mut count, mut p) = (numbers.unit(), 0.0, of_mean(0.0, m, alpha).exp());
                while u >= p && count < 20_000.0 {
                    u -= p;
                    p *= (count + r) / (count + 1.0) * (m / (r + m));
                    count += 1.0;
                }
                x.push(count);
            }
            depths.push(depth.ln());
        }
        (x, depths)
    }
}

/// Of the logarithm of a negative binomial's Γ(x + r) / (x! Γ(r)) (1 − p)^r p^x, with r = 1/α and p = m / (r + m), what does not
/// depend on the mean m, as a sum over the counts.
fn without_mean(x: f64, alpha: f64) -> f64 {
    (1..=x as usize).map(|i| ((i as f64 - 1.0 + 1.0 / alpha) / i as f64).ln()).sum()
}

/// And what does.
fn of_mean(x: f64, m: f64, alpha: f64) -> f64 {
    let r = 1.0 / alpha;
    r * (r / (r + m)).ln() + x * (m / (r + m)).ln()
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let (of_a, of_b) = (mean(a), mean(b));
    let product = |a: &[f64], of_a: f64, b: &[f64], of_b: f64| -> f64 {
        a.iter().zip(b).map(|(a, b)| (a - of_a) * (b - of_b)).sum()
    };
    product(a, of_a, b, of_b) / (product(a, of_a, a, of_a) * product(b, of_b, b, of_b)).sqrt()
}

const LINEAR: &str = "--likelihood negative-binomial --hidden none --latent 1 --objective iwae --samples 10 --batch 50 --lr 0.01 \
                      --lr-schedule cosine --device cpu --quiet";

#[test]
fn a_model_of_shares_is_as_likely_as_the_one_it_was_drawn_from_and_blind_to_the_depth() {
    let home = folder("size-factor-learns");
    let truth = Truth::new();
    let (x, depths) = truth.draw(600, &mut Numbers::new(5));
    write(&home.join("x.csv"), &x);
    let latent_follows_depth = |name: &str| {
        run(&home, &format!("encode {name} --data x.csv --to {name}.npy --device cpu --quiet")).succeeded();
        let latents = Dataset::read(&home.join(format!("{name}.npy"))).unwrap().to_rows();
        correlation(&latents.iter().map(|&z| z as f64).collect::<Vec<_>>(), &depths).abs()
    };
    // An encoder without a hidden layer sees the depth in every column, and is to take it out.
    let line = format!("train --data x.csv {LINEAR} --hidden 20 --epochs 200");
    run(&home, &format!("{line} --size-factor total --out of-shares")).succeeded();
    run(&home, &format!("{line} --out of-means")).succeeded();
    let [of_shares, of_means] = ["of-shares", "of-means"].map(latent_follows_depth);
    println!("correlation of the latent with the depth: {of_shares:.3}, without the size factor {of_means:.3}");
    assert!(of_shares < 0.15 && of_means > 0.6, "{of_shares}, without {of_means}");

    run(&home, &format!("train --data x.csv {LINEAR} --epochs 300 --size-factor total --out run")).succeeded();
    let learned = Truth::learned(&home.join("run"));
    let (drawn_from, exact) = (mean(&truth.exactly(&x)), mean(&learned.exactly(&x)));
    println!("log p {exact:.4}, of the truth {drawn_from:.4}; α {:.3?}", learned.alpha);
    // Half a nat for each of 89 parameters over 600 rows is 0.074.
    assert!(exact > drawn_from - 0.02 && exact < drawn_from + 0.15, "{exact}, the truth has {drawn_from}");
    estimates_are(&home, mean(&learned.exactly(&x[..40 * COLS])));
}

#[test]
fn what_is_decoded_are_shares_and_draws_are_of_their_total() {
    let home = folder("size-factor-draws");
    let (x, _) = Truth::new().draw(200, &mut Numbers::new(6));
    write(&home.join("x.csv"), &x);
    run(&home, &format!("train --data x.csv --size-factor total --out run {LINEAR} --epochs 5")).succeeded();
    let (learned, on) = (Truth::learned(&home.join("run")), "--device cpu --quiet");
    let read = |name: &str| Dataset::read(&home.join(name)).unwrap().to_rows();
    let zs = [-1.5f32, 0.0, 0.7, 2.0];
    npy::write(&mut std::fs::File::create(home.join("z.npy")).unwrap(), 4, 1, &zs).unwrap();
    run(&home, &format!("decode run --data z.npy --to means.npy {on}")).succeeded();
    run(&home, &format!("decode run --data z.npy --total 10000 --to of-10000.npy {on}")).succeeded();
    assert!(read("means.npy").iter().zip(read("of-10000.npy")).all(|(p, m)| (m / (10_000.0 * p) - 1.0).abs() < 1e-5));
    for (z, means) in zs.iter().zip(read("means.npy").chunks(COLS)) {
        let want = learned.shares(*z as f64);
        assert!(means.iter().zip(&want).all(|(m, w)| (*m as f64 - w).abs() < 1e-6), "{means:?}, want {want:?}");
    }
    // Of as many as the example has; what is like it too.
    run(&home, &format!("reconstruct run --data x.csv --to back.npy {on}")).succeeded();
    run(&home, &format!("sample run --near x.csv --per-example 2 --to near.npy {on}")).succeeded();
    let near = read("near.npy");
    for (i, (back, x)) in read("back.npy").chunks(COLS).zip(x.chunks(COLS)).enumerate() {
        let of = |row: &[f32]| row.iter().map(|&x| x as f64).sum::<f64>();
        let want: f64 = x.iter().sum();
        for got in [of(back), of(&near[2 * i * COLS..][..COLS]), of(&near[(2 * i + 1) * COLS..][..COLS])] {
            assert!((got / want - 1.0).abs() < 1e-5, "{got}, of {want}");
        }
    }
    // With gaps: what is observed adds up to what it does.
    let gaps: Vec<f64> = x.iter().enumerate().map(|(i, &x)| if i % 7 == 1 { f64::NAN } else { x }).collect();
    write(&home.join("gaps.csv"), &gaps);
    run(&home, &format!("train --data gaps.csv --missing allow --size-factor total --out gaps {LINEAR} --epochs 5"))
        .succeeded();
    run(&home, &format!("reconstruct gaps --data gaps.csv --to back-gaps.npy {on}")).succeeded();
    run(&home, &format!("sample gaps --near gaps.csv --per-example 1 --to near-gaps.npy {on}")).succeeded();
    for file in ["back-gaps.npy", "near-gaps.npy"] {
        for (back, x) in read(file).chunks(COLS).zip(gaps.chunks(COLS)) {
            let there = || (0..COLS).filter(|&j| !x[j].is_nan());
            let [got, want] = [there().map(|j| back[j] as f64).sum::<f64>(), there().map(|j| x[j]).sum()];
            assert!((got - want).abs() < 1e-4 * want, "{file}: {got}, of {want}");
        }
    }
    // Training begins at the shares of the data.
    run(&home, &format!("train --data x.csv --size-factor total --out begun {LINEAR} --epochs 1 --lr 1e-12"))
        .succeeded();
    let (begun, all) = (Truth::learned(&home.join("begun")), x.iter().sum::<f64>());
    for (j, share) in begun.shares(0.0).iter().enumerate() {
        let want = x.iter().skip(j).step_by(COLS).sum::<f64>() / all;
        assert!((share - want).abs() < 1e-5, "{j}: {share}, want {want}");
    }
    // And at the dispersions around the means that the depths make of them: not of what is deep and shallow.
    let totals: Vec<f64> = x.chunks(COLS).map(|row| row.iter().sum()).collect();
    let of = |j: usize| {
        let of = |i: usize| (x[i * COLS + j], totals[i] * begun.shares(0.0)[j]);
        let beyond: f64 = (0..totals.len()).map(of).map(|(x, m)| (x - m).powi(2) - m).sum();
        (beyond, (0..totals.len()).map(of).map(|(_, m)| m * m).sum::<f64>())
    };
    let (beyond, squares): (Vec<f64>, Vec<f64>) = (0..COLS).map(of).unzip();
    let of_all = beyond.iter().sum::<f64>() / squares.iter().sum::<f64>();
    for (j, alpha) in begun.alpha.iter().enumerate() {
        let want = ((beyond[j] + 2.0 * of_all) / (squares[j] + 2.0)).max(0.01);
        assert!((alpha / want - 1.0).abs() < 1e-3, "{j}: {alpha}, want {want}");
    }
    // At one z, 4,000 draws of a total of 300: means m = 300 s and variances m + α m².
    let line = "sample run --count 4000 --temperature 0 --total 300";
    run(&home, &format!("{line} --draw --to drawn.npy {on}")).succeeded();
    let drawn = read("drawn.npy");
    for (j, share) in learned.shares(0.0).iter().enumerate() {
        let of: Vec<f64> = drawn.iter().skip(j).step_by(COLS).map(|&x| x as f64).collect();
        let (got, want) = (mean(&of), 300.0 * share);
        let variance = want + learned.alpha[j] * want * want;
        assert!((got - want).abs() < 4.0 * (variance / 4000.0).sqrt(), "{j}: {got}, want {want}");
        let squares: Vec<f64> = of.iter().map(|x| (x - want).powi(2)).collect();
        let error = (mean(&squares.iter().map(|s| (s - variance).powi(2)).collect::<Vec<_>>()) / 4000.0).sqrt();
        assert!((mean(&squares) - variance).abs() < 4.0 * error, "{j}: {}, want {variance}", mean(&squares));
    }
    run(&home, &format!("{line} --to means-of-300.npy {on}")).succeeded();
    let shares = learned.shares(0.0);
    assert!(
        read("means-of-300.npy").iter().zip(shares.iter().cycle()).all(|(m, p)| (*m as f64 - 300.0 * p).abs() < 1e-3)
    );
}

#[test]
fn every_command_takes_size_factors() {
    let home = folder("size-factor-commands");
    let (x, _) = Truth::new().draw(150, &mut Numbers::new(5));
    write(&home.join("x.csv"), &x);
    let gaps: Vec<f64> = x.iter().enumerate().map(|(i, &x)| if i % 7 == 3 { f64::NAN } else { x }).collect();
    write(&home.join("gaps.csv"), &gaps);
    let shares = "--likelihood negative-binomial --size-factor total";
    let small = "--hidden 5 --latent 2 --epochs 2 --device cpu --quiet";
    run(&home, &format!("train --data x.csv {shares} {small} --valid-fraction 0.2 --out run")).succeeded();
    run(&home, &format!("train --data x.csv {shares} --past 4..6 --future 0..4 {small} --out past")).succeeded();
    run(&home, &format!("train --data x.csv --likelihood negative-binomial {small} --out plain")).succeeded();
    // As `every_command` has it, but draws are of nothing without a total.
    let commands = [
        "sample run --count 20 --draw --total 500 --to drawn.csv",
        "sample run --near x.csv --draw --to near.csv",
        "eval run --data x.csv --count 10 --samples 10 --estimator iwae,naive,ais --to bounds.npy",
        "rank run --data x.csv",
        "report run --to page.html",
        "forecast past --data x.csv --quantiles 0.1,0.9 --total 300 --to futures.csv",
        "forecast past --data x.csv --to futures.png",
        &format!("train --data gaps.csv --missing allow {shares} --hidden 5 --latent 2 --epochs 2 --out gaps"),
        "eval gaps --data gaps.csv --samples 10",
        "train --config run/run.toml --out again",
    ];
    for command in commands {
        run(&home, &format!("{command} --device cpu --quiet")).succeeded();
    }
    crate::runs::assert_same_run(&home.join("run"), &home.join("again"), "run.toml");
    let said = run(&home, "compare run plain").succeeded().stderr;
    assert!(said.contains("not comparable"), "{said}");

    let refused = |line: &str, sentence: &str| run(&home, &format!("{line} --device cpu --quiet")).refused(2, sentence);
    refused(
        "impute run --data gaps.csv --to filled.csv",
        "size-factor total: the model takes the total of what is observed as given, and says nothing of what is hidden; train with \
         --size-factor none to fill in counts",
    );
    refused(
        "sample run --draw --to none.csv",
        "draw: what the counts of a row add up to is given to the model (size-factor total), and nothing gives it; pass --total 1000",
    );
    refused(
        "train --data x.csv --likelihood poisson --size-factor total --out none",
        "size-factor total: the likelihood poisson has none; leave it out, or pass --likelihood negative-binomial",
    );
    refused(
        "train --data x.csv --columns c1 --likelihood negative-binomial --size-factor total --out none",
        "size-factor total: x has one column, whose share is always 1; give data with more, or pass --likelihood negative-binomial \
         without it",
    );
    refused(
        "train --data x.csv --likelihood gaussian --negative-binomial c1 --size-factor total --out none",
        "size-factor total: must be of all columns, for their counts are shares of one total; leave out the options that give columns \
         a likelihood of their own",
    );
}

fn log_means_backward_is_its_formula_in<T: Real>(tolerance: f64)
where
    Cpu<T>: Backend,
{
    let mut numbers = Numbers::new(3);
    for (rows, samples, cols) in [(3, 1, 2), (5, 2, 17), (2, 3, 600)] {
        let mut layout = Layout::training();
        let (y, x) = (layout.activation(rows * samples, cols), layout.activation(rows, cols));
        let mut cpu = Cpu::<T>::new(&layout, rows);
        let mut counts = numbers.counts(x.elements());
        counts.iter_mut().step_by(5).for_each(|x| *x = MISSING);
        counts[cols..2 * cols].fill(0.0); // a row of nothing
        let there = |row: usize, j: usize| counts[row / samples * cols + j].to_bits() != MISSING.to_bits();
        let out = numbers.uniforms(y.elements(), 2.0);
        let mut dy = numbers.uniforms(y.elements(), 1.0);
        (0..dy.len()).filter(|i| !there(i / cols, i % cols)).for_each(|i| dy[i] = 0.0); // as the likelihood leaves it
        cpu.set_step(&Step::batch(0, rows)).unwrap();
        cpu.write(y, &out).unwrap();
        cpu.write(x, &counts).unwrap();
        cpu.log_means(y, x).unwrap();
        cpu.write(layout.d(y), &dy).unwrap();
        cpu.log_means_backward(layout.d(y), y, x).unwrap();
        let got = cpu.read(layout.d(y)).unwrap();
        for row in 0..rows * samples {
            let of = |j: usize| row * cols + j;
            let total: f64 = (0..cols).filter(|&j| there(row, j)).map(|j| counts[row / samples * cols + j]).sum();
            let sum: f64 = (0..cols).filter(|&j| there(row, j)).map(|j| out[of(j)].exp()).sum();
            let pull: f64 = (0..cols).map(|j| dy[of(j)]).sum();
            for j in 0..cols {
                // d log mean_i / d y_j = [i = j] − share_j
                let share = if there(row, j) && total > 0.0 { out[of(j)].exp() / sum } else { 0.0 };
                let want = dy[of(j)] - share * pull;
                assert!((got[of(j)] - want).abs() < tolerance, "row {row}, column {j}: {}, want {want}", got[of(j)]);
            }
        }
    }
}

#[test]
fn log_means_backward_is_its_formula() {
    log_means_backward_is_its_formula_in::<f64>(1e-13);
    log_means_backward_is_its_formula_in::<f32>(1e-5); // sums of hundreds of numbers of 1
}
