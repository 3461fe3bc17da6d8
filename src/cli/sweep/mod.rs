//! `vae-gpu sweep`
use super::compare::runs_in;
use super::options::TrainArgs;
use super::out::{check_start, held};
use super::signals::Signals;
use super::{BUILT_IN, Common, counted, job, repeating, table};
use crate::checkpoint::{Folder, SWEEP};
use crate::config::name_of;
use crate::files::write_atomically;
use crate::sweep::grid::Axis;
use crate::sweep::places::{Bounds, Places};
use crate::sweep::table::{Entry, Rows, State, Table};
use crate::trainer::Ending;
use crate::{Error, Result, host};
use clap::{ArgMatches, Args, Command};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

mod follow;
mod plan;
mod task;
use follow::Follow;
use plan::{Planned, plan};
use task::{Heard, Start, Task};

/// Trains all combinations of options and seeds, side by side, and compares them in one table and on one page
#[derive(Args)]
#[command(
    mut_arg("out", |out| out.help("The directory of the sweep; runs/sweep-NAME-OF-THE-DATA if not given")),
    mut_arg("force", |force| force.help("Replaces runs in it that have other settings")),
    mut_arg("seed", |seed| seed.help("The first of the seeds")),
    mut_arg("epochs", |epochs| epochs.help("Passes over the data")),
    mut_arg("resume", |resume| resume.help("Goes on with the sweep in DIR, as its own command given again")),
    about = "Trains all combinations of options and seeds, side by side, and compares them in one table and on one page",
    after_help = "Examples:\n  \
    vae-gpu sweep --grid latent=2,10,50 --grid beta=0.5,1,4 --seeds 3\n  \
    vae-gpu sweep --grid 'hidden=400;200,100' --epochs 20 --out runs/widths   values that hold commas: with semicolons\n  \
    vae-gpu sweep --config runs/digits/run.toml --grid lr=1e-4,1e-3           all else as that run\n  \
    vae-gpu sweep --resume runs/sweep-digits                                  goes on where it was cut\n\n\
    Every combination is a run of its own, in a directory like latent=2,beta=0.5,seed=0, with all that vae-gpu train leaves \
    and the same bytes. The command given again goes on: what is done is kept, what was cut goes on, and a larger grid in \
    the same directory adds to it. At the end, Ctrl-C's too, the table of all runs in it is printed, best first, mean ± \
    standard deviation over the seeds, and stands in sweep.csv, a line for each run, and in sweep.html, with the curves."
)]
pub(crate) struct SweepArgs {
    /// An option of train and the values that it takes in turn, with commas, or with semicolons where values hold commas.
    /// May be given several times: all combinations are trained
    #[arg(long, value_name = "NAME=V1,V2", help_heading = "Sweep", value_parser = |s: &str| s.parse::<Axis>())]
    grid: Vec<Axis>,
    /// Runs of each combination, with the seeds from --seed on
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Sweep")]
    seeds: u64,
    /// Runs at once; as many as the machine serves well if not given
    #[arg(long, value_name = "N", help_heading = "Sweep")]
    jobs: Option<usize>,
    #[command(flatten)]
    train: TrainArgs,
}

