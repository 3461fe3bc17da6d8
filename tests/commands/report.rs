//! The page of a run: what is in it, what it never loads, and what a browser makes of it.
use crate::browser::{browsed, data, left, page};
use crate::program::{self, folder, run, write_idx, write_labels};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const TRAIN: &str = "train --data x.idx --epochs 3 --hidden 20 --latent 3 --log-every 2 --device cpu --quiet";

/// A folder with a data set `x.idx` (103 pictures of 6 × 6) and a model `run` trained on it.
fn home() -> &'static Path {
    static HOME: OnceLock<PathBuf> = OnceLock::new();
    HOME.get_or_init(|| {
        let home = folder("report");
        write_idx(&home.join("x.idx"), 103, 6);
        write_three(&home.join("labels.idx"), 103);
        run(&home, &format!("{TRAIN} --valid x.idx --batch 10 --out run")).succeeded();
        home
    })
}

/// Classes 0, 1, 2 in turn.
fn write_three(path: &Path, rows: u32) {
    write_labels(path, &(0..rows).map(|i| (i % 3) as u8).collect::<Vec<_>>());
}

/// The bytes behind base64: RFC 4648, read the other way round than the program writes it.
fn decoded(base64: &str) -> Vec<u8> {
    let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits: Vec<u32> = base64.trim_end_matches('=').chars().map(|c| letters.find(c).unwrap() as u32).collect();
    let four = |four: &[u32]| {
        let all = four.iter().enumerate().fold(0, |all, (i, bits)| all | bits << (18 - 6 * i));
        all.to_be_bytes()[1..four.len()].to_vec()
    };
    bits.chunks(4).flat_map(four).collect()
}

#[test]
fn every_training_leaves_a_page_with_all_its_figures() {
    let page = page(&home().join("run/report.html"));
    let report = data(&page);
    let records = vae_gpu::metrics::read(&home().join("run/metrics.jsonl")).unwrap();
    assert_eq!((&report["name"], &report["widths"]), (&"run".into(), &"36-20-3-20-36".into()));
    assert_eq!(
        (&report["steps"], &report["steps_per_epoch"], &report["device"]),
        (&33.into(), &11.into(), &"cpu".into())
    );
    assert!(report["seconds"].as_f64().unwrap() > 0.0 && report["examples_per_s"].as_f64().unwrap() > 0.0);
    for (split, name) in [(vae_gpu::metrics::Split::Train, "train"), (vae_gpu::metrics::Split::Valid, "valid")] {
        let of: Vec<_> = records.iter().filter(|r| r.split == split).collect();
        assert_eq!(report[name]["elbo"].as_f64(), of.last().map(|r| r.elbo));
        let quantities: [fn(&vae_gpu::metrics::Record) -> f64; 3] = [|r| r.elbo, |r| r.nll, |r| r.kl];
        for (at, quantity) in quantities.into_iter().enumerate() {
            let line = &report["curves"][at][name];
            // An epoch has several lines: that of all of it would be a spike among them.
            let of: Vec<_> = of.iter().filter(|r| name == "valid" || r.epoch.fract() > 0.0).collect();
            assert_eq!(line[0].as_array().unwrap().len(), of.len());
            for (i, record) in of.iter().enumerate() {
                assert_eq!(line[0][i].as_u64(), Some(record.step as u64));
                let (got, want) = (line[1][i].as_f64().unwrap(), quantity(record));
                assert!((got - want).abs() <= 1e-6 * want.abs(), "{name} {at} {i}: {got}, want {want}"); // seven digits
            }
        }
    }
    // The loss is a curve of its own where it is another one.
    assert_eq!(report["curves"].as_array().unwrap().len(), 3);
    let told = "train --data x.idx --valid x.idx --beta 3 --epochs 2 --hidden 5 --latent 2 --device cpu --quiet --out weighed --force";
    run(home(), told).succeeded();
    let weighed = data(&crate::browser::page(&home().join("weighed/report.html")));
    let (loss, lines) = (&weighed["curves"][3], vae_gpu::metrics::read(&home().join("weighed/metrics.jsonl")).unwrap());
    let want: Vec<f64> = lines.iter().filter(|r| r.split == vae_gpu::metrics::Split::Valid).map(|r| r.loss).collect();
    let got: Vec<f64> = loss["valid"][1].as_array().unwrap().iter().map(|y| y.as_f64().unwrap()).collect();
    assert!(loss["name"] == "loss" && got.len() == 2, "{loss}");
    assert!(got.iter().zip(&want).all(|(got, want)| (got - want).abs() <= 1e-6 * want), "{got:?} {want:?}");
    // Its pictures are those that the training draws, where nothing is left out for size.
    for (name, file) in [("samples", "run/samples.png"), ("reconstructions", "run/reconstructions.png")] {
        let png = decoded(report[name]["png"].as_str().unwrap());
        assert!(png == std::fs::read(home().join(file)).unwrap(), "{name}");
    }
    assert_eq!(report["latents"]["x"].as_array().unwrap().len(), 103);
    assert_eq!(report["latents"]["labels"], Value::Null);
    assert!(page.len() < 100_000, "{} bytes", page.len());
}

