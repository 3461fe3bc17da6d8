//! What draws are told: `--condition` of sample, decode and manifold; and how that stands in front of them, in a csv.
use super::Part;
use super::condition::{arrange, check_told, columns_or_told};
use super::output::Target;
use crate::config::{Condition, Run, Source};
use crate::data::to_csv::{self, Front};
use crate::data::{Bytes, Classes, Columns, Dataset, Missing, list, parts, plain};
use crate::{Error, Result};
use std::path::Path;

/// What draws are told: classes, which take turns, or the rows of a file.
#[derive(Default)]
pub(super) struct Told {
    rows: Vec<Vec<f32>>,
    /// The same in the units of the file.
    in_file: Vec<Vec<f32>>,
    /// Where they are of one.
    file: Option<String>,
}

impl Told {
    /// How many draws that is for, where nobody says: of a file one for each row.
    pub(super) fn count(&self) -> Option<usize> {
        self.file.as_ref().map(|_| self.rows.len())
    }

    /// Whether draws differ in what they are told, by a list of classes.
    pub(super) fn takes_turns(&self) -> bool {
        self.file.is_none() && self.rows.len() > 1
    }

    /// The rows for `count` draws, of a file the first ones.                                  (count, condition)
    ///
    /// # Errors
    /// A file of too few, unless it has one for all.
    pub(super) fn first(&self, count: usize) -> Result<Vec<f32>> {
        self.of(count, |rows| rows >= count)
    }

    /// The same in the units of the file.                                                    (count, condition)
    pub(super) fn first_in_file(&self, count: usize) -> Vec<f32> {
        cycled(&self.in_file, count)
    }

    /// The same where each row belongs to something that is there already.
    ///
    /// # Errors
    /// A file of fewer or more.
    pub(super) fn each(&self, count: usize) -> Result<Vec<f32>> {
        self.of(count, |rows| rows == count)
    }

    fn of(&self, count: usize, enough: impl Fn(usize) -> bool) -> Result<Vec<f32>> {
        let rows = self.rows.len();
        match &self.file {
            Some(file) if rows > 1 && !enough(rows) => Err(Error::failed(format!(
                "{file}: has {rows} rows, and {count} are told something: give a row for each, or one for all"
            ))),
            _ => Ok(cycled(&self.rows, count)),
        }
    }
}

/// So many rows, from the first on again where there are fewer.
fn cycled(rows: &[Vec<f32>], count: usize) -> Vec<f32> {
    rows.iter().cycle().take(count).flatten().copied().collect()
}

/// A class, or a list of them, as a line of csv: in quotes where they have commas.
fn classes_of(what: &str, named: Option<&Classes>, count: usize) -> Result<Vec<usize>> {
    let class = |name: &str| match (named, name.trim().parse::<usize>()) {
        (Some(named), _) => named.label(name.trim(), "condition"),
        (None, Ok(class)) if class < count => Ok(class),
        _ => Err(Error::request(format!(
            "condition {name}: must be a class from 0 to {}, or a FILE of classes; pass --condition 0",
            count - 1
        ))),
    };
    if let Ok(one) = class(what) {
        return Ok(vec![one]);
    }
    let mut lines = csv::ReaderBuilder::new();
    let mut lines = lines.has_headers(false).trim(csv::Trim::All).from_reader(what.as_bytes());
    let mut lines = lines.records();
    match (lines.next(), lines.next()) {
        (Some(Ok(list)), None) => list.iter().map(class).collect(),
        _ => class(what).map(|one| vec![one]),
    }
}

/// The condition of draws: classes by their numbers, as 7 or 0,1,2; or the rows of a file, of the condition's columns or
/// of whole examples. All classes if not given.
pub(super) fn of(run: &Run, what: Option<&str>) -> Result<Told> {
    let width = run.model.condition;
    let (condition, what) = match (&run.data.condition, what) {
        (None, None) => return Ok(Told::default()),
        (None, Some(what)) => {
            return Err(Error::request(format!("condition {what}: the model has none; leave it out")));
        }
        (Some(condition), what) => (condition, what),
    };
    Ok(match (condition, what) {
        (Condition::Classes { classes, .. }, what) => {
            let (asked, file) = match what {
                Some(what) => match (classes_of(what, run.data.classes(), *classes), Path::new(what)) {
                    (Ok(asked), _) => (asked, None),
                    (Err(_), path) if path.exists() && !path.is_dir() => {
                        let labels = Dataset::read_classes(path, &run.data.known_columns(), *classes)?;
                        (labels.into_iter().map(usize::from).collect(), Some(what.to_string()))
                    }
                    (Err(e), _) => return Err(e),
                },
                None => ((0..*classes).collect(), None),
            };
            let row = |&class: &usize| (0..width).map(|i| (i == class) as u8 as f32).collect();
            let rows: Vec<Vec<f32>> = asked.iter().map(row).collect();
            Told { in_file: rows.clone(), rows, file }
        }
        (Condition::Columns { .. }, None) => {
            let all = each_value(run).map_or(String::new(), |all| format!("{all} for all draws, or "));
            return Err(Error::request(format!(
                "condition: not given; the model needs it: pass --condition {all}FILE, with a row for each draw"
            )));
        }
        (Condition::Columns { .. }, Some(what)) => {
            let columns = Columns { only_alone: true, ..columns_or_told(run) };
            let (input, scale) = (run.model.input, &run.data.scale);
            let (in_file, file) = match what.contains('=') && !Path::new(what).exists() {
                true => (of_values(what, run)?, None),
                false => {
                    let data = super::dataset(what, Part::Test, Some(&columns), run.data.bytes, Missing::Refuse)?;
                    check_told(&data, run)?;
                    let alone = data.cols == width;
                    let unscaled = Source { scale: None, ..run.data.clone() };
                    let data = if alone { data } else { arrange(data, &unscaled, None)? };
                    (data.columns(data.cols - width..data.cols), Some(data.name))
                }
            };
            let mut rows = in_file.clone();
            if let Some(scale) = scale {
                scale.apply_to(&mut rows, input..input + width);
            }
            let [rows, in_file] = [rows, in_file].map(|all| all.chunks(width).map(<[f32]>::to_vec).collect());
            Told { rows, in_file, file }
        }
    })
}

