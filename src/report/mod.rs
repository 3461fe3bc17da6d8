//! A run on one page: `report.html`, which needs no network, no other file and no library. This gathers what the page
//! shows, in numbers and pictures, as one JSON object; how it looks and how it is zoomed is `page.html` beside this file,
//! with `style.css` and `shared.js`, which the page of several runs ([`page_of_several`]) has too.
use crate::checkpoint::{Folder, Saved};
use crate::config::Run;
use crate::data::{Dataset, Shape};
use crate::evaluate::ACTIVE;
use crate::infer::Inference;
use crate::metrics::{self, Record, Split};
use crate::plot::{curves, grid};
use crate::{Result, host, latents, schedule};
use serde_json::{Map, Value, json};
use std::sync::Arc;

mod columns;
pub mod command;
pub mod directions;
mod pictures;
mod predictions;

pub use pictures::{Drawn, on_one_scale, tile};
pub(crate) use predictions::rows as rows_of_predictions;

/// Examples whose latents are looked at.
pub const LATENTS: usize = 2000;
/// Bars of the KL per dimension that are drawn; of what is beyond, the sum is told.
const BARS: usize = 256;
/// Values of a setting that are listed; of more, how many there are.
const LISTED: usize = 12;
/// Numbers in one of the two pictures at most, so that a page of large pictures stays small.
const PIXELS: usize = 1 << 18;

/// What stands first in the file, and in no other: so that a report is known as one.
pub const MARK: &str = "<!doctype html><!-- a report of vae-gpu -->";

/// What a report is made of.
pub struct Parts<'a> {
    pub folder: &'a Folder,
    pub saved: &'a Saved,
    /// What the pictures and the latents are of, the condition behind its columns.
    pub examples: &'a Arc<Dataset>,
    pub inference: &'a mut Inference,
    /// Names of data that need no file.
    pub built_in: &'a [&'a str],
}

/// The page.
///
/// # Errors
/// Those of the device, and of the files of the run.
pub fn page(parts: Parts) -> Result<String> {
    let name = parts.folder.0.canonicalize().unwrap_or(parts.folder.0.clone());
    let name = name.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(filled(include_str!("page.html"), &name, &gather(parts, &name)?))
}

/// The page of several runs: `data` is what [`crate::sweep::table::Table::page`] gathers.
pub fn page_of_several(title: &str, data: &Value) -> String {
    filled(include_str!("several.html"), title, data)
}

/// A page of its template: with its title, what all pages share, and the data that its script draws.
fn filled(template: &str, title: &str, data: &Value) -> String {
    // Inside a script element only `</` and `<!--` mean something, and in a JSON string every character may be \u….
    let data = data.to_string().replace('<', "\\u003c");
    let title = title.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let (mut page, mut rest) = (MARK.to_string(), template);
    for (place, text) in [
        ("{{title}}", title.as_str()),
        ("{{style}}", include_str!("style.css")),
        ("{{data}}", &data),
        ("{{shared}}", include_str!("shared.js")),
    ] {
        let (before, after) = rest.split_once(place).expect("a page has each of these places, in this order");
        page += before;
        page += text;
        rest = after;
    }
    page + rest
}

/// The active units that the page of a run tells.
pub fn active_units(page: &str) -> Option<u64> {
    let (_, data) = page.split_once("<script type=\"application/json\" id=\"data\">")?;
    let data: Value = serde_json::from_str(data.split_once("</script>")?.0).ok()?;
    data["latents"]["active"].as_u64()
}