/// The latents by another way: `eval`, which runs the whole tape in batches of its own, and `encode`.
#[test]
fn the_latents_are_those_of_eval_and_encode() {
    let report = data(&page(&home().join("run/report.html")));
    let eval = run(home(), "eval run --data x.idx --json --device cpu").succeeded();
    let eval: Value = serde_json::from_str(&eval.stdout).unwrap();
    let latents = &report["latents"];
    assert_eq!(latents["active"], eval["active_units"]);
    let bars = latents["bars"].as_array().unwrap();
    assert_eq!(bars.len(), 3);
    for bar in bars {
        let want = eval["kl_per_dim"][bar["dim"].as_u64().unwrap() as usize].as_f64().unwrap();
        let got = bar["kl"].as_f64().unwrap();
        assert!((got - want).abs() < 1e-4 * want.abs() + 1e-6, "{bar}: {want}"); // f32 against f32, other sums
    }
    assert!(bars.windows(2).all(|two| two[0]["kl"].as_f64() >= two[1]["kl"].as_f64()), "largest first");
    // Distances in the plane, and what is lost by it, make up those in latent space.
    run(home(), "encode run --data x.idx --to mu.npy --device cpu").succeeded();
    let mu = vae_gpu::data::Dataset::read(&home().join("mu.npy")).unwrap().to_rows();
    let mean = |j: usize| mu.chunks(3).map(|r| r[j] as f64).sum::<f64>() / 103.0;
    let total: f64 = (0..3).map(|j| mu.chunks(3).map(|r| (r[j] as f64 - mean(j)).powi(2)).sum::<f64>()).sum();
    for (axis, share) in ["x", "y"].into_iter().zip(latents["share"].as_array().unwrap()) {
        let along: f64 = latents[axis].as_array().unwrap().iter().map(|v| v.as_f64().unwrap().powi(2)).sum();
        let (got, want) = (along / total, share.as_f64().unwrap());
        assert!((got - want).abs() < 0.01, "{axis}: {got} of the variance, {want} said"); // coordinates of 3 decimals
    }
}

#[test]
fn labels_colour_the_latents() {
    let line = "report run --data x.idx --labels labels.idx --to coloured.html --device cpu";
    let said = run(home(), line).succeeded();
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("", "coloured.html: open it in a browser\n"));
    let labels = data(&page(&home().join("coloured.html")))["latents"]["labels"].clone();
    let labels: Vec<u64> = labels.as_array().unwrap().iter().map(|l| l.as_u64().unwrap()).collect();
    assert_eq!(labels, (0..103).map(|i| i % 3).collect::<Vec<_>>());
    let json = run(home(), "report run --to again.html --json --quiet --device cpu").succeeded();
    assert_eq!(json.stdout, "{\"report\":\"again.html\"}\n");
}