/// What the columns that a model is told are called: by their places in the file where they have no names.
fn names_of(columns: &Columns) -> Vec<String> {
    let name = |j: usize| columns.names.get(j).cloned().unwrap_or_else(|| columns.place_of(j).to_string());
    columns.alone.clone().map(name).collect()
}

/// How --condition takes a value for each column; none where they are many.
fn each_value(run: &Run) -> Option<String> {
    const FEW: usize = 4;
    let names = names_of(&columns_or_told(run));
    let each = || names.iter().map(|name| format!("{name}=...")).collect::<Vec<_>>().join(",");
    (names.len() <= FEW).then(each)
}

/// A row of what a model is told, in the units of the file: NAME=VALUE for each column, as cells of a csv, in any order.
fn of_values(what: &str, run: &Run) -> Result<Vec<f32>> {
    let (names, words) = (names_of(&columns_or_told(run)), run.words_told());
    let wrong = |why: String| Error::request(format!("condition {what}: {why}; it takes {}", listed(&names)));
    let mut values: Vec<Option<String>> = vec![None; names.len()];
    for cell in parts(what) {
        let pair = unquoted(cell);
        // A name may have the sign in it, too, or stand in quotes.
        let value = |name: &String| {
            let in_quotes = format!("\"{name}\"");
            let rest = pair.strip_prefix(name.as_str()).or_else(|| pair.strip_prefix(&in_quotes))?;
            rest.trim_start().strip_prefix('=').map(unquoted)
        };
        let Some((at, value)) = names.iter().enumerate().find_map(|(at, name)| Some((at, value(name)?))) else {
            return Err(wrong(format!("{cell} is no NAME=VALUE of what the model is told")));
        };
        if values[at].replace(value).is_some() {
            return Err(wrong(format!("{} comes twice", names[at])));
        }
    }
    let mut row = vec![];
    for (name, value) in names.iter().zip(&values) {
        let Some(value) = value else { return Err(wrong(format!("{name} is not given"))) };
        let wrong = |why: String| Error::request(format!("condition {name}={value}: {why}"));
        match words.iter().find(|of| of.columns.start == row.len()) {
            Some(of) => match of.words.iter().position(|word| *word == plain(value)) {
                Some(at) => row.extend((0..of.words.len()).map(|j| (j == at) as u8 as f32)),
                None => return Err(wrong(format!("the model knows {}", list(&of.words, of.words.len())))),
            },
            None => match (value.parse::<f32>().ok().filter(|x| x.is_finite()), run.data.bytes) {
                // The model sees byte / 255.
                (Some(x), Some(Bytes::Grey)) if x.fract() == 0.0 && (0.0..=255.0).contains(&x) => row.push(x / 255.0),
                (_, Some(Bytes::Grey)) => return Err(wrong("must be a byte, from 0 to 255, as the data are".into())),
                (Some(x), _) => row.push(x),
                (None, _) => return Err(wrong("must be a finite number".into())),
            },
        }
    }
    Ok(row)
}

/// Without the quotes around it, if it has some.
fn unquoted(text: &str) -> String {
    let text = text.trim();
    let inside = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).filter(|text| !text.contains('"'));
    inside.unwrap_or(text).trim().to_string()
}

/// The first of them, for a message.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 8;
    let quoted = |name: &String| if name.contains(',') { format!("\"{name}\"") } else { name.clone() };
    let some = names.iter().take(SHOWN).map(|name| format!("{}=VALUE", quoted(name))).collect::<Vec<_>>().join(",");
    if names.len() > SHOWN { some + ",..." } else { some }
}

/// What rows of a csv were told, behind what says which they are.
pub(super) fn behind(front: Option<Front>, target: Target, run: &Run, (told, times): (&[f32], usize)) -> Option<Front> {
    Front::joined(front, target.is_csv().then(|| self::front(run, told, times)).flatten())
}

/// What draws were told, (count, condition) in the units of the file, each for so many rows, in front of a csv of them: under the
/// names that it has in the data, so that the csv is such data. None where it has no names.
pub(super) fn front(run: &Run, told: &[f32], times: usize) -> Option<Front> {
    let width = run.model.condition;
    let (titles, rows) = match run.data.condition.as_ref()? {
        Condition::Classes { .. } => {
            let classes = run.data.classes().filter(|classes| !classes.name.is_empty())?;
            let word = |row: &[f32]| row.iter().position(|&x| x == 1.0).map(|label| &classes.words[label]);
            (vec![classes.name.clone()], told.chunks(width).map(|row| word(row).into_iter().collect()).collect())
        }
        Condition::Columns { columns: (from, to), .. } => {
            let known = run.data.known_columns();
            let names: Option<Vec<String>> = (*from..*to).map(|j| known.name_of(j).cloned()).collect();
            let words = run.words_told();
            let row = |row: &[f32]| to_csv::texts(row, &words).into_iter().collect();
            (to_csv::titles(&names?, &words), told.chunks(width).map(row).collect())
        }
    };
    Some(Front { titles, rows, times })
}
