//! Turns kernels/*.cu into typed Rust launchers (always), an image for the GPU (where nvcc is) and, for the tests,
//! the same kernels on the CPU: the emulator, and a stand-in CUDA driver around it.
//!
//! `VAE_GPU_NVCC=none` builds without a GPU image, `VAE_GPU_NVCC=fetch` fetches a pinned nvcc where none is found, as
//! is done by itself on a machine with an NVIDIA driver.
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

#[path = "build/stand_in.rs"]
mod stand_in;

/// The compiler that is fetched: NVIDIA's own wheels, which need no root and no CUDA toolkit. About 100 MB.
const WHEELS: [&str; 5] = [
    "nvidia-cuda-nvcc==13.0.88",
    "nvidia-nvvm==13.0.88",
    "nvidia-cuda-crt==13.0.88",
    "nvidia-cuda-runtime==13.0.96",
    "nvidia-cuda-cccl==13.0.85",
];

/// One `extern "C" __global__ void name(params)`: its parameters as (name, type in CUDA).
struct Kernel {
    name: String,
    params: Vec<(String, String)>,
}

fn main() {
    println!("cargo::rerun-if-changed=kernels");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    let out = env::var("OUT_DIR").unwrap();
    let mut files: Vec<_> = fs::read_dir("kernels").unwrap().map(|f| f.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "cu"));
    files.sort();
    let kernels: Vec<Kernel> = files.iter().flat_map(|f| scan(f)).collect();
    fs::write(format!("{out}/kernels.rs"), launchers(&kernels)).unwrap();
    let include = |f: &PathBuf| format!("#include {:?}\n", f.file_name().unwrap());
    fs::write(format!("{out}/kernels.cu"), files.iter().map(include).collect::<String>()).unwrap();
    image(&out);
    emulator(&out, &kernels);
}

/// Finds the kernels of a file. What a kernel may take is listed in `launchers`, and is little on purpose.
fn scan(path: &Path) -> Vec<Kernel> {
    let text = fs::read_to_string(path).unwrap();
    let kernel = |head: &str| {
        let (head, body) = head.split_once('{').expect("a kernel has a body");
        let head = head.trim_end().strip_suffix(')').unwrap();
        // without it a kernel would read what the launch before has not written yet
        assert!(body.trim_start().starts_with("begin();"), "{head}): a kernel begins with begin()");
        let (name, params) = head.rsplit_once('(').expect("a kernel has parameters");
        let param = |p: &str| {
            let (ty, name) = p.trim().rsplit_once(' ').expect("a parameter has a type and a name");
            (name.to_string(), ty.to_string())
        };
        // The name is the last word: __launch_bounds__ may stand before it.
        let name = name.split_whitespace().next_back().unwrap().to_string();
        Kernel { name, params: params.split(',').map(param).collect() }
    };
    text.split("extern \"C\" __global__ void").skip(1).map(kernel).collect()
}

/// For each kernel a function with its name and parameters, so that rustc checks their number, order and types. The
/// data set and the plan are the device's own: there is one of each, and callers do not name them.
fn launchers(kernels: &[Kernel]) -> String {
    let launcher = |Kernel { name, params }: &Kernel| {
        let (mut typed, mut args, mut before) = (String::new(), String::new(), None);
        for (param, ty) in params {
            if ty == "const __grid_constant__ Layers" {
                // Several arguments, which stand between the others.
                typed += &format!(", {param}: &Layers");
                before = Some(format!("&[{}][..], &{param}.args()", std::mem::take(&mut args)));
                continue;
            }
            let (ty, arg) = match ty.as_str() {
                "In" | "Out" => (Some(ty.as_str()), format!("Arg::View({param}.0)")),
                "In16" | "Out16" => (Some(ty.as_str()), format!("Arg::View16({param}.0)")),
                "InAny" => (Some("InAny"), format!("{param}.arg()")),
                "int" => (Some("i32"), format!("Arg::U32({param} as u32)")),
                "unsigned" => (Some("u32"), format!("Arg::U32({param})")),
                "float" => (Some("f32"), format!("Arg::F32({param})")),
                "Data" => (None, "Arg::Data".into()),
                "const Step*" | "Plan*" | "const Plan*" => (None, "Arg::Plan".into()),
                _ => panic!("{name}: `{ty} {param}`: see kernels/README.md for what a kernel may take"),
            };
            typed += &ty.map(|ty| format!(", {param}: {ty}")).unwrap_or_default();
            args += &format!("{arg}, ");
        }
        let args = match before {
            Some(before) => format!("&[{before}, &[{args}]].concat()"),
            None => format!("&[{args}]"),
        };
        format!(
            "#[allow(clippy::too_many_arguments)]\npub fn {name}<D: Driver>(d: &mut D, grid: Grid{typed}) -> \
             crate::Result<()> {{\n    d.launch({name:?}, grid, {args})\n}}\n"
        )
    };
    let names: Vec<_> = kernels.iter().map(|k| &k.name).collect();
    kernels.iter().map(launcher).collect::<String>()
        + &format!("/// All kernels.\npub const NAMES: &[&str] = &{names:?};\n")
}

