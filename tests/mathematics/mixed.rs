//! Columns with likelihoods of their own: what is learned of a table is as likely as what it was drawn from, every estimate is
//! that of an integral over z, and every command takes it.
use crate::exact::{estimates_are, every_command, mean, over_z, points, with_gaps, write_csv};
use crate::numbers::Numbers;
use crate::program::{folder, run};
use crate::runs;
use std::f64::consts::TAU;
use std::path::Path;
use vae_gpu::data::Dataset;
use vae_gpu::tensors::Tensors;

const NAMES: [&str; 6] = ["age", "smoker", "visits", "bmi", "drugs", "married"];
const COLS: usize = NAMES.len();
const OWN: &str =
    "--likelihood gaussian --variance shared --bernoulli smoker,married --poisson visits --negative-binomial drugs";

/// o_j = b_j + w_j z with one z ~ N(0, 1): the mean of a Gaussian, a logit, or the logarithm of a mean. And the variance of a
/// Gaussian, or the dispersion of a negative binomial.
struct Truth {
    w: Vec<f64>,
    b: Vec<f64>,
    spread: Vec<f64>,
}

impl Truth {
    fn new() -> Truth {
        Truth {
            w: vec![0.9, 2.0, 0.8, -0.5, -0.6, -1.0],
            b: vec![0.3, -0.5, 1.0, 0.0, 1.5, 0.4],
            spread: vec![0.2, 1.0, 1.0, 0.5, 0.4, 1.0],
        }
    }

    /// What a run has learned, with a linear decoder and one latent.
    fn learned(run: &Path) -> Truth {
        let file = Tensors::read(&run.join("model.safetensors")).unwrap();
        let get = |name: &str| file.tensors[name].values.clone();
        let spread = get("decoder.logdispersion").into_iter().map(f64::exp).collect();
        Truth { w: get("decoder.out.weight"), b: get("decoder.out.bias"), spread }
    }

    fn out(&self, j: usize, z: f64) -> f64 {
        self.b[j] + self.w[j] * z
    }

    fn mean(&self, j: usize, z: f64) -> f64 {
        let o = self.out(j, z);
        match NAMES[j] {
            "age" | "bmi" => o,
            "smoker" | "married" => 1.0 / (1.0 + (-o).exp()),
            _ => o.exp(),
        }
    }

    /// p(x) of column j given z, as textbooks have it. Of a count by recursion from 0.
    fn p(&self, j: usize, z: f64, x: f64) -> f64 {
        let (m, spread) = (self.mean(j, z), self.spread[j]);
        match NAMES[j] {
            "age" | "bmi" => (-0.5 * (x - m).powi(2) / spread).exp() / (TAU * spread).sqrt(),
            "smoker" | "married" => [1.0 - m, m][x as usize],
            "visits" => (1..=x as usize).fold((-m).exp(), |p, k| p * m / k as f64),
            _ => {
                let r = 1.0 / spread;
                let first = (r / (r + m)).powf(r);
                (1..=x as usize).fold(first, |p, k| p * (k as f64 - 1.0 + r) / k as f64 * m / (r + m))
            }
        }
    }

    /// log p of every row, and where a value is NaN its mean given the others: integrals over z by the trapezoidal rule.
    fn exactly(&self, x: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let points = points(50);
        let (mut log_p, mut means) = (vec![], vec![]);
        for row in x.chunks(COLS) {
            let known = || (0..COLS).filter(|&j| !row[j].is_nan());
            let (log, shares) = over_z(&points, |i| known().map(|j| self.p(j, points[i], row[j])).product());
            log_p.push(log);
            let mean = |j| points.iter().zip(&shares).map(|(&z, share)| self.mean(j, z) * share).sum();
            means.extend((0..COLS).map(|j| if row[j].is_nan() { mean(j) } else { row[j] }));
        }
        (log_p, means)
    }

    /// A count by inversion.
    fn draw(&self, rows: usize, numbers: &mut Numbers) -> Vec<f64> {
        let mut x = vec![];
        for _ in 0..rows {
            let z = numbers.normal();
            x.extend((0..COLS).map(|j| match NAMES[j] {
                "age" | "bmi" => self.mean(j, z) + self.spread[j].sqrt() * numbers.normal(),
                _ => {
                    let (mut u, mut count) = (numbers.unit(), 0.0);
                    while u >= self.p(j, z, count) && (count < 1.0 || !NAMES[j].starts_with(['s', 'm'])) {
                        u -= self.p(j, z, count);
                        count += 1.0;
                    }
                    count
                }
            }));
        }
        // As f32 has them.
        x.into_iter().map(|x| x as f32 as f64).collect()
    }
}

