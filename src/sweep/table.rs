//! Several runs in one table: the options in which they differ, and what came of each; runs that differ in their seed only
//! are one row, the mean of them. Read from what runs leave on disk, so it is the same for a sweep and for runs that were
//! made one by one.
use super::units;
use crate::checkpoint::{Best, Folder, Saved};
use crate::config::{Condition, Objective, Run};
use crate::metrics::{self, Record, Split};
use crate::report::{self, command};
use crate::{Error, Result, files, schedule};

/// How far a run came.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    Done,
    /// After so many steps; it can go on.
    Cut(u32),
    /// It is trained, after so many.
    Running(u32),
    /// Why.
    Failed(String),
}

/// A run as it lies on disk.
#[derive(Clone, Debug)]
pub struct Entry {
    pub folder: Folder,
    /// What it is called in the table.
    pub name: String,
    pub run: Run,
    pub state: State,
    pub records: Vec<Record>,
    /// As the checkpoint has it.
    pub best: Option<Best>,
    /// Of training.
    pub seconds: Option<f64>,
    /// As its page tells them.
    pub active: Option<u64>,
}

impl Entry {
    /// Reads a run directory.
    ///
    /// # Errors
    /// No configuration, a checkpoint that is damaged.
    pub fn read(folder: Folder, name: String) -> Result<Entry> {
        let run = folder.read_config()?;
        let mut entry = Entry { records: metrics::read(&folder.metrics())?, ..Entry::of(folder, name, run) };
        let told = entry.records.last().map_or(0, |r| r.step);
        if entry.folder.checkpoint().exists() {
            let saved = Saved::read(&entry.folder.checkpoint())?;
            let position = saved.position();
            entry.best = position.and_then(|p| p.best);
            entry.seconds = position.map(|p| p.seconds).filter(|&seconds| seconds > 0.0);
            entry.state = match saved.is_complete() {
                true => State::Done,
                false => State::Cut(position.map_or(0, |p| p.step)),
            };
            // Of a run whose last lines are gone the result is not known, and must not pass for one.
            let step = position.map_or(0, |p| p.step);
            if entry.state == State::Done && told < step {
                entry.state = State::Failed(format!("metrics.jsonl ends at step {told} of {step}"));
            }
        }
        // Without a checkpoint, as where room was made: its lines say how far it came.
        if !entry.folder.checkpoint().exists() {
            entry.state = if entry.folder.has_ended() { State::Done } else { State::Cut(told) };
        }
        if let Some(why) = entry.folder.text("failed.txt") {
            entry.state = State::Failed(why.trim_end().into());
        }
        if let (State::Cut(step), true) = (&entry.state, files::is_locked(&entry.folder.0)) {
            entry.state = State::Running(told.max(*step));
        }
        entry.active = entry.folder.text("report.html").and_then(|page| report::active_units(&page));
        Ok(entry)
    }

    /// A run of which there is nothing yet.
    pub fn of(folder: Folder, name: String, run: Run) -> Entry {
        Entry { folder, name, run, state: State::Cut(0), records: vec![], best: None, seconds: None, active: None }
    }

    /// What the model that was kept reaches: the validation that chose it; without validation data, the last of training.
    pub fn result(&self) -> Option<&Record> {
        metrics::kept(&self.records, &self.run.training, self.best).or(self.records.last())
    }

    /// Its elbo as a density in the units of the file; None where that is not known.
    pub fn of_file(&self) -> Option<f64> {
        Some(self.result()?.elbo - units::log_volume(&self.run)?)
    }

    /// Steps in a pass over the data.
    pub fn steps_per_epoch(&self) -> usize {
        schedule::steps_per_epoch(self.run.data.rows, self.run.training.batch)
    }

    /// Why its numbers are no result, in a few words; None where they are.
    pub fn remark(&self) -> Option<String> {
        match &self.state {
            State::Done => None,
            State::Cut(step) => Some(format!("cut at step {step} of {}", self.run.training.steps)),
            State::Running(step) => Some(format!("running, at step {step} of {}", self.run.training.steps)),
            State::Failed(why) => Some(why.clone()),
        }
    }
}

/// A number of several runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub mean: f64,
    /// The standard deviation, with n − 1; of one run there is none.
    pub deviation: Option<f64>,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Option<Spread> {
        let values: Vec<f64> = values.collect();
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
        let deviation = (values.len() > 1).then(|| (squares / (n - 1.0)).sqrt());
        (!values.is_empty()).then_some(Spread { mean, deviation })
    }
}