/// What a shell makes of the command is the run: the same configuration and the same parameters.
#[test]
fn the_command_on_the_page_repeats_the_run() {
    let home = folder("report-again");
    write_idx(&home.join("it's x.idx"), 60, 4);
    write_three(&home.join("labels.idx"), 60);
    let settings: [&[&str]; 4] = [
        &["--steps", "5"],
        &[
            "--hidden",
            "7,5",
            "--latent",
            "2",
            "--likelihood",
            "gaussian",
            "--variance",
            "network",
            "--mean",
            "sigmoid",
            "--activation",
            "tanh",
            "--init",
            "normal:0.01",
            "--optimizer",
            "adamw",
            "--lr",
            "0.003",
            "--lr-schedule",
            "step:3:0.5",
            "--betas",
            "0.8,0.99",
            "--clip-norm",
            "2",
            "--batch",
            "7",
            "--epochs",
            "2",
            "--seed",
            "9",
            "--valid-fraction",
            "0.2",
            "--patience",
            "4",
            "--free-bits",
            "0.1",
            "--kl-warmup",
            "6",
            "--lr-warmup",
            "2",
        ],
        &[
            "--hidden",
            "none",
            "--objective",
            "iwae",
            "--samples",
            "3",
            "--binarize",
            "dynamic",
            "--precision",
            "f64",
            "--optimizer",
            "momentum",
            "--momentum",
            "0.5",
            "--init-output-bias",
            "data",
            "--on-nan",
            "skip",
            "--algorithm",
            "fastest",
            "--steps",
            "4",
            "--condition",
            "labels.idx",
            "--valid",
            "it's x.idx",
            "--valid-condition",
            "labels.idx",
        ],
        &[
            "--past",
            "0..8",
            "--future",
            "8..16",
            "--steps",
            "3",
            "--sigma",
            "0.5",
            "--likelihood",
            "gaussian",
            "--beta",
            "0.5",
            "--optimizer",
            "adagrad",
            "--eps",
            "0.001",
            "--weight-decay",
            "0.01",
            "--log-every",
            "2",
        ],
    ];
    for (i, settings) in settings.into_iter().enumerate() {
        let first = format!("run{i}");
        let always = ["--data", "it's x.idx", "--device", "cpu", "--quiet", "--out", &first];
        let args = [&["train"], &always[..], settings].concat();
        program::Outcome::of(program::command(&home, &args).output().unwrap()).succeeded();
        let command = data(&page(&home.join(&first).join("report.html")))["command"].as_str().unwrap().to_string();
        let command = command.strip_prefix("vae-gpu train").unwrap_or_else(|| panic!("{command}"));
        let script = format!("{} train {command} --device cpu --quiet --out again{i}", env!("CARGO_BIN_EXE_vae-gpu"));
        let again = Command::new("bash").args(["-c", &script]).current_dir(&home).output().unwrap();
        assert!(again.status.success(), "{command}: {}", String::from_utf8_lossy(&again.stderr));
        let read = |run: String, file: &str| std::fs::read(home.join(run).join(file)).unwrap();
        for file in ["config.json", "model.safetensors"] {
            assert!(read(first.clone(), file) == read(format!("again{i}"), file), "{file}: {command}");
        }
    }
}

const HOSTILE: &str = "<b>&amp;<!--<script>\"'.idx";

/// A run whose name, data and settings would each be markup, if they were let.
fn hostile() -> &'static Path {
    static HOSTILE_HOME: OnceLock<PathBuf> = OnceLock::new();
    HOSTILE_HOME.get_or_init(|| {
        let home = folder("report-hostile");
        // A name cannot hold a slash, a path can: `…<` / `script>…`.
        std::fs::create_dir_all(home.join("<")).unwrap();
        let path = format!("</script>{HOSTILE}");
        write_idx(&home.join(&path), 30, 4);
        let name = "a<img src=x onerror=alert(1)>&";
        let args = ["train", "--data", &path, "--steps", "5", "--device", "cpu", "--quiet", "--out", name];
        program::Outcome::of(program::command(&home, &args).output().unwrap()).succeeded();
        home.join(name)
    })
}

