//! Several runs: that each is the run that `train` makes, side by side, cut and resumed; what is refused; the table and
//! the page of them.
#![cfg(unix)]
use crate::browser;
use crate::program::{command, folder, run, send, write_idx};
use crate::runs::{self, assert_same_run, bytes};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use vae_gpu::metrics::Split;

const SETTINGS: &str = "--data x.idx --valid-fraction 0.2 --epochs 3 --batch 10 --device cpu --quiet";

/// A folder with a data set `x.idx`, and a sweep of it: two options, two seeds, two runs at once.
fn home() -> &'static Path {
    static HOME: OnceLock<PathBuf> = OnceLock::new();
    HOME.get_or_init(|| {
        let home = folder("sweep");
        write_idx(&home.join("x.idx"), 103, 6);
        let line =
            format!("sweep {SETTINGS} --grid latent=2,3 --grid hidden=12;7,5 --seeds 2 --seed 4 --jobs 2 --out all");
        run(&home, &line).succeeded();
        home
    })
}

/// The directories in a directory, by name.
fn runs_in(path: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(path).unwrap().map(Result::unwrap).filter(|e| e.path().is_dir());
    let mut names: Vec<String> = entries.map(|e| e.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_combination_is_the_run_that_train_makes() {
    let mut want = vec![];
    for (latent, hidden, seed) in [(2, "12", 4), (2, "7,5", 5), (3, "12", 5), (3, "7,5", 4)] {
        let name = format!("latent={latent},hidden={hidden},seed={seed}");
        let line = format!("train {SETTINGS} --latent {latent} --hidden {hidden} --seed {seed} --out {name}");
        run(home(), &line).succeeded();
        let (own, of_sweep) = (home().join(&name), home().join("all").join(&name));
        assert_same_run(&own, &of_sweep, &name);
        for file in ["config.json", "run.toml", "samples.png", "reconstructions.png"] {
            assert!(bytes(&own, file) == bytes(&of_sweep, file), "{name}: {file} differs");
        }
        assert!(of_sweep.join("report.html").exists() && of_sweep.join("curves.svg").exists());
        want.push(name);
    }
    let found = runs_in(&home().join("all"));
    assert_eq!(found.len(), 8, "{found:?}");
    assert!(want.iter().all(|name| found.contains(name)), "{found:?}");
    // Two of a sweep differ, or the bytes above say nothing.
    let model = |name: &str| bytes(&home().join("all").join(name), "model.safetensors");
    assert_ne!(model("latent=2,hidden=12,seed=4"), model("latent=2,hidden=12,seed=5"));
}

/// Data are read once for all runs that name the same, and only for those.
#[test]
fn a_grid_over_data_gives_each_run_its_own() {
    let home = folder("sweep-data");
    write_idx(&home.join("x.idx"), 60, 4);
    write_idx(&home.join("y.idx"), 40, 5);
    let settings = "--steps 6 --hidden 6 --latent 2 --device cpu --quiet";
    let grid = "--grid data=x.idx,./x.idx,y.idx --grid binarize=none,threshold --grid valid-fraction=0.2,0.5";
    run(&home, &format!("sweep {settings} {grid} --out all")).succeeded();
    let names = runs_in(&home.join("all"));
    assert_eq!(names.len(), 12, "{names:?}");
    for data in ["x.idx", "./x.idx", "y.idx"] {
        for (binarize, fraction) in [("none", "0.2"), ("threshold", "0.2"), ("threshold", "0.5")] {
            let options = format!("--data {data} --binarize {binarize} --valid-fraction {fraction}");
            run(&home, &format!("train {settings} {options} --out one --force")).succeeded();
            let (head, tail) =
                (format!("data={}", data.replace('/', "_")), format!(",valid-fraction={fraction},seed=0"));
            let of_it = |name: &&String| {
                let rest = name.strip_prefix(&head).filter(|rest| rest.starts_with([',', '~']));
                rest.is_some_and(|rest| rest.contains(&format!(",binarize={binarize},")) && rest.ends_with(&tail))
            };
            let found: Vec<_> = names.iter().filter(of_it).collect();
            assert_eq!(found.len(), 1, "{options}: {names:?}");
            assert_same_run(&home.join("one"), &home.join("all").join(found[0]), &options);
        }
    }
}

/// By another way: from the lines of metrics of each run.
#[test]
fn the_table_is_the_mean_over_seeds_best_first() {
    let rows = json_lines(&run(home(), "compare all --json").succeeded().stdout);
    assert_eq!(rows.len(), 4);
    for row in &rows {
        let name = |seed| {
            let word = |option: &str| row["options"][option].to_string().replace('"', "");
            format!("latent={},hidden={},seed={seed}", word("latent"), word("hidden"))
        };
        let best = |seed| {
            let lines = runs::lines(&home().join("all").join(name(seed)));
            let valid = lines.into_iter().filter(|r| r.split == Split::Valid);
            valid.max_by(|a, b| a.elbo.total_cmp(&b.elbo)).unwrap()
        };
        let (a, b) = (best(4), best(5));
        for (key, a, b) in [("elbo", a.elbo, b.elbo), ("kl", a.kl, b.kl), ("nll", a.nll, b.nll)] {
            let close = |got: &Value, want: f64| (got.as_f64().unwrap() - want).abs() < 1e-9;
            assert!(close(&row[key], (a + b) / 2.0), "{key}: {row}");
            // Of two numbers the deviation is |a − b| / √2.
            assert!(close(&row[format!("{key}_deviation")], (a - b).abs() / 2f64.sqrt()), "{key}: {row}");
        }
        let named: Vec<&str> = row["runs"].as_array().unwrap().iter().map(|r| r["run"].as_str().unwrap()).collect();
        assert_eq!(named, [4, 5].map(|seed| format!("all/{}", name(seed))));
        // The active units are those of eval on the same data.
        let active = |seed: u64| row["runs"][(seed - 4) as usize]["active_units"].as_u64();
        assert!(active(4).is_some_and(|n| n <= 3));
    }
    assert!(rows.windows(2).all(|two| two[0]["elbo"].as_f64() >= two[1]["elbo"].as_f64()), "best first");
    // One row a run; a run that is named twice is one.
    let each = run(home(), "compare all all/latent=2,hidden=12,seed=4 --each --json").succeeded();
    assert_eq!(json_lines(&each.stdout).len(), 8);
    // A copy is no second draw.
    let one = "all/latent=2,hidden=12,seed=4";
    assert!(
        std::process::Command::new("cp").args(["-r", one, "copied"]).current_dir(home()).status().unwrap().success()
    );
    let with = run(home(), "compare all copied --json").succeeded();
    assert_eq!(json_lines(&with.stdout), rows);
    assert!(with.stderr.contains(&format!("copied is the same run as {one}, and counts once")), "{}", with.stderr);
    let table = run(home(), "compare all").succeeded().stdout;
    let head: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(head, ["hidden", "latent", "valid", "elbo", "kl", "active", "seconds", "run"]);
    assert!(table.lines().count() == 5 && table.contains(" ± ") && table.contains("2 runs"), "{table}");
    let csv = std::fs::read_to_string(home().join("all/sweep.csv")).unwrap();
    assert!(csv.starts_with("run,hidden,latent,seed,state,split,elbo,"), "{csv}");
    assert_eq!(csv.lines().count(), 9);
    let which = "all: is a sweep; give one of its runs: vae-gpu compare all --each lists them";
    run(home(), "eval all --data x.idx --device cpu").refused(1, which);
}

#[test]
fn a_sweep_that_is_given_again_keeps_what_is_done_and_a_larger_grid_adds_to_it() {
    let home = folder("sweep-again");
    write_idx(&home.join("x.idx"), 60, 4);
    let line = |grid: &str| format!("sweep --data x.idx --steps 8 --hidden 6 --grid {grid} --device cpu --out s");
    let first = run(&home, &line("latent=2,3")).succeeded();
    // The rates in it are of the clock: made again, they would be others.
    let lines = bytes(&home.join("s/latent=2,seed=0"), "metrics.jsonl");
    let again = run(&home, &line("latent=2,3")).succeeded();
    assert_eq!(first.stdout, again.stdout);
    assert!(again.stderr.contains("2 runs, all of them done before"), "{}", again.stderr);
    let larger = run(&home, &line("latent=2,3,4")).succeeded();
    assert!(larger.stderr.contains("3 runs, 2 of them done before"), "{}", larger.stderr);
    let other = run(&home, &line("beta=1,2")).succeeded();
    assert_eq!(other.stdout.lines().count(), 1 + 5, "all runs of the directory: {}", other.stdout);
    assert_eq!(bytes(&home.join("s/latent=2,seed=0"), "metrics.jsonl"), lines);
    // What it leaves repeats it, and a run's own file is a base.
    run(&home, "sweep --config s/sweep.toml --device cpu --out t --quiet").succeeded();
    assert_eq!(runs_in(&home.join("t")), ["beta=1,seed=0", "beta=2,seed=0"]);
    assert_same_run(&home.join("s/beta=2,seed=0"), &home.join("t/beta=2,seed=0"), "repeated");
    run(&home, "sweep --config s/latent=3,seed=0/run.toml --grid lr=0.01 --device cpu --out u --quiet").succeeded();
    let config = String::from_utf8(bytes(&home.join("u/lr=0.01,seed=0"), "config.json")).unwrap();
    let config: Value = serde_json::from_str(&config).unwrap();
    assert_eq!((&config["latent"], &config["training"]["steps"]), (&3.into(), &8.into()));
    // Other settings under the same name are another run.
    let changed = line("latent=2,3").replace("--steps 8", "--steps 9");
    run(&home, &changed).refused(
        2,
        "out s/latent=2,seed=0: holds a run with other settings or other data already; pass another --out, or --force to \
         replace it",
    );
    assert_eq!(bytes(&home.join("s/latent=2,seed=0"), "metrics.jsonl"), lines);
    run(&home, &format!("{changed} --force")).succeeded();
    assert_ne!(bytes(&home.join("s/latent=2,seed=0"), "metrics.jsonl"), lines);
}

fn start(home: &Path, line: &str) -> Child {
    let args: Vec<_> = line.split_whitespace().collect();
    command(home, &args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits until these runs have written lines of metrics.
fn begun(out: &Path, names: &[&str]) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let written = |name: &&str| std::fs::metadata(out.join(name).join("metrics.jsonl")).is_ok_and(|m| m.len() > 0);
    while !names.iter().all(written) {
        assert!(Instant::now() < deadline, "no line of metrics in a minute");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_sweep_that_was_cut_goes_on_to_the_same_bytes() {
    let home = folder("sweep-cut");
    write_idx(&home.join("x.idx"), 103, 6);
    let line = "sweep --data x.idx --steps 12000 --log-every 50 --hidden 40 --grid latent=2,3 --seeds 2 --jobs 2 \
                --device cpu --out";
    let child = start(&home, &format!("{line} cut"));
    begun(&home.join("cut"), &["latent=2,seed=0", "latent=2,seed=1"]);
    send(&child, "-TERM");
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(143), "{said}");
    let last = "vae-gpu: stopped: 0 of 4 runs are done, 2 saved where they stood; vae-gpu sweep --resume cut goes on";
    assert_eq!(said.lines().last(), Some(last), "{said}");
    assert_eq!(runs_in(&home.join("cut")), ["latent=2,seed=0", "latent=2,seed=1"], "the others were never begun");
    // What was cut can be looked at.
    let table = run(&home, "compare cut").succeeded().stdout;
    assert!(table.contains("cut at step") && table.contains("of 12000"), "{table}");
    let csv = String::from_utf8(bytes(&home.join("cut"), "sweep.csv")).unwrap();
    assert!(csv.lines().count() == 1 + 2 && csv.matches(",cut at step ").count() == 2, "{csv}");
    assert!(browser::page(&home.join("cut/sweep.html")).contains("cut at step"));
    let before = String::from_utf8(bytes(&home.join("cut/latent=2,seed=1"), "metrics.jsonl")).unwrap();

    let resumed = run(&home, "sweep --resume cut --device cpu --jobs 2").succeeded();
    assert!(resumed.stderr.contains("4 runs; 2 at once"), "{}", resumed.stderr);
    let after = String::from_utf8(bytes(&home.join("cut/latent=2,seed=1"), "metrics.jsonl")).unwrap();
    assert!(after.starts_with(&before), "it went on from its checkpoint: the rates in its lines are of the clock");
    run(&home, &format!("{line} whole --quiet --jobs 1")).succeeded();
    for name in runs_in(&home.join("whole")) {
        assert_same_run(&home.join("whole").join(&name), &home.join("cut").join(&name), &name);
    }
    assert_eq!(runs_in(&home.join("whole")), runs_in(&home.join("cut")));
}

#[test]
fn a_run_that_is_trained_is_told_from_one_that_was_cut() {
    let home = folder("sweep-running");
    write_idx(&home.join("x.idx"), 103, 6);
    let train = "train --data x.idx --steps 4000000 --log-every 50 --hidden 40 --latent 2 --device cpu --out runs/one";
    let child = start(&home, train);
    begun(&home.join("runs"), &["one"]);
    let [table, json] = ["compare runs", "compare runs --json"].map(|line| run(&home, line).succeeded().stdout);
    assert!(table.contains("running, at step ") && table.contains(" of 4000000") && !table.contains("cut"), "{table}");
    let row: Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    let one = &row["runs"][0];
    assert_eq!(one["state"], "running", "{json}");
    assert!(one["steps"].as_u64() > Some(0) && one["elbo"].is_f64(), "{json}");
    send(&child, "-TERM");
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(143), "to be looked at does not disturb it");
    assert!(run(&home, "compare runs").succeeded().stdout.contains("cut at step "));
}

#[test]
fn two_sweeps_and_a_run_of_one_of_them_are_kept_apart() {
    let home = folder("sweep-locked");
    write_idx(&home.join("x.idx"), 60, 4);
    let line = "sweep --data x.idx --steps 10000000 --log-every 50 --hidden 6 --latent 2 --device cpu --out s";
    let mut child = start(&home, line);
    begun(&home.join("s"), &["seed=0"]);
    run(&home, line).refused(2, "out s: another run writes to it; wait for it, or pass another --out");
    run(&home, "train --data x.idx --steps 3 --force --out s/seed=0 --device cpu")
        .refused(2, "out s/seed=0: another run writes to it; wait for it, or pass another --out");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_run_that_fails_does_not_end_the_others() {
    let home = folder("sweep-fails");
    write_idx(&home.join("x.idx"), 60, 4);
    let line = "sweep --data x.idx --steps 40 --hidden 6 --latent 2 --grid lr=1e30,1e-3 --seeds 2 --device cpu --out s";
    for _ in 0..2 {
        let ended = run(&home, line);
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        let last = "vae-gpu: 2 of 4 runs failed, as the table says; see s/sweep.html, and give the command again to try \
                    them again";
        assert_eq!(ended.stderr.lines().last(), Some(last));
        let table: Vec<&str> = ended.stdout.lines().collect();
        assert_eq!(table.len(), 5, "{}", ended.stdout);
        assert!(table[1].trim_start().starts_with("0.001 ") && table[2].trim_start().starts_with("1e30 "), "{table:?}");
        for (seed, remark) in table[3..].iter().enumerate() {
            assert!(remark.contains(&format!("seed {seed}: step ")) && remark.contains("not finite"), "{table:?}");
        }
    }
    let csv = std::fs::read_to_string(home.join("s/sweep.csv")).unwrap();
    assert_eq!(csv.matches(",failed,").count(), 2);
    assert_eq!(csv.matches(",done,").count(), 2);
    let page = browser::data(&browser::page(&home.join("s/sweep.html")));
    assert!(page["rows"][1]["remarks"][0].as_str().unwrap().contains("not finite"));
}

#[test]
fn the_page_has_every_run_with_its_curve_and_a_way_to_its_own() {
    let own = home().join("all/sweep.html");
    std::fs::create_dir_all(home().join("a folder")).unwrap();
    let line = ["compare", "all", "--to", "a folder/compared.html", "--quiet"];
    assert!(command(home(), &line).stdout(Stdio::null()).status().unwrap().success());
    for page in [own, home().join("a folder/compared.html")] {
        let data = browser::data(&browser::page(&page));
        let rows = data["rows"].as_array().unwrap();
        let all: Vec<&Value> = rows.iter().flat_map(|row| row["runs"].as_array().unwrap()).collect();
        assert_eq!((rows.len(), all.len()), (4, 8));
        for run in all {
            let link = page.parent().unwrap().join(run["link"].as_str().unwrap());
            assert!(browser::page(&link).contains("a report of vae-gpu"), "{link:?}");
            let lines = runs::lines(link.parent().unwrap());
            let valid: Vec<f64> = lines.iter().filter(|r| r.split == Split::Valid).map(|r| r.elbo).collect();
            let drawn = run["curve"][1].as_array().unwrap();
            assert_eq!((drawn.len(), valid.len()), (3, 3));
            let close = |(got, want): (&Value, &f64)| (got.as_f64().unwrap() - want).abs() < 1e-5 * want.abs();
            assert!(drawn.iter().zip(&valid).all(close), "{run}");
        }
    }
    run(home(), "compare all --to x.idx").refused(2, "to x.idx: must end in .html; pass --to report.html");
    std::fs::write(home().join("mine.html"), "<p>mine").unwrap();
    run(home(), "compare all --to mine.html")
        .refused(2, "to mine.html: is there already and no report; pass another --to, or --force");

    let script = r##"
        const out = document.documentElement.dataset, row = document.querySelectorAll("tbody tr")[2];
        out.rows = document.querySelectorAll("tbody tr").length;
        out.links = document.querySelectorAll("tbody a").length;
        out.lines = document.querySelectorAll("#chart path.line").length;
        out.colours = new Set([...document.querySelectorAll("#chart path.line")].map(p => p.getAttribute("stroke"))).size;
        row.dispatchEvent(new PointerEvent("pointerenter"));
        out.chosen = document.querySelectorAll("path.chosen").length;
        row.dispatchEvent(new PointerEvent("pointerleave"));
        const box = document.querySelector("#chart svg").getBoundingClientRect();
        document.querySelector("#chart svg").dispatchEvent(new PointerEvent("pointermove", { clientX: box.right - 8, clientY: box.top + 9 }));
        out.read = document.querySelector(".readout").textContent;
        out.wide = document.documentElement.scrollWidth <= innerWidth;
    "##;
    let Some(dom) = browser::browsed(&home().join("all/sweep.html"), script, "sweep") else { return };
    let left = |name| browser::left(&dom, name);
    assert_eq!((left("rows"), left("links"), left("lines"), left("colours")), ("4", "8", "8", "4"));
    assert_eq!((left("chosen"), left("wide")), ("2", "true"), "the two seeds of a row");
    assert!(left("read").contains("latent") && left("read").ends_with("at epoch 3"), "{}", left("read"));
}

/// A file may be written anew under its name: its runs are no seeds of one another.
#[test]
fn runs_of_other_data_under_one_name_are_rows_of_their_own() {
    let home = folder("sweep-changed");
    let write = |by: f64| {
        let row = |i: usize| format!("{},{}\n", (by * i as f64).sin(), (0.7 * i as f64).cos());
        std::fs::write(home.join("x.csv"), (0..60).map(row).collect::<String>()).unwrap();
    };
    let line = "sweep --data x.csv --likelihood gaussian --scale standard --hidden 3 --latent 1 --steps 5 --device cpu --quiet --out all";
    write(0.3);
    run(&home, &format!("{line} --grid lr=1e-3,1e-2 --seeds 2")).succeeded();
    assert_eq!(json_lines(&run(&home, "compare all --json").succeeded().stdout).len(), 2);
    write(0.5);
    run(&home, &format!("{line} --grid lr=1e-3 --seed 7")).succeeded();
    let compared = run(&home, "compare all --json").succeeded();
    assert_eq!(json_lines(&compared.stdout).len(), 3);
    let note = "some runs are of other data under the same name: their bounds are not comparable\n";
    assert!(compared.stderr.contains(note), "{}", compared.stderr);
}

/// Once, of however many runs it is true.
#[test]
fn what_training_says_of_the_data_a_sweep_says_too() {
    let home = folder("sweep-says");
    let row = |i: usize| format!("row{i},{},{}\n", 1e-4 * (0.3 * i as f64).sin(), 1e-3 * (0.7 * i as f64).cos());
    std::fs::write(home.join("x.csv"), (0..60).map(row).collect::<String>()).unwrap();
    let line = "sweep --data x.csv --likelihood gaussian --hidden 3 --steps 2 --device cpu --out all --grid latent=1,2";
    let said = run(&home, line).succeeded().stderr;
    for note in ["taken as names", "hard to learn as it is; --scale standard brings every column to 0 and 1"] {
        assert_eq!(said.matches(note).count(), 1, "{note}: {said}");
    }
    let again = run(&home, line).succeeded().stderr;
    assert!(again.contains("all of them done before") && !again.contains("hard to learn"), "{again}");
}

/// Why a run failed is known as long as it lies there; and an axis of the line takes the place of the one of the file.
#[test]
fn what_failed_is_told_later_too_and_an_axis_can_grow() {
    let home = folder("sweep-failed");
    let row = |i: usize| format!("{},{}\n", (0.3 * i as f64).sin(), (0.7 * i as f64).cos());
    std::fs::write(home.join("x.csv"), (0..60).map(row).collect::<String>()).unwrap();
    let line = "sweep --data x.csv --likelihood gaussian --hidden 3 --latent 1 --steps 5 --batch 10 --device cpu --quiet --out all";
    assert_eq!(run(&home, &format!("{line} --grid lr=1e-3,1e30")).code, Some(1));
    let compared = run(&home, "compare all").succeeded().stdout;
    assert!(compared.contains("not finite") && !compared.contains("cut at"), "{compared}");
    run(&home, "sweep --resume all --grid lr=1e-3,1e-2 --device cpu --quiet").succeeded();
    let csv = std::fs::read_to_string(home.join("all/sweep.csv")).unwrap();
    assert!(csv.matches(",done,").count() == 2 && csv.contains(",failed,"), "{csv}");
    run(&home, "train --data x.csv --likelihood gaussian --hidden 3 --latent 1 --steps 5 --device cpu --out all/lr=1e30 --force")
        .succeeded();
    assert!(!home.join("all/lr=1e30/failed.txt").exists());
}

/// A run of which a part is gone passes for no result, and takes nothing from those beside it.
#[test]
fn a_run_that_is_damaged_is_told_of_and_is_no_result() {
    let home = folder("sweep-damaged");
    write_idx(&home.join("x.idx"), 40, 4);
    let line = "sweep --data x.idx --hidden 3 --latent 1 --epochs 3 --batch 10 --device cpu --quiet --out all";
    run(&home, &format!("{line} --grid lr=1e-3,1e-2 --seeds 2")).succeeded();
    let file = |path: &str| home.join("all").join(path);
    let metrics = std::fs::read_to_string(file("lr=1e-2,seed=1/metrics.jsonl")).unwrap();
    let lines: Vec<&str> = metrics.lines().collect();
    std::fs::write(file("lr=1e-2,seed=1/metrics.jsonl"), lines[..lines.len() - 1].join("\n") + "\n").unwrap();
    std::fs::write(file("lr=1e-3,seed=0/checkpoint.safetensors"), "damaged").unwrap();

    let compared = run(&home, "compare all --json").succeeded();
    let said = &compared.stderr;
    assert!(
        said.starts_with("left out: all/lr=1e-3,seed=0/checkpoint.safetensors") && said.lines().count() == 1,
        "{said}"
    );
    let rows = json_lines(&compared.stdout);
    let of = |lr: f64| rows.iter().find(|row| row["options"]["lr"] == lr).unwrap_or_else(|| panic!("{rows:?}"));
    assert_eq!((rows.len(), of(1e-3)["runs"].as_array().unwrap().len()), (2, 1));
    assert_eq!(of(1e-2)["elbo"], of(1e-2)["runs"][0]["elbo"], "of the run that is whole");
    assert_eq!(of(1e-2)["runs"][1]["state"], "failed");
    let table = run(&home, "compare all").succeeded().stdout;
    assert!(table.contains("metrics.jsonl ends at step 8 of 12"), "{table}");
    let damaged = run(&home, "compare all/lr=1e-3,seed=0");
    assert!(damaged.code == Some(1) && damaged.stderr.contains("checkpoint.safetensors"), "{}", damaged.stderr);
}
