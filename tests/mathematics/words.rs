//! Columns of words: what is learned of a table is as likely as what it was drawn from, every estimate is that of an integral
//! over z, and what is filled in is as probable as it should be.
use crate::exact::{estimates_are, mean, over_z, points, with_gaps};
use crate::numbers::Numbers;
use crate::program::{folder, run};
use std::f64::consts::TAU;
use std::fmt::Write;
use std::path::Path;
use vae_gpu::arena::Layout;
use vae_gpu::data::Dataset;
use vae_gpu::device::{Backend, Cpu, Real};
use vae_gpu::tensors::Tensors;

/// Words by the alphabet, as the columns of x.
const COLUMNS: [(&str, &[&str]); 4] =
    [("age", &[]), ("ward", &["icu", "medicine", "surgery"]), ("ill", &["no", "yes"]), ("bmi", &[])];
const COLS: usize = COLUMNS.len();

/// The columns of x that column `j` of the table is.
fn of(j: usize) -> std::ops::Range<usize> {
    let width = |j: usize| COLUMNS[j].1.len().max(1);
    let from = (0..j).map(width).sum();
    from..from + width(j)
}

/// o = b + w z with one z ~ N(0, 1): the mean of a Gaussian, or the logarithm of the probability of a word up to a constant. And
/// the variance of a Gaussian.
struct Truth {
    w: Vec<f64>,
    b: Vec<f64>,
    variance: Vec<f64>,
}

impl Truth {
    fn new() -> Truth {
        Truth {
            w: vec![0.9, 1.5, 0.5, -1.5, -1.0, 1.0, -0.4],
            b: vec![0.3, -1.0, 0.3, 0.5, 0.4, 0.0, 0.1],
            variance: vec![0.2, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5],
        }
    }

    /// What a run has learned, with a linear decoder and one latent.
    fn learned(run: &Path) -> Truth {
        let file = Tensors::read(&run.join("model.safetensors")).unwrap();
        let get = |name: &str| file.tensors[name].values.clone();
        let variance = get("decoder.logdispersion").into_iter().map(f64::exp).collect();
        Truth { w: get("decoder.out.weight"), b: get("decoder.out.bias"), variance }
    }

    /// Of column j the mean, or the probability of each word.
    fn means(&self, j: usize, z: f64) -> Vec<f64> {
        let out: Vec<f64> = of(j).map(|i| self.b[i] + self.w[i] * z).collect();
        if COLUMNS[j].1.is_empty() {
            return out;
        }
        let total: f64 = out.iter().map(|o| o.exp()).sum();
        out.iter().map(|o| o.exp() / total).collect()
    }

    /// p(x) of column j given z; x is a number, or the place of a word.
    fn p(&self, j: usize, z: f64, x: f64) -> f64 {
        let (means, variance) = (self.means(j, z), self.variance[of(j).start]);
        match COLUMNS[j].1 {
            [] => (-0.5 * (x - means[0]).powi(2) / variance).exp() / (TAU * variance).sqrt(),
            _ => means[x as usize],
        }
    }

    /// log p of every row, and for each the means given what is observed of it: integrals over z by the trapezoidal rule.
    fn exactly(&self, x: &[f64]) -> (Vec<f64>, Vec<Vec<f64>>) {
        let points = points(50);
        let (mut log_p, mut means) = (vec![], vec![]);
        for row in x.chunks(COLS) {
            let known = || (0..COLS).filter(|&j| !row[j].is_nan());
            let (log, shares) = over_z(&points, |i| known().map(|j| self.p(j, points[i], row[j])).product());
            log_p.push(log);
            let mut all = vec![0.0; of(COLS - 1).end];
            for (&z, share) in points.iter().zip(&shares) {
                (0..COLS).flat_map(|j| of(j).zip(self.means(j, z))).for_each(|(i, m)| all[i] += m * share);
            }
            means.push(all);
        }
        (log_p, means)
    }

    fn draw(&self, rows: usize, numbers: &mut Numbers) -> Vec<f64> {
        let mut x = vec![];
        for _ in 0..rows {
            let z = numbers.normal();
            for j in 0..COLS {
                let means = self.means(j, z);
                let mut u = numbers.unit();
                x.push(match COLUMNS[j].1 {
                    [] => (means[0] + self.variance[of(j).start].sqrt() * numbers.normal()) as f32 as f64,
                    _ => means.iter().position(|&p| (u < p, u -= p).0).unwrap_or(means.len() - 1) as f64,
                });
            }
        }
        x
    }
}

