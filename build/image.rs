//! The image for the GPU: finds or fetches nvcc, and compiles the kernels.
use flate2::{Compression, write::GzEncoder};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs};

/// The compiler that is fetched: NVIDIA's own wheels, which need no root and no CUDA toolkit. About 100 MB.
const WHEELS: [&str; 5] = [
    "nvidia-cuda-nvcc==13.0.88",
    "nvidia-nvvm==13.0.88",
    "nvidia-cuda-crt==13.0.88",
    "nvidia-cuda-runtime==13.0.96",
    "nvidia-cuda-cccl==13.0.85",
];

/// The GPUs that code is made for, by their compute capability: Ampere and Ada run that of 80, Hopper that of 90.
const ARCHITECTURES: [u32; 2] = [80, 90];
/// What stands in place of PTX where there is no nvcc: no kernel.
const NO_PTX: &str = ".version 8.0\n.target sm_80\n.address_size 64\n\0";

/// What the GPU loads, packed: of each architecture its code, `kernels.80.cubin.gz`, and the PTX that it was made from,
/// `kernels.80.ptx.gz`, which the driver compiles where it cannot load the code: for later GPUs, and in a driver that is
/// older than nvcc's CUDA. Without nvcc, no code, and PTX without kernels.
pub fn build(out: &str) {
    for name in ["NVCC", "CUDA_HOME", "VAE_GPU_NVCC"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    let nvcc = match env::var("CARGO_FEATURE_CUDA") {
        Ok(_) => find_nvcc(out),
        Err(_) => None,
    };
    let pack = |name: &str, bytes: &[u8]| fs::write(format!("{out}/{name}.gz"), gzip(bytes)).unwrap();
    let Some(nvcc) = nvcc else {
        if env::var_os("CARGO_FEATURE_CUDA").is_some() {
            println!(
                "cargo::warning=no nvcc in $NVCC, $CUDA_HOME/bin, PATH or Python's wheels: this build has no GPU \
                 kernels. VAE_GPU_NVCC=fetch gets one (100 MB, by pip)"
            );
        }
        for arch in ARCHITECTURES {
            pack(&format!("kernels.{arch}.cubin"), &[]);
            pack(&format!("kernels.{arch}.ptx"), NO_PTX.as_bytes());
        }
        return println!("cargo::rustc-env=NVCC_RELEASE=");
    };
    let reports = std::thread::scope(|s| {
        let nvcc = nvcc.as_str();
        let threads = ARCHITECTURES.map(|arch| s.spawn(move || compile(nvcc, out, arch)));
        threads.map(|thread| thread.join().expect("a compiler that was asked to says why it fails"))
    });
    for arch in ARCHITECTURES {
        let [cubin, ptx] = ["cubin", "ptx"].map(|kind| format!("kernels.{arch}.{kind}"));
        pack(&cubin, &fs::read(format!("{out}/{cubin}")).unwrap());
        pack(&ptx, &[&fs::read(format!("{out}/{ptx}")).unwrap(), &b"\0"[..]].concat());
    }
    let report = reports.concat();
    fs::write(format!("{out}/kernels.ptxas"), &report).unwrap(); // registers, shared memory, spills
    let mut kernel = "";
    for line in report.lines() {
        if let Some((_, name)) = line.split_once("Function properties for ") {
            kernel = name;
        }
        if line.contains("spill stores") && !line.contains(" 0 bytes spill stores, 0 bytes spill loads") {
            println!("cargo::warning={kernel} spills registers:{line}");
        }
    }
    println!("cargo::rustc-env=NVCC_RELEASE={}", release(&nvcc));
}

/// The kernels of one architecture, first to PTX and from that to code; what the assembler says of them.
fn compile(nvcc: &str, out: &str, arch: u32) -> String {
    let (source, ptx) = (format!("{out}/kernels.cu"), format!("{out}/kernels.{arch}.ptx"));
    let run = |to: &str, flags: &[&str], from: &str| {
        let kind = to.rsplit('.').next().unwrap();
        let output = Command::new(nvcc).arg(format!("-{kind}")).args(flags).args(["-o", to, from]).output();
        let output = output.expect("nvcc ran a moment ago");
        let report = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{nvcc} {from}:\n{report}");
        report
    };
    run(&ptx, &["-std=c++17", "-Ikernels", &format!("-arch=compute_{arch}")], &source);
    fs::write(&ptx, oldest(&fs::read_to_string(&ptx).unwrap())).unwrap();
    run(&format!("{out}/kernels.{arch}.cubin"), &["-Xptxas=-v", &format!("-arch=sm_{arch}")], &ptx)
}

/// PTX that says it is of version 8.0, of CUDA 12.0, the oldest driver we speak to, and not of the compiler's: a driver
/// refuses what is newer than itself by that line alone. The assembler holds what follows to it.
fn oldest(ptx: &str) -> String {
    let (head, rest) = ptx.split_once(".version ").expect("PTX says its version");
    let (version, rest) = rest.split_once('\n').expect("a line ends");
    let version = version.trim().parse::<f32>().expect("a version is a number").min(8.0);
    format!("{head}.version {version:.1}\n{rest}")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(vec![], Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// `13.0`
fn release(nvcc: &str) -> String {
    let output = Command::new(nvcc).arg("--version").output().expect("nvcc ran a moment ago");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (_, rest) = text.split_once("release ").expect("nvcc says its release");
    rest.split(',').next().unwrap().to_string()
}

/// The first compiler that answers.
fn find_nvcc(out: &str) -> Option<String> {
    let policy = env::var("VAE_GPU_NVCC").unwrap_or_default();
    if policy == "none" {
        return None;
    }
    let answers = |nvcc: &String| {
        let mut command = Command::new(nvcc);
        command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
    };
    let home = env::var("CUDA_HOME").map(|home| format!("{home}/bin/nvcc")).ok();
    let found = [env::var("NVCC").ok(), home, Some("nvcc".into())].into_iter().flatten().find(answers);
    let driver = Path::new("/dev/nvidiactl").exists() || Path::new("/proc/driver/nvidia").exists();
    found.or_else(|| python_nvcc().filter(answers)).or_else(|| match policy == "fetch" || driver {
        true => fetch_nvcc(out).filter(answers),
        false => None,
    })
}

/// The compiler of the wheels that PyTorch brings along.
fn python_nvcc() -> Option<String> {
    let code = "import sysconfig; print(sysconfig.get_path('purelib'))";
    let output = Command::new("python3").args(["-c", code]).stderr(Stdio::null()).output().ok()?;
    let site = String::from_utf8(output.stdout).ok()?;
    let nvcc = format!("{}/nvidia/cu13/bin/nvcc", site.trim());
    Path::new(&nvcc).exists().then_some(nvcc)
}

/// Downloads the pinned wheels once, beside the builds: target/nvcc serves debug and release.
fn fetch_nvcc(out: &str) -> Option<String> {
    // OUT_DIR is target/[triple/]profile/build/package/out.
    let target = Path::new(out).ancestors().find(|p| p.join("CACHEDIR.TAG").exists())?;
    let home = target.join("nvcc");
    let toolkit = home.join("nvidia/cu13");
    let nvcc = toolkit.join("bin/nvcc");
    if !home.join("complete").exists() {
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--upgrade"];
        let status = Command::new("python3").args(pip).arg("--target").arg(&home).args(WHEELS).status();
        if !status.is_ok_and(|s| s.success()) {
            println!("cargo::warning=pip could not fetch nvcc");
            return None;
        }
        for folder in ["bin", "nvvm/bin"] {
            for file in fs::read_dir(toolkit.join(folder)).ok()?.flatten() {
                runnable(&file.path());
            }
        }
        fs::write(home.join("complete"), "").ok()?;
    }
    Some(nvcc.to_str()?.to_string())
}

/// Wheels may lose the run bits.
fn runnable(file: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let _ = fs::set_permissions(file, fs::Permissions::from_mode(0o755));
    }
    #[cfg(not(unix))]
    let _ = file;
}
