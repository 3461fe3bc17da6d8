//! A configuration as options of `train`, and the command line that makes a run again.
use crate::config::{
    Algorithm, Binarize, Condition, Likelihood, Model, Numbers, OnNan, Optimizer, OutputBias, Run, Training, name_of,
    used,
};
use crate::data::{Header, scale};
use clap::ValueEnum;

/// An option with the value that a run has.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    pub option: &'static str,
    pub value: String,
    /// It has this value anyway.
    pub needless: bool,
    /// What was chosen beside it does not use it.
    pub unused: bool,
}

/// `vae-gpu train …`, as a shell takes it, with what is not needless. `built_in`: names of data that validate on their own
/// test part.
pub fn train(run: &Run, built_in: &[&str]) -> String {
    let mut words = vec!["vae-gpu".to_string(), "train".into()];
    for Setting { option, value, .. } in settings(run, built_in).into_iter().filter(|setting| !setting.needless) {
        let value = quoted(&value);
        // What begins with a hyphen would be read as an option of its own.
        match value.trim_start_matches('\'').starts_with('-') {
            true => words.push(format!("--{option}={value}")),
            false => words.extend([format!("--{option}"), value]),
        }
    }
    words.join(" ")
}

/// The options of a run, about in the order of the help.
pub fn settings(run: &Run, built_in: &[&str]) -> Vec<Setting> {
    let (model, t, data) = (&run.model, &run.training, &run.data);
    let mut line = Line(vec![]);
    let by_default = Model::new(model.input, &[500], 20);
    let training = Training::new(t.batch, t.steps);
    let optimizer = Optimizer::new(t.optimizer.rule);

    // Where it begins with another model, the data are that one's if none are named.
    line.unless(data.train == "digits" && t.start.is_none(), "data", &data.train);
    let own = built_in.contains(&data.train.as_str());
    match &data.valid {
        Some(valid) => line.unless(own && *valid == data.train, "valid", valid),
        None => line.unless(!own && data.valid_fraction == 0.0, "valid-fraction", data.valid_fraction),
    }
    if let Some(columns) = data.columns.as_ref().filter(|columns| !columns.leave_none()) {
        line.unless(false, "columns", columns.list());
    }
    if let Some(columns) = &data.columns {
        line.choice("header", columns.header, Header::Auto);
    }
    data.names.iter().for_each(|file| line.unless(false, "names", file));
    if let Some(classes) = data.classes().filter(|classes| !classes.apart) {
        line.unless(false, "classes", classes.column());
    }
    line.choice("scale", data.scale.as_ref().map_or(scale::Rule::None, |scale| scale.rule), scale::Rule::None);
    line.choice("missing", model.missing, by_default.missing);
    line.choice("binarize", data.binarize, Binarize::None);
    match &data.condition {
        None => (),
        Some(Condition::Classes { train, valid, .. }) => {
            line.unless(false, "condition", train.as_deref().unwrap_or("labels"));
            valid.iter().for_each(|file| line.unless(false, "valid-condition", file));
        }
        Some(Condition::Columns { columns: (from, to), x }) => {
            let all = data.known_columns();
            let listed = |(from, to): (usize, usize)| all.listed(&(from..to).collect::<Vec<_>>());
            match x {
                // All others are x.
                None => {
                    let told = listed((*from, *to));
                    // In quotes it is a name, and not what the word stands for.
                    line.unless(false, "condition", if told == "labels" { "\"labels\"".into() } else { told });
                }
                Some(x) => {
                    line.unless(false, "past", listed((*from, *to)));
                    line.unless(false, "future", listed(*x));
                }
            }
        }
    }

    let widths = model.hidden.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
    let widths = if widths.is_empty() { "none".into() } else { widths };
    line.unless(model.hidden == by_default.hidden, "hidden", widths);
    line.number("latent", model.latent, by_default.latent);
    line.choice("activation", model.activation, by_default.activation);
    line.choice("likelihood", model.likelihood, Likelihood::Bernoulli);
    for (likelihood, list) in run.others() {
        line.unless(false, likelihood, list);
    }
    line.choice("variance", model.variance, by_default.variance);
    line.number("sigma", model.sigma, by_default.sigma);
    line.choice("mean", model.mean, by_default.mean);
    line.choice("dispersion", model.dispersion, by_default.dispersion);
    line.choice("size-factor", model.size_factor, by_default.size_factor);
    line.unless(t.init == training.init, "init", String::from(t.init));
    line.choice("init-output-bias", t.init_output_bias, OutputBias::usual(model));

    line.choice("objective", model.objective, by_default.objective);
    line.choice("gradient", model.gradient, by_default.gradient);
    line.number("samples", model.samples, by_default.samples);
    line.number("beta", model.beta, by_default.beta);
    line.number("kl-warmup", t.kl_warmup, 0);
    line.number("free-bits", model.free_bits, 0.0);
    line.choice("optimizer", t.optimizer.rule, Training::new(1, 1).optimizer.rule);
    line.number("lr", t.optimizer.lr, optimizer.lr);
    line.unless(t.lr_schedule == training.lr_schedule, "lr-schedule", t.lr_schedule);
    line.number("lr-warmup", t.lr_warmup, 0);
    let (b1, b2) = t.optimizer.betas;
    line.unless(t.optimizer.betas == optimizer.betas, "betas", format!("{b1},{b2}"));
    line.number("eps", t.optimizer.eps, optimizer.eps);
    line.number("momentum", t.optimizer.momentum, optimizer.momentum);
    line.number("weight-decay", t.optimizer.weight_decay, optimizer.weight_decay);
    line.number("clip-norm", t.optimizer.clip_norm, optimizer.clip_norm);
    line.choice("on-nan", t.on_nan, OnNan::Stop);
    line.choice("algorithm", t.algorithm, Algorithm::First);
    line.number("batch", t.batch, 100);
    line.unless(false, "steps", t.steps);
    line.number("patience", t.patience, 0);
    line.number("log-every", t.log_every, training.log_every);
    line.number("seed", t.seed, 0);
    line.choice("precision", t.precision, Numbers::Fp32);
    if let Some(start) = &t.start {
        line.unless(false, "start", &start.model);
        line.keep(matches!(data.condition, Some(Condition::Columns { .. })));
    }
    line.without_unused()
}

