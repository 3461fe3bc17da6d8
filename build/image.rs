//! The image for the GPU: finds or fetches nvcc, and compiles the kernels.
use super::{run, side_by_side, warn};
use flate2::{Compression, write::GzEncoder};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};
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
    for name in ["NVCC", "CUDA_HOME", "CUDA_PATH", "VAE_GPU_NVCC"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    let policy = env::var("VAE_GPU_NVCC").unwrap_or_default();
    let wanted = policy != "none" && env::var_os("CARGO_FEATURE_CUDA").is_some();
    let release = if wanted { first_that_compiles(out, &policy) } else { None };
    for arch in ARCHITECTURES {
        let kernels = |kind: &str| fs::read(format!("{out}/kernels.{arch}.{kind}")).unwrap();
        let [cubin, ptx] = match release {
            Some(_) => [kernels("cubin"), [&kernels("ptx"), &b"\0"[..]].concat()],
            None => [vec![], NO_PTX.into()],
        };
        fs::write(format!("{out}/kernels.{arch}.cubin.gz"), gzip(&cubin)).unwrap();
        fs::write(format!("{out}/kernels.{arch}.ptx.gz"), gzip(&ptx)).unwrap();
    }
    println!("cargo::rustc-env=NVCC_RELEASE={}", release.unwrap_or_default());
}

/// Compiles the kernels, and gives the version of the compiler that could.
fn first_that_compiles(out: &str, policy: &str) -> Option<String> {
    let mut failures = vec![];
    for find in COMPILERS {
        let Some(nvcc) = find(out, policy) else { continue };
        match compile_all(&nvcc, out) {
            Ok(()) => return Some(release_of(&nvcc)),
            Err(why) => failures.push(why),
        }
    }
    // Whoever asks for a compiler wants to know; whoever does not shall still get a program.
    assert!(
        policy != "fetch" && env::var_os("NVCC").is_none(),
        "no nvcc compiles the kernels\n{}",
        failures.join("\n")
    );
    failures.iter().for_each(|why| warn(why));
    println!(
        "cargo::warning=no nvcc in $NVCC, $CUDA_HOME/bin, $CUDA_PATH/bin, PATH or Python's wheels{}: this build has no GPU kernels. \
         VAE_GPU_NVCC=fetch gets one (100 MB, by pip)",
        if failures.is_empty() { "" } else { " that compiles the kernels" }
    );
    None
}

/// For all architectures at once, into `kernels.80.ptx`, `kernels.80.cubin` and so on. What was made before of the same is
/// taken: a build, a test and a documentation have a folder each, and nvcc takes a minute.
fn compile_all(nvcc: &str, out: &str) -> Result<(), String> {
    let kept = kept(nvcc, out);
    if !kept.as_ref().is_some_and(|kept| copied(kept, Path::new(out))) {
        let reports = side_by_side(ARCHITECTURES, |arch| compile(nvcc, out, arch))?.concat();
        fs::write(format!("{out}/{REPORT}"), &reports).unwrap();
        kept.iter().for_each(|kept| keep(kept, Path::new(out)));
    }
    let reports = fs::read_to_string(format!("{out}/{REPORT}")).unwrap();
    let mut kernel = "";
    for line in reports.lines() {
        if let Some((_, name)) = line.split_once("Function properties for ") {
            kernel = name;
        }
        if line.contains("spill stores") && !line.contains(" 0 bytes spill stores, 0 bytes spill loads") {
            println!("cargo::warning={kernel} spills registers:{line}");
        }
    }
    Ok(())
}

/// Registers, shared memory, spills.
const REPORT: &str = "kernels.ptxas";

/// Where what nvcc makes is kept for the other builds below the same target: under the hash of the compiler, of what it is
/// told, which this file says, and of all kernels.
fn kept(nvcc: &str, out: &str) -> Option<PathBuf> {
    let mut hash = DefaultHasher::new();
    (version_of(nvcc), include_str!("image.rs")).hash(&mut hash);
    let mut files: Vec<_> = fs::read_dir("kernels").ok()?.flatten().map(|f| f.path()).collect();
    files.sort();
    let written = Path::new(out).join("kernels.cu"); // by build.rs: the kernels of each way of multiplying
    for file in files.iter().filter(|f| f.is_file()) {
        (file, fs::read(file).ok()?).hash(&mut hash);
    }
    fs::read(written).ok()?.hash(&mut hash);
    Some(target(out)?.join("kernels").join(format!("{:016x}", hash.finish())))
}

