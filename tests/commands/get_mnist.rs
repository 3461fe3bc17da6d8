//! tools/get-mnist, with folders in place of its mirrors: what is wrong is not taken, what is there is not fetched.
use crate::program::folder;
use std::process::Command;

/// Files of a few bytes under the names and with the checksums that the tool is told; no npm.
const SCRIPT: &str = r#"
import gzip, hashlib, importlib.machinery, importlib.util, pathlib, sys
loader = importlib.machinery.SourceFileLoader("tool", sys.argv[1])
tool = importlib.util.module_from_spec(importlib.util.spec_from_loader("tool", loader))
sys.dont_write_bytecode = True
loader.exec_module(tool)
tool.shutil.which = lambda _: None
tool.FILES = {name: hashlib.sha256(name.encode()).hexdigest() for name in ["one", "two"]}
home = pathlib.Path.cwd()
for mirror, files in {"empty": [], "wrong": ["one", "two"], "cut": ["one"], "right": ["one", "two"]}.items():
    (home / mirror).mkdir()
    for name in files:
        packed = gzip.compress((name if mirror != "wrong" else "another").encode())
        (home / mirror / f"{name}.gz").write_bytes(packed if mirror != "cut" else packed[:9])

def get(mirrors, into):
    tool.MIRRORS = [(home / mirror).as_uri() + "/" for mirror in mirrors]
    sys.argv[1:] = [into]
    code = tool.main()
    return code, sorted(path.name for path in pathlib.Path(into).iterdir())

both = ["one.gz", "two.gz"]
assert get(["empty"], "a") == (1, []), "nothing to fetch"
assert get(["wrong"], "a") == (1, []), "a wrong checksum"
assert get(["cut"], "a") == (1, []), "a file that is cut short"
assert get(["empty", "wrong", "cut", "right"], "a") == (0, both), "the mirror after three that fail"
assert get(["empty"], "a") == (0, both), "all is there"
pathlib.Path("a/two.gz").write_bytes(b"damaged")
assert get(["empty"], "a") == (1, both), "a damaged file is not taken for a right one"
assert get(["right"], "a") == (0, both), "and is fetched again"
assert gzip.decompress(pathlib.Path("a/two.gz").read_bytes()) == b"two"
"#;

#[test]
fn what_is_wrong_is_not_taken_and_what_is_there_is_not_fetched() {
    let home = folder("get-mnist");
    let tool = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/get-mnist");
    let ended = match Command::new("python3").args(["-B", "-c", SCRIPT, tool]).current_dir(&home).output() {
        Ok(ended) => ended,
        Err(e) => return println!("skipped: python3: {e}"),
    };
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
}