fn gather(parts: Parts, name: &str) -> Result<Value> {
    let Parts { folder, saved, examples, inference, built_in } = parts;
    let run = &saved.run;
    let records = metrics::read(&folder.metrics())?;
    let (samples, reconstructions) = pictures(run, examples, inference)?;
    let last = |split| records.iter().rfind(|r| r.split == split);
    // The header of the checkpoint says how long it took, and on what.
    let checkpoint = Saved::read(&folder.checkpoint()).ok();
    let position = checkpoint.as_ref().and_then(|saved| saved.position());
    let best = metrics::kept(&records, &run.training, position.and_then(|p| p.best));
    let steps = position.map(|p| p.step).or(records.last().map(|r| r.step)).unwrap_or(0);
    let (rows, batch) = (run.data.rows, run.training.batch.min(run.data.rows.max(1)));
    let per_epoch = schedule::steps_per_epoch(rows, batch);
    let seen = steps as usize / per_epoch * rows + steps as usize % per_epoch * batch;
    let seconds = position.map(|p| p.seconds).filter(|&s| s > 0.0);
    let threads = rayon::current_num_threads();
    let version = env!("CARGO_PKG_VERSION");
    Ok(json!({
        "name": name,
        "data": run.data.train,
        "widths": run.model.widths(),
        "examples": rows,
        "device": position.map(|p| &p.device),
        "steps": steps,
        "planned": run.training.steps,
        "complete": checkpoint.as_ref().is_none_or(Saved::is_complete),
        "steps_per_epoch": per_epoch,
        "epochs": steps as f64 / per_epoch as f64,
        "seconds": seconds,
        "examples_per_s": seconds.map(|s| seen as f64 / s),
        "train": last(Split::Train),
        "valid": last(Split::Valid),
        "best": best,
        "curves": course(&records, run),
        "samples": samples,
        "told": run.model.condition > 0,
        "classes": pictures::classes(run).map(|classes| match run.data.classes() {
            Some(named) => named.words.clone(),
            None => (0..classes).map(|class| class.to_string()).collect(),
        }),
        "reconstructions": reconstructions,
        "columns": if grid::is_strip(tile(run)) { columns::gather(run, examples, inference)? } else { Value::Null },
        "predictions": predictions::gather(run, examples, inference)?,
        "latents": latents_of(examples, inference, run.training.seed)?,
        "settings": settings(run),
        "command": command::train(run, built_in),
        "machine": [
            ["trained on", position.map_or("not recorded", |p| &p.device)],
            ["trained with", &position.map_or("not recorded".into(), |p| format!("vae-gpu {}", p.program))],
            ["report made by", &format!("vae-gpu {version}")],
            ["on the processor", &host::processor().unwrap_or("not known".into())],
            ["with", &format!("{threads} thread{}", if threads == 1 { "" } else { "s" })],
        ],
    }))
}

/// elbo, nll and kl over steps, and the loss where that is something else; each line of at most about 1,000 points, extremes kept.
fn course(records: &[Record], run: &Run) -> Value {
    type Of = fn(&Record) -> f64;
    let mut quantities: Vec<(&str, Of)> = vec![("elbo", |r| r.elbo), ("nll", |r| r.nll), ("kl", |r| r.kl)];
    if !run.model.minimises_elbo() {
        quantities.push(("loss", |r| r.loss));
    }
    let line = |split, of: Of| told(metrics::course(records, split).iter().map(|r| (r.step as f64, of(r))));
    let panel = |(name, of)| json!({ "name": name, "train": line(Split::Train, of), "valid": line(Split::Valid, of) });
    quantities.into_iter().map(panel).collect()
}

/// The points of a line as a page has them: where they stand, and how high.
pub(crate) fn told(points: impl Iterator<Item = (f64, f64)>) -> Value {
    let points = curves::thin(&curves::drawable(&points.collect::<Vec<_>>()));
    let place = |x: f64| if x.fract() == 0.0 { json!(x as u64) } else { json!(short(x)) };
    let (x, y): (Vec<Value>, Vec<f64>) = points.iter().map(|p| (place(p.0), short(p.1))).unzip();
    json!([x, y])
}

/// To seven digits: more cannot be seen, and the page shall be small.
fn short(value: f64) -> f64 {
    format!("{value:.6e}").parse().unwrap_or(value)
}

/// Draws from the prior; and examples over their reconstructions.
fn pictures(run: &Run, examples: &Arc<Dataset>, inference: &mut Inference) -> Result<(Value, Value)> {
    let most = if grid::is_strip(tile(run)) { 32 } else { 64 };
    let count = (PIXELS / run.model.input).clamp(most / 8, most) / 2 * 2;
    let drawn = Drawn::of(run, examples, inference, count)?;
    let (tiles, across) = drawn.pairs();
    let pairs = drawn.originals.len() / run.model.input;
    let count = drawn.samples.len() / run.model.input;
    Ok((as_image(&drawn.samples, drawn.shape, drawn.columns, count)?, as_image(&tiles, drawn.shape, across, pairs)?))
}

/// A grid of tiles of `count` examples, as the page has it.
fn as_image(tiles: &[f32], shape: Shape, columns: usize, count: usize) -> Result<Value> {
    let png = grid::png(tiles, shape, columns)?;
    let side = |at: usize| u32::from_be_bytes([png[at], png[at + 1], png[at + 2], png[at + 3]]); // of IHDR
    Ok(json!({ "png": base64(&png), "width": side(16), "height": side(20), "count": count }))
}