pub(crate) fn run(args: &SweepArgs, command: &Command, given: &ArgMatches) -> Result<()> {
    let common = &args.train.common;
    if let Some(dir) = &args.train.data.resume {
        let dir = dir.display();
        return Err(Error::request(format!("resume {dir}: the sweep has its options there; leave out --config")));
    }
    if args.jobs == Some(0) {
        return Err(Error::request("jobs 0: must be at least 1; pass --jobs 2"));
    }
    let saving = args.train.saving()?;
    let out = match &args.train.data.out {
        Some(out) => out.clone(),
        None => {
            let start = args.train.start()?.map(|saved| saved.run);
            Path::new("runs").join(format!("sweep-{}", args.train.data.name(start.as_ref())))
        }
    };
    let out = Folder(out);
    let planned = plan(args, &out, command, given)?;
    allow(args, &out, &planned)?;

    let _lock = out.hold()?;
    let path = out.0.display();
    write_atomically(&out.picture(SWEEP), |file| file.write_all(repeating(command, given).as_bytes()))?;
    let (mut tasks, mut failed, mut done) = (vec![], HashMap::new(), 0);
    for run in &planned {
        match run.start(args.train.data.force) {
            Ok(Start::Done) => done += 1,
            Ok(start) => tasks.push(Task::new(run, start)),
            Err(why) => _ = failed.insert(run.folder.0.clone(), why.to_string()),
        }
    }
    let device = &planned[0].device;
    let _claim = job::claim(device, common);
    let places = places(args, &tasks);
    common.say(format!("{} on {}; writing to {path}", describe(planned.len(), done, places), device.name));
    if !tasks.is_empty() {
        notes(&planned, common.json).iter().for_each(|note| common.say(note));
    }

    let signals = Signals::watch();
    let mut follow = Follow::new(common, &tasks, done, planned.len());
    let mut cut = 0;
    let work = |i: usize, task: &Task, to: &_| task.work(i, saving, &signals, to);
    places.work(&tasks, work, |heard| {
        follow.hear(&heard);
        match heard {
            Heard::Ended(_, Ok(outcome)) if outcome.ending == Ending::Stopped => cut += 1,
            Heard::Ended(_, Ok(_)) => done += 1,
            Heard::Ended(i, Err(why)) => _ = failed.insert(tasks[i].run.folder.0.clone(), why.to_string()),
            Heard::Part(..) | Heard::Note(..) => (),
        }
    })?;
    follow.finish();

    if let Some(signal) = signals.came().filter(|_| done + failed.len() < planned.len()) {
        if let Err(why) = tabulate(common, &out, &planned, &failed).map(drop) {
            common.say(format!("no table: {why}")); // that it was stopped is what it ends with
        }
        let runs = planned.len();
        let sentence = format!(
            "stopped: {done} of {runs} runs are done, {cut} saved where they stood; vae-gpu sweep --resume {path} goes on"
        );
        return Err(Error::Interrupted { signal, sentence });
    }
    let others = tabulate(common, &out, &planned, &failed)?;
    if let [first, ..] = others.as_slice() {
        let (n, all) = (counted(others.len(), "run"), others.join(", "));
        let are = if others.len() == 1 { "is" } else { "are" };
        common.say(format!(
            "{n} of an earlier grid {are} not done ({all}): that grid given again, or vae-gpu train --resume {path}/{first}, goes on"
        ));
    }
    let page = out.picture(PAGE);
    match failed.len() {
        0 => {
            common.say(format!("done; see {}", page.display()));
            Ok(())
        }
        n => Err(Error::failed(format!(
            "{n} of {} runs failed, as the table says; see {}, and give the command again to try them again",
            planned.len(),
            page.display()
        ))),
    }
}

/// What a training says of its data before it begins, once for all runs of which it is true. `json`: what was understood of a file goes
/// without saying.
fn notes(planned: &[Planned], json: bool) -> Vec<String> {
    let (mut seen, mut notes) = (HashSet::new(), vec![]);
    let mut say = |note: String| {
        if !notes.contains(&note) {
            notes.push(note);
        }
    };
    for run in planned {
        let (job, model) = (&run.job, &run.job.run.model);
        let files = [Some(&job.data), job.valid.as_ref()].into_iter().flatten();
        files.filter(|_| !json).flat_map(|data| data.notes.clone()).for_each(&mut say);
        job.run.idle().into_iter().for_each(&mut say);
        // They take a pass over the data.
        let likelihoods = (name_of(model.likelihood), format!("{:?}", model.others));
        let of = (Arc::as_ptr(&job.data), likelihoods, name_of(model.variance), model.sigma.to_bits());
        if seen.insert(of) {
            job.hints(true).into_iter().for_each(&mut say);
        }
    }
    notes
}

