//! Every command of the README, run as it is written there, in its order, in a folder with the files that it speaks of; and
//! its Python. One command is given an option that shortens it. What the README shows of a command's output is held against
//! what the command says, but for the numbers.
#![cfg(unix)]
use crate::program::folder;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};
use vae_gpu::data::{Dataset, digits, npy};

/// Commands that a test cannot run, and why.
const ELSEWHERE: [(&str, &str); 4] = [
    ("cargo test --release", "it is this"),
    ("cargo install --path .", "it is built already, and stands in the path"),
    ("tools/get-mnist", "tests need no network: tests/commands/get_mnist.rs"),
    ("git clone", "tests need no network"),
];

/// What is added to a command that would take most of a minute on two cores: it anneals in a tenth of the steps.
const SHORTER: (&str, &str) = ("--estimator iwae,naive,ais", " --temperatures 50");

/// The fenced blocks of a language, as lines.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<Vec<&'a str>> {
    let mut blocks = vec![];
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(found) = line.strip_prefix("```") {
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            if found == language {
                blocks.push(block);
            }
        }
    }
    blocks
}

/// The commands of a block, each with the output that is shown below it. A line that ends in \ goes on.
fn commands<'a>(block: &[&'a str]) -> Vec<(String, Vec<&'a str>)> {
    let mut commands: Vec<(String, Vec<&str>)> = vec![];
    for line in block {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => commands.push((command.split(" #").next().unwrap().trim().into(), vec![])),
            (None, Some((command, _))) if command.ends_with('\\') => {
                command.pop();
                command.push_str(line.trim());
            }
            (None, Some((_, shown))) => shown.push(line),
            (None, None) => panic!("{line}: a console block begins with a command"),
        }
    }
    commands
}

/// Built-in digits under the names of MNIST: a few of them.
fn write_digits(path: &Path, data: &Dataset, rows: usize) {
    let few = data.first(rows);
    let mut bytes = vec![0, 0, 8, 3];
    [rows as u32, 28, 28].iter().for_each(|n| bytes.extend(n.to_be_bytes()));
    bytes.extend(few.to_rows().iter().map(|x| (x * 255.0).round() as u8));
    let mut file = flate2::write::GzEncoder::new(File::create(path).unwrap(), flate2::Compression::fast());
    file.write_all(&bytes).unwrap();
    file.finish().unwrap();
}

/// Grey pictures of 12 × 10 pixels.
fn write_pictures(folder: &Path) {
    fs::create_dir(folder).unwrap();
    for i in 0..40u32 {
        let mut picture = png::Encoder::new(File::create(folder.join(format!("{i:02}.png"))).unwrap(), 10, 12);
        picture.set_color(png::ColorType::Grayscale);
        let pixels: Vec<u8> = (0..120u32).map(|j| (128 + (j % 10) * (i % 7) * 2 + i) as u8).collect();
        picture.write_header().unwrap().write_image_data(&pixels).unwrap();
    }
}

fn write_table(path: &Path) {
    let mut table = "name,height,weight,age\n".to_string();
    for i in 0..200 {
        let z = (i as f64 * 0.37).sin();
        table +=
            &format!("person {i},{:.1},{:.1},{}\n", 170.0 + 10.0 * z, 70.0 + 12.0 * z + (i % 5) as f64, 20 + i % 50);
    }
    fs::write(path, table).unwrap();
}

/// The table without its names, of which every seventh cell is empty.
fn write_gaps(path: &Path) {
    let mut table = "height,weight,age\n".to_string();
    for i in 0..200 {
        let cell = |j: usize, x: f64| if (3 * i + j).is_multiple_of(7) { String::new() } else { format!("{x:.1}") };
        let z = (i as f64 * 0.37).sin();
        table += &format!("{},{},{}\n", cell(0, 170.0 + 10.0 * z), cell(1, 70.0 + 12.0 * z), cell(2, 20.0 + z));
    }
    fs::write(path, table).unwrap();
}

/// Of three kinds, which differ.
fn write_flowers(path: &Path) {
    let mut table = "sepal,petal,species\n".to_string();
    for i in 0..150 {
        let little = (i as f64 * 0.37).sin();
        let kind = i % 3;
        table += &format!(
            "{:.1},{:.1},{}\n",
            5.0 + 0.8 * kind as f64 + 0.3 * little,
            1.4 + 1.9 * kind as f64 + 0.5 * little,
            ["setosa", "versicolor", "virginica"][kind]
        );
    }
    fs::write(path, table).unwrap();
}

/// Of length 1, around a direction for each topic.
fn write_embeddings(home: &Path) {
    const WIDTH: usize = 32;
    let (mut rows, mut topics) = (vec![], "topic\n".to_string());
    for i in 0..300 {
        let topic = i % 3;
        let row: Vec<f64> =
            (0..WIDTH).map(|j| ((topic * WIDTH + j) as f64 * 1.7).sin() + 0.3 * ((i * j) as f64).cos()).collect();
        let length = row.iter().map(|x| x * x).sum::<f64>().sqrt();
        rows.extend(row.iter().map(|x| (x / length) as f32));
        topics += &format!("{}\n", ["law", "medicine", "sport"][topic]);
    }
    npy::write(&mut File::create(home.join("embeddings.npy")).unwrap(), 300, WIDTH, &rows).unwrap();
    fs::write(home.join("topics.csv"), topics).unwrap();
}

/// Numbers, words, zeros and ones, and counts.
fn write_patients(path: &Path) {
    let mut table = "age,ward,smoker,married,visits\n".to_string();
    for i in 0..200 {
        let z = (i as f64 * 0.37).sin();
        let ill = (1.0 + z).exp().floor() as usize * (i % 3);
        let ward = if z > 0.5 && i % 5 > 0 { "medicine" } else { "surgery" };
        table += &format!("{:.1},{ward},{},{},{ill}\n", 45.0 + 12.0 * z, (z > 0.2) as u8, i % 2);
    }
    fs::write(path, table).unwrap();
}