/// Runs with the same settings.
#[derive(Clone, Debug)]
pub struct Row {
    /// One for each of the table's options; None where the runs have no such option.
    pub values: Vec<Option<String>>,
    /// Places in [`Table::entries`], by seed.
    pub runs: Vec<usize>,
    /// Of the runs that are done; where none is, of those that were cut or still run. Failed ones are left out.
    pub elbo: Option<Spread>,
    /// The elbo as a density in the units of the file; of what is not scaled, or no density, the elbo itself. None
    /// of a run of before gaps were looked at for it.
    pub of_file: Option<Spread>,
    pub nll: Option<Spread>,
    pub kl: Option<Spread>,
    pub active: Option<Spread>,
    pub seconds: Option<Spread>,
}

/// Which runs are a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rows {
    /// All that differ in their seed only.
    Combinations,
    Runs,
}

pub struct Table {
    pub entries: Vec<Entry>,
    /// In which the runs differ.
    pub options: Vec<&'static str>,
    /// Best first: by the elbo, or where columns are scaled differently by that in the units of the file.
    pub rows: Vec<Row>,
    /// Whether it is that.
    pub by_file: bool,
    /// Of the options, those by which the bounds of rows are of different quantities.
    pub incomparable: Vec<&'static str>,
    /// Whether a file of theirs changed between some of them.
    pub changed: bool,
}

impl Table {
    /// `built_in`: names of data that validate on their own test part.
    ///
    /// # Errors
    /// No run at all.
    pub fn new(entries: Vec<Entry>, rows: Rows, built_in: &[&str]) -> Result<Table> {
        if entries.is_empty() {
            return Err(Error::failed("there is no run to compare; give run directories, or that of a sweep"));
        }
        let settings = settings(&entries, built_in);
        let seeds = if rows == Rows::Runs { None } else { Some("seed") };
        let options = differing(&settings).into_iter().filter(|option| seeds != Some(*option)).collect::<Vec<_>>();
        let values = |i: usize| {
            let value = |option: &&str| find(&settings[i], option).map(|s| short(&s.value));
            options.iter().map(value).collect::<Vec<_>>()
        };
        let versions = units::versions(&entries, &settings);
        let mut groups: Vec<(Vec<Option<String>>, Vec<usize>)> = vec![];
        for i in 0..entries.len() {
            let values = values(i);
            let is_its =
                |group: &(Vec<Option<String>>, Vec<usize>)| group.0 == values && versions[group.1[0]] == versions[i];
            match groups.iter_mut().find(|group| rows == Rows::Combinations && is_its(group)) {
                Some((_, runs)) => runs.push(i),
                None => groups.push((values, vec![i])),
            }
        }
        let row = |(values, mut runs): (Vec<Option<String>>, Vec<usize>)| {
            runs.sort_by_key(|&i| entries[i].run.training.seed);
            Row::of(values, runs, &entries)
        };
        let mut rows: Vec<Row> = groups.into_iter().map(row).collect();
        let by_file = units::differ(&entries);
        let bound = |row: &Row| if by_file { row.of_file } else { row.elbo }.map_or(f64::NEG_INFINITY, |b| b.mean);
        rows.sort_by(|a, b| bound(b).total_cmp(&bound(a)));
        let incomparable = units::incomparable(&entries, &options);
        let changed = versions.iter().any(|&version| version > 0);
        Ok(Table { entries, options, rows, by_file, incomparable, changed })
    }

    /// What there is to say of the bounds of different rows, as sentences.
    pub fn notes(&self) -> Vec<String> {
        let by_file = "columns are scaled differently: rows stand by the elbo of the file, a density in its units";
        let incomparable = match self.incomparable.as_slice() {
            [] => None,
            all => Some(format!(
                "rows that differ in {} are not comparable: their bounds are of different quantities",
                all.join(" or ")
            )),
        };
        let changed = "some runs are of other data under the same name: their bounds are not comparable";
        let changed = self.changed.then(|| changed.into());
        // What iwae trains is the bound of its samples, and its q is poor by the elbo.
        let objectives = self.options.iter().any(|option| ["objective", "samples"].contains(option));
        let has_iwae = self.entries.iter().any(|entry| entry.run.model.objective == Objective::Iwae);
        let by_elbo = "rows stand by the elbo, which iwae does not maximise: with --data FILE they stand by L_K";
        let by_elbo = (objectives && has_iwae).then(|| by_elbo.into());
        let notes = [self.by_file.then(|| by_file.into()), incomparable, changed, by_elbo];
        notes.into_iter().flatten().collect()
    }

