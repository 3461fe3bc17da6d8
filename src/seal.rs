//! Checksums of a file of tensors, so that a damaged one is never taken for another model.
//!
//! They stand inside the JSON under the metadata key `config`, for a second key would be written in no fixed order:
//! `{"format":1,` what the file says `,"seal":{"tensors":{"NAME":"CRC-32",…},"text":"CRC-32"}}`. The last is of all text
//! before it, so no bit of the file is without one. What others write has neither key and is read as it is; a file with
//! one of the two keys is damaged.
use std::collections::BTreeMap;

/// The version of what this program writes, and the only one that it reads.
const FORMAT: u32 = 1;
const SEAL: &str = ",\"seal\":{\"tensors\":";
const TEXT: &str = ",\"text\":\"";

fn checksum(bytes: &[u8]) -> String {
    format!("{:08x}", crc32fast::hash(bytes))
}

/// `json`, an object, with the checksums of these tensors and of itself.
pub fn close<'a>(json: &str, tensors: impl Iterator<Item = (&'a str, &'a [u8])>) -> String {
    let inside = json.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).expect("a JSON object");
    let sums: BTreeMap<&str, String> = tensors.map(|(name, bytes)| (name, checksum(bytes))).collect();
    let sums = serde_json::to_string(&sums).expect("names and checksums are JSON");
    let text = format!("{{\"format\":{FORMAT},{inside}{SEAL}{sums}");
    let sum = checksum(text.as_bytes());
    format!("{text}{TEXT}{sum}\"}}}}")
}

/// What [`close`] was given, if the text and these tensors are what they were then. What was never sealed is given back.
///
/// # Errors
/// What is wrong, as the end of a sentence.
pub fn open<'a>(json: &str, tensors: impl Iterator<Item = (&'a str, &'a [u8])>) -> Result<String, String> {
    let format = json.strip_prefix("{\"format\":").and_then(|rest| rest.split_once(','));
    let seal = json.rfind(SEAL).map(|at| (at, &json[at + SEAL.len()..]));
    let ((format, _), (at, seal)) = match (format, seal) {
        (None, None) => return Ok(json.to_string()),
        (Some((other, _)), _) if other.parse() != Ok(FORMAT) && other.parse::<u32>().is_ok() => {
            return Err(format!("it has format {other}; this program reads {FORMAT}: use the version that wrote it"));
        }
        (Some(format), Some(seal)) => (format, seal),
        _ => return Err("its configuration lost a part; it is damaged".into()),
    };
    let (sums, sum) = seal.rsplit_once(TEXT).ok_or("its configuration lost its checksum; it is damaged")?;
    let end = json.len() - seal.len() + sums.len();
    if sum != format!("{}\"}}}}", checksum(&json.as_bytes()[..end])) {
        return Err("its configuration does not have its checksum; it is damaged".into());
    }
    let mut sums: BTreeMap<String, String> = serde_json::from_str(sums).map_err(|e| e.to_string())?;
    for (name, bytes) in tensors {
        match sums.remove(name) {
            Some(sum) if sum == checksum(bytes) => {}
            Some(_) => return Err(format!("{name} does not have its checksum; it is damaged")),
            None => return Err(format!("{name} was not in it when it was written; it is damaged")),
        }
    }
    match sums.pop_first() {
        Some((name, _)) => Err(format!("the tensor {name} is missing; it is damaged")),
        None => match json.get("{\"format\":,".len() + format.len()..at) {
            Some(inside) => Ok(format!("{{{inside}}}")),
            None => Err("its configuration is empty".into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = "{\"input\":784,\"nested\":{\"seal\":{\"tensors\":1}}}";
    const TENSORS: [(&str, &[u8]); 2] = [("a", &[1, 2]), ("b", &[])];

    #[test]
    fn what_was_closed_opens_and_is_what_it_was() {
        let sealed = close(JSON, TENSORS.into_iter());
        assert!(serde_json::from_str::<serde_json::Value>(&sealed).is_ok(), "{sealed}");
        assert_eq!(open(&sealed, TENSORS.into_iter()).unwrap(), JSON);
        assert_eq!(open(JSON, TENSORS.into_iter()).unwrap(), JSON, "what others wrote");
    }

    /// As nobody writes it who does not want to see what happens.
    #[test]
    fn a_seal_of_nothing_is_refused() {
        let text = format!("{{\"format\":{FORMAT}{SEAL}{{}}");
        let sealed = format!("{text}{TEXT}{}\"}}}}", checksum(text.as_bytes()));
        assert_eq!(open(&sealed, [].into_iter()).unwrap_err(), "its configuration is empty");
    }

    #[test]
    fn every_other_content_is_refused() {
        let sealed = close(JSON, TENSORS.into_iter());
        let wrong = |json: &str, tensors: &[(&str, &[u8])]| open(json, tensors.iter().copied()).unwrap_err();
        assert_eq!(wrong(&sealed, &[("a", &[1, 3]), ("b", &[])]), "a does not have its checksum; it is damaged");
        assert_eq!(wrong(&sealed, &TENSORS[..1]), "the tensor b is missing; it is damaged");
        let more = [TENSORS[0], TENSORS[1], ("c", &[])];
        assert_eq!(wrong(&sealed, &more), "c was not in it when it was written; it is damaged");
        let later = sealed.replacen("\"format\":1,", "\"format\":2,", 1);
        let sentence = "it has format 2; this program reads 1: use the version that wrote it";
        assert_eq!(wrong(&later, &TENSORS), sentence);
        for i in 0..sealed.len() {
            for bit in 0..7 {
                let mut bytes = sealed.clone().into_bytes();
                bytes[i] ^= 1 << bit;
                let json = String::from_utf8(bytes).expect("ASCII without its highest bit");
                assert!(open(&json, TENSORS.into_iter()).is_err(), "bit {bit} of byte {i}: {json}");
            }
        }
    }
}