/// So many examples, spread over all of them: a file may be sorted.
fn spread(examples: &Dataset, count: usize) -> Arc<Dataset> {
    Arc::new(examples.pick(&(0..count).map(|i| i * examples.rows() / count).collect::<Vec<_>>()))
}

/// What the encoder makes of up to [`LATENTS`] examples: the KL of each dimension, which are active, and where mu lies.
fn latents_of(examples: &Arc<Dataset>, inference: &mut Inference, seed: u64) -> Result<Value> {
    let rows = examples.rows();
    let count = rows.min(LATENTS);
    let chosen = spread(examples, count);
    let latent = inference.latent();
    let head = inference.encode(&chosen, seed)?;
    let means = latents::means(&head, latent);
    let plane = directions::plane(&means, latent);
    // Two latents, or one, are drawn as they are: as traverse, manifold and encode have them.
    let at = |row: usize, axis: usize| match latent {
        ..=2 => means.get(row * latent + axis).filter(|_| axis < latent).map_or(0.0, |&x| x as f64),
        _ => plane.at[row][axis],
    };
    let all: f64 = plane.variances.iter().sum();
    let share = match latent {
        ..=2 => [0, 1].map(|axis| plane.variances.get(axis).map_or(0.0, |v| if all > 0.0 { v / all } else { 0.0 })),
        _ => plane.share,
    };
    // The variance over one example says nothing.
    let is_known = count > 1;
    let mut dims: Vec<(usize, f64)> = latents::kl_per_dim(&head, latent).into_iter().enumerate().collect();
    dims.sort_by(|a, b| b.1.total_cmp(&a.1));
    let bars: Vec<Value> = dims
        .iter()
        .take(BARS)
        .map(|&(dim, kl)| json!({ "dim": dim, "kl": short(kl), "active": !is_known || plane.variances[dim] > ACTIVE }))
        .collect();
    let beyond = dims.len() - bars.len();
    // As few digits as can be seen: a cloud may be as narrow as it likes.
    let widest = (0..count).map(|row| at(row, 0).abs().max(at(row, 1).abs())).fold(0.0, f64::max);
    let step = 10f64.powf(widest.max(1e-30).log10().floor() - 3.0);
    let coordinate =
        |axis: usize| (0..count).map(|row| short((at(row, axis) / step).round() * step)).collect::<Vec<f64>>();
    Ok(json!({
        "of": chosen.name,
        "count": count,
        "latent": latent,
        "active": is_known.then(|| plane.variances.iter().filter(|&&v| v > ACTIVE).count()),
        "threshold": ACTIVE,
        "kl": dims.iter().map(|d| d.1).sum::<f64>(),
        "bars": bars,
        "beyond": { "count": beyond, "kl": dims[dims.len() - beyond..].iter().map(|d| d.1).sum::<f64>() },
        "x": coordinate(0),
        "y": coordinate(1),
        "share": share,
        "labels": chosen.labels,
        "classes": chosen.columns.classes.as_ref().map(|classes| &classes.words),
    }))
}

/// config.json as rows of a table: one group for each of its parts, and the model for what stands at its top.
fn settings(run: &Run) -> Value {
    fn rows(out: &mut Vec<[String; 2]>, name: &str, value: &Value) {
        match value {
            Value::Object(map) => map.iter().for_each(|(key, value)| rows(out, &format!("{name}.{key}"), value)),
            Value::String(text) => out.push([name.into(), text.clone()]),
            Value::Array(list) if list.len() > LISTED => out.push([name.into(), format!("{} values", list.len())]),
            Value::Null => out.push([name.into(), "none".into()]),
            other => out.push([name.into(), other.to_string()]),
        }
    }
    let config = serde_json::to_value(run).expect("a configuration is JSON");
    let config: Map<String, Value> = config.as_object().cloned().unwrap_or_default();
    let mut groups = vec![("model", vec![]), ("training", vec![]), ("data", vec![])];
    for (key, value) in &config {
        match (key.as_str(), value) {
            ("training" | "data", Value::Object(map)) => {
                let group = if key == "training" { 1 } else { 2 };
                map.iter().for_each(|(key, value)| rows(&mut groups[group].1, key, value));
            }
            _ => rows(&mut groups[0].1, key, value),
        }
    }
    json!(groups)
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits = three.iter().enumerate().fold(0u32, |bits, (i, &byte)| bits | (byte as u32) << (16 - 8 * i));
        for i in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * i)) as usize & 63] as char;
            out.push(if i <= three.len() { letter } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (text, code) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(text.as_bytes()), code); // RFC 4648, section 10
        }
        assert_eq!(base64(&[255, 254, 0]), "//4A");
    }
}