/// With a header and words; gaps are empty cells.
fn write_csv(path: &Path, x: &[f64]) {
    let mut table = COLUMNS.map(|(name, _)| name).join(",") + "\n";
    for row in x.chunks(COLS) {
        let cell = |(&x, (_, words)): (&f64, &(&str, &[&str]))| match words {
            _ if x.is_nan() => String::new(),
            [] => x.to_string(),
            words => words[x as usize].into(),
        };
        writeln!(table, "{}", row.iter().zip(&COLUMNS).map(cell).collect::<Vec<_>>().join(",")).unwrap();
    }
    std::fs::write(path, table).unwrap();
}

/// As `mixed` of the other likelihoods.
#[test]
fn a_model_of_words_is_as_likely_as_the_one_they_were_drawn_from() {
    let home = folder("words-learns");
    let truth = Truth::new();
    let x = truth.draw(1000, &mut Numbers::new(5));
    write_csv(&home.join("x.csv"), &x);
    let linear =
        "--hidden none --latent 1 --objective iwae --samples 10 --batch 50 --epochs 150 --lr 0.01 --lr-schedule cosine";
    let own = "--likelihood gaussian --variance shared --categorical ward,ill";
    run(&home, &format!("train --data x.csv {own} {linear} --device cpu --quiet --out run")).succeeded();
    let learned = Truth::learned(&home.join("run"));
    let (drawn_from, exact) = (mean(&truth.exactly(&x).0), mean(&learned.exactly(&x).0));
    println!("log p {exact:.4}, of the truth {drawn_from:.4}");
    // The model has 12 parameters that count, a constant of each variable being none: half a nat each, over 1,000 examples.
    assert!(exact > drawn_from - 0.005 && exact < drawn_from + 0.02, "{exact}, the truth has {drawn_from}");

    // Of the first rows, all estimates beside the integral.
    estimates_are(&home, mean(&learned.exactly(&x[..40 * COLS]).0));

    // A quarter of the values hidden: their means, of words the probabilities, and what is observed as it was.
    let gaps = with_gaps(&x, COLS);
    write_csv(&home.join("gaps.csv"), &gaps);
    let impute = "impute run --data gaps.csv --device cpu --quiet --sweeps 400";
    run(&home, &format!("{impute} --to filled.npy")).succeeded();
    let filled = Dataset::read(&home.join("filled.npy")).unwrap();
    let want = learned.exactly(&gaps).1;
    let (mut worst, mut hidden, mut row) = (0f64, 0, vec![0f32; filled.cols]);
    for (i, (given, want)) in gaps.chunks(COLS).zip(&want).enumerate() {
        filled.row(i, &mut row);
        for j in 0..COLS {
            for (place, i) in of(j).enumerate() {
                let want = match (given[j].is_nan(), COLUMNS[j].1) {
                    (true, _) => want[i],
                    (false, []) => given[j],
                    (false, _) => (given[j] == place as f64) as u8 as f64,
                };
                let off = (row[i] as f64 - want).abs();
                assert!(given[j].is_nan() || off == 0.0, "what was there stays: {row:?}");
                worst = worst.max(off);
            }
            hidden += (given[j].is_nan() && !COLUMNS[j].1.is_empty()) as usize;
        }
        for j in (0..COLS).filter(|&j| !COLUMNS[j].1.is_empty()) {
            assert!((row[of(j)].iter().sum::<f32>() - 1.0).abs() < 1e-5, "{row:?}");
        }
    }
    println!("the worst of the conditional means is off by {worst:.3}; {hidden} words were hidden");
    assert!(worst < 0.1 && hidden > 10, "{worst}, {hidden}"); // 2,000 dependent draws of z

    // In a csv stands the most probable word, or with draws one of them: over many as often as it is probable.
    run(&home, &format!("{impute} --to filled.csv")).succeeded();
    run(&home, &format!("{} --draws 200 --to drawn.csv", impute.replace("400", "40"))).succeeded();
    let words = |file: &str| {
        let text = std::fs::read_to_string(home.join(file)).unwrap();
        let cells = |line: &str| line.split(',').map(String::from).collect::<Vec<_>>();
        assert_eq!(cells(text.lines().next().unwrap()), COLUMNS.map(|(name, _)| name), "{file}");
        text.lines().skip(1).map(cells).collect::<Vec<_>>()
    };
    let (most, drawn) = (words("filled.csv"), words("drawn.csv"));
    assert_eq!((most.len(), drawn.len()), (30, 200 * 30));
    for (i, (given, want)) in gaps.chunks(COLS).zip(&want).enumerate() {
        for (j, (_, of_column)) in COLUMNS.iter().enumerate().filter(|(_, (_, words))| !words.is_empty()) {
            let p = &want[of(j)];
            for (place, word) in of_column.iter().enumerate() {
                let p = if given[j].is_nan() { p[place] } else { (given[j] == place as f64) as u8 as f64 };
                if p > 0.55 {
                    assert_eq!(most[i][j], *word, "row {i} of {want:?}");
                }
                let count = drawn[200 * i..200 * (i + 1)].iter().filter(|row| row[j] == *word).count();
                // 200 chains: 5 standard deviations, and what the start of a chain is off.
                let off = (count as f64 / 200.0 - p).abs();
                assert!(off <= 5.0 * (p * (1.0 - p) / 200.0).sqrt() + 0.02, "row {i}, {word}: {count} of 200, {p:.3}");
            }
        }
    }
}

