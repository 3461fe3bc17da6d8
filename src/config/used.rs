//! Which options are used: some only beside a certain choice, as `--sigma` of a Gaussian alone. By their names on the command
//! line.

/// An option, the choice that decides whether it is used, and what it must be for that, or have among others: whatever is no `none`
/// where nothing is said.
pub const USED: [(&str, &str, &[&str]); 14] = [
    ("activation", "hidden", &[]),
    ("variance", "likelihood", &["gaussian"]),
    ("mean", "likelihood", &["gaussian"]),
    ("sigma", "likelihood", &["gaussian"]),
    ("dispersion", "likelihood", &["negative-binomial"]),
    ("size-factor", "likelihood", &["negative-binomial"]),
    ("sigma", "variance", &["fixed"]),
    ("gradient", "objective", &["elbo-mc", "iwae"]),
    ("betas", "optimizer", &["adam", "adamw"]),
    ("eps", "optimizer", &["adam", "adamw", "adagrad"]),
    ("momentum", "optimizer", &["momentum"]),
    ("temperatures", "estimator", &["ais"]),
    ("chains", "estimator", &["ais"]),
    ("leapfrogs", "estimator", &["ais"]),
];

/// What a run that begins with another model has from that, by the names that clap has for the options: its layers, and how data
/// are read.
pub const KEPT: [&str; 26] = [
    "columns",
    "skip_columns",
    "header",
    "names",
    "classes",
    "scale",
    "missing",
    "binarize",
    "past",
    "future",
    "hidden",
    "latent",
    "activation",
    "likelihood",
    "variance",
    "sigma",
    "mean",
    "dispersion",
    "size_factor",
    "init",
    "init_output_bias",
    "bernoulli",
    "gaussian",
    "poisson",
    "negative_binomial",
    "categorical",
];

/// Whether a choice must be made for this option to be used.
pub fn depends(option: &str) -> bool {
    USED.iter().any(|(name, ..)| *name == option)
}

/// Whether what was `made` of a choice has one of these users, or is something where none is said, or columns have a likelihood of
/// their own that is one: those are named by options that are called like the likelihood. `given`: whether an option is.
pub fn is_used(choice: &str, users: &[&str], made: &str, given: impl Fn(&str) -> bool) -> bool {
    let by_columns = choice == "likelihood" && users.iter().any(|user| given(user));
    by_columns || made.split(',').any(|made| if users.is_empty() { made != "none" } else { users.contains(&made) })
}

/// Whether one of the choices that were made, by their names, leaves this option unused. `given`: whether an option is.
pub fn displaced(option: &str, made: impl Fn(&str) -> Option<String>, given: impl Fn(&str) -> bool) -> bool {
    let mut of_it = USED.iter().filter(|(name, ..)| *name == option);
    of_it.any(|(_, choice, users)| made(choice).is_some_and(|made| !is_used(choice, users, &made, &given)))
}
