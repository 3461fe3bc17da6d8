//! Wrong requests: the sentence and the exit code of each, as requests/refused.txt has them, and that none is forgotten.
use crate::program::{command, folder, run, write_idx, write_labels};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::SystemTime;

const REFUSED: &str = include_str!("../requests/refused.txt");

/// The folder that the table describes.
fn furnish(home: &Path) {
    let labels = |name: &str, labels: Vec<u8>| write_labels(&home.join(name), &labels);
    write_idx(&home.join("x.idx"), 103, 6);
    labels("labels.idx", (0..103).map(|i| i % 4).collect());
    labels("high.idx", vec![9; 103]);
    labels("few.idx", vec![0; 7]);
    let times: String = (0..20).map(|i| format!("{i},{}\n", 1_700_000_000 + 7 * i)).collect();
    let picture = |last: &str| format!("{}{last}\n", "0.5,".repeat(35));
    for (name, text) in [
        ("empty.csv", ""),
        ("file", ""),
        ("there.png", ""),
        ("there.npy", ""),
        ("wide.csv", "1,2,3\n0.5,0.1,0.2\n"),
        ("narrow.csv", "0.1,0.2\n0.3,0.4\n"),
        ("titled.csv", "age,height,day\n1,5,monday\n"),
        ("far.csv", "-3e38,1\n3e38,2\n"),
        ("sex.csv", "sex,age\nM,1\nF,2\nM,3\nF,4\n"),
        ("commas.csv", "height,age\n\"167,1\",5\n\"168,2\",6\n"),
        ("times.csv", &times),
        ("constant.csv", "1,5\n2,5\n3,5\n"),
        ("damaged.safetensors", "\x08\0\0\0\0\0\0\0{}      "),
        ("one.csv", &picture("0.5")),
        ("grey.csv", &picture("0.5")),
        ("gaps.csv", &(picture("") + &picture("0.5"))),
        ("counts.csv", "1,\n3,4\n0,1\n5,2\n"),
        ("hollow.csv", "1,,2\n3,,4\n"),
        ("large.csv", &(picture("").replacen("0.5", "2", 1) + &picture("0.5"))),
        ("infinite.csv", &picture("inf")),
        ("blank.csv", &picture("0").replace("0.5", "0")),
        ("tall.csv", &picture("1").replace("0.5", "1").repeat(3)),
    ] {
        std::fs::write(home.join(name), text).unwrap();
    }
    std::fs::create_dir(home.join("folder.npy")).unwrap();
    for options in [
        "--latent 3 --out run",
        "--latent 1 --out line",
        "--latent 2 --condition labels.idx --out told",
        "--latent 2 --past 0..18 --future 18..36 --out future",
    ] {
        run(home, &format!("train --data x.idx --steps 3 --hidden 4 {options} --device cpu --quiet")).succeeded();
    }
    let counted =
        "train --data counts.csv --missing allow --likelihood poisson --steps 3 --hidden 4 --latent 2 --out counted";
    run(home, &format!("{counted} --device cpu --quiet")).succeeded();
    run(home, "mixture --data x.idx --components 2 --restarts 1 --out fitted --quiet").succeeded();
}

/// Every file below `home`, with its length and when it was changed.
fn files(home: &Path) -> BTreeMap<String, (u64, SystemTime)> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(home).unwrap().map(Result::unwrap) {
        match entry.metadata().unwrap() {
            about if about.is_dir() => found.extend(files(&entry.path())),
            about => _ = found.insert(entry.path().display().to_string(), (about.len(), about.modified().unwrap())),
        }
    }
    found
}

/// Each line of the table with what it answers.
fn table() -> impl Iterator<Item = (&'static str, String)> {
    REFUSED.split("\n$ vae-gpu ").skip(1).map(|entry| {
        let entry = entry.split("\n\n").next().unwrap(); // the word above the next group
        let (line, answer) = entry.split_once('\n').unwrap();
        (line, answer.trim_end().to_string())
    })
}

