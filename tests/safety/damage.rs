//! A file of tensors is what was written, or it is refused by name: truncated anywhere, any bit flipped, any claim wrong.
use crate::program::{folder, run, write_idx};
use std::path::Path;
use std::sync::OnceLock;
use vae_gpu::checkpoint::Saved;

/// The checkpoint of a small model, some kilobytes.
fn checkpoint() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| {
        let home = folder("damage");
        write_idx(&home.join("x.idx"), 8, 2);
        let train = "train --data x.idx --steps 3 --hidden none --latent 1 --device cpu --out run --quiet";
        run(&home, train).succeeded();
        std::fs::read(home.join("run/checkpoint.safetensors")).unwrap()
    })
}

fn refused(bytes: &[u8]) -> String {
    match Saved::parse(Path::new("it"), bytes) {
        Ok(_) => String::new(),
        Err(e) => e.to_string(),
    }
}

#[test]
fn cut_short_anywhere_it_is_refused() {
    let whole = checkpoint();
    assert_eq!(refused(whole), "");
    let taken: Vec<usize> = (0..whole.len()).filter(|&n| refused(&whole[..n]).is_empty()).collect();
    assert_eq!(taken, [0; 0], "of {} lengths", whole.len());
    assert_ne!(refused(&[whole, b"\0"].concat()), "", "with a byte more");
}

#[test]
fn with_any_bit_flipped_it_is_refused() {
    let mut bytes = checkpoint().to_vec();
    let mut taken = vec![];
    for at in 0..8 * bytes.len() {
        bytes[at / 8] ^= 1 << (at % 8);
        if refused(&bytes).is_empty() {
            taken.push(at);
        }
        bytes[at / 8] ^= 1 << (at % 8);
    }
    assert_eq!(taken, [0; 0], "of {} bits", 8 * bytes.len());
    assert_eq!(refused(&bytes), "");
}

/// The header, changed as text, before the same tensors.
fn changed(change: impl Fn(&str) -> String) -> Vec<u8> {
    let whole = checkpoint();
    let end = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let header = change(std::str::from_utf8(&whole[8..end]).unwrap());
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &whole[end..]].concat()
}

#[test]
fn every_wrong_claim_is_named() {
    // Not under the checksums, which others do not write: without them, and then as it should be.
    let bare = |header: &str| {
        let from = header.find(",\\\"seal\\\":").unwrap();
        let to = from + header[from..].find("}\"").unwrap();
        format!("{}{}", &header[..from], &header[to..]).replacen("\\\"format\\\":1,", "", 1)
    };
    assert_eq!(refused(&changed(bare)), "", "without checksums it is as others write it");

    let swap = |from: &'static str, to: &'static str| {
        changed(move |header| {
            let header = bare(header);
            assert!(header.contains(from), "{from} in {header}");
            header.replacen(from, to, 1)
        })
    };
    let offsets = |from: &'static str, to: &'static str| swap(from, to);
    let cases = [
        ("overlapping", offsets("[16,32]", "[0,16]"), "not a safetensors file, or damaged"),
        ("a gap", offsets("[16,32]", "[20,36]"), "not a safetensors file, or damaged"),
        ("negative", offsets("[0,16]", "[-16,0]"), "not a safetensors file, or damaged"),
        ("beyond", offsets("[0,16]", "[0,99999]"), "not a safetensors file, or damaged"),
        ("a type", swap("\"dtype\":\"F32\"", "\"dtype\":\"I32\""), "is I32; must be F32 or F64"),
        ("a name", swap("\"encoder.mu.bias\"", "\"encoder.mu.bios\""), "the tensor encoder.mu.bias is missing"),
        ("a shape", swap("\\\"latent\\\":1", "\\\"latent\\\":2"), "the model needs ["),
        ("a setting", swap("\\\"latent\\\":1", "\\\"latent\\\":0"), "latent 0: must be at least 1"),
        ("a word", swap("\\\"relu\\\"", "\\\"rely\\\""), "its configuration cannot be understood"),
        ("no config", swap("\"config\"", "\"confit\""), "no metadata key config"),
        (
            "another version",
            changed(|header| header.replacen("\\\"format\\\":1", "\\\"format\\\":2", 1)),
            "it has format 2; this program reads 1: use the version that wrote it",
        ),
        (
            "no seal",
            changed(|header| header.replacen("seal", "seel", 1)),
            "its configuration lost a part; it is damaged",
        ),
        ("nothing", vec![], "not a safetensors file, or damaged"),
    ];
    for (name, bytes, sentence) in cases {
        let got = refused(&bytes);
        assert!(got.starts_with("it: ") && got.contains(sentence), "{name}: {got:?}, want {sentence:?}");
    }
}

/// What a file says is read, never where to write: a name with a path in it is one more name that is not needed.
#[test]
fn names_in_a_file_lead_nowhere() {
    let home = folder("paths");
    let bytes = changed(|header| header.replacen("\"moment1.encoder.mu.bias\"", "\"../../moment1.mu.bias\"", 1));
    std::fs::write(home.join("m.safetensors"), bytes).unwrap();
    let outcome = run(&home, "sample m.safetensors --count 2 --to s.npy --device cpu");
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    let names = std::fs::read_dir(&home).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.collect::<Vec<_>>(), ["m.safetensors"]);
    write_idx(&home.join("..x.idx"), 8, 2);
    run(&home, "train --data ..x.idx --steps 1 --hidden none --latent 1 --device cpu --quiet").succeeded();
    assert!(home.join("runs/run/model.safetensors").exists());
}
