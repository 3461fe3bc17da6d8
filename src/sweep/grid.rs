//! The grid of a sweep: options, the values that each takes in turn, and the names of the runs that come of it.
use crate::{Error, Result};
use std::str::FromStr;

/// Runs of a sweep at most: more are a slip of the hand.
pub const MOST: usize = 10_000;
/// Characters of a value in the name of a directory; what is longer is cut, and told apart by its checksum.
const LONGEST: usize = 40;
/// Bytes of a name in all, which every file system takes.
const NAME: usize = 200;

/// An option by its name, and the values that it takes in turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Axis {
    pub name: String,
    pub values: Vec<String>,
}

impl FromStr for Axis {
    type Err = String;

    /// `latent=2,10`; where values hold commas, semicolons part them: `hidden=400;200,100`.
    fn from_str(text: &str) -> std::result::Result<Axis, String> {
        let wrong = || "must be an option and its values, as latent=2,10 or 'hidden=400;200,100'".to_string();
        let (name, values) = text.split_once('=').ok_or_else(wrong)?;
        let name = name.trim().trim_start_matches("--").replace('_', "-");
        let parted = match values.contains(';') {
            true => values.trim_end_matches(';').split(';'),
            false => values.split(','),
        };
        let parted: Vec<String> = parted.map(|value| value.trim().to_string()).collect();
        if name.is_empty() || parted.iter().any(String::is_empty) {
            return Err(wrong());
        }
        match (1..parted.len()).find(|&i| parted[..i].contains(&parted[i])) {
            Some(twice) => Err(format!("must have each value once, and {} stands there twice", parted[twice])),
            None => Ok(Axis { name, values: parted }),
        }
    }
}

/// One run of a sweep: an option and its value for each axis, and the seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Combination {
    pub values: Vec<(String, String)>,
    pub seed: u64,
}

impl Combination {
    /// The name of its directory: `latent=2,beta=0.5,seed=0`. Of letters, digits and `.+-_~` only, the same for the same
    /// combination whatever else is in the grid.
    pub fn name(&self) -> String {
        let parts = self.values.iter().map(|(name, value)| format!("{name}={},", safe(value, LONGEST)));
        let name: String = parts.collect();
        format!("{}seed={}", safe_whole(name), self.seed)
    }
}

/// What a file system, a shell and an address take as it is. What had to change is told apart by its checksum.
fn safe(value: &str, longest: usize) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._+-,:".contains(c);
    let kept: String = value.chars().map(|c| if plain(c) && c != ':' { c } else { '_' }).take(longest).collect();
    match kept == value {
        true => kept,
        false => format!("{kept}~{:08x}", crc32fast::hash(value.as_bytes())),
    }
}

/// The same for a name of many parts, which are all plain: only its length.
fn safe_whole(name: String) -> String {
    match name.len() > NAME {
        true => format!("{}~{:08x},", &name[..NAME], crc32fast::hash(name.as_bytes())),
        false => name,
    }
}

/// Every combination with every seed, the last axis and then the seed running fastest.
///
/// # Errors
/// An option that stands there twice; no seed; more runs than [`MOST`]; a seed beyond what a seed can be.
pub fn combinations(axes: &[Axis], first_seed: u64, seeds: u64) -> Result<Vec<Combination>> {
    if let Some(twice) = (1..axes.len()).find(|&i| axes[..i].iter().any(|axis| axis.name == axes[i].name)) {
        let Axis { name, values } = &axes[twice];
        let values = values.join(",");
        return Err(Error::request(format!(
            "grid {name}: is given twice; pass all its values at once, as --grid {name}={values},…"
        )));
    }
    if seeds == 0 {
        return Err(Error::request("seeds 0: must be at least 1; pass --seeds 3"));
    }
    let runs = axes.iter().fold(u128::from(seeds), |runs, axis| runs.saturating_mul(axis.values.len() as u128));
    if runs > MOST as u128 {
        return Err(Error::request(format!("grid: makes {runs} runs, at most {MOST} are possible; pass fewer values")));
    }
    if first_seed.checked_add(seeds - 1).is_none() {
        return Err(Error::request(format!(
            "seed {first_seed}: with --seeds {seeds} the last would be beyond {}; pass a smaller --seed",
            u64::MAX
        )));
    }
    let mut all = vec![vec![]];
    for axis in axes {
        let with = |values: &Vec<(String, String)>| {
            let values = values.clone();
            axis.values.iter().map(move |v| [values.clone(), vec![(axis.name.clone(), v.clone())]].concat())
        };
        all = all.iter().flat_map(with).collect();
    }
    let each_seed = |values: Vec<(String, String)>| {
        (first_seed..=first_seed + (seeds - 1)).map(move |seed| Combination { values: values.clone(), seed })
    };
    Ok(all.into_iter().flat_map(each_seed).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(text: &str) -> Axis {
        text.parse().unwrap()
    }

    #[test]
    fn commas_part_values_unless_semicolons_do() {
        assert_eq!(axis("latent=2,10").values, ["2", "10"]);
        assert_eq!(axis("hidden=400;200,100").values, ["400", "200,100"]);
        assert_eq!(axis("hidden=200,100;").values, ["200,100"]);
        assert_eq!(axis("--kl_warmup=0, 5"), Axis { name: "kl-warmup".into(), values: vec!["0".into(), "5".into()] });
        for wrong in ["latent", "latent=", "latent=2,,3", "=2", "latent=;", "latent=2,2"] {
            assert!(wrong.parse::<Axis>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_combination_comes_once_and_its_name_is_its_own() {
        let axes = [axis("latent=2,10,50"), axis("beta=0.5,1"), axis("data=a/x.idx,a_x.idx,ü")];
        let all = combinations(&axes, 5, 2).unwrap();
        assert_eq!(all.len(), 3 * 2 * 3 * 2);
        let mut names: Vec<String> = all.iter().map(Combination::name).collect();
        assert_eq!(names[0], format!("latent=2,beta=0.5,data=a_x.idx~{:08x},seed=5", crc32fast::hash(b"a/x.idx")));
        assert_eq!(names[3], "latent=2,beta=0.5,data=a_x.idx,seed=6");
        assert!(names.iter().all(|name| name.bytes().all(|b| b.is_ascii_alphanumeric() || b",=._~-".contains(&b))));
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all.len());
        assert_eq!(combinations(&[], 0, 1).unwrap()[0].name(), "seed=0");
    }

    #[test]
    fn a_long_name_stays_below_what_a_file_system_takes() {
        let axes: Vec<Axis> = (0..20).map(|i| axis(&format!("option-{i}={},1", "x".repeat(100)))).collect();
        let all = combinations(&axes[..13], 0, 1).unwrap();
        assert!(all.iter().all(|c| c.name().len() < 255));
        let names: std::collections::HashSet<String> = all.iter().map(Combination::name).collect();
        assert_eq!(names.len(), all.len());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let latent = axis("latent=2,10");
        let too_many: Vec<Axis> = (0..64).map(|i| Axis { name: format!("o{i}"), ..latent.clone() }).collect();
        for (axes, first, seeds) in
            [(&[latent.clone(), latent.clone()][..], 0, 1), (&[], 0, 0), (&[], u64::MAX, 2), (&too_many, 0, 1)]
        {
            assert_eq!(combinations(axes, first, seeds).unwrap_err().exit_code(), 2);
        }
        assert_eq!(combinations(&[], u64::MAX - 1, 2).unwrap().len(), 2);
    }
}
