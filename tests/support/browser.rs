//! A page as a browser sees it.
#![allow(dead_code)] // each test file uses its part
use super::program::folder;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

pub fn page(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The object that the page draws.
pub fn data(page: &str) -> Value {
    let start = "<script type=\"application/json\" id=\"data\">";
    let json = page.split_once(start).unwrap().1.split_once("</script>").unwrap().0;
    serde_json::from_str(json).unwrap_or_else(|e| panic!("{e}: {json}"))
}

/// A browser's view of a page after `script` ran in it: its DOM. None, with a word, where there is no browser.
pub fn browsed(path: &Path, script: &str, name: &str) -> Option<String> {
    let browser = ["chromium", "chromium-browser", "google-chrome"];
    let found = |name: &&str| Command::new(name).arg("--version").stderr(Stdio::null()).output().is_ok();
    let Some(browser) = browser.into_iter().find(|name| found(name)) else {
        println!("skipped: there is no chromium");
        return None;
    };
    let home = folder(&format!("browser-{name}"));
    // Errors are told in the DOM itself; the script runs after the page's own.
    let listen = "<script>window.onerror = (m, s, l) => { document.documentElement.dataset.error = m + ' at ' + l };\
                  document.addEventListener('securitypolicyviolation', e => \
                  { document.documentElement.dataset.error = 'blocked ' + e.blockedURI });</script>";
    let text = page(path).replacen("<style>", &format!("{listen}<style>"), 1);
    let text = text.replacen("</html>", &format!("<script>\"use strict\";{script}</script></html>"), 1);
    std::fs::write(home.join("page.html"), text).unwrap();
    let flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
                 --disable-component-update --disable-sync --disable-dev-shm-usage --window-size=1100,900 \
                 --virtual-time-budget=3000 --dump-dom";
    let mut browser = Command::new(browser);
    browser.args(flags.split_whitespace()).arg(format!("--user-data-dir={}", home.join("profile").display()));
    let (out, log) = (home.join("dom.html"), home.join("log"));
    browser.arg(format!("file://{}", home.join("page.html").display()));
    browser.arg("--enable-logging=stderr").stdin(Stdio::null());
    browser.stdout(std::fs::File::create(&out).unwrap()).stderr(std::fs::File::create(&log).unwrap());
    let mut child = browser.spawn().unwrap();
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if began.elapsed() > Duration::from_secs(120) {
            child.kill().unwrap();
            panic!("the browser did not end: {}", page(&log));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let log = String::from_utf8_lossy(&std::fs::read(&log).unwrap()).into_owned();
    assert!(!log.contains("CONSOLE"), "{log}");
    let dom = page(&out);
    let error = dom.split_once("data-error=").map(|(_, rest)| rest.split('>').next().unwrap().to_string());
    assert_eq!(error, None);
    assert!(dom.contains("</html>"), "{dom}");
    Some(dom)
}

/// A value that a script left on the root element.
pub fn left<'a>(dom: &'a str, name: &str) -> &'a str {
    let Some((_, rest)) = dom.split_once(&format!(" data-{name}=\"")) else { panic!("no {name} in {}", &dom[..500]) };
    rest.split('"').next().unwrap()
}