/// What is made of the kernels, by its names.
fn made() -> impl Iterator<Item = String> {
    let of = |arch| ["ptx", "cubin"].map(|kind| format!("kernels.{arch}.{kind}"));
    ARCHITECTURES.into_iter().flat_map(of).chain([REPORT.into()])
}

/// Whether all of it could be copied.
fn copied(from: &Path, to: &Path) -> bool {
    from.exists() && made().all(|name| fs::copy(from.join(&name), to.join(&name)).is_ok())
}

/// Keeps it, whole or not at all, in place of what was kept before: another build may do the same just now.
fn keep(at: &Path, out: &Path) {
    let Some(all) = at.parent() else { return };
    let aside = out.join("kept");
    let _ = (fs::remove_dir_all(all), fs::remove_dir_all(&aside));
    if fs::create_dir_all(all).is_ok() && fs::create_dir(&aside).is_ok() && copied(out, &aside) {
        let _ = fs::rename(aside, at);
    }
}

/// First to PTX, and from that to code; what the assembler says of them.
fn compile(nvcc: &str, out: &str, arch: u32) -> Result<String, String> {
    let (source, ptx) = (format!("{out}/kernels.cu"), format!("{out}/kernels.{arch}.ptx"));
    // Code for a GPU takes nothing of the host's compiler and library; but their headers are read. So a gcc that is newer
    // than nvcc will do, and glibc shall not declare what only GNU has: since 2.42 that is rsqrt, which CUDA declares in
    // another way.
    let host = ["-allow-unsupported-compiler", "-U_GNU_SOURCE"];
    let to_ptx = ["-ptx", "-std=c++17", "-Ikernels", &format!("-arch=compute_{arch}"), "-o", &ptx, &source];
    run(Command::new(nvcc).args(host).args(to_ptx))?;
    fs::write(&ptx, oldest(&fs::read_to_string(&ptx).unwrap())).unwrap();
    let code = format!("{out}/kernels.{arch}.cubin");
    run(Command::new(nvcc).args(["-cubin", "-Xptxas=-v", &format!("-arch=sm_{arch}"), "-o", &code, &ptx]))
}

/// PTX that says it is of version 8.0, of CUDA 12.0, the oldest driver we speak to, and not of the compiler's: a driver
/// refuses what is newer than itself by that line alone. The assembler holds what follows to it.
fn oldest(ptx: &str) -> String {
    let (head, rest) = ptx.split_once(".version ").expect("PTX says its version");
    let (version, rest) = rest.split_once('\n').expect("a line ends");
    let version = version.trim().parse::<f32>().expect("a version is a number").min(8.0);
    // Of a load it may say which bytes are used: a hint, which those drivers do not know.
    let known = |line: &&str| !line.contains(".pragma \"used_bytes_mask");
    let rest: String = rest.split_inclusive('\n').filter(known).collect();
    format!("{head}.version {version:.1}\n{rest}")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(vec![], Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn version_of(nvcc: &str) -> String {
    let output = Command::new(nvcc).arg("--version").output().expect("nvcc ran a moment ago");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// `13.0`
fn release_of(nvcc: &str) -> String {
    let text = version_of(nvcc);
    let (_, rest) = text.split_once("release ").expect("nvcc says its release");
    rest.split(',').next().unwrap().to_string()
}

/// Where compilers are looked for, in this order, with the folder of the build and the policy.
const COMPILERS: [fn(&str, &str) -> Option<String>; 6] = [
    |_, _| answers(env::var("NVCC").ok()?),
    |_, _| answers(format!("{}/bin/nvcc", env::var("CUDA_HOME").ok()?)),
    |_, _| answers(format!("{}/bin/nvcc", env::var("CUDA_PATH").ok()?)), // NVIDIA's installer sets it on Windows
    |_, _| answers("nvcc".into()),
    |_, _| answers(python_nvcc()?),
    |out, policy| if policy == "fetch" || is_driver_here() { answers(fetch_nvcc(out)?) } else { None },
];

fn answers(nvcc: String) -> Option<String> {
    let mut command = Command::new(&nvcc);
    let status = command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|s| s.success()).then_some(nvcc)
}

/// NVIDIA's driver, of Linux or of Windows below it.
fn is_driver_here() -> bool {
    ["/dev/nvidiactl", "/proc/driver/nvidia", "/usr/lib/wsl/lib/libcuda.so.1"]
        .iter()
        .any(|path| Path::new(path).exists())
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
    let home = target(out)?.join("nvcc");
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

/// OUT_DIR is target/[triple/]profile/build/package/out.
fn target(out: &str) -> Option<&Path> {
    Path::new(out).ancestors().find(|p| p.join("CACHEDIR.TAG").exists())
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