struct Line(Vec<Setting>);

impl Line {
    fn unless(&mut self, needless: bool, option: &'static str, value: impl ToString) {
        self.0.push(Setting { option, value: value.to_string(), needless, unused: false });
    }
    fn number<T: ToString + PartialEq>(&mut self, option: &'static str, value: T, by_default: T) {
        self.unless(value == by_default, option, value);
    }
    fn choice<T: ValueEnum + PartialEq>(&mut self, option: &'static str, value: T, by_default: T) {
        self.unless(value == by_default, option, name_of(value));
    }
    /// What a run has from the model that it begins with, `train` does not take.
    fn keep(&mut self, told_columns: bool) {
        let is_kept = |s: &Setting| used::KEPT.contains(&s.option.replace('-', "_").as_str());
        let is_told = |s: &Setting| s.option == "condition" && (told_columns || s.value == "labels");
        self.0.iter_mut().filter(|s| is_kept(s) || is_told(s)).for_each(|s| s.needless = true);
    }
    /// What a choice beside it does not use, `train` does not take.
    fn without_unused(self) -> Vec<Setting> {
        let made = |choice: &str| self.0.iter().find(|setting| setting.option == choice).map(|s| s.value.clone());
        let given = |option: &str| made(option).is_some();
        let told = |s: &Setting| {
            let unused = used::displaced(s.option, made, given);
            Setting { needless: s.needless || unused, unused, ..s.clone() }
        };
        self.0.iter().map(told).collect()
    }
}

/// In single quotes where a shell would see more than a word.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./,:=+@%".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.into(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_shell_reads_back_what_was_quoted() {
        for word in ["x.idx", "a b", "it's", "$HOME", "`id`", "</script><b>", "", "-x", "ü", "a\nb"] {
            let echo = std::process::Command::new("sh").args(["-c", &format!("printf %s {}", quoted(word))]).output();
            assert_eq!(String::from_utf8(echo.unwrap().stdout).unwrap(), word);
        }
    }
}