/// How many runs, and how they are made.
fn describe(runs: usize, done: usize, Places { jobs, threads }: Places) -> String {
    let at_once = match (jobs, threads) {
        _ if runs == done => return format!("{}, all of them done before,", counted(runs, "run")),
        (1, _) => "one after the other".to_string(),
        (_, 1) => format!("{jobs} at once, each on one thread"),
        _ => format!("{jobs} at once, each on {threads} threads"),
    };
    match done {
        0 => format!("{}; {at_once},", counted(runs, "run")),
        _ => format!("{}, {done} of them done before; {at_once},", counted(runs, "run")),
    }
}

/// What is in the directory already may stay there, or be replaced.
fn allow(args: &SweepArgs, out: &Folder, planned: &[Planned]) -> Result<()> {
    let path = out.0.display();
    planned.iter().try_for_each(|run| match &run.job.run.training.start {
        Some(start) => check_start(&run.folder.0, Path::new(&start.model)),
        None => Ok(()),
    })?;
    if args.train.data.force {
        return Ok(());
    }
    let ours = out.picture(SWEEP).exists();
    let other = [TABLE, PAGE].into_iter().find(|name| !ours && out.picture(name).exists());
    if let Some(name) = held(&out.0).or(other) {
        return Err(Error::request(format!(
            "out {path}: holds {name}, and is no directory of a sweep; pass another --out"
        )));
    }
    planned.iter().try_for_each(Planned::allow)
}

/// How many at once.
fn places(args: &SweepArgs, tasks: &[Task]) -> Places {
    let threads = rayon::current_num_threads();
    if let Some(jobs) = args.jobs {
        return Places::of(jobs.min(tasks.len()), threads);
    }
    let Some(first) = tasks.first() else { return Places::of(1, threads) };
    let device = &first.run.device;
    let (on_device, on_host) = tasks.iter().fold((0, 0), |(d, h), task| (task.bytes.0.max(d), task.bytes.1.max(h)));
    Places::choose(&Bounds {
        runs: tasks.len(),
        threads,
        on_host: device.is_host(),
        device: (on_device, device.room()),
        host: (on_host, host::free_memory()),
    })
}

/// What the sweep leaves beside its runs.
const TABLE: &str = "sweep.csv";
const PAGE: &str = "sweep.html";

/// The table of all runs in the directory, printed and written: of those that were planned, what has begun or failed. The names of
/// others that were cut.
fn tabulate(
    common: &Common,
    out: &Folder,
    planned: &[Planned],
    failed: &HashMap<PathBuf, String>,
) -> Result<Vec<String>> {
    let (mut entries, mut others) = (vec![], vec![]);
    for run in planned {
        let why = failed.get(&run.folder.0).cloned();
        if why.is_none() && !run.folder.config().exists() {
            continue;
        }
        let entry = Entry::read(run.folder.clone(), run.name.clone()).unwrap_or_else(|e| {
            let entry = Entry::of(run.folder.clone(), run.name.clone(), run.job.run.clone());
            Entry { state: State::Failed(e.to_string()), ..entry }
        });
        entries.push(Entry { state: why.map_or(entry.state, State::Failed), ..entry });
    }
    let here: HashSet<&Path> = planned.iter().map(|run| run.folder.0.as_path()).collect();
    for folder in runs_in(&out.0).into_iter().filter(|folder| !here.contains(folder.0.as_path())) {
        let name = folder.0.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match Entry::read(folder, name) {
            Ok(entry) => {
                let is_of_a_grid = entry.name.split(',').next_back().is_some_and(|last| last.starts_with("seed="));
                others.extend((is_of_a_grid && matches!(entry.state, State::Cut(_))).then(|| entry.name.clone()));
                entries.push(entry)
            }
            Err(e) => common.say(format!("left out of the table: {e}")),
        }
    }
    if entries.is_empty() {
        return Ok(others);
    }
    let all = Table::new(entries, Rows::Combinations, &BUILT_IN)?;
    let csv = all.csv()?;
    write_atomically(&out.picture(TABLE), |file| file.write_all(csv.as_bytes()))?;
    let name = out.0.file_name().unwrap_or_default().to_string_lossy().into_owned();
    table::write_page(&all, &name, &out.picture(PAGE))?;
    table::show(&all, common)?;
    Ok(others)
}