/// A column of two words is one of zeros and ones: the second logit less the first is that of a Bernoulli.
#[test]
fn two_words_are_zeros_and_ones() {
    let home = folder("words-two");
    let x: Vec<f64> = Truth::new().draw(300, &mut Numbers::new(6)).into_iter().skip(2).step_by(COLS).collect();
    let lines = |words: [&str; 2]| {
        "a,ill\n".to_string() + &x.iter().map(|&x| format!("1,{}\n", words[x as usize])).collect::<String>()
    };
    std::fs::write(home.join("x.csv"), lines(["no", "yes"])).unwrap();
    std::fs::write(home.join("y.csv"), lines(["0", "1"])).unwrap();
    // Nothing is learned: every model begins at the means of the columns.
    let begin =
        "--init normal:1e-9 --init-output-bias data --lr 1e-12 --steps 1 --hidden none --latent 1 --device cpu --quiet";
    let nll = |data: &str, likelihood: &str, out: &str| -> f64 {
        run(&home, &format!("train --data {data} --columns ill {likelihood} {begin} --out {out}")).succeeded();
        let said = run(&home, &format!("eval {out} --data {data} --json --device cpu --quiet")).succeeded().stdout;
        serde_json::from_str::<serde_json::Value>(&said).unwrap()["nll"].as_f64().unwrap()
    };
    let bernoulli = nll("y.csv", "--likelihood bernoulli", "bernoulli");
    for (data, likelihood) in
        [("x.csv", "--categorical ill"), ("y.csv", "--categorical ill"), ("x.csv", "--likelihood categorical")]
    {
        let words = nll(data, likelihood, &format!("words{}", likelihood.len() + data.as_bytes()[0] as usize));
        assert!((words - bernoulli).abs() < 1e-6, "{words} of {data} {likelihood}, {bernoulli}"); // f32
    }
}

/// Of two words and of more than go side by side, of logits near one another and of ten thousand.
fn log_softmax_is_its_formula_in<T: Real>(tolerance: f64)
where
    Cpu<T>: Backend,
{
    let (rows, variables) = (5, [1..3, 3..8, 9..609]);
    let mut layout = Layout::training();
    let y = layout.activation(rows, 610);
    let of = layout.constant(variables.iter().flat_map(|v| [v.start as f64, v.end as f64]).collect());
    let mut cpu = Cpu::<T>::new(&layout, rows);
    for scale in [1e-3, 3.0, 1e4] {
        cpu.write(y, &Numbers::new(7).uniforms(y.elements(), scale)).unwrap();
        let before = cpu.read(y).unwrap();
        cpu.log_softmax(y, of).unwrap();
        let after = cpu.read(y).unwrap();
        for (row, (x, got)) in before.chunks(610).zip(after.chunks(610)).enumerate() {
            let mut want = x.to_vec();
            for v in &variables {
                let top = x[v.clone()].iter().copied().fold(f64::MIN, f64::max);
                let log_sum = x[v.clone()].iter().map(|x| (x - top).exp()).sum::<f64>().ln();
                want[v.clone()].iter_mut().for_each(|y| *y = (*y - top) - log_sum);
            }
            let off = got.iter().zip(&want).map(|(g, w)| (g - w).abs() / w.abs().max(1.0)).fold(0.0, f64::max);
            assert!(off < tolerance, "row {row} at {scale}: {off:e}");
        }
    }
}

#[test]
fn log_softmax_is_its_formula() {
    log_softmax_is_its_formula_in::<f64>(1e-14);
    log_softmax_is_its_formula_in::<f32>(1e-6); // a few roundings of f32
}