/// As `counts::learns` of one likelihood.
#[test]
fn a_model_of_a_table_is_as_likely_as_the_one_it_was_drawn_from() {
    let home = folder("mixed-learns");
    let truth = Truth::new();
    let x = truth.draw(1000, &mut Numbers::new(5));
    write_csv(&home.join("x.csv"), &NAMES, &x);
    let linear =
        "--hidden none --latent 1 --objective iwae --samples 10 --batch 50 --epochs 150 --lr 0.01 --lr-schedule cosine";
    run(&home, &format!("train --data x.csv {OWN} {linear} --device cpu --quiet --out run")).succeeded();
    let learned = Truth::learned(&home.join("run"));
    let (drawn_from, exact) = (mean(&truth.exactly(&x).0), mean(&learned.exactly(&x).0));
    println!("log p {exact:.4}, of the truth {drawn_from:.4}; spread {:.3?}", learned.spread);
    // The model has 16 parameters: half a nat each, over 1,000 examples.
    assert!(exact > drawn_from - 0.005 && exact < drawn_from + 0.03, "{exact}, the truth has {drawn_from}");

    // Of the first rows, all estimates beside the integral.
    let exact = mean(&learned.exactly(&x[..40 * COLS]).0);
    estimates_are(&home, exact);

    // A quarter of the values hidden.
    let gaps = with_gaps(&x, COLS);
    write_csv(&home.join("gaps.csv"), &NAMES, &gaps);
    run(&home, "impute run --data gaps.csv --to filled.npy --sweeps 400 --device cpu --quiet").succeeded();
    let filled = Dataset::read(&home.join("filled.npy")).unwrap().to_rows();
    let (_, want) = learned.exactly(&gaps);
    // Of what is about 1 or less by itself, of counts as a part of them.
    let off = |i: usize| (filled[i] as f64 - want[i]).abs() / want[i].abs().max(1.0);
    let worst = (0..gaps.len()).filter(|&i| gaps[i].is_nan()).map(off).fold(0.0, f64::max);
    println!("the worst conditional mean is off by {worst:.3}");
    assert!(worst < 0.15, "{worst}"); // 2,000 dependent draws of z
    assert!((0..gaps.len()).all(|i| gaps[i].is_nan() || filled[i] as f64 == gaps[i]), "what was there stays");
}

/// p(x|z) is a product over columns: what a model of each likelihood alone makes of its columns, added up.
#[test]
fn a_table_is_as_likely_as_its_columns_one_by_one() {
    let home = folder("mixed-product");
    let x = Truth::new().draw(60, &mut Numbers::new(6));
    write_csv(&home.join("x.csv"), &NAMES, &x);
    // Nothing is learned: z says nothing, and every model begins at the same parameters, zeros and the means of the columns.
    let begin =
        "--init normal:1e-9 --init-output-bias data --lr 1e-12 --steps 1 --hidden none --latent 1 --device cpu --quiet";
    let bound = |columns: &str, likelihood: &str, out: &str| -> f64 {
        run(&home, &format!("train --data x.csv --columns {columns} {likelihood} {begin} --out {out}")).succeeded();
        let said = run(&home, &format!("eval {out} --data x.csv --json --device cpu --quiet")).succeeded().stdout;
        serde_json::from_str::<serde_json::Value>(&said).unwrap()["nll"].as_f64().unwrap()
    };
    let table = bound("0..6", OWN, "table");
    let parts = [
        bound("age,bmi", "--likelihood gaussian --variance shared", "gaussian"),
        bound("smoker,married", "--likelihood bernoulli", "bernoulli"),
        bound("visits", "--likelihood poisson", "poisson"),
        bound("drugs", "--likelihood negative-binomial", "negative-binomial"),
    ];
    let sum: f64 = parts.iter().sum();
    assert!((table - sum).abs() < 1e-5 * sum, "{table}, one by one {parts:?}, together {sum}"); // f32
}

