//! `vae-gpu report`
use super::condition::DataFor;
use super::{BUILT_IN, Common, loading};
use crate::checkpoint::{Folder, Saved};
use crate::data::Dataset;
use crate::device::Device;
use crate::evaluate::check_data;
use crate::files::write_atomically;
use crate::infer::Inference;
use crate::report::{self, Parts};
use crate::{Error, Result};
use clap::Args;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Makes one page of a run, to look at and to show: its course, samples, reconstructions, latents, settings
#[derive(Args)]
#[command(after_help = "Examples:\n  vae-gpu report runs/digits\n  \
    vae-gpu report runs/mnist --data t10k-images-idx3-ubyte.gz --labels t10k-labels-idx1-ubyte.gz\n  \
    vae-gpu report runs/digits --to digits.html\n\n\
    Every training ends with it: report.html in its directory. The page is one file that needs no network. Pictures and \
    latents are of the run's validation data, or of what it was trained on where it had none, unless --data names others.")]
pub(crate) struct ReportArgs {
    /// A run directory
    run: PathBuf,
    #[command(flatten)]
    data: DataFor,
    /// Classes to colour the latents by: the labels of --data, as idx, npy or csv
    #[arg(long = "labels", value_name = "LABELS", conflicts_with = "labels")]
    colours: Option<PathBuf>,
    #[command(flatten)]
    page: Page,
    #[command(flatten)]
    common: Common,
}

/// Where a page goes that is not the one of a run directory.
#[derive(Args)]
pub(super) struct Page {
    /// An .html; report.html in the run directory if not given
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Replaces a file --to that is no report
    #[arg(long, requires = "to")]
    force: bool,
}

impl Page {
    /// The file, if one was named and may be written. What is there and is something else stays.
    ///
    /// # Errors
    /// Another ending than .html; a file that is no report, without `--force`.
    pub(super) fn path(&self) -> Result<Option<&Path>> {
        let Some(to) = self.to.as_deref() else { return Ok(None) };
        let path = to.display();
        if to.extension().is_none_or(|e| e != "html") {
            return Err(Error::request(format!("to {path}: must end in .html; pass --to report.html")));
        }
        let mut start = vec![];
        let there =
            std::fs::File::open(to).and_then(|file| file.take(report::MARK.len() as u64).read_to_end(&mut start));
        match there.is_ok() && start != report::MARK.as_bytes() && !self.force {
            true => {
                Err(Error::request(format!("to {path}: is there already and no report; pass another --to, or --force")))
            }
            false => Ok(Some(to)),
        }
    }
}

/// The file of a run directory.
pub(super) const FILE: &str = "report.html";

pub(crate) fn run(args: &ReportArgs) -> Result<()> {
    let folder = Folder(args.run.clone()).standing();
    let to = args.page.path()?.map_or(folder.0.join(FILE), PathBuf::from);
    if !folder.0.is_dir() {
        let run = args.run.display();
        return Err(Error::failed(format!("{run}: is no directory; give a run directory, as runs/digits")));
    }
    if let (Some(labels), None) = (&args.colours, &args.data.data) {
        let labels = labels.display();
        return Err(Error::request(format!(
            "labels {labels}: are of --data, which is not given; pass --data FILE too"
        )));
    }
    let saved = Saved::read(&folder.0)?;
    let examples = match &args.data.data {
        Some(_) => labelled(args.data.load(&saved.run, &args.common)?, args.colours.as_deref())?,
        None if args.data.labels.is_some() || args.data.held_out => args.data.load(&saved.run, &args.common)?,
        None => {
            let (data, valid) = loading::load_again(&saved.run, "pass --data FILE, of which to draw")?;
            valid.unwrap_or(data)
        }
    };
    check_data(&saved, &examples, "--data")?;
    let device = args.common.device_at_hand()?;
    write(&folder, &to, &saved, &examples, &device)?;
    let path = to.display();
    match args.common.json {
        true => super::print(serde_json::json!({ "report": path.to_string() })),
        false => {
            args.common.say(format!("{path}: open it in a browser"));
            Ok(())
        }
    }
}

/// The report of a run into its directory.
pub(super) fn of_run(folder: &Folder, saved: &Saved, examples: &Arc<Dataset>, device: &Device) -> Result<()> {
    write(folder, &folder.picture(FILE), saved, examples, device)
}

fn write(folder: &Folder, to: &Path, saved: &Saved, examples: &Arc<Dataset>, device: &Device) -> Result<()> {
    let mut inference = Inference::open(saved, saved.run.data.binarize, device)?;
    let page = report::page(Parts { folder, saved, examples, inference: &mut inference, built_in: &BUILT_IN })?;
    write_atomically(to, |out| out.write_all(page.as_bytes()))
}

/// The examples with these classes.
fn labelled(examples: Arc<Dataset>, labels: Option<&Path>) -> Result<Arc<Dataset>> {
    let Some(path) = labels else { return Ok(examples) };
    let (labels, classes) = Dataset::read_named_labels(path)?;
    let (rows, count) = (examples.rows(), labels.len());
    if rows != count {
        let (path, name) = (path.display(), &examples.name);
        return Err(Error::failed(format!("{path}: has {count} labels, and {name} {rows} examples; give its own")));
    }
    let mut examples = Arc::unwrap_or_clone(examples);
    examples.columns.classes = classes; // or these have no names
    Ok(Arc::new(Dataset { labels: Some(labels), ..examples }))
}