/// What the GPU loads: code for sm_80 and sm_90, PTX for what comes after. Without nvcc, PTX that holds no kernel.
fn image(out: &str) {
    for name in ["NVCC", "CUDA_HOME", "VAE_GPU_NVCC"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    let (image, source) = (format!("{out}/kernels.image"), format!("{out}/kernels.cu"));
    let nvcc = match env::var("CARGO_FEATURE_CUDA") {
        Ok(_) => find_nvcc(out),
        Err(_) => None,
    };
    let Some(nvcc) = nvcc else {
        if env::var_os("CARGO_FEATURE_CUDA").is_some() {
            println!(
                "cargo::warning=no nvcc in $NVCC, $CUDA_HOME/bin, PATH or Python's wheels: this build has no GPU \
                 kernels. VAE_GPU_NVCC=fetch gets one (100 MB, by pip)"
            );
        }
        return fs::write(image, ".version 8.0\n.target sm_80\n.address_size 64\n\0").unwrap();
    };
    let sm_80 = "-gencode=arch=compute_80,code=sm_80";
    let sm_90 = "-gencode=arch=compute_90,code=[sm_90,compute_90]";
    let flags = ["-std=c++17", "-fatbin", "-Xptxas=-v", "--threads=2", sm_80, sm_90, "-Ikernels", "-o", &image];
    let output = Command::new(&nvcc).args(flags).arg(&source).output().expect("nvcc ran a moment ago");
    let report = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{nvcc}:\n{report}");
    fs::write(format!("{out}/kernels.ptxas"), report.as_bytes()).unwrap(); // registers, shared memory, spills
    let mut kernel = "";
    for line in report.lines() {
        if let Some((_, name)) = line.split_once("Function properties for ") {
            kernel = name;
        }
        if line.contains("spill stores") && !line.contains(" 0 bytes spill stores, 0 bytes spill loads") {
            println!("cargo::warning={kernel} spills registers:{line}");
        }
    }
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

/// The kernels compiled for the CPU, and linked into the integration tests.
fn emulator(out: &str, kernels: &[Kernel]) {
    println!("cargo::rerun-if-env-changed=CXX");
    let cxx = env::var("CXX").unwrap_or("c++".into());
    if Command::new(&cxx).arg("--version").output().is_err() {
        return println!("cargo::warning={cxx} does not run: cargo test needs a C++20 compiler (set CXX)");
    }
    let entries: String = kernels.iter().map(|k| format!("    emu::entry<&{0}>(\"{0}\"),\n", k.name)).collect();
    let table = format!("const std::vector<emu::Kernel> emu::kernels = {{\n{entries}}};\n");
    let source = format!("#include \"host/cuda.h\"\n#include \"kernels.cu\"\n{table}");
    fs::write(format!("{out}/registry.cpp"), source).unwrap();

    let compile = |source: &str, flags: &[&str]| {
        let object = format!("{out}/{}.o", Path::new(source).file_stem().unwrap().display());
        let common = ["-std=c++20", "-Wall", "-Wno-unknown-pragmas", "-fPIC", "-fno-strict-aliasing"];
        let files = ["-Ikernels", "-I", out, "-c", source, "-o", &object];
        let status = Command::new(&cxx).args(common).args(flags).args(files).status();
        assert!(status.is_ok_and(|s| s.success()), "{cxx} does not compile {source}; a C++20 compiler is needed");
        object
    };
    // for the hooks before every load and store, which emulator.cpp defines itself
    let registry = compile(&format!("{out}/registry.cpp"), &["-O1", "-fsanitize=thread,alignment"]);
    // no fortified longjmp: it refuses to move between fibers
    let emulator = compile("kernels/host/emulator.cpp", &["-O2", "-U_FORTIFY_SOURCE"]);
    for flag in [&emulator, &registry, "-lstdc++", "-lm"] {
        println!("cargo::rustc-link-arg-tests={flag}");
    }
    if env::var_os("CARGO_FEATURE_CUDA").is_some() {
        stand_in::build(out, &cxx, &[emulator, registry]);
    }
}