#[test]
fn every_command_takes_a_table() {
    let home = folder("mixed-commands");
    let mut x = Truth::new().draw(150, &mut Numbers::new(5));
    // In units of their own: what is scaled is scaled back.
    x.iter_mut().step_by(COLS).for_each(|age| *age = 45.0 + 10.0 * *age);
    write_csv(&home.join("x.csv"), &NAMES, &x);
    let gaps: Vec<f64> = x.iter().enumerate().map(|(i, &x)| if i % 7 == 3 { f64::NAN } else { x }).collect();
    write_csv(&home.join("gaps.csv"), &NAMES, &gaps);
    let small = "--scale standard --hidden 9 --latent 2 --batch 20 --epochs 60 --lr 0.005";
    run(&home, &format!("train --data x.csv {OWN} {small} --valid-fraction 0.2 --out run --device cpu --quiet"))
        .succeeded();
    let marks: Vec<f32> = (0..x.len()).map(|i| (i % 5 != 0) as u8 as f32).collect();
    let mut file = std::fs::File::create(home.join("mask.npy")).unwrap();
    vae_gpu::data::npy::write(&mut file, x.len() / COLS, COLS, &marks).unwrap();
    every_command(
        &home,
        400,
        &[
            "impute run --data gaps.csv --to filled.csv",
            "impute run --data gaps.csv --to imputed.csv --draws 2",
            "impute run --data x.csv --mask mask.npy --score --json",
        ],
    );

    // What is drawn is what its column is of, and the ages are ages.
    for (file, rows) in [("drawn.csv", 400), ("imputed.csv", 2 * x.len() / COLS)] {
        let text = std::fs::read_to_string(home.join(file)).unwrap();
        assert!(text.starts_with("age,smoker,visits,bmi,drugs,married\n"), "{text}");
        let drawn = Dataset::read(&home.join(file)).unwrap();
        assert_eq!(drawn.rows(), rows);
        let values = drawn.to_rows();
        let column = |j: usize| values.iter().skip(j).step_by(COLS).map(|&x| x as f64).collect::<Vec<_>>();
        let whole = |j: usize| column(j).iter().all(|x| x.fract() == 0.0 && *x >= 0.0);
        assert!([1, 5].iter().all(|&j| column(j).iter().all(|x| [0.0, 1.0].contains(x))), "{file}");
        assert!(whole(2) && whole(4) && !whole(0), "{file}");
        assert!((40.0..50.0).contains(&mean(&column(0))), "{file}: a mean age of {}", mean(&column(0)));
    }
    // The report says how to make the run again, by the names of the columns.
    let page = std::fs::read_to_string(home.join("run/report.html")).unwrap();
    for option in ["--bernoulli smoker,married", "--poisson visits", "--negative-binomial drugs", "--variance shared"] {
        assert!(page.contains(option), "{option}");
    }
}