#[test]
fn every_wrong_request_is_answered_as_the_table_says() {
    let home = folder("requests");
    furnish(&home);
    let before = files(&home);
    let mut wrong = String::new();
    for (line, want) in table() {
        let device = if line.contains("--device") || line == "trian" || line.starts_with("completions") {
            ""
        } else {
            "--device cpu"
        };
        let got = run(&home, &format!("{line} {device}"));
        let said = match got.stderr.starts_with("error:") {
            true => got.stderr.split("\n\n").next().unwrap(),
            false => got.stderr.trim_end(),
        };
        let answer = format!("{said}\n[{}]", got.code.unwrap());
        if answer != want || !got.stdout.is_empty() {
            writeln!(wrong, "$ vae-gpu {line}\n{answer}\n-- want\n{want}\n-- stdout\n{}", got.stdout).unwrap();
        }
        assert!(files(&home) == before, "{line}: a file was written");
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// What a command's help lists: options that take a value.
fn options(command: &str) -> Vec<String> {
    let help = run(Path::new("."), &format!("{command} --help")).succeeded().stdout;
    let listed = help.lines().map(str::trim_start).filter(|l| l.starts_with("--") || l.starts_with("-q"));
    listed.filter(|l| l.contains('<')).map(|l| l.split([' ', '<']).next().unwrap().to_string()).collect()
}

#[test]
fn every_command_and_every_option_with_a_value_is_in_the_table() {
    let help = run(Path::new("."), "--help").succeeded().stdout;
    let commands = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let names: Vec<&str> = commands.lines().filter_map(|l| l.strip_prefix("  ")?.split(' ').next()).collect();
    let names = names.into_iter().filter(|name| !name.is_empty() && *name != "help");
    let (mut missing, mut seen) = (vec![], 0);
    for name in names {
        if !table().any(|(line, _)| line.split(' ').next() == Some(name)) {
            missing.push(name.to_string());
        }
        for option in options(name) {
            seen += 1;
            let of_any = |line: &str| line.split(' ').any(|word| word == option);
            if !table().any(|(line, _)| of_any(line)) {
                missing.push(format!("{name} {option}"));
            }
        }
    }
    assert!(seen > 150, "{seen} options were found in the help");
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn an_unknown_name_is_answered_with_the_nearest() {
    for (line, nearest) in [("train --activation rely", "relu"), ("trian", "train"), ("train --latnet 3", "--latent")] {
        let outcome = run(Path::new("."), line);
        assert_eq!(outcome.code, Some(2), "{line}");
        assert!(outcome.stderr.contains(nearest), "{line}: {}", outcome.stderr);
    }
    // No command at all: the help, but not where a script would take it for an answer.
    let nothing = run(Path::new("."), "");
    assert_eq!((nothing.code, nothing.stdout.as_str()), (Some(2), ""));
    assert!(nothing.stderr.contains("Usage:") && nothing.stderr.contains("Examples:"));
}

/// Root may write everywhere; whoever may not is told so before the work.
#[test]
fn a_directory_that_cannot_be_written_to_is_told_before_the_work() {
    let home = folder("requests-readonly");
    write_idx(&home.join("x.idx"), 103, 6);
    let locked = home.join("locked");
    std::fs::create_dir(&locked).unwrap();
    let mut rights = std::fs::metadata(&locked).unwrap().permissions();
    rights.set_readonly(true);
    std::fs::set_permissions(&locked, rights).unwrap();
    if std::fs::write(locked.join("trial"), "").is_ok() {
        println!("skipped: this user may write everywhere");
        return;
    }
    // No case there is: had the work begun, that would be the answer.
    run(&home, "grad nothing --to locked/g --device cpu").refused(
        1,
        "cannot write locked/g: Permission denied (os error 13); pass a file in a directory that can be written to",
    );
}

#[test]
fn with_force_a_file_is_replaced_and_a_stream_is_never_asked_about() {
    let home = folder("requests-force");
    write_idx(&home.join("x.idx"), 103, 6);
    let train = "train --data x.idx --steps 3 --hidden 4 --latent 3 --out run --device cpu --quiet";
    run(&home, train).succeeded();
    let read = |name: &str| std::fs::read(home.join(name)).unwrap();
    run(&home, "sample run --count 3 --to s.npy --device cpu").succeeded();
    let first = read("s.npy");
    run(&home, "sample run --count 3 --seed 1 --to s.npy --device cpu")
        .refused(2, "to s.npy: exists already; pass another name, or --force to replace it");
    assert_eq!(read("s.npy"), first);
    run(&home, "sample run --count 3 --seed 1 --to s.npy --force --device cpu").succeeded();
    assert_ne!(read("s.npy"), first);
    // A link that points nowhere yet is no file; what it points at comes to be, or is replaced.
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("s.npy", home.join("link.npy")).unwrap();
        run(&home, "sample run --count 3 --to link.npy --device cpu")
            .refused(2, "to link.npy: exists already; pass another name, or --force to replace it");
        run(&home, "sample run --count 3 --to link.npy --force --device cpu").succeeded();
        assert_eq!(read("s.npy"), first);
        // stdout as a pipe, and as a file that the shell has made.
        let encode = ["encode", "run", "--data", "x.idx", "--to", "/dev/stdout", "--device", "cpu"];
        let piped = command(&home, &encode).output().unwrap();
        assert!(piped.status.success(), "{}", String::from_utf8_lossy(&piped.stderr));
        let file = std::fs::File::create(home.join("z.npy")).unwrap();
        assert!(command(&home, &encode).stdout(file).status().unwrap().success());
        assert!(piped.stdout.starts_with(b"\x93NUMPY") && read("z.npy") == piped.stdout);
    }
    // And no trial file is left anywhere.
    assert!(files(&home).keys().all(|name| !name.contains("trial") && !name.contains("partial")));
}

/// A directory that holds a run's picture is not a place for a mixture's, nor the other way.
#[test]
fn with_force_a_directory_is_written_into() {
    let home = folder("requests-out");
    write_idx(&home.join("x.idx"), 103, 6);
    let mixture = "mixture --data x.idx --components 2 --restarts 1 --quiet --out a";
    run(&home, mixture).succeeded();
    run(&home, mixture)
        .refused(2, "out a: holds mixture.safetensors already; pass another --out, or --force to replace it");
    run(&home, &format!("{mixture} --force")).succeeded();
    let train = "train --data x.idx --steps 3 --hidden 4 --latent 3 --device cpu --quiet --out a";
    run(&home, train).refused(2, "out a: holds samples.png already; pass another --out, or --force to replace it");
    run(&home, &format!("{train} --force")).succeeded();
}