    /// What the elbo is of: `valid elbo`, `train elbo`, or `elbo` where runs differ in that.
    pub fn elbo(&self) -> &'static str {
        let of = |split| self.entries.iter().filter_map(Entry::result).all(|r| r.split == split);
        match (of(Split::Valid), of(Split::Train)) {
            (true, false) => "valid elbo",
            (false, true) => "train elbo",
            _ => "elbo",
        }
    }

    /// What keeps runs of a row from being results, each sentence once, with the seeds that it is about.
    pub fn remarks(&self, row: &Row) -> Vec<String> {
        let mut remarks: Vec<(String, Vec<String>)> = vec![];
        for entry in row.runs.iter().map(|&i| &self.entries[i]) {
            let Some(remark) = entry.remark() else { continue };
            let seed = entry.run.training.seed.to_string();
            match remarks.iter_mut().find(|(known, _)| *known == remark) {
                Some((_, seeds)) => seeds.push(seed),
                None => remarks.push((remark, vec![seed])),
            }
        }
        let sentence = |(remark, seeds): (String, Vec<String>)| match seeds.as_slice() {
            _ if row.runs.len() == 1 => remark,
            [seed] => format!("seed {seed}: {remark}"),
            all => format!("seeds {}: {remark}", all.join(", ")),
        };
        remarks.into_iter().map(sentence).collect()
    }
}

impl Row {
    fn of(values: Vec<Option<String>>, runs: Vec<usize>, entries: &[Entry]) -> Row {
        let all = || runs.iter().map(|&i| &entries[i]);
        let done = all().any(|entry| entry.state == State::Done);
        let counted = || {
            all().filter(move |entry| match entry.state {
                State::Done => true,
                State::Cut(_) | State::Running(_) => !done,
                State::Failed(_) => false,
            })
        };
        let spread = |of: fn(&Record) -> f64| Spread::of(counted().filter_map(|e| e.result().map(of)));
        let (elbo, nll, kl) = (spread(|r| r.elbo), spread(|r| r.nll), spread(|r| r.kl));
        let of_file = Spread::of(counted().filter_map(Entry::of_file));
        let active = Spread::of(counted().filter_map(|e| e.active.map(|n| n as f64)));
        let seconds = Spread::of(counted().filter_map(|e| e.seconds));
        Row { elbo, of_file, nll, kl, active, seconds, values, runs }
    }
}

/// A number of many zeros by its exponent; everything else as it is.
fn short(value: &str) -> String {
    match value.parse::<f64>() {
        Ok(number) if value.len() > 8 && number.is_finite() => {
            let with_exponent = format!("{number:e}");
            if with_exponent.len() < value.len() { with_exponent } else { value.into() }
        }
        _ => value.into(),
    }
}

fn find<'s>(settings: &'s [command::Setting], option: &str) -> Option<&'s command::Setting> {
    settings.iter().find(|setting| setting.option == option && !setting.unused)
}

/// Options that name files of data, those of their classes last: what names columns that a model is told is no file.
const FILES: [&str; 4] = ["data", "valid", "condition", "valid-condition"];

/// The options of every run. Steps are told as epochs where all are whole ones, so that a larger batch alone does not
/// differ in steps too.
fn settings(entries: &[Entry], built_in: &[&str]) -> Vec<Vec<command::Setting>> {
    let whole = entries.iter().all(|e| (e.run.training.steps as usize).is_multiple_of(e.steps_per_epoch()));
    let of = |entry: &Entry| {
        let mut settings = command::settings(&entry.run, built_in);
        if let Some(steps) = settings.iter_mut().find(|s| s.option == "steps" && whole) {
            let epochs = entry.run.training.steps as usize / entry.steps_per_epoch();
            (steps.option, steps.value) = ("epochs", epochs.to_string());
        }
        settings
    };
    let mut all: Vec<Vec<command::Setting>> = entries.iter().map(of).collect();
    // The same numbers under another path are the same data.
    let sum = |i: usize| entries[i].run.data.checksum;
    for i in 1..all.len() {
        let Some(same) = (0..i).find(|&j| sum(i).is_some() && sum(j) == sum(i)) else { continue };
        let of_classes = |i: usize| matches!(entries[i].run.data.condition, Some(Condition::Classes { .. }));
        let files = if of_classes(i) && of_classes(same) { FILES.as_slice() } else { &FILES[..2] };
        for &option in files {
            let value = find(&all[same], option).map(|s| s.value.clone());
            let own = all[i].iter_mut().find(|s| s.option == option);
            if let (Some(value), Some(own)) = (value, own) {
                own.value = value;
            }
        }
    }
    all
}