/// However its columns are named, and wherever they stand, the model is the same.
#[test]
fn every_way_to_name_columns_gives_the_same_model() {
    let home = folder("mixed-ways");
    let x = Truth::new().draw(60, &mut Numbers::new(5));
    write_csv(&home.join("x.csv"), &NAMES, &x);
    let text = std::fs::read_to_string(home.join("x.csv")).unwrap();
    std::fs::write(home.join("bare.csv"), text.split_once('\n').unwrap().1).unwrap();
    let with_id = |(i, line): (usize, &str)| format!("{},{line}\n", if i == 0 { "id".into() } else { format!("n{i}") });
    std::fs::write(home.join("id.csv"), text.lines().enumerate().map(with_id).collect::<String>()).unwrap();
    let small = "--hidden 5 --latent 2 --batch 8 --steps 20 --device cpu --quiet";
    run(&home, &format!("train --data x.csv {OWN} {small} --out want")).succeeded();
    let want = runs::tensors(&home.join("want"));
    let ways = [
        "x.csv --likelihood gaussian --bernoulli 1,5 --poisson 2 --negative-binomial 4 --variance shared",
        "bare.csv --likelihood gaussian --bernoulli 5,1 --poisson 2..3 --negative-binomial 4 --variance shared",
        "id.csv --skip-columns id --likelihood gaussian --bernoulli 2,6 --poisson 3 --negative-binomial drugs --variance shared",
        "id.csv --likelihood gaussian --bernoulli 2,married --poisson 3 --negative-binomial drugs --variance shared",
        "x.csv --gaussian age,bmi --poisson visits --negative-binomial drugs --variance shared",
        "x.csv --likelihood negative-binomial --gaussian age,bmi --bernoulli smoker,married --poisson visits --variance shared",
    ];
    for (i, way) in ways.iter().enumerate() {
        run(&home, &format!("train --data {way} {small} --out run{i}")).succeeded();
        assert_eq!(runs::tensors(&home.join(format!("run{i}"))), want, "{way}");
        // A run goes on from its end as any other: it finds its columns again.
        run(&home, &format!("train --resume run{i} --device cpu --quiet")).succeeded();
        // And what its page says makes it again.
        let page = std::fs::read_to_string(home.join(format!("run{i}/report.html"))).unwrap();
        let data: serde_json::Value = {
            let (_, data) = page.split_once("<script type=\"application/json\" id=\"data\">").unwrap();
            serde_json::from_str(data.split_once("</script>").unwrap().0).unwrap()
        };
        let command = data["command"].as_str().unwrap().strip_prefix("vae-gpu ").unwrap().to_string();
        run(&home, &format!("{command} --device cpu --quiet --out again{i}")).succeeded();
        assert_eq!(runs::tensors(&home.join(format!("again{i}"))), want, "{command}");
    }
    // What the line says wins over the file, which still uses what it says itself.
    let line = format!("train --config run4/run.toml --likelihood bernoulli {small} --out beside");
    run(&home, &line).succeeded();
    assert_eq!(runs::tensors(&home.join("beside")), want, "{line}");
    let sweep =
        "sweep --data x.csv --columns age,smoker --variance shared --grid likelihood=bernoulli --grid gaussian=age";
    run(&home, &format!("{sweep} {small} --out sweep")).succeeded();
    let options =
        std::fs::read_to_string(home.join("sweep/likelihood=bernoulli,gaussian=age,seed=0/run.toml")).unwrap();
    assert!(options.contains("variance = \"shared\"") && options.contains("gaussian = \"age\""), "{options}");
    // A column that is named is not scaled, even where all others have its likelihood; two of one name have positions.
    std::fs::write(home.join("twice.csv"), text.replacen("age,smoker,visits,bmi", "a,a,b,c", 1)).unwrap();
    for (way, told) in [
        (
            "x.csv --columns age,smoker --gaussian age --bernoulli smoker --scale standard",
            "--bernoulli smoker --gaussian age",
        ),
        ("twice.csv --likelihood gaussian --bernoulli 1", "--bernoulli 1"),
    ] {
        run(&home, &format!("train --data {way} {small} --force --out named")).succeeded();
        let page = std::fs::read_to_string(home.join("named/report.html")).unwrap();
        assert!(page.contains(told), "{told}");
    }
    // A condition is told, and has no likelihood: the others keep theirs.
    let told =
        "train --data x.csv --condition bmi,smoker --likelihood gaussian --bernoulli married --poisson visits,drugs";
    run(&home, &format!("{told} {small} --out told")).succeeded();
    let config = std::fs::read_to_string(home.join("told/config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    // age, visits, drugs, married | smoker, bmi
    assert_eq!(config["others"], serde_json::json!([["poisson", 1, 3], ["bernoulli", 3, 4]]));
    run(&home, "sample told --condition x.csv --count 5 --draw --to told.csv --device cpu --quiet").succeeded();
}

/// A file may say anything of its columns.
#[test]
fn columns_that_cannot_be_are_no_model() {
    use vae_gpu::config::Likelihood::{Bernoulli, Gaussian, Poisson};
    let check = |others: &[(vae_gpu::config::Likelihood, usize, usize)]| {
        let model = vae_gpu::config::Model { others: others.to_vec(), ..vae_gpu::config::Model::new(5, &[3], 2) };
        assert!(model.likelihoods().len() <= 2 * others.len() + 1, "what is not checked yet is no trap");
        model.check().is_ok()
    };
    assert!(check(&[]) && check(&[(Poisson, 0, 5)]) && check(&[(Gaussian, 0, 2), (Poisson, 2, 3), (Bernoulli, 4, 5)]));
    for others in [
        &[(Poisson, 0, 6)][..],
        &[(Poisson, 2, 2)],
        &[(Poisson, 3, 2)],
        &[(Poisson, 0, 3), (Gaussian, 2, 4)],
        &[(Poisson, 3, 4), (Gaussian, 0, 1)],
        &[(Poisson, usize::MAX - 1, usize::MAX)],
        &[(Poisson, usize::MAX, 0)],
    ] {
        assert!(!check(others), "{others:?}");
    }
}

#[test]
fn zeros_and_ones_are_told_of() {
    let home = folder("mixed-told");
    let mut x = Truth::new().draw(60, &mut Numbers::new(5));
    x[1] = f64::NAN;
    write_csv(&home.join("x.csv"), &NAMES, &x);
    let told = |options: &str| {
        let small = "--missing allow --likelihood gaussian --hidden 5 --latent 2 --batch 8 --steps 1 --device cpu --force --out run";
        let said = run(&home, &format!("train --data x.csv {options} {small}")).succeeded().stderr;
        said.lines().find(|line| line.starts_with("nothing but")).map(String::from)
    };
    let hint = "nothing but zeros and ones: column 1 (\"smoker\", counted from 0), column 5 (\"married\", counted from 0); \
                --bernoulli smoker,married learns them as such";
    for scale in ["", "--scale standard", "--scale minmax"] {
        assert_eq!(told(scale).as_deref(), Some(hint), "{scale}");
    }
    let one =
        "nothing but zeros and ones: column 5 (\"married\", counted from 0); --bernoulli married learns it as such";
    assert_eq!(told("--scale standard --bernoulli smoker").as_deref(), Some(one));
    assert_eq!(told("--bernoulli smoker,married"), None);
    assert_eq!(told("--columns smoker,married"), None, "where all are, nothing is to be said");
}

#[test]
fn what_cannot_be_is_refused() {
    let home = folder("mixed-refused");
    std::fs::write(home.join("x.csv"), "id,a,b,c\nn1,0.5,1,2\nn2,1.5,0,0\nn3,-2,2,7\n").unwrap();
    let train =
        "train --data x.csv --likelihood gaussian --hidden 3 --latent 1 --steps 1 --device cpu --quiet --out none";
    for (options, sentence) in [
        (
            "--bernoulli b",
            "row 2, column 2 (\"b\", counted from 0) of x.csv is 2: must be in [0, 1] for the Bernoulli likelihood; give the \
             column another likelihood, as by --gaussian",
        ),
        (
            "--poisson a",
            "row 0, column 1 (\"a\", counted from 0) of x.csv is 0.5: must be a whole number, 0 or more, for a likelihood of \
             counts; give the column another likelihood, as by --gaussian",
        ),
        (
            "--bernoulli b --scale standard",
            "row 2, column 2 (\"b\", counted from 0) of x.csv is 2: must be in [0, 1] for the Bernoulli likelihood; it is scaled here; \
             pass --likelihood gaussian, and name the columns of zeros and ones by --bernoulli: it and the options of counts and \
             words leave theirs unscaled",
        ),
    ] {
        run(&home, &format!("{train} {options}")).refused(1, sentence);
    }
    for (options, sentence) in [
        ("--bernoulli d", "bernoulli d: x.csv has no column of this name; did you mean id?"),
        ("--bernoulli 4", "bernoulli 4: x.csv has columns 0 to 3; pass some of them, as 0..4"),
        ("--bernoulli b --poisson 1..3", "poisson 1..3: column 2 (counted from 0) is bernoulli already; name it once"),
        (
            "--bernoulli id",
            "bernoulli id: the first column of x.csv is taken as names of the rows, for it is of words; name columns that are \
             learned, or of words --categorical id",
        ),
        (
            "--bernoulli b --skip-columns b,id",
            "bernoulli b: is left out, or told to the model; name columns that are learned",
        ),
        (
            "--bernoulli b --condition b",
            "bernoulli b: is left out, or told to the model; name columns that are learned",
        ),
        (
            "--bernoulli b --condition 2..3",
            "bernoulli b: is left out, or told to the model; name columns that are learned",
        ),
        (
            "--poisson b,c --past 1..2 --future 2..3",
            "poisson c: is left out, or told to the model; name columns that are learned",
        ),
        (
            "--poisson c --binarize threshold",
            "binarize threshold: makes zeros and ones of all columns, which have different likelihoods; leave it out",
        ),
        (
            "--poisson c --variance scalar",
            "variance scalar: must be another where columns have different likelihoods; pass --variance shared",
        ),
        (
            "--negative-binomial c --dispersion scalar",
            "dispersion scalar: must be another where columns have different likelihoods; pass --dispersion shared",
        ),
        (
            "--poisson c --dispersion network",
            "dispersion network: the likelihood gaussian has none; leave it out, or pass --likelihood negative-binomial",
        ),
    ] {
        run(&home, &format!("{train} {options}")).refused(2, sentence);
    }
}
