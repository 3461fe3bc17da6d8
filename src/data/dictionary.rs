//! The different words of a column, and a number for each.
use super::csv::shown;
use std::collections::HashMap;

/// How many of them a message names.
const NAMED: usize = 8;

/// Words as they come, each with its place.
pub(super) struct Dictionary {
    words: Vec<String>,
    places: HashMap<String, usize>,
    /// As many as it may have.
    most: usize,
    /// So many stay where they are: a model's.
    known: usize,
    /// Those that have no place, how often they came; none where they may not come.
    strange: Option<(Vec<String>, usize)>,
}

impl Dictionary {
    /// Of a column that nobody has seen yet.
    pub fn new(most: usize) -> Dictionary {
        Dictionary { words: vec![], places: HashMap::new(), most, known: 0, strange: None }
    }

    /// Of the words that a model knows, and no others.
    pub fn of(words: &[String]) -> Dictionary {
        Dictionary::beginning_with(words.to_vec(), words.len())
    }

    /// With words that stay where they are, before others.
    pub fn beginning_with(words: Vec<String>, most: usize) -> Dictionary {
        let places = words.iter().enumerate().map(|(i, word)| (word.clone(), i)).collect();
        Dictionary { known: words.len(), words, places, most, strange: None }
    }

    /// The same, which takes others as missing.
    pub fn taking_strange(self) -> Dictionary {
        Dictionary { strange: Some((vec![], 0)), ..self }
    }

    /// Counts a word without a place. Whether it may come.
    pub fn take_strange(&mut self, word: &str) -> bool {
        let Some((words, times)) = &mut self.strange else { return false };
        *times += 1;
        // One more than a message names tells that there are more.
        if words.len() <= NAMED && !words.iter().any(|seen| seen == word) {
            words.push(word.into());
        }
        true
    }

    /// How many cells had a word without a place, and the first of them, for a message; none where there was none.
    pub fn strange(&self) -> Option<(usize, String)> {
        let (words, times) = self.strange.as_ref().filter(|(_, times)| *times > 0)?;
        Some((*times, list(words, words.len())))
    }

    /// Whether it began with some.
    pub fn is_known(&self) -> bool {
        self.known > 0
    }

    /// The place of a word, if there is one for it.
    pub fn place(&mut self, word: &str) -> Option<usize> {
        // Most are a word that was seen before, as it stands.
        if let Some(&place) = self.places.get(word) {
            return Some(place);
        }
        let word = plain(word);
        let next = self.words.len();
        if next >= self.most && !self.places.contains_key(&word) {
            return None;
        }
        Some(*self.places.entry(word).or_insert_with_key(|word| {
            self.words.push(word.clone());
            next
        }))
    }

    /// The first of them, for a message.
    pub fn list(&self) -> String {
        list(&self.words, self.words.len())
    }

    /// Where each place went, and the words: sorted, unless it began with some; numbers by their size, words by the alphabet.
    pub fn sorted(mut self) -> (Vec<usize>, Vec<String>) {
        let number = |word: &String| word.parse::<f64>().ok();
        let words = &self.words;
        let mut order: Vec<usize> = (0..words.len()).collect();
        match words.iter().map(number).collect::<Option<Vec<f64>>>() {
            _ if self.known > 0 => {}
            Some(numbers) => order.sort_by(|&a, &b| numbers[a].total_cmp(&numbers[b])),
            None => order.sort_by(|&a, &b| words[a].cmp(&words[b])),
        }
        let mut places = vec![0; order.len()];
        order.iter().enumerate().for_each(|(place, &was)| places[was] = place);
        (places, order.iter().map(|&was| std::mem::take(&mut self.words[was])).collect())
    }
}

/// The first `count` of some words, for a message.
pub(crate) fn list(words: &[String], count: usize) -> String {
    let some: Vec<String> = words.iter().take(count.min(NAMED)).map(|word| shown(word.as_bytes())).collect();
    some.join(", ") + if count > NAMED { ", ..." } else { "" }
}

/// A number as it is written shortest, so that 1 and 1.0 are one word; anything else as it is: what begins with a zero, has an
/// exponent or more digits than f64 tells apart is a name.
pub(crate) fn plain(word: &str) -> String {
    const DIGITS: usize = 15;
    let digits = word.strip_prefix('-').unwrap_or(word);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let is_number = all_digits(whole) && all_digits(fraction) && (whole == "0" || !whole.starts_with('0'));
    match word.parse::<f64>() {
        Ok(number) if is_number && whole.len() + fraction.len() <= DIGITS => (number + 0.0).to_string(), // 0, not -0
        _ => word.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_places_and_are_sorted() {
        let mut seen = Dictionary::new(3);
        let places: Vec<_> = ["b", "a", "b", "c", "d", "a"].iter().map(|word| seen.place(word)).collect();
        assert_eq!(places, [Some(0), Some(1), Some(0), Some(2), None, Some(1)]);
        assert_eq!(seen.sorted(), (vec![1, 0, 2], ["a", "b", "c"].map(String::from).to_vec()));
        // Numbers by their size, however they are written.
        let mut numbers = Dictionary::new(9);
        assert_eq!(["10", "9.0", "9", "-0", "0"].map(|word| numbers.place(word).unwrap()), [0, 1, 1, 2, 2]);
        assert_eq!(numbers.sorted(), (vec![2, 1, 0], ["0", "9", "10"].map(String::from).to_vec()));
        // What only looks like one is a name.
        for name in ["007", "1e5", "12345678901234567891", "+1", "1.", ".5", "-", "00", "inf", "0x1"] {
            assert_eq!(plain(name), name);
        }
        assert_eq!(["0.50", "-0.0", "100000"].map(plain), ["0.5", "0", "100000"]);
    }

    #[test]
    fn known_words_stay_where_they_are() {
        let words = ["z", "a"].map(String::from);
        let mut known = Dictionary::of(&words);
        assert_eq!((known.place("a"), known.place("new")), (Some(1), None));
        assert_eq!(known.list(), "\"z\", \"a\"");
        assert_eq!(known.sorted(), (vec![0, 1], words.to_vec()));
        // Or are missing, and told.
        let mut taking = Dictionary::of(&words).taking_strange();
        assert_eq!((taking.strange(), taking.place("b")), (None, None));
        assert!(["b", "c", "b"].iter().all(|word| taking.take_strange(word)));
        assert_eq!(taking.strange(), Some((3, "\"b\", \"c\"".into())));
        assert!(!Dictionary::of(&words).take_strange("b"));
        // Classes that a model does not know come behind.
        let mut some = Dictionary::beginning_with(words.to_vec(), 9);
        assert_eq!(some.place("b"), Some(2));
        assert_eq!(some.sorted().1, ["z", "a", "b"]);
    }
}
