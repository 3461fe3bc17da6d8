//! Columns of words, as a model keeps them. A data set has a column for each word of them, of which one is 1 in every example.
use super::Columns;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// As many as one column may have: more are names of something.
pub(super) const MOST: usize = 1000;

/// The words of a column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Words {
    /// Which it is of the columns that were taken, counted from 0.
    pub column: usize,
    /// As the file writes them, of numbers the shortest way: numbers by their size, words by the alphabet.
    pub words: Vec<String>,
}

/// A column of x where columns of words are wide.
struct Place {
    /// Which it is of the columns that were taken.
    column: usize,
    /// Its word, if it is one of several.
    word: Option<usize>,
}

impl Columns {
    /// What column `j` of a data set is, by the columns that were taken from its file.
    fn place(&self, j: usize) -> Place {
        let mut before = 0; // columns of x beyond those of the file
        for (variable, words) in self.each_variable().take_while(|(variable, _)| variable.start <= j) {
            if variable.contains(&j) {
                return Place { column: words.column, word: Some(j - variable.start) };
            }
            before += variable.len().saturating_sub(1);
        }
        Place { column: j - before, word: None }
    }

    /// The columns of a data set that are the words of one column, and those.
    fn each_variable(&self) -> impl Iterator<Item = (Range<usize>, &Words)> {
        let mut before = 0;
        self.words.iter().map(move |words| {
            let from = words.column.saturating_add(before);
            before += words.words.len().saturating_sub(1);
            (from..from.saturating_add(words.words.len()), words)
        })
    }

    /// Which of the columns that were taken column `j` of a data set belongs to: itself, unless some are of words.
    pub fn column_of(&self, j: usize) -> usize {
        self.place(j).column
    }

    /// How many columns of the file the first `cols` of a data set are.
    pub(crate) fn in_file(&self, cols: usize) -> usize {
        cols.checked_sub(1).map_or(0, |last| self.column_of(last) + 1)
    }

    /// Of each of the first `cols` columns of a data set, whether it is a column of the file by itself, or the first word of one.
    pub(crate) fn begin(&self, cols: usize) -> Vec<bool> {
        (0..cols).map(|j| j == 0 || self.column_of(j) != self.column_of(j - 1)).collect()
    }

    /// What the file calls the column that column `j` of a data set belongs to.
    pub(crate) fn name_of(&self, j: usize) -> Option<&String> {
        self.names.get(self.column_of(j))
    }

    /// What column `j` of a data set is called: as in the file, or `ward=A` where it is one of several words.
    pub(crate) fn full_name(&self, j: usize) -> Option<String> {
        let Place { column, word } = self.place(j);
        let name = self.names.get(column)?.clone();
        let words = self.words.iter().find(|words| words.column == column);
        Some(match words.zip(word) {
            Some((words, word)) => format!("{name}={}", words.words[word]),
            None => name,
        })
    }

    /// The columns of a data set that are the words of one column each.
    pub fn variables(&self) -> Vec<Range<usize>> {
        self.each_variable().map(|(variable, _)| variable).collect()
    }

    /// # Errors
    /// What cannot be: a file may say anything.
    pub(super) fn check_words(&self) -> Result<()> {
        let in_order = self.words.windows(2).all(|two| two[0].column < two[1].column);
        let possible = self.words.iter().all(|w| (1..=MOST).contains(&w.words.len()) && w.column < 1 << 26);
        match in_order && possible {
            true => Ok(()),
            false => Err(Error::failed("words: those of its data cannot be; it is damaged")),
        }
    }

    /// How many columns data have that have one for each word, of a model without names of columns or with.
    pub(crate) fn is_wide(&self, width: usize) -> bool {
        let narrow = if self.taken.is_empty() { self.names.len() } else { self.count() };
        let more: usize = self.words.iter().map(|words| words.words.len().saturating_sub(1)).sum();
        more > 0 && width == narrow + more
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::likelihood::Likelihood;

    #[test]
    fn columns_of_words_are_wide() {
        let words = |column, words: &[&str]| Words { column, words: words.iter().map(|w| w.to_string()).collect() };
        let names = ["age", "ward", "ill", "bmi"].map(String::from).to_vec();
        let all = vec![words(1, &["a", "b", "c"]), words(2, &["no"])];
        let columns = Columns { names, words: all, ..Columns::default() };
        assert_eq!(columns.variables(), [1..4, 4..5]);
        assert_eq!((0..6).map(|j| columns.column_of(j)).collect::<Vec<_>>(), [0, 1, 1, 1, 2, 3]);
        let full: Vec<_> = (0..6).map(|j| columns.full_name(j).unwrap()).collect();
        assert_eq!(full, ["age", "ward=a", "ward=b", "ward=c", "ill=no", "bmi"]);
        assert_eq!(columns.full_name(6), None);
        assert_eq!(columns.listed(&[0, 1, 2, 3, 4]), "age,ward,ill");
        assert_eq!(columns.told(3), "column 1 (\"ward\", counted from 0)");
        let others = |own: &[usize], likelihood| {
            let likelihoods = (0..6).map(|j| own.contains(&j).then_some(likelihood)).collect();
            Columns { likelihoods, ..columns.clone() }.others(6)
        };
        // Two variables side by side stay two, and what is no word is one run.
        let categorical = Likelihood::Categorical;
        assert_eq!(others(&[1, 2, 3, 4], categorical), [(categorical, 1, 4), (categorical, 4, 5)]);
        let plain = Columns { likelihoods: vec![Some(Likelihood::Poisson); 2], ..Columns::default() };
        assert_eq!(plain.others(6), [(Likelihood::Poisson, 0, 2)]);
    }
}