/// The options that are not the same in all runs. One that has in each what it has anyway, as the optimiser's own eps, is
/// no difference of its own.
fn differing(settings: &[Vec<command::Setting>]) -> Vec<&'static str> {
    let mut options: Vec<&'static str> = vec![];
    for setting in settings.iter().flatten().filter(|setting| !setting.needless) {
        if !options.contains(&setting.option) {
            options.push(setting.option);
        }
    }
    let value = |run: usize, option: &str| find(&settings[run], option).map(|s| &s.value);
    options.retain(|option| (1..settings.len()).any(|run| value(run, option) != value(0, option)));
    // In the order that those of a run are in; where they differ, that of the first run that has it.
    let place = |option: &&str| settings.iter().find_map(|run| run.iter().position(|s| s.option == *option));
    options.sort_by_key(place);
    options
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Condition, Model, Rule, Source, Training};

    fn entry(seed: u64, elbo: &[f64], change: impl FnOnce(&mut Run)) -> Entry {
        let mut run = Run {
            model: Model::new(4, &[8], 2),
            training: Training { seed, ..Training::new(10, 20) },
            data: Source { valid_fraction: 0.1, ..Source::new("x.idx", 40) },
        };
        change(&mut run);
        let record = |(i, &elbo): (usize, &f64)| {
            let (step, epoch) = (4 * (i as u32 + 1), i as f64 + 1.0);
            let (nll, kl, loss, lr, beta) = (-elbo - 1.0, 1.0, -elbo, 1e-3, 1.0);
            Record { step, epoch, split: Split::Valid, elbo, nll, kl, loss, lr, beta, examples_per_s: 1.0 }
        };
        let records = elbo.iter().enumerate().map(record).collect();
        let name = format!("seed={seed}");
        Entry { records, state: State::Done, ..Entry::of(Folder(name.clone().into()), name, run) }
    }

    #[test]
    fn a_row_is_the_mean_over_seeds_best_first() {
        let wide = |run: &mut Run| run.model.latent = 3;
        let entries = vec![
            entry(0, &[-9.0, -5.0, -6.0], |_| ()),
            entry(1, &[-3.0], |_| ()),
            entry(0, &[-2.0], wide),
            entry(1, &[-2.5], wide),
            Entry { state: State::Failed("no".into()), ..entry(2, &[-100.0], wide) },
        ];
        let table = Table::new(entries.clone(), Rows::Combinations, &[]).unwrap();
        assert_eq!((table.options.as_slice(), table.elbo()), (&["latent"][..], "valid elbo"));
        assert_eq!(table.rows.len(), 2);
        assert_eq!(table.rows[0].values, [Some("3".to_string())]);
        assert_eq!((&table.rows[0].runs, &table.rows[1].runs), (&vec![2, 3, 4], &vec![0, 1]));
        // -5 and -3, by hand: mean -4, squares 1 + 1 over n − 1 = 1.
        let elbo = table.rows[1].elbo.unwrap();
        assert_eq!((elbo.mean, elbo.deviation.unwrap()), (-4.0, 2f64.sqrt()));
        assert_eq!(table.rows[0].elbo.unwrap().mean, -2.25, "what failed does not count");
        assert_eq!(table.remarks(&table.rows[0]), ["seed 2: no"]);
        let each = Table::new(entries, Rows::Runs, &[]).unwrap();
        assert_eq!((each.rows.len(), each.options.as_slice()), (5, &["latent", "seed"][..]));
    }

    #[test]
    fn what_follows_from_another_option_is_no_difference() {
        let adagrad = |run: &mut Run| run.training.optimizer = crate::config::Optimizer::new(Rule::Adagrad);
        let batch = |run: &mut Run| (run.training.batch, run.training.steps) = (20, 10);
        let table =
            Table::new(vec![entry(0, &[], |_| ()), entry(0, &[], adagrad), entry(0, &[], batch)], Rows::Runs, &[]);
        let table = table.unwrap();
        assert_eq!(table.options, ["optimizer", "batch"]);
        assert!(table.rows[0].elbo.is_none() && table.rows.len() == 3);
    }

    #[test]
    fn rows_of_other_examples_are_told_apart() {
        let of = |changes: [fn(&mut Run); 2]| {
            Table::new(changes.map(|change| entry(0, &[-1.0], change)).into(), Rows::Runs, &[]).unwrap().incomparable
        };
        let none: fn(&mut Run) = |run| run.data.valid_fraction = 0.0;
        let file: fn(&mut Run) = |run| (run.data.valid, run.data.valid_fraction) = (Some("easy.idx".into()), 0.0);
        let other: fn(&mut Run) = |run| (run.data.valid, run.data.valid_fraction) = (Some("hard.idx".into()), 0.0);
        assert_eq!(of([file, other]), ["valid"]);
        assert_eq!(of([file, none]), ["valid"]);
        assert_eq!(of([none, |_| ()]), ["valid-fraction"]);
        assert_eq!(of([|run| run.data.valid_fraction = 0.2, |_| ()]), [""; 0]);
        fn told(run: &mut Run, columns: (usize, usize), width: usize) {
            run.data.condition = Some(Condition::Columns { columns, x: None });
            (run.model.input, run.model.condition) = (run.model.input - width, width);
        }
        let one: fn(&mut Run) = |run| told(run, (0, 1), 1);
        assert_eq!(of([one, |run| told(run, (0, 2), 2)]), ["condition"]);
        let classes: fn(&mut Run) =
            |run| run.data.condition = Some(Condition::Classes { classes: 3, train: None, valid: None });
        assert_eq!(of([classes, |_| ()]), [""; 0]);
    }

    #[test]
    fn in_the_units_of_the_file_is_known_unless_gaps_were_never_looked_at() {
        use crate::config::Likelihood;
        use crate::data::{Missing, Scale, scale};
        let scaled = |run: &mut Run| {
            run.model.likelihood = Likelihood::Gaussian;
            run.data.scale = Some(Scale { rule: scale::Rule::Standard, shift: vec![0.0; 4], factor: vec![10.0; 4] });
        };
        let gaps = |run: &mut Run| {
            scaled(run);
            run.model.missing = Missing::Allow;
        };
        let known = |run: &mut Run| {
            gaps(run);
            run.data.log_volume = Some(5.0);
        };
        let of_file = |entries: Vec<Entry>| {
            let table = Table::new(entries, Rows::Runs, &[]).unwrap();
            let bounds: Vec<_> = table.rows.iter().map(|row| row.of_file.map(|bound| bound.mean)).collect();
            // In the file of a line for each run, too.
            let (csv, cell) =
                (table.csv().unwrap(), |bound: &Option<f64>| bound.map_or(String::new(), |b| b.to_string()));
            let at = csv.lines().next().unwrap().split(',').position(|name| name == "elbo_in_units_of_file").unwrap();
            let lines = csv.lines().skip(1).map(|line| line.split(',').nth(at).unwrap());
            assert!(lines.eq(bounds.iter().map(cell)), "{csv}");
            (bounds, table.incomparable)
        };
        let plain = |run: &mut Run| run.model.likelihood = Likelihood::Gaussian;
        let (bounds, _) = of_file(vec![entry(0, &[-3.0], gaps), entry(0, &[-5.0], scaled), entry(0, &[-20.0], plain)]);
        let want = -5.0 - 4.0 * 10f64.ln();
        assert!((bounds[0].unwrap() - want).abs() < 1e-6 && bounds[1..] == [Some(-20.0), None], "{bounds:?}");
        // The same units, but for rounding, of data that have no gaps: no run is of others.
        let none = |run: &mut Run| {
            gaps(run);
            run.data.log_volume = Some(4.0 * 10f64.ln() + 1e-14);
        };
        let table = Table::new(vec![entry(0, &[-3.0], none), entry(0, &[-5.0], scaled)], Rows::Runs, &[]).unwrap();
        assert_eq!((table.by_file, table.options, table.incomparable), (false, vec!["missing"], vec![]));
        // By their means, of runs that know them: the same examples have other units by another rule.
        let other = |run: &mut Run| {
            known(run);
            (run.data.scale.as_mut().unwrap().rule, run.data.log_volume) = (scale::Rule::Minmax, Some(1.0));
        };
        let (bounds, incomparable) = of_file(vec![entry(0, &[-3.0], known), entry(0, &[-5.0], other)]);
        assert_eq!((bounds, incomparable), (vec![Some(-6.0), Some(-8.0)], vec![]));
    }

    #[test]
    fn cut_runs_count_only_where_none_is_done() {
        let cut = |seed, elbo: &[f64]| Entry { state: State::Cut(4), ..entry(seed, elbo, |_| ()) };
        let mean = |entries| Table::new(entries, Rows::Combinations, &[]).unwrap().rows[0].elbo.map(|elbo| elbo.mean);
        assert_eq!(mean(vec![entry(0, &[-1.0], |_| ()), cut(1, &[-9.0])]), Some(-1.0));
        assert_eq!(mean(vec![cut(0, &[-1.0]), cut(1, &[-9.0]), cut(2, &[])]), Some(-5.0));
        assert!(Table::new(vec![], Rows::Runs, &[]).is_err());
    }
}