/// Whole numbers under names, of which some vary much.
fn write_counts(path: &Path) {
    let mut table = (0..12).map(|j| format!("gene{j}")).collect::<Vec<_>>().join(",") + "\n";
    for i in 0..200 {
        let z = (i as f64 * 0.37).sin();
        let count = |j: usize| (0.5 * j as f64 + z * (j % 3) as f64).exp().floor() as usize * ((i + j) % 4);
        table += &((0..12).map(|j| count(j).to_string()).collect::<Vec<_>>().join(",") + "\n");
    }
    fs::write(path, table).unwrap();
}

/// The hours of days, which have names.
fn write_load(path: &Path) {
    let hours = (0..24).map(|hour| format!("h{hour:02}")).collect::<Vec<_>>().join(",");
    let mut table = format!("day,{hours}\n");
    for i in 0..200 {
        let (phase, size) = ((i as f64 * 0.37).sin(), 20.0 + (i * 7 % 11) as f64);
        let load =
            |hour: usize| 50.0 + size * ((hour as f64 - 8.0 - 2.0 * phase) * 0.26).sin() + ((i * hour) % 5) as f64;
        table +=
            &format!("day {i},{}\n", (0..24).map(|hour| format!("{:.1}", load(hour))).collect::<Vec<_>>().join(","));
    }
    fs::write(path, table).unwrap();
}

/// The files that the README speaks of, and the program in the path.
fn home() -> std::path::PathBuf {
    let home = folder("readme");
    fs::create_dir_all(home.join("mnist")).unwrap();
    write_digits(&home.join("mnist/train-images-idx3-ubyte.gz"), &digits::train(), 600);
    write_digits(&home.join("mnist/t10k-images-idx3-ubyte.gz"), &digits::test(), 200);
    write_pictures(&home.join("faces"));
    write_table(&home.join("table.csv"));
    write_gaps(&home.join("gaps.csv"));
    write_counts(&home.join("counts.csv"));
    write_patients(&home.join("patients.csv"));
    write_load(&home.join("load.csv"));
    write_flowers(&home.join("flowers.csv"));
    write_embeddings(&home);
    let upper: Vec<f32> = (0..784).map(|i| (i < 392) as u8 as f32).collect();
    npy::write(&mut File::create(home.join("upper.npy")).unwrap(), 1, 784, &upper).unwrap();
    fs::create_dir(home.join("bin")).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_vae-gpu"), home.join("bin/vae-gpu")).unwrap();
    home
}

fn run(home: &Path, program: &str, argument: &str, text: &str) -> Output {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools");
    let [path, python] = ["PATH", "PYTHONPATH"].map(|name| std::env::var(name).unwrap_or_default());
    let mut command = Command::new(program);
    command.args([argument, text]).current_dir(home).env_remove("LD_LIBRARY_PATH");
    command.env("PATH", format!("{}:{path}", home.join("bin").display()));
    command.env("PYTHONPATH", format!("{}:{python}", tools.display())).output().unwrap()
}

#[test]
fn every_command_of_the_readme_runs_as_it_is_written() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let home = home();
    let (mut ran, mut skipped, mut shortened) = (0, 0, 0);
    for (command, shown) in blocks(&page, "console").iter().flat_map(|block| commands(block)) {
        if let Some((_, why)) = ELSEWHERE.iter().find(|(name, _)| command.starts_with(name)) {
            println!("not run: {command}: {why}");
            skipped += 1;
            continue;
        }
        let mut line = command.replace("cargo run --release --", "vae-gpu");
        if line.contains(SHORTER.0) {
            line += SHORTER.1;
            shortened += 1;
        }
        let clock = std::time::Instant::now();
        let ended = run(&home, "bash", "-ec", &line);
        println!("{:.1} s: {command}", clock.elapsed().as_secs_f64());
        let [stdout, stderr] = [ended.stdout, ended.stderr].map(|text| String::from_utf8(text).unwrap());
        assert!(ended.status.success(), "{command}\n{stdout}\n{stderr}");
        let said: Vec<&str> = stdout.lines().chain(stderr.lines()).collect();
        let word = |line: &str| line.split_whitespace().next().unwrap_or_default().to_string();
        // Whether there is a GPU, its name, how many at once: of the machine. Which is best: of the data.
        let of_machine = |line: &str| line.starts_with("no CUDA driver") || line.starts_with(char::is_numeric);
        let shown = shown.iter().map(|line| line.trim()).filter(|line| *line != "..." && !of_machine(line));
        for shown in shown {
            assert!(said.iter().any(|said| word(said) == word(shown)), "{command}\nshows: {shown}\nsays: {said:#?}");
        }
        // What it was told to write is there.
        for to in line.split_whitespace().skip_while(|word| *word != "--to").skip(1).take(1) {
            assert!(home.join(to).exists(), "{command}: no {to}");
        }
        ran += 1;
    }
    println!("{ran} commands run, {shortened} of them shortened, {skipped} not");
    assert!(ran >= 20 && skipped <= ELSEWHERE.len() && shortened == 1, "{ran}, {skipped} and {shortened} commands");

    for block in blocks(&page, "python") {
        if !run(&home, "python3", "-c", "import numpy, safetensors").status.success() {
            println!("skipped: Python has no numpy and safetensors");
            continue;
        }
        let ended = run(&home, "python3", "-c", &block.join("\n"));
        assert!(ended.status.success(), "{block:#?}\n{}", String::from_utf8_lossy(&ended.stderr));
    }
}