#[test]
fn names_are_text_whatever_is_in_them() {
    let page = page(&hostile().join("report.html"));
    let report = data(&page);
    assert_eq!(report["data"], format!("</script>{HOSTILE}"));
    assert!(page.contains("<title>a&lt;img src=x onerror=alert(1)&gt;&amp; · vae-gpu</title>"));
    let calm = page_without_data(&page);
    assert!(!calm.contains("<b>&") && !calm.contains("<img src=x"), "{calm}");
}

/// The page between what the run filled in.
fn page_without_data(page: &str) -> String {
    let (before, rest) = page.split_once("id=\"data\">").unwrap();
    format!("{before}{}", rest.split_once("</script>").unwrap().1)
}

#[test]
fn the_page_loads_nothing() {
    let page = page_without_data(&page(&home().join("run/report.html")));
    for loads in ["http:", "https:", "//cdn", "@import", "url(h", "<link", "src=\"", "fetch(", "XMLHttp", "import("] {
        assert!(!page.contains(loads), "{loads}");
    }
    assert!(page.contains("default-src 'none'"));
}

/// Of WCAG 2.2: relative luminance, and the ratio of two (sections 1.4.3 and 1.4.11).
#[test]
fn words_and_lines_stand_out_in_light_and_in_dark() {
    let page = page(&home().join("run/report.html"));
    let schemes: Vec<&str> = page.split(":root {").skip(1).take(2).map(|s| s.split('}').next().unwrap()).collect();
    let luminance = |scheme: &str, name: &str| {
        let hex = scheme.split_once(&format!("--{name}: #")).unwrap().1.split(';').next().unwrap();
        let hex = if hex.len() == 3 { hex.chars().flat_map(|c| [c, c]).collect() } else { hex.to_string() };
        let part = |at: usize| {
            let c = u8::from_str_radix(&hex[at..at + 2], 16).unwrap() as f64 / 255.0;
            if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(0) + 0.7152 * part(2) + 0.0722 * part(4)
    };
    for scheme in schemes {
        for (ink, back, least) in [
            ("ink", "back", 7.0),
            ("soft", "back", 4.5),
            ("ink", "wash", 7.0),
            ("train", "back", 3.0),
            ("valid", "back", 3.0),
        ] {
            let (a, b) = (luminance(scheme, ink), luminance(scheme, back));
            let ratio = (a.max(b) + 0.05) / (a.min(b) + 0.05);
            assert!(ratio >= least, "{ink} on {back}: {ratio:.2}, at least {least}; {scheme}");
        }
    }
}

#[test]
fn a_run_of_many_lines_has_a_small_page() {
    let home = folder("report-long");
    write_idx(&home.join("x.idx"), 103, 6);
    run(&home, &format!("{TRAIN} --batch 10 --out run")).succeeded();
    let line = |step: u32| {
        let elbo = -100.0 - 1e4 / step as f64 + if step == 54_321 { 50.0 } else { 0.0 };
        let (nll, kl) = (-elbo - 7.0 / 3.0, 7.0 / 3.0);
        format!(
            "{{\"step\":{step},\"epoch\":1.0,\"split\":\"train\",\"elbo\":{elbo},\"nll\":{nll},\"kl\":{kl},\"loss\":1.0,\
             \"lr\":0.001,\"beta\":1.0,\"examples_per_s\":1.0}}\n"
        )
    };
    std::fs::write(home.join("run/metrics.jsonl"), (1..=100_000).map(line).collect::<String>()).unwrap();
    run(&home, "report run --device cpu --quiet").succeeded();
    let page = page(&home.join("run/report.html"));
    assert!(page.len() < 200_000, "{} bytes", page.len());
    let steps = data(&page)["curves"][0]["train"][0].as_array().unwrap().clone();
    assert!(steps.len() <= 1000 && steps.len() > 500, "{} points", steps.len());
    assert!(steps.contains(&54_321.into()), "a spike survives");
    assert_eq!((steps.first().unwrap(), steps.last().unwrap()), (&1.into(), &100_000.into()));
}

#[test]
fn a_report_that_cannot_be_is_a_note_and_the_training_is_done() {
    let home = folder("report-note");
    write_idx(&home.join("x.idx"), 103, 6);
    std::fs::create_dir_all(home.join("run/report.html")).unwrap();
    let line = TRAIN.replace(" --quiet", "");
    let outcome = run(&home, &format!("{line} --out run --force")).succeeded();
    let note = "no report: cannot write run/report.html: it is a directory; name a file in it; vae-gpu report run makes it again";
    assert!(outcome.stderr.contains(note) && outcome.stderr.contains("done after 6 steps"), "{}", outcome.stderr);
}

#[test]
fn wrong_requests_are_sentences() {
    let home = home();
    std::fs::write(home.join("mine.html"), "<p>mine").unwrap();
    std::fs::create_dir_all(home.join("empty")).unwrap();
    std::fs::write(home.join("wide.csv"), "1,2,3\n0.5,0.1,0.2\n").unwrap();
    write_three(&home.join("few.idx"), 7);
    let refused: [(i32, &str, &str); 6] = [
        (2, "report run --to r.pdf", "to r.pdf: must end in .html; pass --to report.html"),
        (2, "report run --to mine.html", "to mine.html: is there already and no report; pass another --to, or --force"),
        (1, "report nowhere", "nowhere: is no directory; give a run directory, as runs/digits"),
        (1, "report empty", "empty/model.safetensors: there is no such file; give a run directory or its model"),
        (1, "report run --data x.idx --labels few.idx", "few.idx: has 7 labels, and x.idx 103 examples; give its own"),
        (
            1,
            "report run --data wide.csv",
            "wide.csv: an example has 3 numbers; must have 36, as the data of the model: give data of the same columns",
        ),
    ];
    for (code, line, sentence) in refused {
        run(home, &format!("{line} --device cpu")).refused(code, sentence);
    }
    assert_eq!(page(&home.join("mine.html")), "<p>mine");
    run(home, "report run --to mine.html --force --device cpu --quiet").succeeded();
    run(home, "report run --to mine.html --device cpu --quiet").succeeded(); // a report makes way for a report
}

#[test]
fn a_browser_draws_it_and_zooms() {
    run(home(), "report run --data x.idx --labels labels.idx --to browsed.html --device cpu --quiet").succeeded();
    let script = r##"
        const out = document.documentElement.dataset, first = document.querySelector("#elbo svg");
        const labels = () => [...first.querySelectorAll("text")].map(t => t.textContent).join(" ");
        const box = () => first.getBoundingClientRect();
        const send = (type, t, more) => first.dispatchEvent(new PointerEvent(type, { bubbles: true, button: 0, pointerId: 1,
            clientX: box().left + (54 + t * (box().width - 62)), clientY: box().top + 50, ...more }));
        const line = () => first.querySelector("path.line").getAttribute("d");
        out.before = labels(); const whole = line();
        send("pointermove", 1); out.readout = document.querySelector("#elbo .readout").textContent;
        out.others = document.querySelectorAll(".hair").length;
        send("pointerdown", .25); send("pointermove", .75); out.dragging = document.querySelectorAll(".range").length;
        send("pointerup", .75);
        out.zoomed = labels(); out.seen = seen.map(s => s.toFixed(2)).join(" "); out.moved = line() !== whole;
        out.button = document.querySelector("#whole").hidden;
        send("dblclick", .5); out.after = labels(); out.back = line() === whole;
        send("pointerdown", .5); send("pointerup", .5); out.click = labels();
        first.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft" }));
        first.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft" })); out.key = read;
        out.wide = document.documentElement.scrollWidth <= innerWidth;
        out.images = [...document.images].map(i => i.naturalWidth > 0 && i.alt !== "").join(" ");
        out.links = document.querySelectorAll("a,link,iframe,object").length;
    "##;
    let Some(dom) = browsed(&home().join("browsed.html"), script, "zoom") else { return };
    for id in ["elbo", "nll", "kl"] {
        let (_, chart) = dom.split_once(&format!("<div id=\"{id}\">")).unwrap();
        let chart = chart.split("</svg>").next().unwrap();
        assert!(chart.contains("class=\"line train\"") && chart.contains("class=\"line valid\""), "{id}");
        assert!(chart.contains("role=\"img\"") && chart.contains("<title>"), "{id}");
    }
    assert_eq!(dom.matches("<rect class=\"bar").count(), 3, "a bar for each dimension");
    assert_eq!(dom.matches("<title>class ").count(), 3, "a colour for each class");
    let points: usize = ["class 0: 35", "class 1: 34", "class 2: 34"].iter().filter(|c| dom.contains(**c)).count();
    assert_eq!(points, 3);
    assert!(dom.contains("36-20-3-20-36") && dom.contains("--hidden 20 --latent 3"));
    assert_ne!(left(&dom, "before"), left(&dom, "zoomed"), "other ticks");
    assert_eq!((left(&dom, "moved"), left(&dom, "back"), left(&dom, "button")), ("true", "true", "false"));
    assert_eq!(left(&dom, "seen"), "8.25 24.75", "a quarter to three quarters of 33 steps");
    assert_eq!(left(&dom, "before"), left(&dom, "after"), "a double click shows all again");
    assert_eq!(left(&dom, "before"), left(&dom, "click"), "a click is no range");
    assert_eq!((left(&dom, "others"), left(&dom, "dragging")), ("3", "3"), "all charts read and show the range");
    assert!(left(&dom, "readout").contains("step 33, epoch 3"), "{}", left(&dom, "readout"));
    assert_eq!(left(&dom, "key"), "18", "two lines of metrics before that of step 24, where the pointer was");
    assert_eq!((left(&dom, "wide"), left(&dom, "images"), left(&dom, "links")), ("true", "true true", "0"));
}

#[test]
fn a_browser_shows_hostile_names_as_text() {
    let script = "document.documentElement.dataset.found = \
        [document.querySelectorAll('b:not(p b), img:not([alt])').length, document.querySelector('h1').textContent === run.name,\
        document.querySelector('.lead').textContent.includes(run.data.split('/').pop())].join(' ')";
    let Some(dom) = browsed(&hostile().join("report.html"), script, "hostile") else { return };
    assert_eq!(left(&dom, "found"), "0 true true");
}

/// Of shares the page's columns are drawn as deeply as the data were counted: to a total from 10 to 1,000.
#[test]
fn the_page_draws_as_much_as_the_examples_count() {
    let home = folder("report-shares");
    let row = |i: usize| {
        (0..4).map(move |j| (10f64.powf(1.0 + i as f64 / 150.0) * [0.1, 0.2, 0.3, 0.4][j]).round().to_string())
    };
    let rows: Vec<String> = (0..300).map(|i| row(i * 7 % 300).collect::<Vec<_>>().join(",")).collect();
    std::fs::write(home.join("x.csv"), format!("a,b,c,d\n{}\n", rows.join("\n"))).unwrap();
    for likelihood in ["multinomial", "negative-binomial --size-factor total"] {
        let line = format!(
            "train --data x.csv --likelihood {likelihood} --hidden none --latent 1 --epochs 40 --batch 20 --lr 0.05"
        );
        run(&home, &format!("{line} --out run --force --device cpu --quiet")).succeeded();
        let report = data(&page(&home.join("run/report.html")));
        let charts = report["columns"]["charts"].as_array().unwrap();
        assert_eq!(charts.len(), 4);
        for chart in charts {
            let part = |of: &str| chart[of].as_array().unwrap()[0].as_f64().unwrap();
            let [of_data, drawn] = ["data", "drawn"].map(part);
            // Bins of the same width: a model that drew a total of 1 would have all in the first.
            assert!(of_data > 0.2 && (of_data - drawn).abs() < 0.15, "{likelihood}: {chart}");
        }
    }
}
